//! The driver for whole shards in one thread under one seed: sockets are queues of bytes in a
//! simulated network, clocks move when they are told to, and nothing ever waits.
//!
//! Owns nothing of the kernel. What happens, and when, is decided by whoever holds the [`Net`]:
//! it connects clients, lets bytes arrive, moves the clocks, and asks which shard has a reason
//! to run. What a kernel is free to do (cut a receive, take part of a send, let bytes arrive
//! after a pause) is drawn from the seed, and counted.
//!
//! ```text
//! client write -> on the wire -> deliver -> arrived -> Received     (SimDriver::turn)
//! client read <- arrived <- deliver <- on the wire <- send          (short, if it must be)
//! ```

#![forbid(unsafe_code)]

mod driver;
mod link;
mod net;
mod rng;
mod socket;
#[cfg(test)]
mod tests;

pub use driver::SimDriver;
pub use link::{Read, Way};
pub use net::{Counts, Net, Rules};
pub use rng::Rng;
pub use socket::SimSocket;
