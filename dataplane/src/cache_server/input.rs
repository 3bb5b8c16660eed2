//! What one connection has sent and we have not executed: the unread bytes and the request
//! under way.
//!
//! Requests that arrive whole are parsed where the kernel put them and never come here. A
//! long bulk is collected straight into the memory that will hold the value. Reserves
//! nothing for a claim.

#![forbid(unsafe_code)]

use shards::command::Span;
use shards::store::{Blob, BlobBuilder, BlobSource};

use super::pool::Pool;
use crate::resp::Parser;

/// See the module's text.
#[derive(Default)]
pub(super) struct Input {
    pub(super) parser: Parser,
    /// Spans of the request under way; they point into `unread`.
    pub(super) spans: Vec<Span>,
    /// Bytes from the first one not executed on.
    pub(super) unread: Vec<u8>,
    /// Long bulks of the request under way and which arguments they are.
    pub(super) blobs: Vec<(u32, Blob)>,
    /// The long bulk being collected.
    pub(super) large: Option<Box<Large>>,
}

/// A long bulk on its way in.
pub(super) struct Large {
    builder: BlobBuilder,
    len: usize,
    /// Bytes of the bulk still to come.
    missing: usize,
    /// Bytes of its CRLF still to come.
    line_end: usize,
}

impl Large {
    pub(super) fn new(len: usize, source: &BlobSource) -> Option<Self> {
        let builder = source.builder(len).ok()?;
        Some(Self { builder, len, missing: len, line_end: 2 })
    }

    /// Takes its share of `bytes` and returns the rest.
    pub(super) fn take<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (own, rest) = bytes.split_at(self.missing.min(bytes.len()));
        self.builder.extend(own);
        self.missing -= own.len();
        let line_end = if self.missing == 0 { self.line_end.min(rest.len()) } else { 0 };
        self.line_end -= line_end;
        &rest[line_end..]
    }

    /// Bytes of it that have come.
    pub(super) fn taken(&self) -> usize {
        self.len - self.missing
    }

    pub(super) fn is_whole(&self) -> bool {
        self.missing == 0 && self.line_end == 0
    }

    pub(super) fn finish(self) -> Blob {
        self.builder.freeze()
    }
}

impl Input {
    /// Whether nothing is under way: the next byte begins a request.
    pub(super) fn is_empty(&self) -> bool {
        self.unread.is_empty() && self.large.is_none()
    }

    /// Keeps bytes that cannot be understood or executed yet.
    pub(super) fn keep(&mut self, pool: &mut Pool, bytes: &[u8]) {
        if self.unread.capacity() == 0 {
            self.unread = pool.take();
        }
        self.unread.extend_from_slice(bytes);
    }

    /// Bytes held for the request under way and those behind it.
    pub(super) fn held(&self) -> usize {
        let large = self.large.as_ref().map_or(0, |large| large.taken());
        let blobs: usize = self.blobs.iter().map(|(_, blob)| blob.len()).sum();
        self.unread.len() + self.spans.len() * size_of::<Span>() + blobs + large
    }

    /// The long bulk is whole: it becomes the next argument of the request under way.
    pub(super) fn large_done(&mut self) {
        if let Some(large) = self.large.take() {
            self.blobs.push((self.spans.len() as u32, large.finish()));
            self.spans.push(Span::ELSEWHERE);
            self.parser.large_done(self.unread.len());
        }
    }

    /// Drops what has been executed. No request in a batch may refer to `unread` any more.
    pub(super) fn compact(&mut self, executed: usize) {
        if executed == 0 {
            return;
        }
        self.unread.drain(..executed);
        self.parser.rebase(executed, &mut self.spans);
    }
}
