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

/// Entries looked at for one eviction, in search of those that expire: about 30 us. Where they
/// are rarer still, writes go on above the limit until one is met.
const HUNT_ENTRIES: usize = 1_024;
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

/// What came of an eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// A key has gone.
    Done,
    /// Keys may go, but none was met this time.
    NoneMet,
    /// There is none that may go.
    NoneLeft,
}

impl Store {
    /// Removes one key of `policy`'s choice after looking at `samples` per database.
    pub fn evict_one(&mut self, policy: EvictionPolicy, samples: usize, now: Now) -> Eviction {
        if policy == EvictionPolicy::NoEviction {
            return Eviction::NoneLeft;
        }
        if self.candidates.policy != policy {
            self.candidates = Candidates { kept: Vec::new(), policy };
        }
        let mut none_left = true;
        for number in 0..self.databases() {
            let db = &self.dbs[usize::from(number)];
            let any = if policy.volatile() { db.expires() } else { db.len() };
            if any > 0 {
                none_left = false;
                if policy.volatile() {
                    self.sample_expiring(DbId(number), samples, now);
                } else {
                    self.sample(DbId(number), samples, now);
                }
            }
        }
        while let Some(best) = self.candidates.kept.pop() {
            if self.still_the_same(best) {
                self.dbs[usize::from(best.db.0)].remove_at(best.at, best.loc);
                self.watches.touch(best.db, best.at);
                self.stats.evicted_keys.add(1);
                return Eviction::Done;
            }
        }
        if none_left { Eviction::NoneLeft } else { Eviction::NoneMet }
    }

    fn still_the_same(&self, candidate: Candidate) -> bool {
        let mut same = false;
        let db = &self.dbs[usize::from(candidate.db.0)];
        let volatile = self.candidates.policy.volatile();
        db.look(candidate.at, candidate.loc, |entry| {
            same = entry.header.last_use() == candidate.last_use
                && (entry.header.expires() || !volatile);
        });
        same
    }

    /// Offers `samples` random entries, at most a line's worth more.
    fn sample(&mut self, number: DbId, samples: usize, now: Now) {
        let mut seen = 0;
        // Lines can be empty: give up after a while and come again.
        for _ in 0..samples * 8 {
            if seen >= samples {
                return;
            }
            let Some((slot, bound)) = self.random_line(number) else { return };
            self.offer_line(number, slot, bound, now, |_| {
                seen += 1;
                true
            });
        }
    }

    /// Offers about `samples` random entries that expire. They can be few among many:
    /// looked for where the sweeper expects some, which is in every slot that has any.
    fn sample_expiring(&mut self, number: DbId, samples: usize, now: Now) {
        let (mut seen, mut left) = (0, HUNT_ENTRIES);
        while seen < samples && left > 0 {
            let noise = self.random();
            let Some(slot) = self.sweeper.any(number, noise >> 32) else { return };
            // Once around the slot from a random line, until some are met.
            let start = TagBound(noise as u32 % TagBound::END.0);
            let (mut from, mut around, before) = (start, false, seen);
            while seen == before && left > 0 && !(around && from >= start) {
                left = left.saturating_sub(1);
                from = self.offer_line(number, slot, from, now, |expires| {
                    left = left.saturating_sub(1);
                    seen += usize::from(expires);
                    expires
                });
                if from.is_end() && !around {
                    (from, around) = (TagBound::default(), true);
                }
            }
            if seen == before && left > 0 {
                self.sweeper.disarm(number, slot); // all of it was seen
            }
        }
    }

    /// Offers the entries of a line for which `takes` holds, which is told whether they
    /// expire; returns where the next line begins.
    fn offer_line(
        &mut self,
        number: DbId,
        slot: SlotId,
        bound: TagBound,
        now: Now,
        mut takes: impl FnMut(bool) -> bool,
    ) -> TagBound {
        let noise = self.random();
        let (db, candidates) = (&self.dbs[usize::from(number.0)], &mut self.candidates);
        db.walk(slot, bound, |found| {
            let expiry = found.entry.expiry();
            if !takes(expiry.is_some()) {
                return;
            }
            let last_use = found.entry.header.last_use();
            let score = match candidates.policy {
                EvictionPolicy::AllKeysLru | EvictionPolicy::VolatileLru => last_use.idle(now),
                EvictionPolicy::VolatileTtl => u64::MAX - expiry.map_or(u64::MAX, |at| at.0),
                _ => noise ^ found.at.short().rotate_left(17),
            };
            let (at, loc) = (found.at, found.loc);
            candidates.offer(Candidate { db: number, at, loc, last_use, score });
        })
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
