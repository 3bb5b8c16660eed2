//! Walking over all keys: SCAN, KEYS, RANDOMKEY, and what moves slots later.

#![forbid(unsafe_code)]

use crate::ids::{DbId, SLOTS, SlotId};
use crate::time::Now;

use super::index::TagBound;
use super::leaf::TAG_BITS;
use super::{OwnedValue, ScanCursor, ScanRange, Store, Value};

/// Lines looked at for a random key, of which each holds some in all but odd cases; Valkey
/// gives up after a hundred expired keys.
const RANDOM_TRIES: usize = 100;

impl Store {
    /// Visits keys and values of about `entries` entries of slots up to `last`, or as many as
    /// `work` allows, and returns where to go on (behind `last` when all have been seen; 0
    /// behind the last slot of all) and how many were visited.
    ///
    /// Every key that is there from the first call to the last is visited, and only once
    /// unless it was removed and set again, however much is added, removed or moved between.
    /// An entry is one unit of work, an empty slot a sixteenth.
    pub fn scan(
        &self,
        db: DbId,
        ScanRange { from: cursor, last, expired }: ScanRange,
        entries: usize,
        work: usize,
        now: Now,
        visit: &mut dyn FnMut(Value<'_>, Value<'_>),
    ) -> (ScanCursor, usize) {
        const SLOTS_PER_UNIT: usize = 16;
        let unix = now.unix_ms();
        let mut slot = cursor.0 >> TAG_BITS;
        let mut bound = TagBound((cursor.0 & ((1 << TAG_BITS) - 1)) as u32);
        let (mut left, mut visited) = (work.saturating_mul(SLOTS_PER_UNIT), 0);
        while left > 0
            && visited < entries
            && let Some(id) = u16::try_from(slot).ok().and_then(SlotId::new)
            && id <= last
        {
            left = left.saturating_sub(1);
            bound = self.db(db).walk(id, bound, |seen| {
                left = left.saturating_sub(SLOTS_PER_UNIT);
                visited += 1;
                if expired || seen.entry.expiry().is_none_or(|at| at > unix) {
                    visit(seen.key(), seen.value());
                }
            });
            if bound >= TagBound::END {
                (slot, bound) = (slot + 1, TagBound::default());
            }
        }
        if slot >= u64::from(SLOTS) {
            return (ScanCursor(0), visited);
        }
        (ScanCursor(slot << TAG_BITS | u64::from(bound.0)), visited)
    }

    /// A key picked at random, each about as likely as any other. What it meets that has
    /// expired it removes; where it meets nothing else for long it returns one of those, as
    /// if it had been asked a moment earlier.
    pub fn random_key(&mut self, db: DbId, now: Now) -> Option<OwnedValue> {
        let mut expired = None;
        for _ in 0..RANDOM_TRIES {
            let (slot, bound) = self.random_line(db)?;
            match self.meet(db, slot, bound, now).0 {
                Met::Key(key) => return Some(key),
                Met::Expired(key) => expired = Some(key),
                Met::Nothing => {}
            }
        }
        if expired.is_some() {
            return expired;
        }
        // Nothing but empty lines: the first key of a slot that has some.
        let (slot, mut bound) = (self.random_line(db)?.0, TagBound::default());
        while !bound.is_end() {
            let (met, next) = self.meet(db, slot, bound, now);
            match met {
                Met::Key(key) | Met::Expired(key) => return Some(key),
                Met::Nothing => bound = next,
            }
        }
        None
    }

    /// Looks at the entries of one home line, picks one that has not expired, and says where
    /// the next line begins.
    fn meet(&mut self, db: DbId, slot: SlotId, bound: TagBound, now: Now) -> (Met, TagBound) {
        let (unix, noise) = (now.unix_ms(), self.random());
        let (mut met, mut alive, mut due) = (Met::Nothing, 0, Vec::new());
        let next = self.db(db).walk(slot, bound, |seen| {
            if seen.entry.expiry().is_some_and(|at| at <= unix) {
                due.push((seen.at, seen.loc));
                if alive == 0 {
                    met = Met::Expired(seen.key().to_owned());
                }
                return;
            }
            // The n-th replaces the one before with probability 1/n.
            alive += 1;
            if noise.rotate_left(alive as u32 * 7).is_multiple_of(alive) {
                met = Met::Key(seen.key().to_owned());
            }
        });
        for (at, loc) in due {
            self.expire_at(db, at, loc);
        }
        (met, next)
    }
}

/// What a look at a line came to.
enum Met {
    Key(OwnedValue),
    Expired(OwnedValue),
    Nothing,
}
