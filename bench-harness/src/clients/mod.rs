//! What is asked and how answers are told apart, one module a protocol.

pub(crate) mod resp;
