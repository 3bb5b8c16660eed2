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

/// Where INFO begins to count: at the start, or the last CONFIG RESETSTAT. The counters
/// themselves never go back, since those who scrape them take that for a restart.
#[derive(Debug, Default)]
pub struct Baseline {
    /// The shard's counts then.
    pub stats: ShardStats,
    /// Connections accepted until then.
    pub accepted: u64,
    /// Connections refused until then.
    pub refused: u64,
}

/// One count of a shard, as metrics and INFO show it.
#[derive(Clone, Copy)]
pub struct Metric {
    /// In snake case, without prefix and `_total`.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Whether it only grows.
    pub counter: bool,
    /// Reads it.
    pub read: fn(&ShardStats) -> u64,
}

/// Declares the counts once: the fields, and the table that shows them.
macro_rules! shard_stats {
    ($($kind:ident $name:ident: $help:literal;)*) => {
        /// What one shard counts.
        #[derive(Debug, Default)]
        pub struct ShardStats {
            $(#[doc = $help] pub $name: Counter,)*
            /// Calls of each command, by its number.
            pub calls: CommandCounts,
            /// Calls of each command that ended in an error.
            pub failed_calls: CommandCounts,
            /// Error replies by their code.
            pub error_codes: ErrorCounts,
        }

        impl ShardStats {
            /// What has been counted so far.
            pub fn copy(&self) -> Self {
                let copy = Self::default();
                $(copy.$name.set(self.$name.get());)*
                let calls = self.calls.all().iter().zip(copy.calls.all());
                let failed = self.failed_calls.all().iter().zip(copy.failed_calls.all());
                let codes = self.error_codes.0.iter().zip(&copy.error_codes.0);
                calls.chain(failed).chain(codes).for_each(|(from, to)| to.set(from.get()));
                copy
            }
        }

        /// All single counts of a shard.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: stringify!($name),
            help: $help,
            counter: shard_stats!(@$kind),
            read: |stats| stats.$name.get(),
        },)*];
    };
    (@counter) => { true };
    (@gauge) => { false };
}

shard_stats! {
    counter commands: "Commands executed.";
    counter keyspace_hits: "Lookups of keys that were there.";
    counter keyspace_misses: "Lookups of keys that were not there.";
    counter expired_keys: "Keys removed because their time had come.";
    counter evicted_keys: "Keys removed for want of memory.";
    counter errors: "Error replies.";
    counter refused_unknown: "Commands refused because they do not exist.";
    counter refused_arity: "Commands refused for the number of their arguments.";
    counter refused_unauthenticated: "Commands refused before authentication.";
    counter refused_out_of_memory: "Writes refused for want of memory.";
    counter refused_pattern_size: "Commands refused because their pattern is too long.";
    counter refused_transaction_size: "Commands not queued because their transaction is too large.";
    counter refused_password: "Wrong passwords.";
    counter redirected: "Commands of cluster clients whose key is another shard's (MOVED).";
    counter refused_cross_slot: "Commands of cluster clients refused because their keys are in several slots (CROSSSLOT).";
    counter transactions_broken: "Transactions not executed because a watched key had changed.";
    counter limit_admitted: "Hits on rate limits admitted.";
    counter limit_refused: "Hits on rate limits refused; later they would be admitted.";
    counter limit_never: "Hits on rate limits refused for good: dearer than a full bucket.";
    counter limit_full: "Hits on rate limits refused because there was no room for another bucket.";
    counter limit_looks: "Looks at rate limits, which take nothing.";
    counter limit_reclaimed: "Buckets of rate limits forgotten because they were full.";
    gauge limit_buckets: "Buckets of rate limits remembered.";
    gauge limit_memory_bytes: "Bytes of buckets of rate limits and their index.";
    gauge keys: "Keys held.";
    gauge expiring_keys: "Keys held that will expire.";
    gauge memory_used_bytes: "Bytes of keys, values and index, of long values that arrive, and of values and long replies that are being sent.";
    gauge memory_waiting_bytes: "Bytes of removed keys and values that wait to be given back to the system.";
}

impl ShardStats {
    /// A key was looked up for reading.
    #[inline]
    pub(crate) fn count_lookup(&self, hit: bool) {
        let counter = if hit { &self.keyspace_hits } else { &self.keyspace_misses };
        counter.add(1);
    }

    /// A client was told of an error.
    pub(crate) fn count_error(&self, text: &str) {
        self.errors.add(1);
        let code = text.split(' ').next().unwrap_or("");
        let number = ERROR_CODES.iter().position(|known| *known == code);
        debug_assert!(number.is_some(), "{code} is not among the codes");
        self.error_codes.0[number.unwrap_or(OTHER_ERRORS)].add(1);
    }
}

/// The first words of error replies, as INFO errorstats shows them.
pub const ERROR_CODES: [&str; 9] =
    ["CROSSSLOT", "Cell", "ERR", "EXECABORT", "MOVED", "NOAUTH", "NOPROTO", "OOM", "WRONGPASS"];

/// Where an error without a known code is counted: as `ERR`.
const OTHER_ERRORS: usize = 2;

/// A counter for each code of [`ERROR_CODES`].
#[derive(Debug, Default)]
pub struct ErrorCounts([Counter; ERROR_CODES.len()]);

impl ErrorCounts {
    /// Codes and their counters.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Counter)> {
        ERROR_CODES.into_iter().zip(&self.0)
    }
}

/// A counter for each command.
#[derive(Debug)]
pub struct CommandCounts(Box<[Counter]>);

impl Default for CommandCounts {
    fn default() -> Self {
        Self(crate::command::COMMANDS.iter().map(|_| Counter::default()).collect())
    }
}

impl CommandCounts {
    /// The counter of one command.
    pub fn of(&self, command: &'static crate::command::CommandSpec) -> &Counter {
        &self.0[command.number()]
    }

    /// All, by number.
    pub fn all(&self) -> &[Counter] {
        &self.0
    }
}
