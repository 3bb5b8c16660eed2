//! What one send carries: encoded bytes, with stored values spliced in by reference.
//!
//! Owns its memory until the kernel is done with it. Never copies a spliced value.

#![forbid(unsafe_code)]

use shards::store::Blob;
use std::io::IoSlice;

/// Most pieces of one vectored send.
const MAX_PIECES: usize = 16;

/// A reply (or many) on its way to one peer.
#[derive(Debug, Default)]
pub struct Payload {
    bytes: Vec<u8>,
    /// Values and the offset in `bytes` before which each belongs, ascending.
    blobs: Vec<(usize, Blob)>,
    sent: usize,
    total: usize,
}

impl Payload {
    /// Bytes with values spliced in at ascending offsets.
    pub fn new(bytes: Vec<u8>, blobs: Vec<(usize, Blob)>) -> Self {
        debug_assert!(blobs.is_sorted_by_key(|(at, _)| *at));
        debug_assert!(blobs.iter().all(|(at, _)| *at <= bytes.len()));
        let total = bytes.len() + blobs.iter().map(|(_, blob)| blob.len()).sum::<usize>();
        Self { bytes, blobs, sent: 0, total }
    }

    /// Bytes that have not left yet.
    pub fn left(&self) -> usize {
        self.total - self.sent
    }

    /// The plain rest, when no value is spliced in: the common case, one slice.
    pub(crate) fn plain(&self) -> Option<&[u8]> {
        self.blobs.is_empty().then(|| &self.bytes[self.sent..])
    }

    /// Notes that `n` more bytes have left.
    pub(crate) fn advance(&mut self, n: usize) {
        self.sent += n;
        assert!(self.sent <= self.total, "the kernel sent more than it was given");
    }

    /// The next pieces to send, at most `limit` bytes and [`MAX_PIECES`] pieces.
    pub(crate) fn pieces(&self, limit: usize) -> Vec<IoSlice<'_>> {
        let mut pieces = Vec::with_capacity(MAX_PIECES);
        let (mut skip, mut room) = (self.sent, limit);
        let mut push = |part: &'_ [u8]| -> Option<(usize, usize)> {
            let from = skip.min(part.len());
            skip -= from;
            let len = (part.len() - from).min(room);
            room -= len;
            (len > 0).then_some((from, len))
        };
        let mut at = 0;
        for (offset, blob) in &self.blobs {
            for part in [&self.bytes[at..*offset], blob.bytes()] {
                if let Some((from, len)) = push(part) {
                    pieces.push(IoSlice::new(&part[from..from + len]));
                }
            }
            at = *offset;
            if pieces.len() + 3 > MAX_PIECES {
                return pieces;
            }
        }
        let tail = &self.bytes[at..];
        if let Some((from, len)) = push(tail) {
            pieces.push(IoSlice::new(&tail[from..from + len]));
        }
        pieces
    }

    /// The byte buffer, emptied, for the next reply.
    pub fn into_buffer(mut self) -> Vec<u8> {
        self.bytes.clear();
        self.bytes
    }
}
