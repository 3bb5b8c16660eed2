//! Reads the clocks for a shard: the one place of the data path that does.

#![forbid(unsafe_code)]

use rustix::time::{ClockId, clock_gettime};
use shards::time::{Nanos, Now};

/// The monotonic clock.
pub fn monotonic() -> Nanos {
    let t = clock_gettime(ClockId::Monotonic);
    Nanos(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
}

/// Processor time that this thread has taken; a system call, unlike the others.
pub fn of_this_thread() -> Nanos {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    Nanos(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
}

/// Both clocks.
pub fn now() -> Now {
    let wall = clock_gettime(ClockId::Realtime);
    // A wall clock before 1970 counts as 1970.
    let seconds = u64::try_from(wall.tv_sec).unwrap_or(0);
    Now { mono: monotonic(), wall_us: seconds * 1_000_000 + wall.tv_nsec as u64 / 1_000 }
}
