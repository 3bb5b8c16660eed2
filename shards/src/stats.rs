//! Counters of one shard: written by its thread alone, read by anyone, without a lock.
//!
//! A writer stores relaxed and never reads a value that another thread wrote, so an
//! increment is a plain add. Readers may see counters of different moments.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

/// A value with one writing thread.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning thread may call this. Panics on overflow in debug builds.
    pub fn add(&self, n: u64) {
        let old = self.0.load(Ordering::Relaxed);
        debug_assert!(old.checked_add(n).is_some(), "counter overflow");
        self.0.store(old.saturating_add(n), Ordering::Relaxed);
    }

    /// Sets a gauge. Only the owning thread may call this.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value now; any thread.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one shard counts.
#[derive(Debug, Default)]
pub struct ShardStats {
    /// Keys removed because their time had come.
    pub expired_keys: Counter,
    /// Keys removed for want of memory.
    pub evicted_keys: Counter,
}
