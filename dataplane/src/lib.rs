//! What touches sockets and disks.

pub mod runtime;
