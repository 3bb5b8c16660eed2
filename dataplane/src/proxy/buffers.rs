//! Byte buffers kept for reuse, so that a steady stream of requests allocates nothing.

#![forbid(unsafe_code)]

/// Buffers kept: as many as connections are likely to have something in flight at a time.
const KEPT: usize = 256;
/// Larger ones are given back to the allocator: a connection's credit and a receive buffer.
const LARGEST: usize = super::CREDIT + crate::runtime::RECEIVE_BUFFER_BYTES;
/// Room of a new one.
const FRESH: usize = 4 << 10;

#[derive(Debug, Default)]
pub(super) struct Buffers(Vec<Vec<u8>>);

impl Buffers {
    /// An empty buffer with some room.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_else(|| Vec::with_capacity(FRESH))
    }

    /// Makes sure that a buffer has memory.
    #[inline]
    pub(super) fn fill(&mut self, buffer: &mut Vec<u8>) {
        if buffer.capacity() == 0 {
            *buffer = self.take();
        }
    }

    /// Takes a buffer's memory back.
    #[inline]
    pub(super) fn put(&mut self, buffer: &mut Vec<u8>) {
        let mut buffer = std::mem::take(buffer);
        if self.0.len() < KEPT && (FRESH..=LARGEST).contains(&buffer.capacity()) {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}
