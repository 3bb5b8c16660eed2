//! The keys and values of one shard.
//!
//! Owns sixteen databases of strings, their expiry, and the memory of all of it. Reads no
//! clock (`now` comes in), draws no randomness of its own (a seed comes in), never blocks,
//! and never pauses for growth, release or expiry: long work waits for [`Store::tick`],
//! which does it in steps. docs/STORE-LAYOUT.md draws the bytes.

mod blob;
mod classes;
mod db;
mod deadlines;
mod edit;
mod entry;
mod evict;
mod held;
mod index;
mod key;
mod leaf;
mod lend;
mod mapping;
mod memory;
mod ruin;
mod scan;
pub(crate) mod slab;
mod sweep;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

pub use blob::{Blob, BlobBuilder, Detached};
pub use evict::{Eviction, EvictionPolicy};
pub use key::{Hasher, Hint, Key, KeyHash};
pub use lend::{Lender, Lent, LentId, Returns};
pub use value::{EntryInfo, Expiry, NewValue, OwnedValue, Value};

use crate::ids::{DbId, SlotId};
use crate::stats::ShardStats;
use crate::time::{Now, UnixMs};
use crate::txn::WatchTable;
use db::Db;
use evict::Candidates;
use memory::Memory;
use ruin::Ruin;
use sweep::Sweeper;

/// Bytes of one part of a long reply.
const CHUNK_BYTES: usize = 256 << 10;

/// Longest value, as in Redis (`proto-max-bulk-len`'s default).
pub const MAX_VALUE_BYTES: usize = 512 << 20;

/// The allocator or the address space refused. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system has no memory left for this shard")
    }
}

impl std::error::Error for OutOfMemory {}

/// Where a scan goes on; 0 is both the start and the end. Below 2^40.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScanCursor(pub u64);

/// What a scan is to walk over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanRange {
    /// Where it goes on.
    pub from: ScanCursor,
    /// The last slot, itself included.
    pub last: SlotId,
    /// Whether keys are visited that have expired and were not met since.
    pub expired: bool,
}

impl ScanCursor {
    /// The start of a slot.
    pub(crate) fn of_slot(slot: SlotId) -> Self {
        Self(u64::from(slot.get()) << leaf::TAG_BITS)
    }

    /// The slot where it goes on; none when it is beyond all.
    pub(crate) fn slot(self) -> Option<SlotId> {
        SlotId::new(u16::try_from(self.0 >> leaf::TAG_BITS).ok()?)
    }
}

/// What [`Store::tick`] wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextTick {
    /// There is more to do: soon.
    Soon,
    /// Something expires then.
    At(UnixMs),
    /// Nothing to do until something changes.
    Idle,
}

/// How a store is set up.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Logical databases.
    pub databases: u8,
    /// Seeds hashing and sampling.
    pub seed: u64,
    /// Where hits, evictions and so on are counted.
    pub stats: Arc<ShardStats>,
}

/// See the module's text.
pub struct Store {
    dbs: Vec<Db>,
    hasher: Hasher,
    memory: Rc<Memory>,
    /// Databases swapped out by a flush, released step by step.
    ruins: Vec<Ruin>,
    sweeper: Sweeper,
    candidates: Candidates,
    random: u64,
    stats: Arc<ShardStats>,
    /// Who wants to know of changed keys.
    pub watches: WatchTable,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({} bytes)", self.memory_used())
    }
}

impl Store {
    /// An empty store; takes memory with the first write.
    pub fn new(config: StoreConfig) -> Self {
        let memory = Rc::new(Memory::default());
        let databases = usize::from(config.databases);
        Self {
            dbs: (0..databases).map(|_| Db::new(memory.clone())).collect(),
            hasher: Hasher::new(config.seed),
            memory,
            ruins: Vec::new(),
            sweeper: Sweeper::new(databases),
            candidates: Candidates::default(),
            random: config.seed | 1,
            stats: config.stats,
            watches: WatchTable::default(),
        }
    }

    /// The hasher of this store's keys.
    pub fn hasher(&self) -> Hasher {
        self.hasher
    }

    /// Number of logical databases.
    pub fn databases(&self) -> u8 {
        self.dbs.len() as u8
    }

    fn db(&self, db: DbId) -> &Db {
        &self.dbs[usize::from(db.0)]
    }

    fn db_mut(&mut self, db: DbId) -> &mut Db {
        &mut self.dbs[usize::from(db.0)]
    }

    /// As soon as a key is known: asks for the head of its slot.
    #[inline]
    pub fn prefetch_head(&self, db: DbId, at: KeyHash) {
        self.db(db).prefetch_head(at);
    }

    /// First phase of a batch: asks for the index lines of a key.
    pub fn prefetch_line(&self, db: DbId, at: KeyHash) {
        self.db(db).prefetch_line(at);
    }

    /// Second phase: asks for the entry that the line points to, and returns where it is.
    pub fn prefetch_entry(&self, db: DbId, at: KeyHash) -> Hint {
        self.db(db).prefetch_entry(at)
    }

    /// The value of a key. `touch` makes it the most recently used.
    pub fn get(&mut self, db: DbId, key: Key<'_>, now: Now, touch: bool) -> Option<Value<'_>> {
        self.expire_if_due(db, key, now);
        self.db_mut(db).get(key, now, touch)
    }

    /// What is known of a key besides its value; does not count as a use.
    pub fn entry(&mut self, db: DbId, key: Key<'_>, now: Now) -> Option<EntryInfo> {
        self.expire_if_due(db, key, now);
        self.db(db).info(key, now)
    }

    /// Writes a value.
    ///
    /// # Errors
    /// When there is no memory; nothing has changed then.
    pub fn set(
        &mut self,
        db: DbId,
        key: Key<'_>,
        value: NewValue<'_>,
        expiry: Expiry,
        now: Now,
    ) -> Result<(), OutOfMemory> {
        if expiry == Expiry::Keep {
            self.expire_if_due(db, key, now);
        }
        let expires = self.dbs[usize::from(db.0)].set(key, value, expiry, now)?;
        if let Some(at) = expires {
            self.sweeper.expect(db, key.at.slot, at);
        }
        self.watches.touch(db, key.at);
        Ok(())
    }

    /// Writes bytes into a value at an offset, with zeroes before them where it is shorter;
    /// makes the key when there is none. Returns the new length.
    ///
    /// # Errors
    /// When there is no memory; nothing has changed then.
    pub fn write_at(
        &mut self,
        db: DbId,
        key: Key<'_>,
        offset: usize,
        bytes: &[u8],
        now: Now,
    ) -> Result<usize, OutOfMemory> {
        self.expire_if_due(db, key, now);
        let len = self.db_mut(db).write_at(key, offset, bytes, now)?;
        self.watches.touch(db, key.at);
        Ok(len)
    }

    /// Marks a key as one that APPEND or SETRANGE have been at, as the one it was copied
    /// from is.
    pub fn mark_modified(&mut self, db: DbId, key: Key<'_>) {
        self.db_mut(db).mark_modified(key);
    }

    /// Takes a long value out of its entry, which stays, with nothing in it, until the value
    /// is put back or the key removed: for a slot that nobody else looks at meanwhile. None
    /// when there is no such key or its value is short. Changes nothing that watches see.
    pub(crate) fn take_long(&mut self, db: DbId, key: Key<'_>) -> Option<Blob> {
        self.db_mut(db).take_long(key)
    }

    /// Puts back what [`Store::take_long`] has taken, for which no memory is asked. Without
    /// effect when the key's time has come or it was evicted meanwhile.
    pub(crate) fn put_back_long(&mut self, db: DbId, key: Key<'_>, blob: Blob) {
        self.db_mut(db).put_back_long(key, blob);
    }

    /// Sets or takes away a key's expiry; an instant that has passed removes the key.
    /// `Ok(false)`: no such key.
    ///
    /// # Errors
    /// When there is no memory; nothing has changed then.
    pub fn set_expiry(
        &mut self,
        db: DbId,
        key: Key<'_>,
        expiry: Option<UnixMs>,
        now: Now,
    ) -> Result<bool, OutOfMemory> {
        self.expire_if_due(db, key, now);
        if expiry.is_some_and(|at| at <= now.unix_ms()) {
            return Ok(self.remove(db, key, now));
        }
        let Some(old) = self.db_mut(db).set_expiry(key, expiry, now)? else { return Ok(false) };
        if let Some(at) = expiry {
            self.sweeper.expect(db, key.at.slot, at);
        }
        // Taking away what is not there is no change.
        if expiry.is_some() || old.is_some() {
            self.watches.touch(db, key.at);
        }
        Ok(true)
    }

    /// Removes a key; `false` when there was none.
    pub fn remove(&mut self, db: DbId, key: Key<'_>, now: Now) -> bool {
        self.expire_if_due(db, key, now);
        let removed = self.db_mut(db).remove(key);
        if removed {
            self.watches.touch(db, key.at);
        }
        removed
    }

    /// Removes a key whose time has come.
    fn expire_if_due(&mut self, db: DbId, key: Key<'_>, now: Now) {
        let expiring = &mut self.dbs[usize::from(db.0)];
        if expiring.expires() != 0 && expiring.remove_if_due(key, now.unix_ms()) {
            self.stats.expired_keys.add(1);
            self.watches.touch(db, key.at);
        }
    }

    /// Swaps two databases.
    pub fn swap(&mut self, a: DbId, b: DbId) {
        let (dbs, hasher) = (&self.dbs, &self.hasher);
        for db in [a, b] {
            // A watched key has changed if it is on either side; one on neither has not.
            self.watches.touch_db(db, |key| {
                [a, b].iter().any(|db| dbs[usize::from(db.0)].contains(hasher.key(key)))
            });
        }
        self.dbs.swap(a.0.into(), b.0.into());
        self.memory.note_move();
        self.sweeper.swap(a, b);
    }

    /// Empties a database at once; its memory comes back by [`Store::tick`].
    pub fn flush(&mut self, db: DbId) {
        let (old, hasher) = (&self.dbs[usize::from(db.0)], &self.hasher);
        if old.is_untouched() {
            return;
        }
        self.watches.touch_db(db, |key| old.contains(hasher.key(key)));
        let fresh = Db::new(self.memory.clone());
        self.memory.note_move();
        let old = std::mem::replace(self.db_mut(db), fresh);
        self.ruins.push(old.into_ruin(self.sweeper.forget(db)));
        // Who fills and flushes in turns, within one tick, pays for it here.
        self.release(0);
    }

    /// Empties all databases.
    pub fn flush_all(&mut self) {
        for db in 0..self.databases() {
            self.flush(DbId(db));
        }
    }

    /// Keys of a database, those not yet found to have expired included.
    pub fn len(&self, db: DbId) -> usize {
        self.db(db).len()
    }

    /// Keys of a database that will expire.
    pub fn expires(&self, db: DbId) -> usize {
        self.db(db).expires()
    }

    /// Keys of a slot, over all databases.
    pub fn slot_len(&self, slot: SlotId) -> usize {
        self.dbs.iter().map(|db| db.slot_len(slot)).sum()
    }

    /// Keys of a slot in one database, those not yet found to have expired included.
    pub fn keys_in_slot(&self, db: DbId, slot: SlotId) -> usize {
        self.db(db).slot_len(slot)
    }

    /// Removes up to `budget` keys of a slot; `true` when none is left.
    pub fn drop_slot(&mut self, slot: SlotId, budget: usize) -> bool {
        let mut left = budget;
        for (number, db) in self.dbs.iter_mut().enumerate() {
            let watches = &mut self.watches;
            db.drop_slot(slot, &mut left, |at| watches.touch(DbId(number as u8), at));
        }
        self.slot_len(slot) == 0
    }

    /// A builder of a long value, to be handed to [`Store::set`].
    ///
    /// # Errors
    /// When the address space refuses.
    pub fn blob(&self, capacity: usize) -> Result<BlobBuilder, OutOfMemory> {
        BlobBuilder::new(capacity, self.memory.clone())
    }

    /// A builder of one part of a reply too long for one buffer; its memory goes back in
    /// small steps, as that of long values does.
    ///
    /// # Errors
    /// When the address space refuses.
    pub(crate) fn chunk(&self) -> Result<BlobBuilder, OutOfMemory> {
        BlobBuilder::mapped(CHUNK_BYTES, self.memory.clone())
    }

    /// What makes builders without the store at hand.
    pub fn blobs(&self) -> BlobSource {
        BlobSource(self.memory.clone())
    }

    /// Bytes in use: entries, index, and long values wherever they are held, those that
    /// arrive or are being sent included. What waits to be given back is not in use.
    #[inline]
    pub fn memory_used(&self) -> usize {
        self.memory.living()
    }

    /// Bytes that nothing uses and that the system has not got back yet.
    pub fn memory_waiting(&self) -> usize {
        self.memory.waiting()
    }

    /// Refuses the next so many requests for more memory, as the system might: what a
    /// simulation lets happen. Says how many refusals were outstanding.
    pub fn refuse_memory(&self, requests: u32) -> u32 {
        let left = self.memory.refusals();
        self.memory.refuse(requests);
        left
    }

    fn random(&mut self) -> u64 {
        // SplitMix64 (Steele et al., 2014).
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }
}

/// Makes builders of long values that belong to one store.
#[derive(Clone)]
pub struct BlobSource(Rc<Memory>);

impl fmt::Debug for BlobSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlobSource")
    }
}

impl BlobSource {
    /// Room for `capacity` bytes: address space only, no memory until they are written.
    ///
    /// # Errors
    /// When the address space refuses.
    pub fn builder(&self, capacity: usize) -> Result<BlobBuilder, OutOfMemory> {
        BlobBuilder::new(capacity, self.0.clone())
    }
}
