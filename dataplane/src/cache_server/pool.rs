//! Byte buffers kept for reuse, so that a steady stream of requests allocates nothing.

#![forbid(unsafe_code)]

/// Buffers kept: as many as connections are likely to have replies in flight at a time.
const KEPT: usize = 256;
/// Larger ones are given back to the allocator.
const LARGEST: usize = 64 << 10;
/// Room of a new one.
const FRESH: usize = 4 << 10;

#[derive(Default)]
pub(super) struct Pool(Vec<Vec<u8>>);

impl Pool {
    /// An empty buffer with some room.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_else(|| Vec::with_capacity(FRESH))
    }

    /// Takes a buffer back.
    pub(super) fn put(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < KEPT && (FRESH..=LARGEST).contains(&buffer.capacity()) {
            buffer.clear();
            self.0.push(buffer);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
