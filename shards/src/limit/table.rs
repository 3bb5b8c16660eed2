//! The buckets of one shard, by name.
//!
//! Owns their memory and which of them is forgotten. Never forgets one that owes anything; a
//! full one is as good as none, so its place is given away when room is scarce, and by a sweep.
//! All places are reserved with the first bucket and used from the front, so that growing never
//! copies them; they are not given back.
//!
//! ```text
//! place   [bucket 32 | generation 4 | length 2 | name 66 | hash 8 | longer name 16]   128 bytes
//! ```
//!
//! A name of up to 26 bytes lies on its bucket's cache line.
//!
//! Evidence (`examples/limit_cost.rs`, one virtual core of an AMD EPYC, random order): a decision
//! by handle takes 4 to 5 ns and by name 33 to 39 ns, of which 12 are its hash, while the buckets
//! are in the caches (1 to 1,000 of them); with 100,000 it is 33 and 190 ns, with a million 58 and
//! 386: then it is the memory's time, one place by handle, an entry of the index and a place by
//! name, one after the other.

#![forbid(unsafe_code)]

use super::bucket::Bucket;
use super::index::{Index, PLACE_BITS};
use crate::store::KeyHash;
use crate::store::slab::prefetch;
use crate::time::Nanos;

/// Longest name of a bucket in bytes.
pub const LONGEST_NAME: usize = 512;

/// Most buckets of one shard: what the index can tell apart.
pub const MOST_BUCKETS: u32 = (1 << PLACE_BITS) - 1;

/// Bytes of a name that lie with its bucket: room for a policy's name and an IPv6 address.
const INLINE: usize = 66;

/// Mark of a place without a bucket.
const FREE: u16 = u16::MAX;

/// Places looked at for a new bucket when none is free: about 2 us.
const SEARCH: usize = 256;

/// Places looked at for each new bucket once seven eighths are taken.
const SEARCH_EARLY: usize = 8;

/// A name that is not too long, and where it is at home.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    bytes: &'a [u8],
    at: KeyHash,
}

impl<'a> Name<'a> {
    /// A bucket's name, hashed as a key of this node; `None` when it has more than
    /// [`LONGEST_NAME`] bytes.
    pub fn new(bytes: &'a [u8], at: KeyHash) -> Option<Self> {
        (bytes.len() <= LONGEST_NAME).then_some(Self { bytes, at })
    }

    /// The name.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Where a bucket is, until it is forgotten. A place has to be given away 2^32 times before an
/// old handle is taken for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    place: u32,
    generation: u32,
}

#[derive(Debug)]
#[repr(C, align(64))]
struct Place {
    bucket: Bucket,
    generation: u32,
    len: u16,
    inline: [u8; INLINE],
    /// Of a free one: the next free one.
    hash: u64,
    longer: Option<Box<[u8]>>,
}

const _: () = assert!(size_of::<Place>() == 128, "two cache lines");
const _: () = assert!(LONGEST_NAME < FREE as usize, "a length is no mark");

impl Place {
    fn name(&self) -> &[u8] {
        // A short one is read without looking at what lies on the second line.
        match self.inline.get(..usize::from(self.len)) {
            Some(name) => name,
            None => self.longer.as_deref().unwrap_or_default(),
        }
    }

    fn is_named(&self, name: &[u8]) -> bool {
        usize::from(self.len) == name.len() && are_same(self.name(), name)
    }
}

/// Whether two names of one length are the same. Looks at no byte beyond them: memcmp loads 32 at
/// a time, so that it waits for the second line of a place although it counts nothing of it. That
/// was a quarter of what CL.THROTTLE takes with 100,000 buckets.
#[inline]
fn are_same(a: &[u8], b: &[u8]) -> bool {
    let (a_words, b_words) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    match (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(a_end), Some(b_end)) => a_end == b_end && a_words.iter().eq(b_words),
        _ => a.iter().eq(b),
    }
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Table {
    capacity: u32,
    index: Index,
    places: Vec<Place>,
    /// The last one that was given back, plus one; 0 for none.
    free: u64,
    live: usize,
    /// Where the search for full buckets goes on.
    hand: usize,
    /// Of names that do not lie with their buckets.
    longer_bytes: usize,
    /// Buckets forgotten so far.
    pub(super) reclaimed: u64,
}

impl Table {
    /// Room for so many buckets, at least 1; none of it is taken yet.
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            capacity: capacity.clamp(1, MOST_BUCKETS),
            index: Index::new(),
            places: Vec::new(),
            free: 0,
            live: 0,
            hand: 0,
            longer_bytes: 0,
            reclaimed: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.live
    }

    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Bytes in use.
    pub(super) fn memory(&self) -> usize {
        self.index.memory() + self.places.len() * size_of::<Place>() + self.longer_bytes
    }

    /// Asks for the index's entry of a name with that hash.
    #[inline]
    pub(super) fn prefetch_entry(&self, at: KeyHash) {
        self.index.prefetch(at.short());
    }

    /// Asks for the bucket, once the entry has come.
    #[inline]
    pub(super) fn prefetch_place(&self, at: KeyHash) {
        if let Some(place) = self.index.find(at.short(), |_| true) {
            prefetch((&raw const self.places[place as usize]).cast());
        }
    }

    /// Where the bucket of that name is.
    #[inline]
    pub(super) fn find(&self, name: Name<'_>) -> Option<Handle> {
        let is_it = |place: u32| self.places[place as usize].is_named(name.bytes);
        let place = self.index.find(name.at.short(), is_it)?;
        Some(Handle { place, generation: self.places[place as usize].generation })
    }

    /// The bucket at a place, if it is still the one that the handle means.
    #[inline]
    pub(super) fn at(&mut self, handle: Handle) -> Option<&mut Bucket> {
        let place = self.places.get_mut(handle.place as usize)?;
        (place.generation == handle.generation).then_some(&mut place.bucket)
    }

    /// Adds a bucket whose name is not there; `None` when there is no room.
    pub(super) fn insert(&mut self, name: Name<'_>, bucket: Bucket, now: Nanos) -> Option<Handle> {
        debug_assert!(self.find(name).is_none(), "one bucket a name");
        self.make_room(now);
        let place = self.take_place()?;
        let hash = name.at.short();
        let found = &mut self.places[place as usize];
        found.bucket = bucket;
        found.hash = hash;
        found.len = name.bytes.len() as u16;
        match found.inline.get_mut(..name.bytes.len()) {
            Some(inline) => inline.copy_from_slice(name.bytes),
            None => {
                found.longer = Some(name.bytes.into());
                self.longer_bytes += name.bytes.len();
            }
        }
        let generation = found.generation;
        self.index.insert(hash, place);
        self.live += 1;
        Some(Handle { place, generation })
    }

    /// Looks at so many places and forgets the full buckets among them.
    pub(super) fn sweep(&mut self, now: Nanos, places: usize) {
        for _ in 0..places.min(self.places.len()) {
            self.look_at_next(now);
        }
    }

    /// Gives places of full buckets away once room is scarce.
    fn make_room(&mut self, now: Nanos) {
        let capacity = self.capacity as usize;
        if self.live < capacity - capacity / 8 {
            return;
        }
        for _ in 0..SEARCH_EARLY {
            self.look_at_next(now);
        }
        let mut looks = SEARCH.min(self.places.len());
        while self.live == capacity && looks > 0 {
            self.look_at_next(now);
            looks -= 1;
        }
    }

    /// Forgets the bucket under the hand if it is full, and moves on.
    fn look_at_next(&mut self, now: Nanos) {
        if self.hand >= self.places.len() {
            self.hand = 0;
        }
        let Some(place) = self.places.get(self.hand) else { return };
        if place.len != FREE && place.bucket.is_full(now) {
            self.forget(self.hand as u32);
        }
        self.hand += 1;
    }

    fn forget(&mut self, number: u32) {
        let place = &mut self.places[number as usize];
        let hash = place.hash;
        self.longer_bytes -= place.longer.take().map_or(0, |name| name.len());
        place.generation = place.generation.wrapping_add(1);
        place.len = FREE;
        place.hash = self.free;
        self.free = u64::from(number) + 1;
        self.live -= 1;
        self.reclaimed += 1;
        self.index.remove(hash, number);
    }

    /// A place without a bucket.
    fn take_place(&mut self) -> Option<u32> {
        if self.free != 0 {
            let number = self.free as u32 - 1;
            self.free = self.places[number as usize].hash;
            return Some(number);
        }
        if self.places.capacity() == 0 {
            self.places.try_reserve_exact(self.capacity as usize).ok()?;
        }
        if self.places.len() == self.capacity as usize {
            return None;
        }
        self.places.push(Place {
            bucket: Bucket::default(),
            hash: 0,
            generation: 0,
            len: FREE,
            inline: [0; INLINE],
            longer: None,
        });
        Some(self.places.len() as u32 - 1)
    }
}

#[cfg(test)]
mod tests;
