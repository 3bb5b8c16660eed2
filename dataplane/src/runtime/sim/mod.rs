//! What stands in for the kernel when whole shards run in one thread under a seed.

mod socket;

pub use socket::{Fate, SimSocket};
