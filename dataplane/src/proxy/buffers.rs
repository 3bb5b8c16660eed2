//! Byte buffers kept for reuse, so that a steady stream of requests allocates nothing.

#![forbid(unsafe_code)]

use crate::runtime::{Kept, Payload};

/// Buffers kept: as many as connections are likely to have something in flight at a time, and
/// bytes of all of them.
const KEPT: usize = 4096;
const KEPT_BYTES: usize = 4 << 20;
/// Larger ones are given back to the allocator: a connection's credit and what comes before it is stopped.
pub(super) const LARGEST: usize = super::CREDIT + 2 * crate::runtime::RECEIVE_BUFFER_BYTES;
/// Room for what one receive brings, and its frame.
const SOME: usize = 2 * crate::runtime::RECEIVE_BUFFER_BYTES;
/// Room of a new one.
const FRESH: usize = 4 << 10;

/// Makes room for so many more bytes. What is longer than two receive buffers grows to `most` in
/// one step: doubling would leave as much behind in pieces, of each of many stalled connections.
pub(super) fn make_room(buffer: &mut Vec<u8>, more: usize, most: usize) {
    let len = buffer.len() + more;
    if buffer.capacity() < len && len > 2 * FRESH {
        let room = if len <= SOME { SOME } else { len.max(most) };
        buffer.reserve_exact(room - buffer.len());
    }
}

#[derive(Debug, Default)]
pub(super) struct Buffers {
    bytes: Vec<Vec<u8>>,
    room: usize,
    /// Bytes of those that were given back to the allocator.
    dropped: usize,
    lists: Vec<Vec<(usize, Kept)>>,
}

impl Buffers {
    /// An empty buffer with some room.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let Some(buffer) = self.bytes.pop() else { return Vec::with_capacity(FRESH) };
        self.room -= buffer.capacity();
        buffer
    }

    /// Makes sure that a buffer has memory.
    #[inline]
    pub(super) fn fill(&mut self, buffer: &mut Vec<u8>) {
        if buffer.capacity() == 0 {
            *buffer = self.take();
        }
    }

    /// Takes the memory of what has been sent back.
    pub(super) fn put_payload(&mut self, payload: Payload) {
        let (mut bytes, list) = payload.into_buffers();
        self.put(&mut bytes);
        if list.capacity() > 0 && self.lists.len() < KEPT {
            self.lists.push(list);
        }
    }

    /// Bytes that were given back to the allocator since the last time this was asked with that
    /// many.
    pub(super) fn dropped(&mut self, many: usize) -> bool {
        let enough = self.dropped >= many;
        if enough {
            self.dropped = 0;
        }
        enough
    }

    /// A list for received bytes that are spliced in.
    pub(super) fn fill_list(&mut self, list: &mut Vec<(usize, Kept)>) {
        if list.capacity() == 0 {
            *list = self.lists.pop().unwrap_or_default();
        }
    }

    /// Takes a buffer's memory back.
    #[inline]
    pub(super) fn put(&mut self, buffer: &mut Vec<u8>) {
        let mut buffer = std::mem::take(buffer);
        let room = buffer.capacity();
        let fits = self.bytes.len() < KEPT && self.room + room <= KEPT_BYTES;
        if fits && (FRESH..=LARGEST).contains(&room) {
            buffer.clear();
            self.room += room;
            self.bytes.push(buffer);
        } else {
            self.dropped += room;
        }
    }
}
