//! Long values: contiguous bytes shared by the store and the replies that carry them.
//!
//! A blob is counted by reference within its shard's thread (`Rc`, so it is not `Send`).
//! Its memory is never released where the last reference drops, which may be amid a
//! request: it goes to the store's [`Graveyard`], which gives it back in small steps.
//! Unsafe because long blobs are mappings of their own, read as slices.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::fmt;
use std::ptr::NonNull;
use std::rc::Rc;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use super::OutOfMemory;

/// Blobs longer than this have a mapping of their own.
const MAPPED_FROM: usize = 1 << 20;
/// Memory of a dead mapping given back in one step: 64 pages, about 10 us.
const STEP_BYTES: usize = 256 << 10;

/// Bytes of a mapping that can be written up to a length and then read.
#[derive(Debug)]
struct Region {
    start: NonNull<u8>,
    len: usize,
    mapped: usize,
}

enum Storage {
    Heap(Vec<u8>),
    Mapped(Region),
}

impl Storage {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            // SAFETY: the first `len` bytes were written by the builder, nobody writes
            // any more, and the mapping lives until the graveyard unmaps it.
            Self::Mapped(region) => unsafe {
                std::slice::from_raw_parts(region.start.as_ptr(), region.len)
            },
        }
    }

    /// Bytes it can hold where it lies.
    fn room(&self) -> usize {
        match self {
            Self::Heap(bytes) => bytes.capacity(),
            Self::Mapped(region) => region.mapped,
        }
    }

    fn memory(&self) -> usize {
        match self {
            Self::Heap(bytes) => bytes.capacity(),
            Self::Mapped(region) => region.len,
        }
    }
}

/// Where the memory of dead blobs waits to be released, and what all blobs hold.
#[derive(Debug, Default)]
pub(super) struct Graveyard {
    dead: RefCell<Vec<Region>>,
    memory: std::cell::Cell<usize>,
    /// Entries moved or removed so far, over all databases of a store.
    moves: std::cell::Cell<u64>,
}

impl Graveyard {
    /// Bytes held by blobs, living and dead.
    pub(super) fn memory(&self) -> usize {
        self.memory.get()
    }

    /// How often an entry was moved or removed.
    #[inline]
    pub(super) fn moves(&self) -> u64 {
        self.moves.get()
    }

    /// An entry was moved or removed, or databases have changed places.
    #[inline]
    pub(super) fn note_move(&self) {
        self.moves.set(self.moves.get() + 1);
    }

    /// Gives one step's worth back; `true` while there is more.
    pub(super) fn release_step(&self) -> bool {
        let mut dead = self.dead.borrow_mut();
        let Some(region) = dead.last_mut() else { return false };
        let tail = region.len.saturating_sub(1) / STEP_BYTES * STEP_BYTES;
        let part = region.len - tail;
        self.memory.set(self.memory.get() - part);
        // SAFETY: the tail of a mapping that only the graveyard still knows.
        let start = unsafe { region.start.as_ptr().add(tail) };
        // SAFETY: within the mapping, page-aligned, and nothing refers to it. A failure
        // only delays the release to the unmapping below.
        let _ = unsafe { madvise(start.cast(), part, Advice::LinuxDontNeed) };
        region.len = tail;
        if tail == 0
            && let Some(region) = dead.pop()
        {
            // SAFETY: the whole mapping as it was made; its pages are gone already.
            let _ = unsafe { munmap(region.start.as_ptr().cast(), region.mapped) };
        }
        !dead.is_empty()
    }
}

impl Drop for Graveyard {
    fn drop(&mut self) {
        while self.release_step() {}
    }
}

struct Body {
    storage: Storage,
    graveyard: Rc<Graveyard>,
}

impl Drop for Body {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.storage, Storage::Heap(Vec::new())) {
            Storage::Heap(bytes) => {
                self.graveyard.memory.set(self.graveyard.memory.get() - bytes.capacity());
            }
            Storage::Mapped(region) => self.graveyard.dead.borrow_mut().push(region),
        }
    }
}

/// A long value. Cloning shares it.
#[derive(Clone)]
pub struct Blob(Rc<Body>);

impl Blob {
    /// The value.
    pub fn bytes(&self) -> &[u8] {
        self.0.storage.bytes()
    }

    /// Its length.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes into the value where it lies, if nobody else holds it and there is room;
    /// zeroes fill a gap. Returns the new length.
    pub(super) fn write_in_place(&mut self, offset: usize, bytes: &[u8]) -> Option<usize> {
        let body = Rc::get_mut(&mut self.0)?;
        let old = body.storage.bytes().len();
        let len = old.max(offset + bytes.len());
        if len > body.storage.room() {
            return None;
        }
        let before = body.storage.memory();
        match &mut body.storage {
            Storage::Heap(vec) => {
                vec.resize(len, 0);
                vec[offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Storage::Mapped(region) => {
                region.len = len; // what lies beyond the old end is zero as it came
                // SAFETY: within the mapping, which we alone hold (`get_mut`).
                let all = unsafe { std::slice::from_raw_parts_mut(region.start.as_ptr(), len) };
                all[offset..offset + bytes.len()].copy_from_slice(bytes);
            }
        }
        let grown = body.storage.memory() - before;
        body.graveyard.memory.set(body.graveyard.memory.get() + grown);
        Some(len)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.len())
    }
}

/// A blob being written.
pub struct BlobBuilder {
    storage: Storage,
    graveyard: Rc<Graveyard>,
}

impl fmt::Debug for BlobBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobBuilder({} bytes)", self.storage.bytes().len())
    }
}

impl BlobBuilder {
    /// Room for `capacity` bytes: address space only, no memory until they are written.
    pub(super) fn new(capacity: usize, graveyard: Rc<Graveyard>) -> Result<Self, OutOfMemory> {
        let storage = if capacity > MAPPED_FROM {
            let mapped = capacity.next_multiple_of(4096);
            // SAFETY: a fresh mapping at an address of the kernel's choice.
            let start = unsafe {
                mmap_anonymous(
                    std::ptr::null_mut(),
                    mapped,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::PRIVATE | MapFlags::NORESERVE,
                )
            };
            let start = start.ok().and_then(|p| NonNull::new(p.cast::<u8>())).ok_or(OutOfMemory)?;
            // SAFETY: the mapping just made. Failure costs speed only.
            let _ = unsafe { madvise(start.as_ptr().cast(), mapped, Advice::LinuxNoHugepage) };
            Storage::Mapped(Region { start, len: 0, mapped })
        } else {
            let mut bytes = Vec::new();
            bytes.try_reserve_exact(capacity).map_err(|_| OutOfMemory)?;
            Storage::Heap(bytes)
        };
        let built = Self { storage, graveyard };
        built.account(built.storage.memory() as isize);
        Ok(built)
    }

    /// Appends; panics past the capacity.
    pub fn extend(&mut self, bytes: &[u8]) {
        match &mut self.storage {
            Storage::Heap(vec) => {
                assert!(vec.len() + bytes.len() <= vec.capacity(), "past the capacity");
                vec.extend_from_slice(bytes);
            }
            Storage::Mapped(region) => {
                assert!(region.len + bytes.len() <= region.mapped, "past the capacity");
                // SAFETY: in bounds by the assertion; the builder alone knows the mapping,
                // so `bytes` cannot overlap it.
                unsafe {
                    let end = region.start.as_ptr().add(region.len);
                    std::ptr::copy_nonoverlapping(bytes.as_ptr(), end, bytes.len());
                }
                region.len += bytes.len();
                self.account(bytes.len() as isize);
            }
        }
    }

    /// Appends zeroes; memory of a long blob is zero as it comes.
    pub(super) fn extend_zero(&mut self, n: usize) {
        match &mut self.storage {
            Storage::Heap(vec) => vec.resize(vec.len() + n, 0),
            Storage::Mapped(region) => {
                assert!(region.len + n <= region.mapped, "past the capacity");
                region.len += n;
                self.account(n as isize);
            }
        }
    }

    /// The finished value.
    pub fn freeze(mut self) -> Blob {
        let storage = std::mem::replace(&mut self.storage, Storage::Heap(Vec::new()));
        Blob(Rc::new(Body { storage, graveyard: self.graveyard.clone() }))
    }

    fn account(&self, change: isize) {
        let memory = self.graveyard.memory.get();
        self.graveyard.memory.set(memory.saturating_add_signed(change));
    }
}

impl Drop for BlobBuilder {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.storage, Storage::Heap(Vec::new())) {
            Storage::Heap(bytes) => self.account(-(bytes.capacity() as isize)),
            Storage::Mapped(region) => self.graveyard.dead.borrow_mut().push(region),
        }
    }
}
