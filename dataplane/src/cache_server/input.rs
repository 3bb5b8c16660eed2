//! What one connection has sent and we have not executed: the unread bytes and the request
//! under way.
//!
//! Requests that arrive whole are parsed where the kernel put them and never come here. A
//! long bulk is collected straight into the memory that will hold the value. Reserves
//! nothing for a claim.

#![forbid(unsafe_code)]

use shards::command::Span;
use shards::store::{Blob, BlobBuilder, BlobSource};

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
    /// Bytes of the bulk still to come.
    missing: usize,
    /// Bytes of its CRLF still to come.
    line_end: usize,
}

impl Large {
    pub(super) fn new(len: usize, source: &BlobSource) -> Option<Self> {
        let builder = source.builder(len).ok()?;
        Some(Self { builder, missing: len, line_end: 2 })
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

    /// The long bulk is whole: it becomes the next argument of the request under way.
    pub(super) fn large_done(&mut self) {
        if let Some(large) = self.large.take() {
            self.blobs.push((self.spans.len() as u32, large.finish()));
            self.spans.push(Span { start: 0, len: 0 });
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
