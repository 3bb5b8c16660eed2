//! Memory from which the kernel picks receive buffers (a provided-buffer ring).
//!
//! One ring serves all connections of a shard, so that an idle one holds no buffer.
//! Unsafe because the kernel writes into this memory and reads its descriptors: a buffer
//! belongs to the kernel from [`BufferRing::give`] until a completion names it.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// An anonymous mapping, unmapped on drop.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(len: usize) -> io::Result<Self> {
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no existing memory.
        let start = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::POPULATE,
            )?
        };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.len == 0 {
            return; // leaked on purpose
        }
        // SAFETY: the mapping was made by `new` with this length, and its owner makes sure
        // that neither the kernel nor a slice uses it any more. Failure leaves it mapped.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// The memory of all buffers, and who shares which.
struct Storage {
    mapping: ManuallyDrop<Mapping>,
    first: u16,
    count: u16,
    size: usize,
    /// Whether the mapping stays for ever.
    leaked: Cell<bool>,
    /// Shares of each buffer that have been kept.
    shares: Box<[Cell<u32>]>,
    /// Buffers that may be kept.
    most_kept: usize,
    /// Buffers of which there are any.
    kept: Cell<usize>,
    /// Those whose last share has gone.
    free: RefCell<Vec<u16>>,
}

impl Storage {
    fn place(&self, id: u16) -> usize {
        let place = id.wrapping_sub(self.first);
        assert!(place < self.count, "no such buffer");
        place.into()
    }

    fn address(&self, id: u16) -> *mut u8 {
        let place = self.place(id);
        // SAFETY: place < count keeps the offset inside the storage.
        unsafe { self.mapping.start.as_ptr().add(place * self.size) }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if !self.leaked.get() {
            // SAFETY: dropped once, here, and not used after.
            unsafe { ManuallyDrop::drop(&mut self.mapping) };
        }
    }
}

/// A share of one buffer, which the kernel does not get back while there is any.
pub(in crate::runtime) struct RingShare {
    storage: Rc<Storage>,
    id: u16,
}

impl RingShare {
    /// The whole buffer.
    #[inline]
    pub(in crate::runtime) fn bytes(&self) -> &[u8] {
        // SAFETY: in bounds, initialised (mapped zeroed), alive with `storage`, and not written
        // by the kernel: `BufferRing` gives it a buffer only when nobody has a share of it.
        unsafe { std::slice::from_raw_parts(self.storage.address(self.id), self.storage.size) }
    }
}

impl std::fmt::Debug for RingShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RingShare({})", self.id)
    }
}

impl Clone for RingShare {
    fn clone(&self) -> Self {
        let shares = &self.storage.shares[self.storage.place(self.id)];
        shares.set(shares.get() + 1);
        Self { storage: self.storage.clone(), id: self.id }
    }
}

impl Drop for RingShare {
    fn drop(&mut self) {
        let shares = &self.storage.shares[self.storage.place(self.id)];
        shares.set(shares.get() - 1);
        if shares.get() == 0 {
            self.storage.free.borrow_mut().push(self.id);
        }
    }
}

/// The ring and the storage behind it.
pub(super) struct BufferRing {
    descriptors: Mapping,
    storage: Rc<Storage>,
    count: u16,
    size: usize,
    tail: u16,
    /// Buffers that are on loan.
    lent: Box<[bool]>,
}

impl BufferRing {
    /// Registers `count` (a power of two) buffers of `size` bytes as `group`, numbered from
    /// `first` on.
    pub(super) fn new(
        submitter: &Submitter<'_>,
        group: u16,
        first: u16,
        count: u16,
        size: usize,
    ) -> io::Result<Self> {
        assert!(count.is_power_of_two(), "the kernel masks ring positions");
        let descriptors = Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let storage = Rc::new(Storage {
            mapping: ManuallyDrop::new(Mapping::new(usize::from(count) * size)?),
            first,
            count,
            size,
            leaked: Cell::new(false),
            shares: (0..count).map(|_| Cell::new(0)).collect(),
            most_kept: usize::from(count) / 2,
            kept: Cell::new(0),
            free: RefCell::new(Vec::with_capacity(count.into())),
        });
        // SAFETY: page-aligned, long enough for `count` descriptors, and alive as long as
        // the ring: the owner drops the ring first.
        unsafe {
            submitter.register_buf_ring_with_flags(
                descriptors.start.as_ptr() as u64,
                count,
                group,
                0,
            )?;
        }
        let lent = (0..count).map(|_| false).collect();
        let mut ring = Self { descriptors, storage, count, size, tail: 0, lent };
        for id in first..first + count {
            ring.give(id);
        }
        ring.publish();
        Ok(ring)
    }

    /// A completion has handed a buffer to us.
    pub(super) fn lend(&mut self, id: u16) {
        self.lent[self.storage.place(id)] = true;
    }

    /// A share of a buffer that is on loan; none when too many are kept.
    pub(super) fn keep(&mut self, id: u16) -> Option<RingShare> {
        let storage = &self.storage;
        let shares = &storage.shares[storage.place(id)];
        assert!(self.lent[storage.place(id)] && shares.get() == 0, "a loan is kept once");
        if storage.kept.get() >= storage.most_kept {
            return None;
        }
        storage.kept.set(storage.kept.get() + 1);
        shares.set(1);
        Some(RingShare { storage: storage.clone(), id })
    }

    /// A loan is over: the kernel gets the buffer, unless somebody has a share of it.
    pub(super) fn give_unless_kept(&mut self, id: u16) {
        self.lent[self.storage.place(id)] = false;
        let kept = self.storage.shares[self.storage.place(id)].get() > 0
            || self.storage.free.borrow().contains(&id);
        if !kept {
            self.give(id);
        }
    }

    /// Buffers whose last share has gone go to the kernel.
    pub(super) fn take_back(&mut self) {
        let storage = self.storage.clone();
        for id in storage.free.borrow_mut().drain(..) {
            storage.kept.set(storage.kept.get() - 1);
            self.give(id);
        }
    }

    /// The first `len` bytes of a buffer that a completion has handed to us.
    pub(super) fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(len <= self.size, "a buffer is not that long");
        // SAFETY: in bounds, initialised (mapped zeroed), and not written by the kernel
        // until `give`, which takes `&mut self` and so ends this borrow.
        unsafe { std::slice::from_raw_parts(self.storage.address(id), len) }
    }

    /// Keeps the memory mapped for ever, for a ring that is torn down amid receives.
    pub(super) fn leak(&mut self) {
        self.descriptors.len = 0;
        self.storage.leaked.set(true);
    }

    /// Gives a buffer to the kernel; visible to it after [`Self::publish`].
    pub(super) fn give(&mut self, id: u16) {
        let slot = usize::from(self.tail & (self.count - 1));
        let address = self.storage.address(id) as u64;
        // SAFETY: slot < count; the kernel reads no descriptor at or beyond the tail.
        let entry =
            unsafe { &mut *self.descriptors.start.as_ptr().cast::<BufRingEntry>().add(slot) };
        entry.set_addr(address);
        entry.set_len(self.size as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows all given buffers to the kernel.
    pub(super) fn publish(&mut self) {
        // SAFETY: the tail is an aligned u16 in the first descriptor, which only we write.
        let tail = unsafe {
            let tail = BufRingEntry::tail(self.descriptors.start.as_ptr().cast());
            &*tail.cast::<AtomicU16>()
        };
        tail.store(self.tail, Ordering::Release);
    }
}
