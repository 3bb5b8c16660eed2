//! Operations that may take longer than a turn: KEYS, SCAN with a large COUNT, and CLUSTER
//! GETKEYSINSLOT.
//!
//! They go in steps. What they find is gathered first, since a reply begins with its
//! length: short of that in a buffer, the rest in chunks that are sent from where they
//! lie, so that nothing long is ever moved. KEYS sees every key that is there throughout;
//! keys that come or go while it runs it may see or not (within EXEC it runs in one go and
//! is exact).

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::glob::Comparison;
use crate::ids::{DbId, SlotId};
use crate::reply::{Protocol, Reply};
use crate::store::{
    Blob, BlobBuilder, OutOfMemory, OwnedValue, ScanCursor, ScanRange, Store, Value,
};
use crate::time::Now;

use super::Shard;

/// Entries visited at once: 20 to 40 us.
pub const LONG_STEP: usize = 256;

/// Comparisons of bytes that an entry of the budget stands for: a step's take 100 us.
const WORK_PER_ENTRY: usize = 256;

/// Entries visited before it is looked whether the comparisons' budget is used up.
const PIECE: usize = 16;

/// Bytes gathered before they become a part of a chunk.
const SPILL_BYTES: usize = 16 << 10;

/// Keys longer than this are sent from where they lie.
const SPLICED_FROM: usize = 64 << 10;

/// An operation that goes on in steps. In a box, since every command returns room for one.
#[derive(Debug)]
pub struct LongOp(Box<Walk>);

/// What SCAN was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// Where it goes on.
    pub(super) cursor: u64,
    /// None for all keys.
    pub(super) pattern: Option<&'a [u8]>,
    /// Entries to visit, about.
    pub(super) count: u64,
    /// Whether keys of strings are asked for.
    pub(super) strings: bool,
    /// Whether the last of the slots is the end of all.
    pub(super) ends_here: bool,
}

/// A walk over the keys of a database.
#[derive(Debug)]
struct Walk {
    db: DbId,
    slots: RangeInclusive<SlotId>,
    cursor: ScanCursor,
    /// Whether the cursor has moved since it was the client's: 0 is the end from then on.
    began: bool,
    pattern: Option<Box<[u8]>>,
    /// Entries still to be visited by SCAN; `None` for the others.
    wanted: Option<u64>,
    /// Keys to be found at most.
    most: usize,
    /// Whether keys are found that have expired and were not met since.
    expired: bool,
    /// Whether SCAN's cursor is 0 behind the last slot.
    ends_here: bool,
    /// Whether keys of this kind are asked for at all.
    wants_strings: bool,
    /// Whether the client wants no reply (CLIENT REPLY).
    silent: bool,
    /// Keys met that are not compared yet, or not to the end.
    left: VecDeque<(OwnedValue, Comparison)>,
    found: Found,
}

/// What was found so far, encoded.
#[derive(Debug)]
struct Found {
    count: usize,
    full: Vec<Blob>,
    filling: Option<BlobBuilder>,
    /// What comes behind the chunks.
    tail: Reply,
}

impl Found {
    fn add(&mut self, key: Value<'_>, store: &Store) {
        self.count += 1;
        match key {
            Value::Blob(blob) if blob.len() > SPLICED_FROM => {
                self.tail.value(key);
                let end = self.tail.bytes.split_off(self.tail.blobs[0].0);
                self.tail.blobs.clear();
                self.spill(store);
                if !self.tail.bytes.is_empty() {
                    // No memory for a chunk: it waits in the buffer, in its place.
                    self.tail.bytes.extend_from_slice(blob.bytes());
                } else {
                    self.full.extend(self.filling.take().map(BlobBuilder::freeze));
                    self.full.push(blob.clone());
                }
                self.tail.bytes.extend_from_slice(&end);
            }
            key => self.tail.bulk(key.bytes()),
        }
        if self.tail.bytes.len() >= SPILL_BYTES {
            self.spill(store);
        }
    }

    /// Moves the tail into chunks; it stays where it is while there is no memory for one.
    fn spill(&mut self, store: &Store) {
        let mut left = &self.tail.bytes[..];
        while !left.is_empty() {
            let mut chunk = match self.filling.take() {
                Some(chunk) => chunk,
                None => match store.chunk() {
                    Ok(chunk) => chunk,
                    Err(OutOfMemory) => break,
                },
            };
            let n = left.len().min(chunk.room());
            chunk.extend(&left[..n]);
            left = &left[n..];
            if chunk.room() == 0 {
                self.full.push(chunk.freeze());
            } else {
                self.filling = Some(chunk);
            }
        }
        let moved = self.tail.bytes.len() - left.len();
        self.tail.bytes.drain(..moved);
    }

    /// Appends all of it as an array.
    fn put(&mut self, reply: &mut Reply) {
        reply.array(self.count);
        let at = reply.bytes.len();
        let chunks = self.full.drain(..).chain(self.filling.take().map(BlobBuilder::freeze));
        reply.blobs.extend(chunks.map(|chunk| (at, chunk)));
        reply.append(std::mem::take(&mut self.tail));
    }
}

impl LongOp {
    /// KEYS: all keys of these slots that match.
    pub(super) fn keys(
        slots: RangeInclusive<SlotId>,
        db: DbId,
        pattern: &[u8],
        protocol: Protocol,
    ) -> Self {
        let pattern = Some(pattern);
        let asked = Asked { cursor: 0, pattern, count: 0, strings: true, ends_here: true };
        let mut op = Self::scan(slots, db, asked, protocol);
        op.0.wanted = None;
        op
    }

    /// CLUSTER GETKEYSINSLOT: so many keys of one slot, as far as it has them. As in Redis,
    /// those that COUNTKEYSINSLOT counts.
    pub(super) fn slot(slot: SlotId, most: usize, protocol: Protocol) -> Self {
        let asked = Asked { cursor: 0, pattern: None, count: 0, strings: true, ends_here: true };
        let mut op = Self::scan(slot..=slot, DbId(0), asked, protocol);
        (op.0.wanted, op.0.most, op.0.expired) = (None, most, true);
        op
    }

    /// SCAN over these slots.
    pub(super) fn scan(
        slots: RangeInclusive<SlotId>,
        db: DbId,
        asked: Asked<'_>,
        protocol: Protocol,
    ) -> Self {
        Self(Box::new(Walk {
            db,
            slots,
            cursor: ScanCursor(asked.cursor),
            began: false,
            pattern: asked.pattern.map(Box::from),
            wanted: Some(asked.count),
            most: usize::MAX,
            expired: false,
            ends_here: asked.ends_here,
            wants_strings: asked.strings,
            silent: false,
            left: VecDeque::new(),
            found: Found { count: 0, full: Vec::new(), filling: None, tail: Reply::new(protocol) },
        }))
    }

    /// The same for a client that wants no reply: the reply stays as it is. It finds nothing
    /// and changes nothing, so its next step is its last.
    pub(super) fn silenced(mut self) -> Self {
        self.0.silent = true;
        self
    }

    /// Goes on with a budget of entries; `true` when done, with the reply encoded.
    pub fn step(&mut self, shard: &Shard, now: Now, budget: usize, reply: &mut Reply) -> bool {
        let walk = &mut *self.0;
        if walk.silent {
            return true;
        }
        let mut left = Budget { entries: budget, work: budget.saturating_mul(WORK_PER_ENTRY) };
        while left.entries > 0 && left.work > 0 {
            if walk.compare_on(&shard.store, &mut left) && walk.is_at_end() {
                walk.finish(reply);
                return true;
            }
            if walk.left.is_empty() {
                walk.visit_on(&shard.store, now, &mut left);
            }
        }
        false
    }
}

impl Walk {
    /// Whether all keys asked for have been visited.
    fn is_at_end(&self) -> bool {
        let enough = self.wanted == Some(0) || self.found.count >= self.most;
        self.began && (self.cursor == ScanCursor(0) || self.is_beyond() || enough)
    }

    /// Whether the cursor is behind the last slot.
    fn is_beyond(&self) -> bool {
        self.cursor.slot().is_none_or(|slot| slot > *self.slots.end())
    }

    /// Goes on comparing what is left over; `true` when nothing is.
    fn compare_on(&mut self, store: &Store, left: &mut Budget) -> bool {
        let Some(pattern) = &self.pattern else { return true };
        while let Some((key, comparison)) = self.left.front_mut() {
            let bytes = key.as_value().bytes();
            let Some(fits) = comparison.go_on(pattern, bytes, false, &mut left.work) else {
                return false;
            };
            if fits {
                self.found.add(key.as_value(), store);
            }
            self.left.pop_front();
        }
        true
    }

    /// Visits some more entries.
    fn visit_on(&mut self, store: &Store, now: Now, left: &mut Budget) {
        let wanted = self.wanted.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let piece = left.entries.min(PIECE);
        let (first, last) = self.slots.clone().into_inner();
        let (most, expired) = (self.most, self.expired);
        let Self { found, pattern, wants_strings, left: undone, .. } = self;
        let mut visit = |key: Value<'_>, _: Value<'_>| {
            let mut comparison = Comparison::default();
            let fits = match pattern {
                _ if !*wants_strings || found.count >= most => Some(false),
                None => Some(true),
                Some(_) if !undone.is_empty() => None,
                Some(pattern) => comparison.go_on(pattern, key.bytes(), false, &mut left.work),
            };
            match fits {
                Some(true) => found.add(key, store),
                Some(false) => {}
                None => undone.push_back((key.to_owned(), comparison)),
            }
        };
        let cursor = self.cursor.max(ScanCursor::of_slot(first));
        let (next, visited) = store.scan(
            self.db,
            ScanRange { from: cursor, last, expired },
            wanted,
            piece,
            now,
            &mut visit,
        );
        self.cursor = next;
        self.began = true;
        left.entries = left.entries.saturating_sub(piece.max(visited));
        if let Some(wanted) = &mut self.wanted {
            *wanted = wanted.saturating_sub(visited as u64);
        }
    }

    fn finish(&mut self, reply: &mut Reply) {
        if self.wanted.is_some() {
            reply.array(2);
            let ended = self.ends_here && self.is_beyond();
            reply.text(if ended { 0 } else { self.cursor.0 });
        }
        self.found.put(reply);
    }
}

/// What a step may still do.
struct Budget {
    entries: usize,
    /// Comparisons of bytes.
    work: usize,
}
