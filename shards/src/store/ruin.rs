//! What a flush has swapped out: a whole database, taken apart in steps.
//!
//! Owns what the database owned. From the flush on none of it is living memory: it all
//! waits to be given back.

#![forbid(unsafe_code)]

use std::rc::Rc;

use super::deadlines::Deadlines;
use super::held::Held;
use super::index::Index;
use super::mapping::STEP_BYTES;
use super::memory::Memory;
use super::slab::Slab;

/// Long values let go of in a step, unless a step's bytes are gone before.
const VALUES: usize = 64;

/// See the module's text.
pub(super) struct Ruin {
    held: Held,
    slab: Slab,
    index: Option<Index>,
    deadlines: Option<Box<Deadlines>>,
    memory: Rc<Memory>,
}

impl Ruin {
    pub(super) fn new(
        held: Held,
        mut slab: Slab,
        index: Index,
        deadlines: Option<Box<Deadlines>>,
        memory: Rc<Memory>,
    ) -> Self {
        slab.condemn();
        let bytes = held.bytes() + index.memory();
        memory.shrink(bytes);
        memory.wait(bytes);
        Self { held, slab, index: Some(index), deadlines, memory }
    }

    /// Gives a step's worth back and says how many bytes; 0: nothing is left.
    pub(super) fn demolish_step(&mut self) -> usize {
        if !self.held.is_empty() {
            return self.let_go_of_values();
        }
        let released = self.slab.demolish_step();
        if released > 0 {
            return released;
        }
        self.deadlines = None;
        let Some(index) = self.index.take() else { return 0 };
        self.memory.wait_no_more(index.memory());
        index.memory()
    }

    /// Whether nothing is left of it.
    pub(super) fn is_gone(&self) -> bool {
        self.index.is_none()
    }

    /// Lets go of some values. A reply may hold one still, which lives on as its own; a
    /// mapping goes where mappings wait.
    fn let_go_of_values(&mut self) -> usize {
        let before = self.memory.waiting();
        let released = || before.saturating_sub(self.memory.waiting());
        for _ in 0..VALUES {
            if self.held.is_empty() || released() >= STEP_BYTES {
                break;
            }
            self.held.drop_any(|blob| {
                self.memory.wait_no_more(blob.len());
                self.memory.grow(blob.len());
            });
        }
        released().max(1)
    }
}

impl Drop for Ruin {
    fn drop(&mut self) {
        while !self.is_gone() {
            self.demolish_step();
        }
    }
}
