//! Walking over all keys: SCAN, KEYS, RANDOMKEY, and what moves slots later.

#![forbid(unsafe_code)]

use crate::ids::{DbId, SLOTS, SlotId};
use crate::time::Now;

use super::index::TagBound;
use super::leaf::TAG_BITS;
use super::{ScanCursor, Store, Value};

/// Tries to find a random key by sampling before the next best one is taken.
const RANDOM_TRIES: usize = 32;

impl Store {
    /// Visits about `entries` entries, or as many as `work` allows, and returns where to go
    /// on (0 when all have been seen) and how many were visited.
    ///
    /// Every key that is there from the first call to the last is visited, and only once
    /// unless it was removed and set again, however much is added, removed or moved between.
    /// An entry is one unit of work, an empty slot a sixteenth.
    pub fn scan(
        &self,
        db: DbId,
        cursor: ScanCursor,
        entries: usize,
        work: usize,
        now: Now,
        visit: &mut dyn FnMut(&[u8], Value<'_>),
    ) -> (ScanCursor, usize) {
        const SLOTS_PER_UNIT: usize = 16;
        let unix = now.unix_ms();
        let mut slot = cursor.0 >> TAG_BITS;
        let mut bound = TagBound((cursor.0 & ((1 << TAG_BITS) - 1)) as u32);
        let (mut left, mut visited) = (work.saturating_mul(SLOTS_PER_UNIT), 0);
        while left > 0
            && visited < entries
            && let Some(id) = u16::try_from(slot).ok().and_then(SlotId::new)
        {
            left = left.saturating_sub(1);
            bound = self.db(db).walk(id, bound, |seen| {
                left = left.saturating_sub(SLOTS_PER_UNIT);
                visited += 1;
                if seen.entry.expiry().is_none_or(|at| at > unix) {
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

    /// A key picked at random, each about as likely as any other.
    pub fn random_key(&mut self, db: DbId, now: Now) -> Option<Vec<u8>> {
        let mut key = None;
        for _ in 0..RANDOM_TRIES {
            let (slot, bound) = self.random_line(db)?;
            let noise = self.random();
            let mut met = 0;
            self.db(db).walk(slot, bound, |seen| {
                let alive = seen.entry.expiry().is_none_or(|at| at > now.unix_ms());
                if alive {
                    // The n-th replaces the one before with probability 1/n.
                    met += 1;
                    if noise.rotate_left(met as u32 * 7).is_multiple_of(met) {
                        key = Some(seen.key().to_vec());
                    }
                }
            });
            if key.is_some() {
                return key;
            }
        }
        let mut cursor = ScanCursor(0);
        loop {
            let mut keep = |found: &[u8], _: Value<'_>| key = Some(found.to_vec());
            (cursor, _) = self.scan(db, cursor, 1, usize::MAX, now, &mut keep);
            if key.is_some() || cursor == ScanCursor(0) {
                return key;
            }
        }
    }
}
