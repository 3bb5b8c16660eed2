//! Byte buffers kept for reuse, so that a steady stream of requests allocates nothing.
//!
//! Owns two sorts: small ones, which is what a buffer begins with, and large ones, for which it is
//! exchanged when it outgrows that. Growing by doubling instead would leave pieces of all sizes
//! behind of each of many stalled connections, and every buffer would be large in the end.

#![forbid(unsafe_code)]

use crate::runtime::{Kept, Payload, RECEIVE_BUFFER_BYTES};

/// Small buffers kept, and bytes of all of them: as many as connections are likely to have
/// something in flight at a time.
const KEPT: usize = 4096;
const KEPT_BYTES: usize = 4 << 20;
/// Bytes of small ones that stay after a burst.
const STAY_BYTES: usize = 256 << 10;
/// Large ones kept.
const KEPT_LARGE: usize = 16;
/// Room of a new one.
const FRESH: usize = 4 << 10;
/// Room for what one receive brings, and its frame: beyond it a buffer is a large one.
const SMALL: usize = 2 * RECEIVE_BUFFER_BYTES;
/// Longer ones are given back to the allocator: a connection's credit, and what comes before it
/// is stopped.
pub(super) const LARGEST: usize = super::CREDIT + 2 * RECEIVE_BUFFER_BYTES;

#[derive(Debug, Default)]
pub(super) struct Buffers {
    small: Vec<Vec<u8>>,
    /// Bytes of the small ones.
    room: usize,
    large: Vec<Vec<u8>>,
    /// Bytes of those that were given back to the allocator.
    dropped: usize,
    lists: Vec<Vec<(usize, Kept)>>,
}

impl Buffers {
    /// An empty buffer with some room.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let Some(buffer) = self.small.pop() else { return Vec::with_capacity(FRESH) };
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

    /// Makes room for so many more bytes; a large buffer has `most`, if that is more.
    #[inline]
    pub(super) fn make_room(&mut self, buffer: &mut Vec<u8>, more: usize, most: usize) {
        let len = buffer.len() + more;
        if buffer.capacity() < len && len > 2 * FRESH {
            self.grow(buffer, len, most);
        }
    }

    fn grow(&mut self, buffer: &mut Vec<u8>, len: usize, most: usize) {
        if len <= SMALL {
            return buffer.reserve_exact(SMALL - buffer.len());
        }
        let fits = self.large.iter().rposition(|large| large.capacity() >= len);
        let mut large = match fits {
            Some(at) => self.large.swap_remove(at),
            None => Vec::with_capacity(len.max(most)),
        };
        large.extend_from_slice(buffer);
        self.put(&mut std::mem::replace(buffer, large));
    }

    /// Takes the memory of what has been sent back.
    pub(super) fn put_payload(&mut self, payload: Payload) {
        let (mut bytes, list) = payload.into_buffers();
        self.put(&mut bytes);
        if list.capacity() > 0 && self.lists.len() < KEPT {
            self.lists.push(list);
        }
    }

    /// Whether so many bytes have been given back to the allocator; from a yes on they are
    /// counted anew.
    pub(super) fn take_dropped(&mut self, many: usize) -> bool {
        let enough = self.dropped >= many;
        if enough {
            self.dropped = 0;
        }
        enough
    }

    /// A burst ebbs: what it has left here is given back to the allocator, but for what some
    /// connections need.
    pub(super) fn let_go(&mut self) {
        self.large = Vec::new();
        while self.room > STAY_BYTES
            && let Some(buffer) = self.small.pop()
        {
            self.room -= buffer.capacity();
        }
        self.lists.truncate(self.small.len());
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
        buffer.clear();
        match room {
            FRESH..=SMALL if self.small.len() < KEPT && self.room + room <= KEPT_BYTES => {
                self.room += room;
                self.small.push(buffer);
            }
            0..FRESH => {}
            FRESH..=LARGEST if room > SMALL && self.large.len() < KEPT_LARGE => {
                self.large.push(buffer);
            }
            _ => self.dropped += room,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_outgrows_its_room_is_exchanged_for_a_large_one_and_back() {
        let mut buffers = Buffers::default();
        let mut buffer = buffers.take();
        buffer.extend_from_slice(b"head");
        buffers.make_room(&mut buffer, 16 << 10, LARGEST);
        assert_eq!(buffer.capacity(), SMALL);
        buffers.make_room(&mut buffer, 100 << 10, LARGEST);
        assert_eq!((buffer.capacity(), &buffer[..]), (LARGEST, &b"head"[..]));
        let place = buffer.as_ptr();
        buffers.put(&mut buffer);
        let mut other = buffers.take();
        assert_eq!(other.capacity(), SMALL, "the small one has come back");
        buffers.make_room(&mut other, 50 << 10, LARGEST);
        assert_eq!(other.as_ptr(), place, "and the large one serves again");
        assert!(!buffers.take_dropped(1));
        (0..=KEPT_LARGE).for_each(|_| buffers.put(&mut Vec::with_capacity(LARGEST)));
        assert!(buffers.take_dropped(LARGEST), "only so many are kept");
        (0..KEPT).for_each(|_| buffers.put(&mut Vec::with_capacity(FRESH)));
        buffers.let_go();
        assert!(buffers.large.is_empty(), "a burst leaves no large ones");
        assert!((1..=STAY_BYTES).contains(&buffers.room), "and few small ones");
        let room = buffers.small.iter().map(Vec::capacity).sum::<usize>();
        assert_eq!(buffers.room, room);
    }
}
