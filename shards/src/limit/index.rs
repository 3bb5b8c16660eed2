//! From a bucket's hash to its place.
//!
//! Owns entries of eight bytes in segments that grow by themselves, so that the index is never
//! larger than a few times what is in it, and none of its growth takes long: with a million
//! buckets the longest rehash moves a thousand entries. Knows no names: which of the places with
//! the same hash is meant, the caller says.
//!
//! ```text
//! entry     [hash 39 | place + 1: 24]       0 is free
//! segment   open addressing, a power of two, at most three quarters full
//! ```

#![forbid(unsafe_code)]

use crate::store::KeyHash;
use crate::store::slab::prefetch;

/// Bits of a place's number plus one.
pub(super) const PLACE_BITS: u32 = 24;

/// Segments, by the upper bits of the spread hash.
const SEGMENT_BITS: u32 = 10;

/// Entries of a segment's first memory: a cache line.
const SMALLEST: usize = 8;

const _: () = assert!(KeyHash::SHORT_BITS + PLACE_BITS <= 64, "an entry is a word");

/// See the module's text.
#[derive(Debug)]
pub(super) struct Index {
    segments: Box<[Segment]>,
}

#[derive(Clone, Debug, Default)]
struct Segment {
    entries: Box<[u64]>,
    taken: usize,
}

/// Where the search for a hash begins: a segment, and bits to choose an entry by. Fibonacci
/// hashing: the upper bits of the product depend on all bits of the hash.
#[inline]
fn spread(hash: u64) -> (usize, usize) {
    let bits = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((bits >> (64 - SEGMENT_BITS)) as usize, (bits >> 24) as usize)
}

fn hash_of(entry: u64) -> u64 {
    entry >> PLACE_BITS
}

fn place_of(entry: u64) -> u32 {
    (entry & ((1 << PLACE_BITS) - 1)) as u32 - 1
}

fn entry_of(hash: u64, place: u32) -> u64 {
    hash << PLACE_BITS | (u64::from(place) + 1)
}

impl Index {
    pub(super) fn new() -> Self {
        Self { segments: vec![Segment::default(); 1 << SEGMENT_BITS].into() }
    }

    /// Bytes in use.
    pub(super) fn memory(&self) -> usize {
        let entries = self.segments.iter().map(|segment| segment.entries.len()).sum::<usize>();
        entries * size_of::<u64>() + self.segments.len() * size_of::<Segment>()
    }

    /// Asks for the memory in which a search begins.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        let (segment, at) = spread(hash);
        let entries = &*self.segments[segment].entries;
        if let Some(entry) = entries.get(at & entries.len().wrapping_sub(1)) {
            prefetch((&raw const *entry).cast());
        }
    }

    /// The place of that hash that `is_it`, if there is one.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let (segment, mut at) = spread(hash);
        let entries = &*self.segments[segment].entries;
        let mask = entries.len().wrapping_sub(1);
        loop {
            let entry = *entries.get(at & mask)?; // none while the segment has no memory
            if entry == 0 {
                return None;
            }
            if hash_of(entry) == hash && is_it(place_of(entry)) {
                return Some(place_of(entry));
            }
            at += 1;
        }
    }

    /// Adds a place that is not in it.
    pub(super) fn insert(&mut self, hash: u64, place: u32) {
        let segment = &mut self.segments[spread(hash).0];
        if (segment.taken + 1) * 4 > segment.entries.len() * 3 {
            segment.grow();
        }
        segment.put(entry_of(hash, place));
        segment.taken += 1;
    }

    /// Removes a place that is in it.
    pub(super) fn remove(&mut self, hash: u64, place: u32) {
        let (segment, mut at) = spread(hash);
        let segment = &mut self.segments[segment];
        let mask = segment.entries.len() - 1;
        let entry = entry_of(hash, place);
        while segment.entries[at & mask] != entry {
            debug_assert!(segment.entries[at & mask] != 0, "it is in the index");
            at += 1;
        }
        segment.close_gap(at & mask);
        segment.taken -= 1;
    }
}

impl Segment {
    #[cold]
    fn grow(&mut self) {
        let larger = (self.entries.len() * 2).max(SMALLEST);
        let old = std::mem::replace(&mut self.entries, vec![0; larger].into());
        old.iter().filter(|entry| **entry != 0).for_each(|entry| self.put(*entry));
    }

    fn put(&mut self, entry: u64) {
        let mask = self.entries.len() - 1;
        let mut at = spread(hash_of(entry)).1 & mask;
        while self.entries[at] != 0 {
            at = (at + 1) & mask;
        }
        self.entries[at] = entry;
    }

    /// Empties an entry and moves those up that were behind it for want of room.
    fn close_gap(&mut self, mut gap: usize) {
        let mask = self.entries.len() - 1;
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let entry = self.entries[at];
            if entry == 0 {
                self.entries[gap] = 0;
                return;
            }
            // It may move up when its home is not between the gap and itself.
            let from_home = at.wrapping_sub(spread(hash_of(entry)).1) & mask;
            if from_home >= at.wrapping_sub(gap) & mask {
                self.entries[gap] = entry;
                gap = at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As a map from place to hash, with hashes that collide and share segments.
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0..300u32, 0..4u64, any::<bool>()), 1..600)) {
            let mut index = Index::new();
            let mut model: HashMap<u32, u64> = HashMap::new();
            for (place, kind, adds) in steps {
                // The same hash for many; hashes of one segment; any.
                let hash = [7, u64::from(place % 5), u64::from(place), u64::from(place) << 9][kind as usize];
                match model.remove(&place) {
                    Some(old) => index.remove(old, place),
                    None if adds => {
                        index.insert(hash, place);
                        model.insert(place, hash);
                    }
                    None => {}
                }
                for (place, hash) in &model {
                    prop_assert_eq!(index.find(*hash, |other| other == *place), Some(*place));
                }
                prop_assert_eq!(index.find(hash, |_| false), None);
            }
            let taken: usize = index.segments.iter().map(|segment| segment.taken).sum();
            let entries = index.segments.iter().flat_map(|segment| &segment.entries);
            prop_assert_eq!(entries.filter(|entry| **entry != 0).count(), model.len());
            prop_assert_eq!(taken, model.len());
        }
    }
}
