//! What one send carries: encoded bytes, with stored values, or received bytes, spliced in by
//! reference.
//!
//! Owns its memory until the kernel is done with it. Never copies a spliced value.

#![forbid(unsafe_code)]

use shards::store::Blob;

use super::Kept;

/// Most pieces of one vectored send.
pub(super) const MAX_PIECES: usize = 16;

/// A reply (or many) on its way to one peer.
#[derive(Debug, Default)]
pub struct Payload {
    bytes: Vec<u8>,
    spliced: Spliced,
    sent: usize,
    total: usize,
}

/// What is spliced in, and the offset in the bytes before which each belongs, ascending.
#[derive(Debug)]
enum Spliced {
    /// Stored values.
    Blobs(Vec<(usize, Blob)>),
    /// Received bytes.
    Kept(Vec<(usize, Kept)>),
}

impl Default for Spliced {
    fn default() -> Self {
        Self::Blobs(Vec::new())
    }
}

impl Spliced {
    fn len(&self) -> usize {
        match self {
            Self::Blobs(blobs) => blobs.len(),
            Self::Kept(kept) => kept.len(),
        }
    }

    fn at(&self, n: usize) -> (usize, &[u8]) {
        match self {
            Self::Blobs(blobs) => (blobs[n].0, blobs[n].1.bytes()),
            Self::Kept(kept) => (kept[n].0, kept[n].1.bytes()),
        }
    }
}

impl Payload {
    /// Bytes with values spliced in at ascending offsets.
    pub fn new(bytes: Vec<u8>, blobs: Vec<(usize, Blob)>) -> Self {
        debug_assert!(blobs.is_sorted_by_key(|(at, _)| *at));
        debug_assert!(blobs.iter().all(|(at, _)| *at <= bytes.len()));
        let total = bytes.len() + blobs.iter().map(|(_, blob)| blob.len()).sum::<usize>();
        Self { bytes, spliced: Spliced::Blobs(blobs), sent: 0, total }
    }

    /// Bytes with received ones spliced in at ascending offsets.
    pub fn forwarding(bytes: Vec<u8>, kept: Vec<(usize, Kept)>) -> Self {
        debug_assert!(kept.is_sorted_by_key(|(at, _)| *at));
        debug_assert!(kept.iter().all(|(at, _)| *at <= bytes.len()));
        let total = bytes.len() + kept.iter().map(|(_, kept)| kept.bytes().len()).sum::<usize>();
        Self { bytes, spliced: Spliced::Kept(kept), sent: 0, total }
    }

    /// Bytes that have not left yet.
    pub fn left(&self) -> usize {
        self.total - self.sent
    }

    /// The plain rest, when no value is spliced in: the common case, one slice.
    pub(crate) fn plain(&self) -> Option<&[u8]> {
        (self.spliced.len() == 0).then(|| &self.bytes[self.sent..])
    }

    /// Notes that `n` more bytes have left.
    pub(crate) fn advance(&mut self, n: usize) {
        self.sent += n;
        assert!(self.sent <= self.total, "the kernel sent more than it was given");
    }

    /// Calls `each` with the next pieces to send, at most `limit` bytes and [`MAX_PIECES`] of
    /// them.
    pub(crate) fn each_piece<'a>(&'a self, limit: usize, mut each: impl FnMut(&'a [u8])) {
        let (mut skip, mut room, mut pieces) = (self.sent, limit, 0);
        let mut push = |part: &'a [u8]| {
            let from = skip.min(part.len());
            skip -= from;
            let len = (part.len() - from).min(room);
            room -= len;
            if len > 0 && pieces < MAX_PIECES {
                pieces += 1;
                each(&part[from..from + len]);
            }
            len > 0 && pieces == MAX_PIECES
        };
        let mut at = 0;
        for n in 0..self.spliced.len() {
            let (offset, part) = self.spliced.at(n);
            if push(&self.bytes[at..offset]) || push(part) {
                return;
            }
            at = offset;
        }
        push(&self.bytes[at..]);
    }

    /// The byte buffer, emptied, for the next reply.
    pub fn into_buffer(mut self) -> Vec<u8> {
        self.bytes.clear();
        self.bytes
    }

    /// The same, and the list of what was spliced in, emptied too.
    pub fn into_buffers(mut self) -> (Vec<u8>, Vec<(usize, Kept)>) {
        self.bytes.clear();
        let mut kept = match self.spliced {
            Spliced::Kept(kept) => kept,
            Spliced::Blobs(_) => Vec::new(),
        };
        kept.clear();
        (self.bytes, kept)
    }
}
