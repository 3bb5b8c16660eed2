//! Memory from which the kernel picks receive buffers (a provided-buffer ring).
//!
//! One ring serves all connections of a shard, so that an idle one holds no buffer.
//! Unsafe because the kernel writes into this memory and reads its descriptors: a buffer
//! belongs to the kernel from [`BufferRing::give`] until a completion names it.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;
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

/// The ring and the storage behind it.
pub(super) struct BufferRing {
    descriptors: Mapping,
    storage: Mapping,
    count: u16,
    size: usize,
    tail: u16,
}

impl BufferRing {
    /// Registers `count` (a power of two) buffers of `size` bytes as `group`.
    pub(super) fn new(
        submitter: &Submitter<'_>,
        group: u16,
        count: u16,
        size: usize,
    ) -> io::Result<Self> {
        assert!(count.is_power_of_two(), "the kernel masks ring positions");
        let descriptors = Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let storage = Mapping::new(usize::from(count) * size)?;
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
        let mut ring = Self { descriptors, storage, count, size, tail: 0 };
        for id in 0..count {
            ring.give(id);
        }
        ring.publish();
        Ok(ring)
    }

    fn address(&self, id: u16) -> *mut u8 {
        assert!(id < self.count, "no such buffer");
        // SAFETY: id < count keeps the offset inside the storage.
        unsafe { self.storage.start.as_ptr().add(usize::from(id) * self.size) }
    }

    /// The first `len` bytes of a buffer that a completion has handed to us.
    pub(super) fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(len <= self.size, "a buffer is not that long");
        // SAFETY: in bounds, initialised (mapped zeroed), and not written by the kernel
        // until `give`, which takes `&mut self` and so ends this borrow.
        unsafe { std::slice::from_raw_parts(self.address(id), len) }
    }

    /// Keeps the memory mapped for ever, for a ring that is torn down amid receives.
    pub(super) fn leak(&mut self) {
        self.descriptors.len = 0;
        self.storage.len = 0;
    }

    /// Gives a buffer to the kernel; visible to it after [`Self::publish`].
    pub(super) fn give(&mut self, id: u16) {
        let slot = usize::from(self.tail & (self.count - 1));
        let address = self.address(id) as u64;
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
