//! How shards reach each other: a ring of boxes for each direction of each pair, and a doorbell
//! for a shard that may be asleep.
//!
//! Owns the queues and the flag. Never blocks, never makes a system call: who has to be woken is
//! answered here, waking is the driver's (`runtime::Waker`). What travels, and the credits that
//! keep full rings from deadlock, are the business of those who push and pop.
//!
//! Both are checked under loom, which tries all interleavings and all stale reads that the memory
//! model allows: `RUSTFLAGS="--cfg loom" cargo test -p dataplane --release --lib mesh`.

pub mod bell;
pub mod parcel;
pub mod port;
pub mod ring;
pub(crate) mod sync;
