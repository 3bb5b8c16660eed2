//! Operations that may take longer than a turn: KEYS, and SCAN with a large COUNT.
//!
//! They go in steps. What they find is gathered first, since a reply begins with its
//! length: short of that in a buffer, the rest in chunks that are sent from where they
//! lie, so that nothing long is ever moved. KEYS sees every key that is there throughout;
//! keys that come or go while it runs it may see or not (within EXEC it runs in one go and
//! is exact).

#![forbid(unsafe_code)]

use crate::glob;
use crate::ids::DbId;
use crate::reply::{Protocol, Reply};
use crate::store::{Blob, BlobBuilder, OutOfMemory, ScanCursor, Store};
use crate::time::Now;

use super::Shard;

/// Entries visited at once: 20 to 40 us.
pub const LONG_STEP: usize = 256;

/// Bytes gathered before they become a part of a chunk.
const SPILL_BYTES: usize = 16 << 10;

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
    /// Whether the client wants no reply (CLIENT REPLY).
    silent: bool,
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
    fn add(&mut self, key: &[u8], store: &Store) {
        self.tail.bulk(key);
        self.count += 1;
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
            silent: false,
            found: Found { count: 0, full: Vec::new(), filling: None, tail: Reply::new(protocol) },
        }
    }

    /// The same for a client that wants no reply: the reply stays as it is. It finds nothing
    /// and changes nothing, so its next step is its last.
    pub(super) fn silenced(self) -> Self {
        Self { silent: true, ..self }
    }

    /// Goes on with a budget of entries; `true` when done, with the reply encoded.
    pub fn step(&mut self, shard: &Shard, now: Now, budget: usize, reply: &mut Reply) -> bool {
        if self.silent {
            return true;
        }
        let Self { found, pattern, wants_strings, .. } = self;
        let entries = self.wanted.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let mut visit = |key: &[u8], _: crate::store::Value<'_>| {
            let fits = pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, key, false));
            if fits && *wants_strings {
                found.add(key, &shard.store);
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
            self.found.put(reply);
        }
        done
    }
}
