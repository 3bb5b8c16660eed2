//! What the memory of one store is spent on, and what of it waits to be given back.
//!
//! Owns the counts, and the mappings of long values that nobody holds any more. The
//! databases, values and builders of a store share it on their one thread: each says what it
//! takes and lets go of where that happens, so that the sums need no adding up. Never gives
//! anything back where the last reference drops, which may be amid a request.
//!
//! ```text
//! the system -> living (arrives, is stored, is sent) -> waiting -> the system
//! ```

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};

use super::OutOfMemory;
use super::key::Serial;
use super::mapping::Mapping;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Bytes of pieces, index and long values in use.
    living: Cell<usize>,
    /// Bytes that nobody uses and that the system has not got back.
    waiting: Cell<usize>,
    /// Bytes got from the system since some were last given back.
    taken: Cell<usize>,
    dead: RefCell<Vec<Mapping>>,
    /// Entries moved or removed so far, over all databases of a store.
    moves: Cell<u64>,
    serial: Cell<u32>,
    /// Requests to refuse before any is granted again.
    refusals: Cell<u32>,
}

impl Memory {
    /// Asks whether the system is to be asked for memory.
    pub(super) fn ask(&self) -> Result<(), OutOfMemory> {
        match self.refusals.get().checked_sub(1) {
            None => Ok(()),
            Some(left) => {
                self.refusals.set(left);
                Err(OutOfMemory)
            }
        }
    }

    /// Refuses so many requests, as the system might.
    pub(super) fn refuse(&self, requests: u32) {
        self.refusals.set(requests);
    }

    /// Those that have not come yet.
    pub(super) fn refusals(&self) -> u32 {
        self.refusals.get()
    }

    /// Bytes in use.
    #[inline]
    pub(super) fn living(&self) -> usize {
        self.living.get()
    }

    /// Bytes that wait to be given back.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.get()
    }

    /// So many more bytes are in use.
    #[inline]
    pub(super) fn grow(&self, bytes: usize) {
        self.living.set(self.living.get() + bytes);
    }

    /// So many bytes are in use no more.
    #[inline]
    pub(super) fn shrink(&self, bytes: usize) {
        debug_assert!(self.living.get() >= bytes, "let go of what was held");
        self.living.set(self.living.get().saturating_sub(bytes));
    }

    /// So many bytes have come from the system.
    pub(super) fn take(&self, bytes: usize) {
        self.taken.set(self.taken.get() + bytes);
    }

    /// How many bytes have come from the system since this was last asked.
    pub(super) fn taken(&self) -> usize {
        self.taken.take()
    }

    /// So many more bytes wait.
    pub(super) fn wait(&self, bytes: usize) {
        self.waiting.set(self.waiting.get() + bytes);
    }

    /// So many bytes wait no more.
    pub(super) fn wait_no_more(&self, bytes: usize) {
        debug_assert!(self.waiting.get() >= bytes, "what goes has waited");
        self.waiting.set(self.waiting.get().saturating_sub(bytes));
    }

    /// Takes the mapping of a dead value of which `len` bytes were written.
    pub(super) fn bury(&self, mut mapping: Mapping, len: usize) {
        mapping.trim(len);
        self.wait(mapping.bytes());
        self.dead.borrow_mut().push(mapping);
    }

    /// Gives a step's worth of dead values back and says how many bytes; 0: there are none.
    pub(super) fn release_step(&self) -> usize {
        let mut dead = self.dead.borrow_mut();
        loop {
            let Some(mapping) = dead.last_mut() else { return 0 };
            let released = mapping.release_step();
            if mapping.bytes() == 0 {
                dead.pop();
            }
            if released > 0 {
                self.wait_no_more(released);
                return released;
            }
        }
    }

    /// The next serial number of a database's content.
    pub(super) fn next_serial(&self) -> Serial {
        let serial = self.serial.get();
        self.serial.set((serial + 1) % Serial::NUMBERS);
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
}
