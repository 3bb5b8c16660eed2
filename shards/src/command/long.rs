//! Operations that may take longer than a turn: KEYS, and SCAN with a large COUNT.
//!
//! They go in steps. What they find is gathered first, since a reply begins with its
//! length. KEYS sees every key that is there throughout; keys that come or go while it
//! runs it may see or not (within EXEC it runs in one go and is exact).

#![forbid(unsafe_code)]

use crate::glob;
use crate::ids::DbId;
use crate::reply::{Protocol, Reply};
use crate::store::ScanCursor;
use crate::time::Now;

use super::Shard;

/// Entries visited at once: about 50 us.
pub(super) const STEP: usize = 1_024;
/// Entries visited before the first pause.
pub(super) const FIRST_STEP: usize = STEP;

/// A walk over the keys of a database.
#[derive(Debug)]
pub struct LongOp {
    db: DbId,
    cursor: ScanCursor,
    pattern: Option<Box<[u8]>>,
    /// Entries still to be visited by SCAN; `None` for KEYS.
    wanted: Option<u64>,
    /// Whether keys of this kind are asked for at all.
    wants_strings: bool,
    found: Reply,
    count: usize,
}

impl LongOp {
    pub(super) fn keys(db: DbId, pattern: &[u8], protocol: Protocol) -> Self {
        let mut op = Self::scan(db, 0, Some(pattern), 0, true, protocol);
        op.wanted = None;
        op
    }

    pub(super) fn scan(
        db: DbId,
        cursor: u64,
        pattern: Option<&[u8]>,
        count: u64,
        wants_strings: bool,
        protocol: Protocol,
    ) -> Self {
        Self {
            db,
            cursor: ScanCursor(cursor),
            pattern: pattern.map(Box::from),
            wanted: Some(count),
            wants_strings,
            found: Reply::new(protocol),
            count: 0,
        }
    }

    /// Goes on with a budget of entries; `true` when done, with the reply encoded.
    pub fn step(&mut self, shard: &Shard, now: Now, budget: usize, reply: &mut Reply) -> bool {
        let Self { found, count, pattern, wants_strings, .. } = self;
        let entries = self.wanted.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let mut visit = |key: &[u8], _: crate::store::Value<'_>| {
            let fits = pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, key, false));
            if fits && *wants_strings {
                found.bulk(key);
                *count += 1;
            }
        };
        let (next, visited) =
            shard.store.scan(self.db, self.cursor, entries, budget, now, &mut visit);
        self.cursor = next;
        if let Some(wanted) = &mut self.wanted {
            *wanted = wanted.saturating_sub(visited as u64);
        }
        let done = next == ScanCursor(0) || self.wanted == Some(0);
        if done {
            if self.wanted.is_some() {
                reply.array(2);
                reply.text(next.0);
            }
            reply.array(self.count);
            reply.append(std::mem::take(&mut self.found));
        }
        done
    }
}
