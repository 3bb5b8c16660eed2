//! Memory that the allocator holds, given back to the system.
//!
//! After a burst of slow peers the allocator keeps what their buffers were made of, since it
//! gives back by itself only what lies at the end of its heaps. Unsafe because glibc is asked.
#![allow(unsafe_code)]

/// Gives back what is free. Takes milliseconds, in which others wait who ask for memory: not for
/// a shard's thread.
pub fn give_back() {
    // SAFETY: has no conditions; it touches only what is free, under the allocator's own locks.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
