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
    /// Visits about `budget` entries and returns where to go on; 0 when all have been seen.
    ///
    /// Every key that is there from the first call to the last is visited, and only once
    /// unless it was removed and set again, however much is added, removed or moved between.
    pub fn scan(
        &self,
        db: DbId,
        cursor: ScanCursor,
        budget: usize,
        now: Now,
        visit: &mut dyn FnMut(&[u8], Value<'_>),
    ) -> ScanCursor {
        let unix = now.unix_ms();
        let mut slot = cursor.0 >> TAG_BITS;
        let mut bound = TagBound((cursor.0 & ((1 << TAG_BITS) - 1)) as u32);
        // An empty slot costs an eighth of an entry.
        let mut left = budget.saturating_mul(8);
        while left > 0
            && let Some(id) = u16::try_from(slot).ok().and_then(SlotId::new)
        {
            left = left.saturating_sub(1);
            bound = self.db(db).walk(id, bound, |seen| {
                left = left.saturating_sub(8);
                if seen.entry.expiry().is_none_or(|at| at > unix) {
                    visit(seen.key(), seen.value());
                }
            });
            if bound >= TagBound::END {
                (slot, bound) = (slot + 1, TagBound::default());
            }
        }
        if slot >= u64::from(SLOTS) {
            return ScanCursor(0);
        }
        ScanCursor(slot << TAG_BITS | u64::from(bound.0))
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
                    if noise.rotate_left(met as u32 * 7) % met == 0 {
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
            cursor = self.scan(db, cursor, 64, now, &mut |found, _| key = Some(found.to_vec()));
            if key.is_some() || cursor == ScanCursor(0) {
                return key;
            }
        }
    }
}
