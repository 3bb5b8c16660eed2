//! An allocator that gives no address out again for a while.
//!
//! Owns the blocks that were freed last. A model must run the same way twice, but crossbeam
//! compares the addresses of its participants, freed ones included when it registers a new one
//! (harmless, since it does not follow them): whether they are equal must not depend on malloc.
//!
//! Unsafe because allocators are.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Participants are larger, with the bag of 64 closures in them.
const LARGE_BYTES: usize = 2048;
/// More than one run of a model frees.
const BLOCKS: usize = 4096;

static LAST: [Mutex<Option<Block>>; BLOCKS] = [const { Mutex::new(None) }; BLOCKS];
static FREED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Quarantine = Quarantine;

struct Quarantine;

struct Block(*mut u8, Layout);

// SAFETY: freed memory, which belongs to nobody.
unsafe impl Send for Block {}

// SAFETY: passes on to `System`, blocks that are freed later or at once.
unsafe impl GlobalAlloc for Quarantine {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let mut due = Some(Block(block, layout));
        if layout.size() >= LARGE_BYTES {
            let place = FREED.fetch_add(1, Ordering::Relaxed) % BLOCKS;
            let mut place = LAST[place].lock().unwrap();
            due = std::mem::replace(&mut *place, due);
        }
        if let Some(Block(block, layout)) = due {
            // SAFETY: the caller, this one or an earlier one, has vouched for it.
            unsafe { System.dealloc(block, layout) }
        }
    }
}
