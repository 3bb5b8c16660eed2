//! The control domain: what may block and what talks to operators.
