//! Keys: where they are at home, and how that is found.
//!
//! Owns the seeded hash that spreads keys over the lines of their slot, and hints of where
//! an entry lies. Knows nothing of entries themselves.

#![forbid(unsafe_code)]

use crate::ids::SlotId;
use crate::slot::slot_of;

use super::leaf::{TAG_BITS, Tag};
use super::slab::{LOC_BITS, Loc};

/// Where a key is at home: its slot, and the part of its hash that finds it there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyHash {
    /// The slot.
    pub slot: SlotId,
    tag: Tag,
}

const _: () = assert!(size_of::<KeyHash>() == 8, "it travels in one register");

impl KeyHash {
    pub(super) fn tag(self) -> Tag {
        self.tag
    }

    pub(super) fn of_tag(slot: SlotId, tag: Tag) -> Self {
        Self { slot, tag }
    }

    /// Bits of [`KeyHash::short`].
    pub const SHORT_BITS: u32 = TAG_BITS + 14;

    /// Slot and tag in one word, for tables beside the store.
    pub fn short(self) -> u64 {
        u64::from(self.slot.get()) << TAG_BITS | u64::from(self.tag().0)
    }
}

/// Where a key's entry was when a batch asked for its memory: void in another database, and
/// once any entry has moved or gone since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// Serial number of the database's content, and place; 0 for none.
    place: u64,
    /// Moves of entries so far.
    moves: u64,
}

impl Hint {
    pub(super) fn new(serial: Serial, loc: Loc, moves: u64) -> Self {
        Self { place: u64::from(serial.0) << LOC_BITS | loc.bits(), moves }
    }

    /// The place, if it was made there and no entry has moved since.
    #[inline]
    pub(super) fn place(self, serial: Serial, moves: u64) -> Option<Loc> {
        let there = self.place >> LOC_BITS == u64::from(serial.0);
        (there && self.place != 0 && self.moves == moves).then(|| Loc::from_bits(self.place))
    }
}

/// Tells the contents of databases apart, whatever their numbers are by now: 26 bits, of
/// which old ones come again only when their hints are void long since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Serial(pub(super) u32);

impl Serial {
    /// How many there are.
    pub(super) const NUMBERS: u32 = 1 << (u64::BITS - LOC_BITS);
}

/// A key with its hash.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The key.
    pub bytes: &'a [u8],
    /// Where it is at home.
    pub at: KeyHash,
    /// Where its entry may be.
    pub hint: Hint,
}

/// Hashes keys under one seed.
#[derive(Clone, Copy, Debug)]
pub struct Hasher {
    secrets: rapidhash::v3::RapidSecrets,
    /// Lets tests make hashes collide.
    #[cfg(test)]
    pub(super) hash_mask: u64,
}

impl Hasher {
    /// A hasher; the seed keeps clients from choosing keys that collide.
    pub fn new(seed: u64) -> Self {
        Self {
            secrets: rapidhash::v3::RapidSecrets::seed(seed),
            #[cfg(test)]
            hash_mask: u64::MAX,
        }
    }

    /// Where a key is at home.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> KeyHash {
        let hash = rapidhash::v3::rapidhash_v3_seeded(bytes, &self.secrets);
        #[cfg(test)]
        let hash = hash & self.hash_mask;
        KeyHash { slot: slot_of(bytes), tag: Tag::of_hash(hash) }
    }

    /// A key with its hash.
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, at: self.hash(bytes), hint: Hint::default() }
    }
}
