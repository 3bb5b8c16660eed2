//! Long values: contiguous bytes shared by the store and the replies that carry them.
//!
//! A blob is counted by reference within its shard's thread (`Rc`, so it is not `Send`).
//! Its memory is never released where the last reference drops, which may be amid a
//! request: it goes to the store's [`Graveyard`], which gives it back in small steps.
//! Unsafe because long blobs are mappings of their own, read as slices.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use super::mapping::Mapping;
use super::slab::LOC_BITS;
use super::{OutOfMemory, Serial};

/// Blobs longer than this have a mapping of their own.
const MAPPED_FROM: usize = 1 << 20;

/// A mapping of which the first bytes have been written.
#[derive(Debug)]
struct Region {
    memory: Mapping,
    len: usize,
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
                std::slice::from_raw_parts(region.memory.start().as_ptr(), region.len)
            },
        }
    }

    /// Bytes it can hold where it lies.
    fn room(&self) -> usize {
        match self {
            Self::Heap(bytes) => bytes.capacity(),
            Self::Mapped(region) => region.memory.bytes(),
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
    serial: std::cell::Cell<u32>,
}

impl Graveyard {
    /// Bytes held by blobs, living and dead.
    pub(super) fn memory(&self) -> usize {
        self.memory.get()
    }

    /// The next serial number of a database's content.
    pub(super) fn next_serial(&self) -> Serial {
        let serial = self.serial.get();
        self.serial.set((serial + 1) % (1 << (u64::BITS - LOC_BITS)));
        Serial(serial)
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
        let more = region.memory.release_step();
        let len = region.len.min(region.memory.bytes());
        self.memory.set(self.memory.get() - (region.len - len));
        region.len = len;
        if !more {
            dead.pop();
        }
        !dead.is_empty()
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
                let start = region.memory.start().as_ptr();
                // SAFETY: within the mapping, which we alone hold (`get_mut`).
                let all = unsafe { std::slice::from_raw_parts_mut(start, len) };
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
        if capacity > MAPPED_FROM {
            return Self::mapped(capacity, graveyard);
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(capacity).map_err(|_| OutOfMemory)?;
        let built = Self { storage: Storage::Heap(bytes), graveyard };
        built.account(built.storage.memory() as isize);
        Ok(built)
    }

    /// The same in a mapping of its own, whatever the length.
    pub(super) fn mapped(capacity: usize, graveyard: Rc<Graveyard>) -> Result<Self, OutOfMemory> {
        let storage = Storage::Mapped(Region { memory: Mapping::new(capacity)?, len: 0 });
        Ok(Self { storage, graveyard })
    }

    /// Bytes that can be appended.
    pub(crate) fn room(&self) -> usize {
        self.storage.room() - self.storage.bytes().len()
    }

    /// Appends; panics past the capacity.
    pub fn extend(&mut self, bytes: &[u8]) {
        match &mut self.storage {
            Storage::Heap(vec) => {
                assert!(vec.len() + bytes.len() <= vec.capacity(), "past the capacity");
                vec.extend_from_slice(bytes);
            }
            Storage::Mapped(region) => {
                assert!(region.len + bytes.len() <= region.memory.bytes(), "past the capacity");
                // SAFETY: in bounds by the assertion; the builder alone knows the mapping,
                // so `bytes` cannot overlap it.
                unsafe {
                    let end = region.memory.start().as_ptr().add(region.len);
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
                assert!(region.len + n <= region.memory.bytes(), "past the capacity");
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
