//! Changes to part of an entry: some bytes of its value, its expiry, its mark.

#![forbid(unsafe_code)]

use crate::time::{Now, UnixMs};

use super::blob::{Blob, BlobBuilder};
use super::db::Db;
use super::entry::{Entry, Header, LastUse, inline_room};
use super::index::Found;
use super::{Expiry, Key, MAX_VALUE_BYTES, NewValue, OutOfMemory};

impl Db {
    /// See [`super::Store::write_at`].
    pub(super) fn write_at(
        &mut self,
        key: Key<'_>,
        offset: usize,
        bytes: &[u8],
        now: Now,
    ) -> Result<usize, OutOfMemory> {
        debug_assert!(offset + bytes.len() <= MAX_VALUE_BYTES, "the caller checks the limit");
        let found = self.find(key);
        let old = found.map(|found| self.value_of(Entry::read(&self.slab, found.loc)));
        let old_len = old.map_or(0, |value| value.bytes().len());
        let len = old_len.max(offset + bytes.len());
        if len > inline_room(key.bytes.len()) {
            return self.write_long(key, found, offset, bytes, now);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        if let Some(found) = found {
            let entry = Entry::read(&self.slab, found.loc);
            scratch.extend_from_slice(self.value_of(entry).bytes());
        }
        scratch.resize(len, 0);
        scratch[offset..offset + bytes.len()].copy_from_slice(bytes);
        let outcome = self.set(key, NewValue::Bytes(&scratch), Expiry::Keep, now);
        self.scratch = scratch;
        outcome?;
        self.mark_modified(key);
        Ok(len)
    }

    fn write_long(
        &mut self,
        key: Key<'_>,
        found: Option<Found>,
        offset: usize,
        bytes: &[u8],
        now: Now,
    ) -> Result<usize, OutOfMemory> {
        if let Some(found) = found
            && let Err(number) = Entry::read(&self.slab, found.loc).value()
            && let Some(len) = self.held.write_in_place(number, offset, bytes)?
        {
            let header = Header::read(&self.slab, found.loc).with_value_len(len);
            header.used_at(LastUse::at(now)).mark_modified().write(&mut self.slab, found.loc);
            return Ok(len);
        }
        let old = found.map(|found| self.value_of(Entry::read(&self.slab, found.loc)).bytes());
        let old = old.unwrap_or(b"");
        let len = old.len().max(offset + bytes.len());
        let mut builder = BlobBuilder::growing(len, self.memory.clone())?;
        builder.extend(&old[..old.len().min(offset)]);
        builder.extend_zero(offset.saturating_sub(old.len()));
        builder.extend(bytes);
        builder.extend(old.get(offset + bytes.len()..).unwrap_or(b""));
        self.set(key, NewValue::Blob(builder.freeze()), Expiry::Keep, now)?;
        self.mark_modified(key);
        Ok(len)
    }

    /// See [`super::Store::take_long`].
    pub(super) fn take_long(&mut self, key: Key<'_>) -> Option<Blob> {
        let number = self.long_value(key)?;
        Some(self.held.exchange(number, Blob::nothing(self.memory.clone())))
    }

    /// See [`super::Store::put_back_long`].
    pub(super) fn put_back_long(&mut self, key: Key<'_>, blob: Blob) {
        if let Some(number) = self.long_value(key) {
            self.held.exchange(number, blob);
        }
    }

    /// The number of a key's long value, if it has one.
    fn long_value(&self, key: Key<'_>) -> Option<u32> {
        Entry::read(&self.slab, self.find(key)?.loc).value().err()
    }

    pub(super) fn mark_modified(&mut self, key: Key<'_>) {
        if let Some(found) = self.find(key) {
            Header::read(&self.slab, found.loc).mark_modified().write(&mut self.slab, found.loc);
        }
    }

    /// Sets or takes away a key's expiry and returns what it was, if there is such a key.
    pub(super) fn set_expiry(
        &mut self,
        key: Key<'_>,
        expiry: Option<UnixMs>,
        now: Now,
    ) -> Result<Option<Option<UnixMs>>, OutOfMemory> {
        let Some(found) = self.find(key) else { return Ok(None) };
        let entry = Entry::read(&self.slab, found.loc);
        let old = entry.expiry();
        if old == expiry {
            return Ok(Some(old));
        }
        let header = entry.header;
        let expiry = expiry.map_or(Expiry::Never, Expiry::At);
        match entry.value() {
            Ok(bytes) => {
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.clear();
                scratch.extend_from_slice(bytes);
                let outcome = self.set(key, NewValue::Bytes(&scratch), expiry, now);
                self.scratch = scratch;
                outcome?;
            }
            Err(number) => {
                let blob = self.held.get(number).clone();
                self.set(key, NewValue::Blob(blob), expiry, now)?;
            }
        }
        if header.modified() {
            self.mark_modified(key);
        }
        Ok(Some(old))
    }
}
