//! Rate limits of one shard.
//!
//! Owns its buckets and the decision on every hit. A bucket is decided at its home, the shard
//! of its name's slot, and nowhere else, so that a limit is exact whatever the number of shards.
//! Knows no clock, no wire and no route: `now` comes in, a [`Decision`] goes out, and what is
//! done about one that has no room is its caller's affair.

#![forbid(unsafe_code)]

mod bucket;
mod index;
mod policy;
mod rate;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use bucket::{Bucket, Decision, Verdict};
pub use policy::{Policies, PolicyError};
pub use rate::{MOST_TOKENS, Rate, RateError, Tokens};
pub use table::{Handle, LONGEST_NAME, MOST_BUCKETS, Name};

use crate::stats::ShardStats;
use crate::store::KeyHash;
use crate::time::Nanos;
use table::Table;

/// Buckets of a node that owe something at a time, divided among its shards: 128 MiB of places
/// and 16 MiB of index when all of them are in use.
pub const DEFAULT_BUCKETS: u32 = 1 << 20;

/// Places that a sweep looks at: about 2 us.
const SWEEP_PLACES: usize = 256;

/// Time between two sweeps, so that they take about 0.2 % of a core; a million places are seen
/// in four seconds.
const SWEEP_PAUSE: Nanos = Nanos::MILLISECOND;

/// See the module's text.
#[derive(Debug)]
pub struct Limiter {
    table: Table,
    policies: Arc<Policies>,
    stats: Arc<ShardStats>,
    next_sweep: Nanos,
    /// The numbers that were asked for last, and their rate: most clients name the same ones.
    recent: Option<([u64; 3], Rate)>,
}

impl Limiter {
    /// A limiter with room for so many buckets, 1 to [`MOST_BUCKETS`].
    pub fn new(buckets: u32, stats: Arc<ShardStats>) -> Self {
        let (table, policies) = (Table::new(buckets), Arc::default());
        Self { table, policies, stats, next_sweep: Nanos(0), recent: None }
    }

    /// What is published holds from here on; see [`Bucket`] for what becomes of debts.
    pub fn set_policies(&mut self, policies: Arc<Policies>) {
        self.policies = policies;
    }

    /// The rate of the limit that a bucket belongs to by its name, if there is one.
    pub fn rate_of(&self, name: Name<'_>) -> Option<Rate> {
        self.policies.rate_of(name.bytes()).copied()
    }

    /// The rate that these numbers made, if they were the last noted.
    #[inline]
    pub fn recent_rate(&self, numbers: [u64; 3]) -> Option<Rate> {
        self.recent.filter(|(noted, _)| *noted == numbers).map(|(_, rate)| rate)
    }

    /// Notes the rate that numbers make, and returns it.
    pub fn note_rate(&mut self, numbers: [u64; 3], rate: Rate) -> Rate {
        self.recent = Some((numbers, rate));
        rate
    }

    /// Asks for what finding a bucket looks at first.
    #[inline]
    pub fn prefetch_entry(&self, at: KeyHash) {
        self.table.prefetch_entry(at);
    }

    /// Asks for the bucket itself, a little later.
    #[inline]
    pub fn prefetch_bucket(&self, at: KeyHash) {
        self.table.prefetch_place(at);
    }

    /// Takes tokens from a bucket by name; with a cost of 0 it looks and takes none.
    #[inline]
    pub fn hit<'r>(
        &mut self,
        name: Name<'_>,
        rate: &'r Rate,
        cost: Tokens,
        now: Nanos,
    ) -> Decision<'r> {
        if let Some(handle) = self.table.find(name)
            && let Some(decision) = self.hit_at(handle, rate, cost, now)
        {
            return decision;
        }
        let mut bucket = Bucket::default();
        let mut decision = bucket.hit(rate, now, cost);
        // Only what owes something has to be remembered.
        if !bucket.is_full(now) {
            decision.place = self.table.insert(name, bucket, now);
            if decision.place.is_none() {
                decision.verdict = Verdict::NoRoom;
                decision.owed = rate::Debt::ZERO;
            }
        }
        self.count(decision.verdict, cost);
        decision
    }

    /// Takes tokens from a bucket whose place is known; `None` when it has been forgotten, since
    /// it was full: then it is to be asked for by name.
    #[inline]
    pub fn hit_at<'r>(
        &mut self,
        handle: Handle,
        rate: &'r Rate,
        cost: Tokens,
        now: Nanos,
    ) -> Option<Decision<'r>> {
        let bucket = self.table.at(handle)?;
        let mut decision = if cost == Tokens(0) {
            let mut look = *bucket;
            look.hit(rate, now, cost)
        } else {
            bucket.hit(rate, now, cost)
        };
        decision.place = Some(handle);
        self.count(decision.verdict, cost);
        Some(decision)
    }

    #[inline]
    fn count(&self, verdict: Verdict, cost: Tokens) {
        let stats = &self.stats;
        let counter = match verdict {
            _ if cost == Tokens(0) => &stats.limit_looks,
            Verdict::Admit => &stats.limit_admitted,
            Verdict::Refuse { .. } => &stats.limit_refused,
            Verdict::Never => &stats.limit_never,
            Verdict::NoRoom => &stats.limit_full,
        };
        counter.add(1);
    }

    /// Forgets some full buckets, if it is time to.
    #[inline]
    pub fn tick(&mut self, now: Nanos) {
        if self.table.len() > 0 && now >= self.next_sweep {
            self.next_sweep = now.after(SWEEP_PAUSE);
            self.table.sweep(now, SWEEP_PLACES);
        }
    }

    /// Buckets that are remembered.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Buckets that can be.
    pub fn capacity(&self) -> u32 {
        self.table.capacity()
    }

    /// Brings the gauges up to date.
    pub fn report(&self) {
        self.stats.limit_buckets.set(self.table.len() as u64);
        self.stats.limit_memory_bytes.set(self.table.memory() as u64);
        self.stats.limit_reclaimed.set(self.table.reclaimed);
    }
}
