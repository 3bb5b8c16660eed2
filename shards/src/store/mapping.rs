//! Memory straight from the system, given back in steps.
//!
//! Owns one anonymous mapping: zeroed, of small pages (a huge page is zeroed at once, which
//! stalls), and without memory until it is written. Unsafe because it maps and unmaps; who
//! reads and writes it answers for that himself.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use rustix::mm::{
    Advice, MapFlags, MremapFlags, ProtFlags, madvise, mmap_anonymous, mremap, munmap,
};

use super::OutOfMemory;

/// Memory given back in one step: 64 pages, about 20 us.
pub(super) const STEP_BYTES: usize = 256 << 10;
const PAGE_BYTES: usize = 4096;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    /// At least that many bytes of address space.
    pub(super) fn new(bytes: usize) -> Result<Self, OutOfMemory> {
        let bytes = bytes.max(1).next_multiple_of(PAGE_BYTES);
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let start = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        };
        let start = start.ok().and_then(|p| NonNull::new(p.cast::<u8>())).ok_or(OutOfMemory)?;
        // SAFETY: the mapping just made. Failure costs speed only.
        let _ = unsafe { madvise(start.as_ptr().cast(), bytes, Advice::LinuxNoHugepage) };
        Ok(Self { start, bytes })
    }

    /// The first byte, page-aligned.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Bytes that are mapped still.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lets go of it without unmapping.
    pub(super) fn into_start(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).start
    }

    /// Takes back what [`Mapping::into_start`] let go of.
    ///
    /// # Safety
    /// `start` came from `into_start` of a mapping of so many bytes, and nobody else takes
    /// it back or uses it from now on.
    pub(super) unsafe fn from_start(start: NonNull<u8>, bytes: usize) -> Self {
        Self { start, bytes }
    }

    /// Gives a step's worth at the end back and says how many bytes. Nobody may use the
    /// memory any more.
    pub(super) fn release_step(&mut self) -> usize {
        let keep = self.bytes.saturating_sub(1) / STEP_BYTES * STEP_BYTES;
        self.unmap_from(keep)
    }

    /// Gives back what lies behind the first `len` bytes, whose pages were never written.
    pub(super) fn trim(&mut self, len: usize) {
        self.unmap_from(len.next_multiple_of(PAGE_BYTES));
    }

    /// Grows to at least that many bytes, which may move it; what is new is zero.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        let bytes = bytes.next_multiple_of(PAGE_BYTES);
        if bytes <= self.bytes {
            return Ok(());
        }
        let old = self.start.as_ptr().cast();
        // SAFETY: the whole of a mapping of ours; `&mut self` says that nobody has an
        // address in it.
        let start = unsafe { mremap(old, self.bytes, bytes, MremapFlags::MAYMOVE) };
        let start = start.ok().and_then(|p| NonNull::new(p.cast::<u8>())).ok_or(OutOfMemory)?;
        (self.start, self.bytes) = (start, bytes);
        Ok(())
    }

    /// Unmaps all but the first `keep` bytes and says how many that were.
    fn unmap_from(&mut self, keep: usize) -> usize {
        let tail_bytes = self.bytes.saturating_sub(keep);
        if tail_bytes > 0 {
            // SAFETY: inside the mapping or just behind it.
            let tail = unsafe { self.start.as_ptr().add(keep) };
            // SAFETY: whole pages of a mapping of ours that nobody uses any more. Failure
            // leaves them mapped, which is only a leak.
            let _ = unsafe { munmap(tail.cast(), tail_bytes) };
            self.bytes = keep;
        }
        tail_bytes
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.unmap_from(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_back_in_steps_from_its_end() {
        let mut mapping = Mapping::new(2 * STEP_BYTES + 1).expect("memory");
        assert_eq!(mapping.bytes(), 2 * STEP_BYTES + PAGE_BYTES);
        assert_eq!(mapping.release_step(), PAGE_BYTES);
        assert_eq!(mapping.release_step(), STEP_BYTES);
        assert_eq!(mapping.release_step(), STEP_BYTES);
        assert_eq!((mapping.bytes(), mapping.release_step()), (0, 0));
    }

    #[test]
    fn growing_keeps_what_was_written() {
        let mut mapping = Mapping::new(PAGE_BYTES).expect("memory");
        // SAFETY: the first byte of a mapping that nobody else knows.
        unsafe { mapping.start().write(7) };
        mapping.grow(100 * PAGE_BYTES + 1).expect("memory");
        assert_eq!(mapping.bytes(), 101 * PAGE_BYTES);
        // SAFETY: as above, and the last byte of it.
        let (first, last) =
            unsafe { (mapping.start().read(), mapping.start().add(101 * PAGE_BYTES - 1).read()) };
        assert_eq!((first, last), (7, 0));
        mapping.trim(1);
        assert_eq!(mapping.bytes(), PAGE_BYTES);
    }
}
