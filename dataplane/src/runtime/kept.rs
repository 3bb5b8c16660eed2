//! Received bytes that stay where they are beyond their turn, to be sent on from there.
//!
//! Owns a share of a receive buffer; the buffer serves again once its last share is gone. Never
//! copies. A driver lends no more than half of its buffers so: see [`super::Driver::keep`].

#![forbid(unsafe_code)]

use std::ops::Range;
use std::rc::Rc;

use super::uring::RingShare;

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Kept {
    memory: Memory,
    range: Range<usize>,
}

#[derive(Clone, Debug)]
enum Memory {
    /// A buffer of the ring's.
    Ring(RingShare),
    /// A buffer by itself.
    Heap(Rc<Box<[u8]>>),
}

impl Kept {
    pub(super) fn of_ring(share: RingShare, len: usize) -> Self {
        Self { memory: Memory::Ring(share), range: 0..len }
    }

    pub(super) fn of_heap(buffer: Rc<Box<[u8]>>, len: usize) -> Self {
        Self { memory: Memory::Heap(buffer), range: 0..len }
    }

    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        let all: &[u8] = match &self.memory {
            Memory::Ring(share) => share.bytes(),
            Memory::Heap(buffer) => buffer,
        };
        &all[self.range.clone()]
    }

    /// A part of them, with a share of its own.
    pub fn slice(&self, part: Range<usize>) -> Self {
        assert!(part.start <= part.end && part.end <= self.range.len(), "a part is within");
        let start = self.range.start;
        Self { memory: self.memory.clone(), range: start + part.start..start + part.end }
    }
}
