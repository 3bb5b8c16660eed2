//! One logical database: an index, the slab that both index and entries live in, and the
//! long values. Knows nothing of other databases, watchers or timers.

#![forbid(unsafe_code)]

use std::rc::Rc;

use crate::ids::SlotId;
use crate::time::{Now, UnixMs};

use super::blob::BlobBuilder;
use super::classes::{Class, MAX_BYTES};
use super::deadlines::Deadlines;
use super::entry::{
    Draft, DraftValue, Entry, Header, INLINE_KEY, LastUse, has_key, inline_room, plain_value,
};
use super::held::Held;
use super::index::{Found, Index, TagBound};
use super::key::Serial;
use super::memory::Memory;
use super::ruin::Ruin;
use super::slab::{Loc, Slab};
use super::{EntryInfo, Expiry, Hint, Key, KeyHash, NewValue, OutOfMemory, Value};

/// See the module's text.
pub(super) struct Db {
    serial: Serial,
    pub(super) index: Index,
    pub(super) slab: Slab,
    pub(super) held: Held,
    pub(super) memory: Rc<Memory>,
    len: usize,
    expires: usize,
    /// Where values are put together before they are stored.
    pub(super) scratch: Vec<u8>,
}

impl Db {
    pub(super) fn new(memory: Rc<Memory>) -> Self {
        Self {
            serial: memory.next_serial(),
            index: Index::new(memory.clone()),
            slab: Slab::new(memory.clone()),
            held: Held::default(),
            memory,
            len: 0,
            expires: 0,
            scratch: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn expires(&self) -> usize {
        self.expires
    }

    pub(super) fn slot_len(&self, slot: SlotId) -> usize {
        self.index.slot_len(slot)
    }

    /// Whether it holds nothing and never did.
    pub(super) fn is_untouched(&self) -> bool {
        self.index.memory() == 0
    }

    pub(super) fn prefetch_head(&self, at: KeyHash) {
        self.index.prefetch_head(at.slot);
    }

    #[inline]
    pub(super) fn prefetch_line(&self, at: KeyHash) {
        self.index.prefetch_line(&self.slab, at);
    }

    #[inline]
    pub(super) fn prefetch_entry(&self, at: KeyHash) -> Hint {
        match self.index.prefetch_entry(&self.slab, at) {
            Some(loc) => Hint::new(self.serial, loc, self.memory.moves()),
            None => Hint::default(),
        }
    }

    /// The place of a key's entry.
    #[inline]
    fn locate(&self, key: Key<'_>) -> Option<Loc> {
        let hinted = key.hint.place(self.serial, self.memory.moves());
        if let Some(loc) = hinted.filter(|loc| has_key(&self.slab, *loc, key.bytes) == Some(true)) {
            return Some(loc);
        }
        self.find(key).map(|found| found.loc)
    }

    pub(super) fn find(&self, key: Key<'_>) -> Option<Found> {
        self.index.find(&self.slab, key.at, |loc| match has_key(&self.slab, loc, key.bytes) {
            Some(same) => same,
            None => self.key_at(loc) == key.bytes,
        })
    }

    /// Whether there is such a key, expired or not.
    pub(super) fn contains(&self, key: Key<'_>) -> bool {
        self.find(key).is_some()
    }

    fn key_at(&self, loc: Loc) -> &[u8] {
        match Entry::read(&self.slab, loc).key() {
            Ok(key) => key,
            Err(number) => self.held.get(number).bytes(),
        }
    }

    pub(super) fn value_of<'a>(&'a self, entry: Entry<'a>) -> Value<'a> {
        match entry.value() {
            Ok(bytes) => Value::Inline(bytes),
            Err(number) => Value::Blob(self.held.get(number)),
        }
    }

    pub(super) fn get(&mut self, key: Key<'_>, now: Now, touch: bool) -> Option<Value<'_>> {
        let loc = self.locate(key)?;
        let header = Header::read(&self.slab, loc);
        let used = LastUse::at(now);
        if touch && header.last_use() != used {
            header.used_at(used).write(&mut self.slab, loc);
        }
        Some(match plain_value(&self.slab, loc, header) {
            Some(bytes) => Value::Inline(bytes),
            None => self.value_of(Entry::read(&self.slab, loc)),
        })
    }

    pub(super) fn info(&self, key: Key<'_>, now: Now) -> Option<EntryInfo> {
        let entry = Entry::read(&self.slab, self.locate(key)?);
        let long = if entry.header.long() { self.value_of(entry).bytes().len() } else { 0 };
        Some(EntryInfo {
            expiry: entry.expiry(),
            idle_seconds: entry.header.last_use().idle(now),
            modified: entry.header.modified(),
            bytes: entry.size() + long + size_of::<u64>(),
        })
    }

    /// Writes a value; returns the expiry if it is a new one.
    pub(super) fn set(
        &mut self,
        key: Key<'_>,
        value: NewValue<'_>,
        expiry: Expiry,
        now: Now,
    ) -> Result<Option<UnixMs>, OutOfMemory> {
        if let (NewValue::Bytes(bytes), Expiry::Never) = (&value, expiry)
            && self.overwrite(key, bytes, now)
        {
            return Ok(None);
        }
        let found = self.find(key);
        let old = found.map(|found| Entry::read(&self.slab, found.loc));
        let (old_key, old_expiry) = (old.map(|old| old.key().err()), old.and_then(|e| e.expiry()));
        let at = match expiry {
            Expiry::Keep => old_expiry,
            Expiry::Never => None,
            Expiry::At(at) => Some(at),
        };
        // All that can fail comes before anything changes.
        let value = self.storable(key, value)?;
        let key_blob = match (key.bytes.len() > INLINE_KEY, old_key) {
            (false, _) => None,
            (true, Some(old)) => old,
            (true, None) => Some(self.key_blob(key.bytes)?),
        };
        let mut draft = Draft {
            key: key.bytes,
            key_blob,
            value: match &value {
                NewValue::Bytes(bytes) => DraftValue::Inline(bytes),
                NewValue::Blob(blob) => DraftValue::Blob { number: 0, len: blob.len() },
            },
            expiry: at,
            last_use: LastUse::at(now),
        };
        let class = Class::of(draft.size());
        let target = match found {
            Some(found) => self.remake_entry(key, found, class)?,
            None => self.make_entry(key, class, key_blob)?,
        };
        if let NewValue::Blob(blob) = value {
            let len = blob.len();
            draft.value = DraftValue::Blob { number: self.held.put(blob), len };
        }
        draft.write(&mut self.slab, target);
        self.expires = self.expires + usize::from(at.is_some()) - usize::from(old_expiry.is_some());
        Ok(if expiry == Expiry::Keep { None } else { at })
    }

    /// The value as it will be stored: one too long for an entry becomes a blob.
    fn storable<'v>(&self, key: Key<'_>, value: NewValue<'v>) -> Result<NewValue<'v>, OutOfMemory> {
        match value {
            NewValue::Bytes(bytes) if bytes.len() > inline_room(key.bytes.len()) => {
                let mut builder = BlobBuilder::new(bytes.len(), self.memory.clone())?;
                builder.extend(bytes);
                Ok(NewValue::Blob(builder.freeze()))
            }
            value => Ok(value),
        }
    }

    /// Writes a value over one of the same size class where it lies, if neither expires and
    /// both are ordinary: the common case of SET.
    #[inline]
    fn overwrite(&mut self, key: Key<'_>, value: &[u8], now: Now) -> bool {
        let Some(loc) = self.locate(key) else { return false };
        let header = Header::read(&self.slab, loc);
        if !header.plain() {
            return false;
        }
        let start = 8 + key.bytes.len();
        let (old, new) = (start + header.value_len(), start + value.len());
        if new > MAX_BYTES || Class::of(old) != Class::of(new) {
            return false;
        }
        let entry = self.slab.bytes_mut(loc, new);
        entry[..8].copy_from_slice(&header.rewritten(value.len(), LastUse::at(now)));
        entry[start..].copy_from_slice(value);
        true
    }

    /// A piece for a key that has one: the same if its class is right. Lets go of the long
    /// value in it.
    fn remake_entry(
        &mut self,
        key: Key<'_>,
        found: Found,
        class: Class,
    ) -> Result<Loc, OutOfMemory> {
        let old = Entry::read(&self.slab, found.loc);
        let (old_class, old_value) = (old.class(), old.value().err());
        let target = if old_class == class { found.loc } else { self.slab.allocate(class)? };
        if let Some(number) = old_value {
            self.held.take(number);
        }
        if target != found.loc {
            self.memory.note_move();
            self.slab.free(found.loc, old_class);
            self.index.replace(&mut self.slab, key.at, found, target);
        }
        Ok(target)
    }

    /// A piece for a new key, known to the index.
    fn make_entry(
        &mut self,
        key: Key<'_>,
        class: Class,
        key_blob: Option<u32>,
    ) -> Result<Loc, OutOfMemory> {
        let made = self.slab.allocate(class).and_then(|loc| {
            self.index
                .insert(&mut self.slab, key.at, loc)
                .inspect_err(|_| self.slab.free(loc, class))
                .map(|()| loc)
        });
        self.len += usize::from(made.is_ok());
        if made.is_err()
            && let Some(number) = key_blob
        {
            self.held.take(number);
        }
        made
    }

    fn key_blob(&mut self, key: &[u8]) -> Result<u32, OutOfMemory> {
        let mut builder = BlobBuilder::new(key.len(), self.memory.clone())?;
        builder.extend(key);
        Ok(self.held.put(builder.freeze()))
    }

    pub(super) fn remove(&mut self, key: Key<'_>) -> bool {
        match self.find(key) {
            None => false,
            Some(found) => {
                self.remove_found(key.at, found);
                true
            }
        }
    }

    /// Removes the entry at a place, if it is still the one.
    pub(super) fn remove_at(&mut self, at: KeyHash, loc: Loc) -> bool {
        let found = self.index.find(&self.slab, at, |other| other == loc);
        found.is_some_and(|found| {
            self.remove_found(at, found);
            true
        })
    }

    fn remove_found(&mut self, at: KeyHash, found: Found) {
        let entry = Entry::read(&self.slab, found.loc);
        let (class, expiring) = (entry.class(), entry.header.expires());
        let blobs = [entry.key().err(), entry.value().err()];
        self.memory.note_move();
        self.index.remove(&mut self.slab, at, found);
        self.slab.free(found.loc, class);
        for number in blobs.into_iter().flatten() {
            self.held.take(number);
        }
        self.len -= 1;
        self.expires -= usize::from(expiring);
    }

    pub(super) fn remove_if_due(&mut self, key: Key<'_>, now: UnixMs) -> bool {
        let Some(found) = self.find(key) else { return false };
        if !Header::read(&self.slab, found.loc).expires() {
            return false;
        }
        let due = Entry::read(&self.slab, found.loc).expiry().is_some_and(|at| at <= now);
        if due {
            self.remove_found(key.at, found);
        }
        due
    }

    /// Shows the entry at a place, if it is still there.
    pub(super) fn look(&self, at: KeyHash, loc: Loc, mut visit: impl FnMut(Entry<'_>)) {
        if self.index.find(&self.slab, at, |other| other == loc).is_some() {
            visit(Entry::read(&self.slab, loc));
        }
    }

    /// Visits the entries of one home line of a slot; see [`Index::walk`].
    pub(super) fn walk(
        &self,
        slot: SlotId,
        from: TagBound,
        mut visit: impl FnMut(Seen<'_>),
    ) -> TagBound {
        self.index.walk(&self.slab, slot, from, |tag, loc| {
            let entry = Entry::read(&self.slab, loc);
            visit(Seen { db: self, at: KeyHash::of_tag(slot, tag), loc, entry });
        })
    }

    /// Removes keys of a slot while the budget lasts, telling of each.
    pub(super) fn drop_slot(
        &mut self,
        slot: SlotId,
        budget: &mut usize,
        mut removed: impl FnMut(KeyHash),
    ) {
        let mut bound = TagBound::default();
        while bound < TagBound::END && *budget > 0 {
            let mut line = Vec::new();
            let next = self.walk(slot, bound, |seen| line.push((seen.at, seen.loc)));
            bound = next;
            for (at, loc) in line {
                removed(at);
                self.remove_at(at, loc);
                *budget = budget.saturating_sub(1);
            }
        }
    }

    /// Gives a step's worth of memory back that nothing uses, and says how many bytes.
    pub(super) fn release_step(&mut self) -> usize {
        self.slab.release_step()
    }

    /// All of it at its end, with what its keys' expiry was watched by.
    pub(super) fn into_ruin(self, deadlines: Option<Box<Deadlines>>) -> Ruin {
        Ruin::new(self.held, self.slab, self.index, deadlines, self.memory)
    }
}

/// An entry met on a walk.
pub(super) struct Seen<'a> {
    db: &'a Db,
    /// Slot and tag of the key.
    pub(super) at: KeyHash,
    pub(super) loc: Loc,
    pub(super) entry: Entry<'a>,
}

impl<'a> Seen<'a> {
    pub(super) fn key(&self) -> Value<'a> {
        match self.entry.key() {
            Ok(key) => Value::Inline(key),
            Err(number) => Value::Blob(self.db.held.get(number)),
        }
    }

    pub(super) fn value(&self) -> Value<'a> {
        match self.entry.value() {
            Ok(bytes) => Value::Inline(bytes),
            Err(number) => Value::Blob(self.db.held.get(number)),
        }
    }
}
