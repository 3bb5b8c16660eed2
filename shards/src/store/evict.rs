//! Which key goes when memory is short: sampled, as in Redis.
//!
//! Owns the candidates kept between calls. A call samples a few random entries, keeps the
//! best sixteen seen so far, and removes the best of them that is still what it was
//! (<https://valkey.io/topics/lru-cache/>). No order of all keys is kept, so an entry pays
//! 22 bits for its last use and nothing else.

#![forbid(unsafe_code)]

use crate::ids::{DbId, SLOTS, SlotId};
use crate::time::Now;

use super::entry::LastUse;
use super::index::TagBound;
use super::slab::Loc;
use super::{KeyHash, Store};

/// Candidates kept between calls.
const KEPT: usize = 16;

/// What may be evicted and in which order; names as in `maxmemory-policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// Nothing: writes are refused instead.
    #[default]
    NoEviction,
    /// The least recently used of all keys.
    AllKeysLru,
    /// The least recently used of those that expire.
    VolatileLru,
    /// Any.
    AllKeysRandom,
    /// Any of those that expire.
    VolatileRandom,
    /// Of those that expire, the one that expires first.
    VolatileTtl,
}

impl EvictionPolicy {
    fn volatile(self) -> bool {
        matches!(self, Self::VolatileLru | Self::VolatileRandom | Self::VolatileTtl)
    }
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    db: DbId,
    at: KeyHash,
    loc: Loc,
    last_use: LastUse,
    /// The higher, the sooner it goes.
    score: u64,
}

/// The best candidates so far, best last.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    kept: Vec<Candidate>,
    policy: EvictionPolicy,
}

impl Candidates {
    fn offer(&mut self, new: Candidate) {
        if self.kept.iter().any(|old| old.db == new.db && old.loc == new.loc) {
            return;
        }
        let at = self.kept.partition_point(|old| old.score <= new.score);
        if self.kept.len() == KEPT {
            if at == 0 {
                return;
            }
            self.kept.remove(0);
            self.kept.insert(at - 1, new);
        } else {
            self.kept.insert(at, new);
        }
    }
}

impl Store {
    /// Removes one key of `policy`'s choice after looking at `samples` per database;
    /// `false` when there is none that may go.
    pub fn evict_one(&mut self, policy: EvictionPolicy, samples: usize, now: Now) -> bool {
        if policy == EvictionPolicy::NoEviction {
            return false;
        }
        if self.candidates.policy != policy {
            self.candidates = Candidates { kept: Vec::new(), policy };
        }
        for number in 0..self.databases() {
            let db = &self.dbs[usize::from(number)];
            let any = if policy.volatile() { db.expires() } else { db.len() };
            if any > 0 {
                self.sample(DbId(number), policy, samples, now);
            }
        }
        while let Some(best) = self.candidates.kept.pop() {
            if self.still_the_same(best) {
                self.dbs[usize::from(best.db.0)].remove_at(best.at, best.loc);
                self.watches.touch(best.db, best.at);
                self.stats.evicted_keys.add(1);
                return true;
            }
        }
        false
    }

    fn still_the_same(&self, candidate: Candidate) -> bool {
        let mut same = false;
        let db = &self.dbs[usize::from(candidate.db.0)];
        db.look(candidate.at, candidate.loc, |entry| {
            same = entry.header.last_use() == candidate.last_use;
        });
        same
    }

    /// Offers `samples` random entries, at most a line's worth more.
    fn sample(&mut self, number: DbId, policy: EvictionPolicy, samples: usize, now: Now) {
        let mut seen = 0;
        // Keys that may go can be few among many: give up after a while and come again.
        for _ in 0..samples * 8 {
            if seen >= samples {
                return;
            }
            let Some((slot, bound)) = self.random_line(number) else { return };
            let noise = self.random();
            let (db, candidates) = (&self.dbs[usize::from(number.0)], &mut self.candidates);
            db.walk(slot, bound, |found| {
                let expiry = found.entry.expiry();
                if policy.volatile() && expiry.is_none() {
                    return;
                }
                seen += 1;
                let last_use = found.entry.header.last_use();
                let score = match policy {
                    EvictionPolicy::AllKeysLru | EvictionPolicy::VolatileLru => last_use.idle(now),
                    EvictionPolicy::VolatileTtl => u64::MAX - expiry.map_or(u64::MAX, |at| at.0),
                    _ => noise ^ found.at.short().rotate_left(17),
                };
                candidates.offer(Candidate {
                    db: number,
                    at: found.at,
                    loc: found.loc,
                    last_use,
                    score,
                });
            });
        }
    }

    /// A random home line that is likely to hold something: of a random slot with keys, or
    /// where such slots are rare of the next one that has any.
    pub(super) fn random_line(&mut self, number: DbId) -> Option<(SlotId, TagBound)> {
        const TRIES: usize = 32;
        for _ in 0..TRIES {
            let noise = self.random();
            let slot = SlotId::of_crc((noise % u64::from(SLOTS)) as u16);
            if self.db(number).slot_len(slot) > 0 {
                return Some((slot, TagBound((noise >> 32) as u32 % TagBound::END.0)));
            }
        }
        let noise = self.random();
        let slot = (0..SLOTS)
            .map(|step| SlotId::of_crc((noise as u16 % SLOTS).wrapping_add(step)))
            .find(|slot| self.db(number).slot_len(*slot) > 0)?;
        Some((slot, TagBound((noise >> 32) as u32 % TagBound::END.0)))
    }
}
