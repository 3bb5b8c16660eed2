//! Long values: contiguous bytes shared by the store and the replies that carry them.
//!
//! A blob is counted by reference within its shard's thread (`Rc`, so it is not `Send`).
//! It counts as memory what has been written, from the moment it is: not what was claimed.
//! Its mapping is never released where the last reference drops, which may be amid a
//! request: it goes to the store's [`Memory`], which gives it back in small steps.
//! Another shard's thread gets a value's memory for good ([`Blob::detach`]), or reads it
//! where it lies ([`super::Lender`]); what it reads is a blob there, too.
//! Unsafe because long blobs are mappings of their own, read as slices, and change threads.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use super::lend::{Lent, Loan, Returns};
use super::mapping::Mapping;
use super::memory::Memory;
use super::{BlobSource, MAX_VALUE_BYTES, OutOfMemory};

/// Blobs longer than this have a mapping of their own.
const MAPPED_FROM: usize = 1 << 20;

/// A value that grows has a mapping of its own from this length on: moving it there, which
/// happens once, takes about 100 us.
const GROWS_TO: usize = 256 << 10;
/// From this length on a value that grows gets address space for the longest value, which
/// costs nothing but numbers: moving a mapping takes 3 us a MiB, so it is moved once.
const ROOMY_FROM: usize = 16 << 20;

const _: () = assert!(MAX_VALUE_BYTES <= u32::MAX as usize, "a length fits a view");

/// A mapping of which the first bytes have been written.
#[derive(Debug)]
struct Region {
    memory: Mapping,
    len: usize,
}

impl Region {
    fn bytes(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are written (or zero as they came), who writes
        // them has the region to himself, and the mapping lives as long as it.
        unsafe { std::slice::from_raw_parts(self.memory.start().as_ptr(), self.len) }
    }

    /// Makes it `len` bytes long; what is new is zero, as it came.
    fn resize(&mut self, len: usize) -> &mut [u8] {
        assert!(len <= self.memory.bytes(), "past the capacity");
        self.len = len;
        // SAFETY: within the mapping by the assertion; `&mut self` keeps everybody else out.
        unsafe { std::slice::from_raw_parts_mut(self.memory.start().as_ptr(), len) }
    }
}

enum Storage {
    Heap(Vec<u8>),
    Mapped(Region),
}

impl Storage {
    /// Room for `capacity` bytes: address space only, no memory until they are written.
    fn new(capacity: usize) -> Result<Self, OutOfMemory> {
        if capacity > MAPPED_FROM {
            return Self::mapped(capacity);
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(capacity).map_err(|_| OutOfMemory)?;
        Ok(Self::Heap(bytes))
    }

    fn mapped(capacity: usize) -> Result<Self, OutOfMemory> {
        Ok(Self::Mapped(Region { memory: Mapping::new(capacity)?, len: 0 }))
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Mapped(region) => region.bytes(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Heap(bytes) => bytes.len(),
            Self::Mapped(region) => region.len,
        }
    }

    /// Bytes it can hold where it lies.
    fn room(&self) -> usize {
        match self {
            Self::Heap(bytes) => bytes.capacity(),
            Self::Mapped(region) => region.memory.bytes(),
        }
    }

    /// Makes room for `len` bytes and more, so that a value which grows bit by bit is moved
    /// but a few times. A mapping grows without being copied.
    fn make_room(&mut self, len: usize) -> Result<(), OutOfMemory> {
        if len <= self.room() {
            return Ok(());
        }
        let room = if len < ROOMY_FROM { len * 2 } else { MAX_VALUE_BYTES.max(len) };
        match self {
            Self::Mapped(region) => {
                region.memory.grow(room).or_else(|_| region.memory.grow(len))?;
            }
            Self::Heap(bytes) if room <= GROWS_TO => {
                bytes.try_reserve_exact(room - bytes.len()).map_err(|_| OutOfMemory)?;
            }
            Self::Heap(bytes) => {
                let mut moved = Self::mapped(room)?;
                moved.resize(bytes.len()).copy_from_slice(bytes);
                *self = moved;
            }
        }
        Ok(())
    }

    /// Makes it `len` bytes long, for which there must be room; what is new is zero.
    fn resize(&mut self, len: usize) -> &mut [u8] {
        match self {
            Self::Heap(bytes) => {
                assert!(len <= bytes.capacity(), "past the capacity");
                bytes.resize(len, 0);
                bytes
            }
            Self::Mapped(region) => region.resize(len),
        }
    }
}

/// What all references to a blob share.
enum Body {
    Own(Own),
    Borrowed(Box<Loan>),
}

impl Body {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(own) => own.storage.bytes(),
            Self::Borrowed(loan) => loan.bytes(),
        }
    }

    /// The value of this store; a borrowed one is never put into it.
    fn own(&self) -> &Own {
        match self {
            Self::Own(own) => own,
            Self::Borrowed(_) => unreachable!("a borrowed value is for replies"),
        }
    }
}

/// A value of this store.
struct Own {
    storage: Storage,
    /// Entries of databases that hold it; each of them is charged for it.
    keepers: Cell<u32>,
    memory: Rc<Memory>,
}

impl Drop for Own {
    fn drop(&mut self) {
        self.memory.shrink(self.storage.len());
        let storage = std::mem::replace(&mut self.storage, Storage::Heap(Vec::new()));
        if let Storage::Mapped(region) = storage {
            self.memory.bury(region.memory, region.len);
        }
    }
}

/// A long value, or part of one. Cloning shares it.
#[derive(Clone)]
pub struct Blob {
    body: Rc<Body>,
    start: u32,
    len: u32,
}

const _: () = assert!(size_of::<Body>() <= 48, "loans cost it nothing");

impl Blob {
    /// A value of another shard, read from where it lies. It goes into replies, not into
    /// the store: the lender is charged for it and keeps it until the last clone drops here.
    pub fn borrowed(lent: Lent, returns: &Rc<Returns>) -> Self {
        let len = lent.len() as u32;
        let loan = Box::new(Loan::new(lent, returns.clone()));
        Self { body: Rc::new(Body::Borrowed(loan)), start: 0, len }
    }

    /// The value.
    pub fn bytes(&self) -> &[u8] {
        &self.body.bytes()[self.start as usize..][..self.len as usize]
    }

    /// Its length.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Part of it, from where it lies.
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len(), "a part of the value");
        let (start, len) = (self.start + range.start as u32, range.len() as u32);
        Self { body: self.body.clone(), start, len }
    }

    /// An empty one, which takes no memory of the store's.
    pub(super) fn nothing(memory: Rc<Memory>) -> Self {
        BlobBuilder::on(Storage::Heap(Vec::new()), memory).freeze()
    }

    /// Whether somebody else holds it, too, so that its memory cannot be handed over.
    pub(crate) fn is_shared(&self) -> bool {
        Rc::strong_count(&self.body) > 1
    }

    /// An entry of a database holds it from now on, and is charged for it. Until the first
    /// does, it is charged to nobody but counts.
    pub(super) fn keep(&self) {
        debug_assert_eq!(self.len(), self.body.own().storage.len(), "parts are for replies");
        let keepers = self.body.own().keepers.get();
        self.body.own().keepers.set(keepers + 1);
        if keepers > 0 {
            self.body.own().memory.grow(self.len());
        }
    }

    /// An entry of a database holds it no more.
    pub(super) fn let_go(&self) {
        let keepers = self.body.own().keepers.get() - 1;
        self.body.own().keepers.set(keepers);
        if keepers > 0 {
            self.body.own().memory.shrink(self.len());
        }
    }

    /// Writes into the value where it lies, if nobody else holds it; zeroes fill a gap.
    /// Returns the new length, or `None` when it is shared.
    ///
    /// # Errors
    /// When there is no memory; nothing has changed then.
    pub(super) fn write_in_place(
        &mut self,
        offset: usize,
        bytes: &[u8],
    ) -> Result<Option<usize>, OutOfMemory> {
        let Some(Body::Own(body)) = Rc::get_mut(&mut self.body) else { return Ok(None) };
        let old = body.storage.len();
        let len = old.max(offset + bytes.len());
        if len > body.storage.room() {
            body.memory.ask()?;
            body.storage.make_room(len)?;
        }
        body.storage.resize(len)[offset..offset + bytes.len()].copy_from_slice(bytes);
        body.memory.grow(len - old);
        body.memory.take(bytes.len());
        self.len = len as u32;
        Ok(Some(len))
    }

    /// Takes the memory out of this store's accounts, to be sent to another shard.
    ///
    /// # Errors
    /// Gives the blob back when somebody else holds it, or when it is borrowed.
    pub fn detach(mut self) -> Result<Detached, Self> {
        let (whole, len) = (self.start == 0, self.len());
        let own = match Rc::get_mut(&mut self.body) {
            Some(Body::Own(own)) if whole && own.storage.len() == len => own,
            _ => return Err(self),
        };
        own.memory.shrink(len);
        Ok(Detached(std::mem::replace(&mut own.storage, Storage::Heap(Vec::new()))))
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.len())
    }
}

/// A long value that belongs to no store, on its way from one shard to another. Dropping it
/// releases its memory at once, which takes milliseconds where it is long: for connections
/// that close and nodes that end, not for the path of a request.
#[must_use = "dropping a long value stalls its thread"]
pub struct Detached(Storage);

// SAFETY: it alone knows its memory, as the only holder detached it, and neither a vector's
// memory nor a mapping depends on the thread that made it.
unsafe impl Send for Detached {}

impl Detached {
    /// The value.
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl fmt::Debug for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Detached({} bytes)", self.bytes().len())
    }
}

impl BlobSource {
    /// Takes a value out of the store's accounts: as it lies when nobody else holds it, else
    /// a copy of it, for which memory must be there: arguments have one holder, and entries are
    /// copied where that can be refused ([`BlobSource::copy`]).
    pub fn detach(&self, blob: Blob) -> Detached {
        blob.detach().unwrap_or_else(|blob| Detached(Storage::Heap(blob.bytes().to_vec())))
    }

    /// A value of its own with the same bytes; 512 MiB take about 100 ms.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn copy(&self, blob: &Blob) -> Result<Blob, OutOfMemory> {
        let mut copy = self.builder(blob.len())?;
        copy.extend(blob.bytes());
        Ok(copy.freeze())
    }

    /// Takes a value over from another shard, as it lies; it is charged to this store now.
    pub fn adopt(&self, detached: Detached) -> Blob {
        let memory = self.0.clone();
        let len = detached.0.len();
        memory.grow(len);
        memory.take(len);
        let own = Own { storage: detached.0, keepers: Cell::new(0), memory };
        Blob { body: Rc::new(Body::Own(own)), start: 0, len: len as u32 }
    }
}

/// A blob being written.
pub struct BlobBuilder(Own);

impl fmt::Debug for BlobBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobBuilder({} bytes)", self.0.storage.len())
    }
}

impl BlobBuilder {
    /// Room for `capacity` bytes: address space only, no memory until they are written.
    pub(super) fn new(capacity: usize, memory: Rc<Memory>) -> Result<Self, OutOfMemory> {
        memory.ask()?;
        Ok(Self::on(Storage::new(capacity)?, memory))
    }

    /// The same in a mapping of its own, whatever the length.
    pub(super) fn mapped(capacity: usize, memory: Rc<Memory>) -> Result<Self, OutOfMemory> {
        memory.ask()?;
        Ok(Self::on(Storage::mapped(capacity)?, memory))
    }

    /// Room as for a value that goes on growing.
    pub(super) fn growing(len: usize, memory: Rc<Memory>) -> Result<Self, OutOfMemory> {
        memory.ask()?;
        let mut storage = Storage::Heap(Vec::new());
        storage.make_room(len)?;
        Ok(Self::on(storage, memory))
    }

    fn on(storage: Storage, memory: Rc<Memory>) -> Self {
        Self(Own { storage, keepers: Cell::new(0), memory })
    }

    /// Bytes that can be appended.
    pub(crate) fn room(&self) -> usize {
        self.0.storage.room() - self.0.storage.len()
    }

    /// Appends; panics past the capacity.
    pub fn extend(&mut self, bytes: &[u8]) {
        match &mut self.0.storage {
            Storage::Heap(vec) => {
                assert!(vec.len() + bytes.len() <= vec.capacity(), "past the capacity");
                vec.extend_from_slice(bytes);
            }
            Storage::Mapped(region) => {
                let old = region.len;
                region.resize(old + bytes.len())[old..].copy_from_slice(bytes);
            }
        }
        self.0.memory.grow(bytes.len());
        self.0.memory.take(bytes.len());
    }

    /// Appends zeroes; memory of a long blob is zero as it comes, and stays untouched.
    pub(super) fn extend_zero(&mut self, n: usize) {
        let len = self.0.storage.len() + n;
        self.0.storage.resize(len);
        self.0.memory.grow(n);
    }

    /// The finished value.
    pub fn freeze(self) -> Blob {
        let len = self.0.storage.len() as u32;
        Blob { body: Rc::new(Body::Own(self.0)), start: 0, len }
    }
}
