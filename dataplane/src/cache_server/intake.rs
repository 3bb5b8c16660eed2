//! From received bytes to requests in the batch.

#![forbid(unsafe_code)]

use shards::command::{Flags, Span};
use shards::settings::Settings;
use shards::store::{BlobSource, Hasher, Hint, KeyHash, Store};

use super::batch::{Batch, Fault, Queued, Source};
use super::conn::{Conn, Gate, Reason};
use super::input::Large;
use super::pool::Pool;
use super::receive::QUERY_LIMIT;
use crate::resp::{Limits, Step};

/// Arguments from this length on are collected in the memory that will hold the value.
const LARGE_BULK: u32 = 32 << 10;
/// Most arguments of a request, as in Redis.
const MAX_ARGS: u32 = 1 << 20;

/// What parsing needs of the shard.
pub(super) struct Intake<'a> {
    pub(super) batch: &'a mut Batch,
    pub(super) hasher: &'a Hasher,
    pub(super) store: &'a Store,
    pub(super) blobs: &'a BlobSource,
    pub(super) pool: &'a mut Pool,
    pub(super) settings: &'a Settings,
}

/// How parsing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// No more can be parsed of these bytes now.
    All,
    /// The batch is full; call again with the same bytes after it has been executed.
    BatchFull,
}

fn limits(conn: &Conn, settings: &Settings) -> Limits {
    if conn.session.authenticated {
        let bulk = settings.proto_max_bulk_len;
        Limits { args: MAX_ARGS, bulk, large: LARGE_BULK, unauthenticated: false }
    } else {
        Limits::UNAUTHENTICATED
    }
}

impl Intake<'_> {
    /// Parses `bytes`, a receive buffer of a connection with nothing unread. What stays
    /// unparsed is kept with the connection.
    pub(super) fn fresh(&mut self, conn: &mut Conn, bytes: &[u8], source: Source) -> Parsed {
        let parsed = self.parse(conn, bytes, source);
        if parsed == Parsed::All && conn.input.large.is_none() {
            let start = std::mem::take(&mut conn.consumed);
            if start < bytes.len() {
                conn.input.keep(self.pool, &bytes[start..]);
            }
            conn.input.parser.rebase(start, &mut conn.input.spans);
        }
        parsed
    }

    /// Parses the connection's unread bytes.
    pub(super) fn unread(&mut self, conn: &mut Conn) -> Parsed {
        let bytes = std::mem::take(&mut conn.input.unread);
        let queued = self.batch.queued.len();
        let parsed = self.parse(conn, &bytes, Source::Unread);
        if conn.input.large.is_none() {
            conn.input.unread = bytes;
        } else {
            // The parser has kept the request's head; requests before it are kept too.
            let mut bytes = bytes;
            bytes.truncate(conn.input.parser.position());
            conn.input.unread = bytes;
        }
        if self.batch.queued.len() > queued || conn.consumed > 0 {
            self.batch.from_unread.push(conn.key);
        }
        parsed
    }

    fn parse(&mut self, conn: &mut Conn, bytes: &[u8], source: Source) -> Parsed {
        let limits = limits(conn, self.settings);
        let origin = self.batch.origin(conn.key, source);
        while conn.is_open() {
            if self.batch.is_full() {
                return Parsed::BatchFull;
            }
            let input = &mut conn.input;
            match input.parser.advance(bytes, limits, &mut input.spans) {
                Ok(Step::Request { end }) => {
                    self.queue(conn, bytes, origin);
                    conn.consumed = end;
                }
                Ok(Step::Unquoted { end, bytes, spans }) => {
                    let number = self.batch.unquoted.len() as u32;
                    conn.input.spans = spans;
                    let origin = self.batch.origin(conn.key, Source::Unquoted(number));
                    self.queue(conn, &bytes, origin);
                    self.batch.unquoted.push(bytes);
                    conn.consumed = end;
                }
                Ok(Step::Large { start, len }) => {
                    if !self.large(conn, bytes, start, len, source) {
                        return Parsed::All;
                    }
                }
                Ok(Step::More) => return Parsed::All,
                Err(fault) => self.batch.put_fault(conn, Fault::Protocol(fault), origin),
            }
        }
        Parsed::All
    }

    /// Queues the request whose spans the parser has left.
    #[inline]
    fn queue(&mut self, conn: &mut Conn, bytes: &[u8], origin: u32) {
        let input = &mut conn.input;
        let Some(first) = input.spans.first() else { return };
        let slice = |n: usize| {
            let span = input.spans[n];
            &bytes[span.start as usize..][..span.len as usize]
        };
        let named = *first != Span::ELSEWHERE; // no command has a name that long
        let spec = if named { self.batch.known.find(bytes, *first) } else { None };
        if spec.is_none() && first.len > 3 && is_http(slice(0)) {
            conn.gate = Gate::Shut;
            conn.closing = Some(Reason::Http);
            input.spans.clear();
            return;
        }
        let first_key = spec.map_or(0, |spec| spec.keys.first) as usize;
        let long = input.blobs.iter().any(|(n, _)| *n as usize == first_key);
        let keyed = first_key > 0 && first_key < input.spans.len() && !long;
        let at = if keyed { self.hasher.hash(slice(first_key)) } else { KeyHash::default() };
        if keyed {
            self.store.prefetch_head(conn.session.db, at);
        }
        let blobs = if input.blobs.is_empty() {
            0
        } else {
            self.batch.blobs.push(std::mem::take(&mut input.blobs));
            self.batch.blobs.len() as u32
        };
        if spec.is_some_and(|spec| spec.flags.has(Flags::LONG)) || !conn.session.authenticated {
            conn.gate = Gate::Barrier;
        }
        self.batch.queued.push(Queued {
            spec,
            at,
            hint: Hint::default(),
            origin,
            first_span: self.batch.spans.len() as u32,
            spans: input.spans.len() as u32,
            blobs,
            fault: 0,
            key: if keyed { first_key as u8 } else { 0 },
            db: conn.session.db,
        });
        self.batch.spans.append(&mut input.spans);
    }

    /// Starts collecting a long argument; `true` when all of it is there already.
    fn large(
        &mut self,
        conn: &mut Conn,
        bytes: &[u8],
        start: usize,
        len: usize,
        source: Source,
    ) -> bool {
        if conn.input.held() + len > QUERY_LIMIT {
            let origin = self.batch.origin(conn.key, source);
            self.batch.put_fault(conn, Fault::TooLong, origin);
            return false;
        }
        let Some(mut large) = Large::new(len, self.blobs) else {
            let origin = self.batch.origin(conn.key, source);
            self.batch.put_fault(conn, Fault::OutOfMemory, origin);
            return false;
        };
        let rest = large.take(&bytes[start..]);
        let input = &mut conn.input;
        if large.is_whole() {
            input.blobs.push((input.spans.len() as u32, large.finish()));
            input.spans.push(Span::ELSEWHERE);
            input.parser.large_done(bytes.len() - rest.len());
            return true;
        }
        input.large = Some(Box::new(large));
        if matches!(source, Source::Loan(_)) {
            let from = std::mem::take(&mut conn.consumed);
            input.keep(self.pool, &bytes[from..start]);
            input.parser.rebase(from, &mut input.spans);
        }
        false
    }
}

/// A web page may make a browser send us a request whose body is commands; the head gives
/// it away (<https://valkey.io/topics/security/>).
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}
