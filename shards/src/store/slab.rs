//! Memory of one database: pieces of fixed sizes, carved from pages of 1 MiB segments.
//!
//! Owns the segments and hands out places in them. An empty page serves any class again,
//! and an empty segment goes back to the system. Never moves what it handed out.
//!
//! ```text
//! segment 1 MiB = 16 pages of 64 KiB; a page serves one class
//! Loc, 38 bits  = segment (21, from 1) | place in units of 8 bytes (17)
//! free pieces of a page are chained by u16: 1 + the next one's place in the page
//! ```
//!
//! Unsafe because segments are raw mappings. A place is checked against them at each
//! access, memory is zeroed as it comes and holds plain numbers only, and borrows of it are
//! borrows of the slab: a stale place can read stale bytes but never leave the segments.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::ptr::NonNull;
use std::rc::Rc;

use super::OutOfMemory;
use super::classes::{CLASSES, Class};
use super::mapping::Mapping;
use super::memory::Memory;

const SEGMENT_BYTES: usize = 1 << 20;
const PAGE_BYTES: usize = 64 << 10;
const PAGES: usize = SEGMENT_BYTES / PAGE_BYTES;
const GRANULE: usize = 8;
const PLACE_BITS: u32 = (SEGMENT_BYTES / GRANULE).ilog2();
const PAGE_PLACES: usize = PAGE_BYTES / GRANULE;
/// Bits of a [`Loc`].
pub(super) const LOC_BITS: u32 = 38;
const MAX_SEGMENTS: usize = 1 << (LOC_BITS - PLACE_BITS);
const ALL_PAGES: u16 = u16::MAX;
const NO_PAGE: u32 = u32::MAX;

const _: () = assert!(PAGES == 16, "free pages of a segment are a u16");
const _: () = assert!(PAGE_PLACES < u16::MAX as usize, "a place in a page and a mark fit u16");

/// A place in a slab; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loc(u64);

impl Loc {
    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits & ((1 << LOC_BITS) - 1))
    }

    const fn segment(self) -> usize {
        (self.0 >> PLACE_BITS) as usize
    }

    const fn offset(self) -> usize {
        (self.0 & ((1 << PLACE_BITS) - 1)) as usize * GRANULE
    }
}

/// What is known of a page.
#[derive(Clone, Copy, Debug)]
struct Page {
    class: Class,
    used: u16,
    /// 1 + place of the first free piece, 0 for none.
    free: u16,
    /// Place from which on no piece was ever handed out.
    fresh: u16,
    /// Neighbours among the pages of the class that have room.
    next: u32,
    previous: u32,
}

struct Segment {
    pages: [Page; PAGES],
    /// One bit a page.
    free: u16,
}

/// See the module's text.
pub(super) struct Slab {
    /// Start of each segment; the first is never one, so that no place is 0.
    bases: Vec<Option<NonNull<u8>>>,
    segments: Vec<Segment>,
    /// Segments with a free page; the lowest is used first, so that the highest empty.
    roomy: BTreeSet<u32>,
    /// Numbers of segments given back.
    holes: Vec<u32>,
    /// Empty segments, to be given back by [`Slab::release_step`]; all but one wait for it.
    empty: BTreeSet<u32>,
    /// The one that is being given back.
    going: Option<Mapping>,
    /// Bytes of segments and of what is left of `going`.
    mapped: usize,
    /// First page with room of each class.
    partial: [u32; CLASSES],
    /// Bytes of pieces handed out.
    allocated: usize,
    /// See [`Slab::condemn`].
    condemned: bool,
    memory: Rc<Memory>,
}

impl Slab {
    pub(super) fn new(memory: Rc<Memory>) -> Self {
        let page = Page {
            class: Class::of(0),
            used: 0,
            free: 0,
            fresh: 0,
            next: NO_PAGE,
            previous: NO_PAGE,
        };
        Self {
            bases: vec![None],
            segments: vec![Segment { pages: [page; PAGES], free: 0 }],
            roomy: BTreeSet::new(),
            holes: Vec::new(),
            empty: BTreeSet::new(),
            going: None,
            mapped: 0,
            partial: [NO_PAGE; CLASSES],
            allocated: 0,
            condemned: false,
            memory,
        }
    }

    /// Bytes of it that wait to be given back.
    fn waiting(&self) -> usize {
        let going = self.going.as_ref().map_or(0, Mapping::bytes);
        going + self.empty.len().saturating_sub(1) * SEGMENT_BYTES
    }

    /// Nothing of it is used any more: all that it has mapped waits to be given back, by
    /// [`Slab::demolish_step`].
    pub(super) fn condemn(&mut self) {
        if std::mem::replace(&mut self.condemned, true) {
            return;
        }
        self.memory.shrink(std::mem::take(&mut self.allocated));
        self.memory.wait(self.mapped - self.waiting());
    }

    fn page(&mut self, number: u32) -> &mut Page {
        &mut self.segments[number as usize / PAGES].pages[number as usize % PAGES]
    }

    /// Start of a place of which `len` bytes are wanted.
    #[inline]
    fn address(&self, loc: Loc, len: usize) -> NonNull<u8> {
        let base = self.bases[loc.segment()].expect("places are of living segments");
        assert!(loc.offset() + len <= SEGMENT_BYTES, "a piece does not leave its segment");
        // SAFETY: inside the mapping by the assertion.
        unsafe { base.add(loc.offset()) }
    }

    /// The first `len` bytes of a piece.
    #[inline]
    pub(super) fn bytes(&self, loc: Loc, len: usize) -> &[u8] {
        // SAFETY: mapped and initialised (zero as it came); `&self` keeps writers out.
        unsafe { std::slice::from_raw_parts(self.address(loc, len).as_ptr(), len) }
    }

    /// The first `len` bytes of a piece, to write.
    #[inline]
    pub(super) fn bytes_mut(&mut self, loc: Loc, len: usize) -> &mut [u8] {
        // SAFETY: as for `bytes`; `&mut self` keeps everybody else out.
        unsafe { std::slice::from_raw_parts_mut(self.address(loc, len).as_ptr(), len) }
    }

    /// The first word of a piece.
    #[inline]
    pub(super) fn word(&self, loc: Loc) -> u64 {
        // SAFETY: as for `bytes`, and pieces are 8-byte aligned.
        unsafe { self.address(loc, 8).cast::<u64>().read() }
    }

    /// A piece as lines of eight words.
    #[inline]
    pub(super) fn lines(&self, loc: Loc, n: usize) -> &[[u64; 8]] {
        // SAFETY: as for `bytes`; pieces are 8-byte aligned and any bits are words.
        unsafe { std::slice::from_raw_parts(self.address(loc, n * 64).cast().as_ptr(), n) }
    }

    /// A piece as lines of eight words, to write.
    #[inline]
    pub(super) fn lines_mut(&mut self, loc: Loc, n: usize) -> &mut [[u64; 8]] {
        // SAFETY: as for `lines`; `&mut self` keeps everybody else out.
        unsafe { std::slice::from_raw_parts_mut(self.address(loc, n * 64).cast().as_ptr(), n) }
    }

    /// Asks the processor for the cache line at `offset` of a piece. Any place will do.
    #[inline]
    pub(super) fn prefetch(&self, loc: Loc, offset: usize) {
        if let Some(Some(base)) = self.bases.get(loc.segment()) {
            prefetch(base.as_ptr().wrapping_add(loc.offset() + offset));
        }
    }

    /// Hands out a piece. Its content is arbitrary.
    pub(super) fn allocate(&mut self, class: Class) -> Result<Loc, OutOfMemory> {
        let mut number = self.partial[class.index()];
        if number == NO_PAGE {
            number = self.take_page(class)?;
        }
        let start = Loc((number as u64 / PAGES as u64) << PLACE_BITS
            | (number as usize % PAGES * PAGE_PLACES) as u64);
        let page = *self.page(number);
        let place = if page.free != 0 { page.free - 1 } else { page.fresh };
        let loc = Loc(start.0 + u64::from(place));
        let step = (class.bytes() / GRANULE) as u16;
        let next_free = if page.free != 0 { self.word(loc) as u16 } else { 0 };
        let page = self.page(number);
        if page.free == 0 {
            page.fresh += step;
        }
        page.free = next_free;
        page.used += 1;
        if page.free == 0 && usize::from(page.fresh + step) > PAGE_PLACES {
            self.unlink(number);
        }
        self.allocated += class.bytes();
        self.memory.grow(class.bytes());
        Ok(loc)
    }

    /// Takes a piece back.
    pub(super) fn free(&mut self, loc: Loc, class: Class) {
        let number = (loc.segment() * PAGES + loc.offset() / PAGE_BYTES) as u32;
        let place = (loc.offset() % PAGE_BYTES / GRANULE) as u16;
        let step = (class.bytes() / GRANULE) as u16;
        let page = self.page(number);
        debug_assert_eq!(page.class, class, "a piece goes back as what it was");
        debug_assert!(page.used > 0, "freed once");
        let was_full = page.free == 0 && usize::from(page.fresh + step) > PAGE_PLACES;
        let next_free = page.free;
        page.free = place + 1;
        page.used -= 1;
        let empty = page.used == 0;
        self.bytes_mut(loc, 8).copy_from_slice(&u64::from(next_free).to_le_bytes());
        self.allocated -= class.bytes();
        self.memory.shrink(class.bytes());
        if was_full {
            self.link(number);
        }
        if empty {
            self.unlink(number);
            self.give_page_back(number);
        }
    }

    /// Gives a step's worth of empty segments back and says how many bytes; 0: there is no
    /// more. One segment stays for reuse.
    pub(super) fn release_step(&mut self) -> usize {
        if self.going.is_none() && self.empty.len() > 1 {
            self.going = self.empty.pop_last().and_then(|segment| self.take_segment(segment));
        }
        self.go_on()
    }

    /// Gives a step's worth of any segment back, whatever is in it, and says how many bytes;
    /// 0: there is no more.
    pub(super) fn demolish_step(&mut self) -> usize {
        while self.going.is_none()
            && let Some(last) = self.bases.len().checked_sub(1)
        {
            self.going = self.take_segment(last as u32);
            self.bases.pop();
        }
        self.go_on()
    }

    /// Goes on with what is being given back.
    fn go_on(&mut self) -> usize {
        let Some(going) = &mut self.going else { return 0 };
        let released = going.release_step();
        if going.bytes() == 0 {
            self.going = None;
        }
        self.mapped -= released;
        self.memory.wait_no_more(released);
        released
    }

    /// Takes a segment out of use.
    fn take_segment(&mut self, segment: u32) -> Option<Mapping> {
        let base = self.bases[segment as usize].take()?;
        self.roomy.remove(&segment);
        self.holes.push(segment);
        // SAFETY: `map_segment` let go of this mapping, whole; nothing borrows it
        // (`&mut self`), and its place is empty from now on.
        Some(unsafe { Mapping::from_start(base, SEGMENT_BYTES) })
    }

    fn take_page(&mut self, class: Class) -> Result<u32, OutOfMemory> {
        let segment = match self.roomy.first() {
            Some(segment) => *segment,
            None => self.map_segment()?,
        };
        let entry = &mut self.segments[segment as usize];
        if entry.free == ALL_PAGES {
            self.empty.remove(&segment);
            if !self.empty.is_empty() {
                self.memory.wait_no_more(SEGMENT_BYTES);
            }
        }
        let index = entry.free.trailing_zeros();
        entry.free &= !(1 << index);
        if entry.free == 0 {
            self.roomy.remove(&segment);
        }
        let number = segment * PAGES as u32 + index;
        *self.page(number) =
            Page { class, used: 0, free: 0, fresh: 0, next: NO_PAGE, previous: NO_PAGE };
        self.link(number);
        Ok(number)
    }

    fn give_page_back(&mut self, number: u32) {
        let segment = number / PAGES as u32;
        let entry = &mut self.segments[segment as usize];
        entry.free |= 1 << (number % PAGES as u32);
        let empty = entry.free == ALL_PAGES;
        self.roomy.insert(segment);
        if empty {
            if !self.empty.is_empty() {
                self.memory.wait(SEGMENT_BYTES);
            }
            self.empty.insert(segment);
        }
    }

    fn map_segment(&mut self) -> Result<u32, OutOfMemory> {
        if self.holes.is_empty() && self.bases.len() == MAX_SEGMENTS {
            return Err(OutOfMemory);
        }
        self.memory.ask()?;
        let base = Mapping::new(SEGMENT_BYTES)?.into_start();
        self.memory.take(SEGMENT_BYTES);
        self.mapped += SEGMENT_BYTES;
        let number = self.holes.pop().unwrap_or(self.bases.len() as u32);
        let page = *self.page(0);
        let segment = Segment { pages: [page; PAGES], free: ALL_PAGES };
        if number as usize == self.bases.len() {
            self.bases.push(Some(base));
            self.segments.push(segment);
        } else {
            self.bases[number as usize] = Some(base);
            self.segments[number as usize] = segment;
        }
        debug_assert!(self.roomy.is_empty(), "mapped when there is no room, so none is empty");
        self.roomy.insert(number);
        self.empty.insert(number);
        Ok(number)
    }

    /// Puts a page first among those of its class that have room.
    fn link(&mut self, number: u32) {
        let class = self.page(number).class.index();
        let next = std::mem::replace(&mut self.partial[class], number);
        let page = self.page(number);
        page.next = next;
        page.previous = NO_PAGE;
        if next != NO_PAGE {
            self.page(next).previous = number;
        }
    }

    fn unlink(&mut self, number: u32) {
        let Page { class, next, previous, .. } = *self.page(number);
        if next != NO_PAGE {
            self.page(next).previous = previous;
        }
        if previous != NO_PAGE {
            self.page(previous).next = next;
        } else {
            debug_assert_eq!(self.partial[class.index()], number);
            self.partial[class.index()] = next;
        }
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        self.condemn();
        while self.demolish_step() > 0 {}
    }
}

/// Asks the processor for the cache line that an address is in. Any address will do.
#[inline]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that the program can see and never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch(address.cast(), std::arch::x86_64::_MM_HINT_T0);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Pieces keep what was written to them while others come and go; in the end the
        /// memory is given back.
        #[test]
        fn pieces_do_not_overlap_and_memory_returns(
            steps in prop::collection::vec((any::<bool>(), 0..16_384usize, any::<usize>()), 1..400),
        ) {
            let memory = Rc::new(Memory::default());
            let mut slab = Slab::new(memory.clone());
            let mut model: Vec<(Loc, usize, u8)> = Vec::new();
            for (n, (take, size, pick)) in steps.into_iter().enumerate() {
                if take || model.is_empty() {
                    let loc = slab.allocate(Class::of(size)).unwrap();
                    let mark = n as u8;
                    slab.bytes_mut(loc, size).fill(mark);
                    model.push((loc, size, mark));
                } else {
                    let (loc, size, mark) = model.swap_remove(pick % model.len());
                    prop_assert!(slab.bytes(loc, size).iter().all(|b| *b == mark));
                    slab.free(loc, Class::of(size));
                }
                let held: usize = model.iter().map(|(_, s, _)| Class::of(*s).bytes()).sum();
                prop_assert_eq!((slab.allocated, memory.living()), (held, held));
                prop_assert_eq!(slab.waiting(), memory.waiting());
            }
            for (loc, size, mark) in model {
                prop_assert!(slab.bytes(loc, size).iter().all(|b| *b == mark));
                slab.free(loc, Class::of(size));
            }
            while slab.release_step() > 0 {}
            prop_assert_eq!((slab.allocated, memory.living(), memory.waiting()), (0, 0, 0));
            prop_assert!(slab.mapped <= SEGMENT_BYTES, "one spare segment at most");
            drop(slab);
            prop_assert_eq!(memory.waiting(), 0);
        }
    }
}
