//! The bytes of one entry: header, expiry, key, value.
//!
//! ```text
//! header, 64 bits: value length 30 | key length 8 | expires 1 | modified 1 | long value 1
//!                  | wide 1 | last use 22 (seconds of the shard's clock)
//! [wide:    u32 key length, u32 1 + number of the blob that holds the key, or 0]
//! [expires: u64 milliseconds since 1970]
//! key (unless in a blob), value (or, for a long one, u64 number of its blob)
//! ```
//!
//! A key of up to 255 bytes takes no wide word. Numbers are little-endian.

#![forbid(unsafe_code)]

use crate::time::{Now, UnixMs};

use super::classes::{Class, MAX_BYTES};
use super::slab::{Loc, Slab};

const VALUE_BITS: u32 = 30;
const KEY_SHIFT: u32 = VALUE_BITS;
const EXPIRES: u64 = 1 << 38;
const MODIFIED: u64 = 1 << 39;
const LONG: u64 = 1 << 40;
const WIDE: u64 = 1 << 41;
const USE_SHIFT: u32 = 42;
const USE_BITS: u32 = 22;
const USE_MASK: u64 = (1 << USE_BITS) - 1;
/// Longest key that takes no wide word.
const NARROW_KEY: usize = 255;
/// Keys longer than this lie in a blob, so that key and reference always fit an entry.
pub(super) const INLINE_KEY: usize = 4 << 10;

const _: () = assert!(USE_SHIFT + USE_BITS == 64, "the header is full");
const _: () = assert!(super::MAX_VALUE_BYTES < 1 << VALUE_BITS, "a value's length fits");

/// When an entry was last used, in seconds of the shard's clock; wraps after 48 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastUse(u32);

impl LastUse {
    pub(super) fn at(now: Now) -> Self {
        Self(((now.mono.0 / 1_000_000_000) & USE_MASK) as u32)
    }

    /// Seconds since then.
    pub(super) fn idle(self, now: Now) -> u64 {
        let now = Self::at(now).0;
        u64::from(now.wrapping_sub(self.0)) & USE_MASK
    }
}

/// The first word of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header(u64);

impl Header {
    pub(super) fn read(slab: &Slab, loc: Loc) -> Self {
        Self(slab.word(loc))
    }

    pub(super) fn write(self, slab: &mut Slab, loc: Loc) {
        slab.bytes_mut(loc, 8).copy_from_slice(&self.0.to_le_bytes());
    }

    /// Whether it neither expires nor has its key or value elsewhere.
    pub(super) fn plain(self) -> bool {
        self.0 & (EXPIRES | LONG | WIDE) == 0
    }

    /// The header's bytes after a plain entry has got another value.
    pub(super) fn rewritten(self, value_len: usize, used: LastUse) -> [u8; 8] {
        let header = Self(self.0 & !MODIFIED).with_value_len(value_len).used_at(used);
        header.0.to_le_bytes()
    }

    pub(super) fn value_len(self) -> usize {
        (self.0 & ((1 << VALUE_BITS) - 1)) as usize
    }

    fn narrow_key_len(self) -> usize {
        (self.0 >> KEY_SHIFT & 0xff) as usize
    }

    pub(super) fn expires(self) -> bool {
        self.0 & EXPIRES != 0
    }

    pub(super) fn modified(self) -> bool {
        self.0 & MODIFIED != 0
    }

    pub(super) fn long(self) -> bool {
        self.0 & LONG != 0
    }

    fn wide(self) -> bool {
        self.0 & WIDE != 0
    }

    pub(super) fn last_use(self) -> LastUse {
        LastUse((self.0 >> USE_SHIFT) as u32)
    }

    pub(super) fn used_at(self, at: LastUse) -> Self {
        Self(self.0 & !(USE_MASK << USE_SHIFT) | u64::from(at.0) << USE_SHIFT)
    }

    pub(super) fn with_value_len(self, len: usize) -> Self {
        Self(self.0 & !((1 << VALUE_BITS) - 1) | len as u64)
    }

    pub(super) fn mark_modified(self) -> Self {
        Self(self.0 | MODIFIED)
    }
}

/// What an entry is to hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft<'a> {
    pub(super) key: &'a [u8],
    /// The blob that holds the key instead.
    pub(super) key_blob: Option<u32>,
    pub(super) value: DraftValue<'a>,
    pub(super) expiry: Option<UnixMs>,
    pub(super) last_use: LastUse,
}

/// A value in the entry or beside it.
#[derive(Clone, Copy, Debug)]
pub(super) enum DraftValue<'a> {
    Inline(&'a [u8]),
    Blob { number: u32, len: usize },
}

impl Draft<'_> {
    pub(super) fn size(&self) -> usize {
        let key = if self.key_blob.is_some() { 0 } else { self.key.len() };
        let value = match self.value {
            DraftValue::Inline(bytes) => bytes.len(),
            DraftValue::Blob { .. } => 8,
        };
        let wide = if self.key.len() > NARROW_KEY { 8 } else { 0 };
        let expiry = if self.expiry.is_some() { 8 } else { 0 };
        8 + wide + expiry + key + value
    }

    /// Writes the entry into a piece of at least [`Draft::size`] bytes.
    pub(super) fn write(&self, slab: &mut Slab, loc: Loc) {
        let wide = self.key.len() > NARROW_KEY;
        let (value_len, long) = match self.value {
            DraftValue::Inline(bytes) => (bytes.len(), false),
            DraftValue::Blob { len, .. } => (len, true),
        };
        let key_len = if wide { 0 } else { self.key.len() as u64 };
        let flag = |on: bool, bit: u64| if on { bit } else { 0 };
        let header = value_len as u64
            | key_len << KEY_SHIFT
            | flag(self.expiry.is_some(), EXPIRES)
            | flag(long, LONG)
            | flag(wide, WIDE);
        let header = Header(header).used_at(self.last_use);
        let bytes = slab.bytes_mut(loc, self.size());
        let (word, mut rest) = bytes.split_at_mut(8);
        word.copy_from_slice(&header.0.to_le_bytes());
        let mut put = |part: &[u8]| {
            let (here, after) = std::mem::take(&mut rest).split_at_mut(part.len());
            here.copy_from_slice(part);
            rest = after;
        };
        if wide {
            put(&(self.key.len() as u32).to_le_bytes());
            put(&self.key_blob.map_or(0, |number| number + 1).to_le_bytes());
        }
        if let Some(at) = self.expiry {
            put(&at.0.to_le_bytes());
        }
        if self.key_blob.is_none() {
            put(self.key);
        }
        match self.value {
            DraftValue::Inline(bytes) => put(bytes),
            DraftValue::Blob { number, .. } => put(&u64::from(number).to_le_bytes()),
        }
    }
}

/// An entry as it lies in the slab.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) header: Header,
    /// Where the key begins, its length, and its blob.
    key_at: usize,
    key_len: usize,
    key_blob: Option<u32>,
    bytes: &'a [u8],
}

impl<'a> Entry<'a> {
    pub(super) fn read(slab: &'a Slab, loc: Loc) -> Self {
        let header = Header::read(slab, loc);
        let mut key_at = 8;
        let (mut key_len, mut key_blob) = (header.narrow_key_len(), None);
        if header.wide() {
            let word = slab.bytes(loc, 16);
            key_len = number(&word[8..12]) as usize;
            key_blob = (number(&word[12..16]) as u32).checked_sub(1);
            key_at += 8;
        }
        if header.expires() {
            key_at += 8;
        }
        let inline_key = if key_blob.is_some() { 0 } else { key_len };
        let value = if header.long() { 8 } else { header.value_len() };
        let bytes = slab.bytes(loc, key_at + inline_key + value);
        Self { header, key_at, key_len, key_blob, bytes }
    }

    /// The class of its piece.
    pub(super) fn class(&self) -> Class {
        Class::of(self.bytes.len())
    }

    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn expiry(&self) -> Option<UnixMs> {
        let at = self.key_at - 8;
        self.header.expires().then(|| UnixMs(number(&self.bytes[at..at + 8])))
    }

    /// The key, or the number of the blob that holds it.
    pub(super) fn key(&self) -> Result<&'a [u8], u32> {
        match self.key_blob {
            Some(number) => Err(number),
            None => Ok(&self.bytes[self.key_at..self.key_at + self.key_len]),
        }
    }

    /// The value, or the number of the blob that holds it.
    pub(super) fn value(&self) -> Result<&'a [u8], u32> {
        let inline_key = if self.key_blob.is_some() { 0 } else { self.key_len };
        let value = &self.bytes[self.key_at + inline_key..];
        if self.header.long() { Err(number(value) as u32) } else { Ok(value) }
    }
}

/// Whether the entry at a place has this key in it. Keys in blobs are the caller's to compare.
#[inline]
pub(super) fn has_key(slab: &Slab, loc: Loc, key: &[u8]) -> Option<bool> {
    let header = Header::read(slab, loc);
    if header.wide() {
        return None;
    }
    let start = if header.expires() { 16 } else { 8 };
    let fits = header.narrow_key_len() == key.len();
    Some(fits && same(&slab.bytes(loc, start + key.len())[start..], key))
}

/// Equality, without a call for the usual lengths of keys.
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    let halves = |bytes: &[u8]| {
        let first = bytes.first_chunk::<8>().copied().map(u64::from_le_bytes);
        first.zip(bytes.last_chunk::<8>().copied().map(u64::from_le_bytes))
    };
    match (halves(a), halves(b)) {
        (Some(a), Some(b)) if a != b => false,
        (Some(_), Some(_)) if a.len() == b.len() && a.len() <= 16 => true,
        _ => a == b,
    }
}

/// The value of an entry that has an ordinary key and its value in it: the common case.
#[inline]
pub(super) fn plain_value(slab: &Slab, loc: Loc, header: Header) -> Option<&[u8]> {
    if header.0 & (LONG | WIDE) != 0 {
        return None;
    }
    let start = if header.expires() { 16 } else { 8 } + header.narrow_key_len();
    Some(&slab.bytes(loc, start + header.value_len())[start..])
}

/// The longest value that stays in the entry of such a key.
pub(super) fn inline_room(key_len: usize) -> usize {
    let key = if key_len > INLINE_KEY { 0 } else { key_len };
    MAX_BYTES - key - 24
}

fn number(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}
