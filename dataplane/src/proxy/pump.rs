//! Contents on their way: out of one connection's bytes into the other's, framed anew.

#![forbid(unsafe_code)]

use std::ops::Range;

use shards::config::Timeouts;
use shards::time::Nanos;

use super::Proxy;
use super::buffers::{Buffers, LARGEST};
use super::cause::Cause;
use super::peers::{Client, Upstream};
use super::pending::{Mark, Output};
use crate::http1::{self, Body, Event, Framing};
use crate::runtime::{ConnKey, Kept};

/// Content from this length on is sent from where it was received. Measured: below it, a copy
/// into the one send of a turn is cheaper.
pub(super) const SPLICED: usize = 8 << 10;
/// Bytes of a request's content that are kept so that it can be sent a second time.
const REPLAYED: usize = 64 << 10;
/// Bytes of a content that are read for nothing after our own answer, so that the connection
/// can go on; beyond them it ends.
pub(super) const DISCARDED: u64 = 64 << 10;

impl Proxy {
    /// Passes on a piece of a request's content; says how many bytes it took.
    pub(super) fn pump_request(
        &mut self,
        client: &mut Client,
        bytes: &[u8],
        held: Held<'_>,
    ) -> Result<usize, Cause> {
        let Some(exchange) = client.exchange.as_mut() else { return Ok(bytes.len()) };
        let key = exchange.upstream;
        let credit = self.credit();
        let mut upstream = key.and_then(|key| self.upstreams.get(key));
        let mut before = Mark::default();
        if let Some(upstream) = &mut upstream {
            if upstream.deaf || upstream.out.pending() > credit {
                return Ok(0);
            }
            self.buffers.fill(&mut upstream.out.bytes);
            before = upstream.out.mark();
        }
        let chunked = matches!(exchange.request, Body::Chunked(_));
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let (took, event) = exchange.request.next(rest).map_err(Cause::Malformed)?;
            let from = at;
            at += took;
            match event {
                Event::More => break,
                Event::Data(data) => {
                    exchange.request_bytes += data.len() as u64;
                    if let Some(upstream) = &mut upstream {
                        let (buffers, out) = (&mut self.buffers, &mut upstream.out);
                        put(buffers, out, chunked, rest, data, held.at(from));
                        if upstream.out.pending() > credit {
                            break;
                        }
                    } else {
                        exchange.discarded += data.len() as u64;
                        if exchange.discarded > DISCARDED {
                            return Err(Cause::ClientGone);
                        }
                    }
                }
                Event::End { trailers } => {
                    if let Some(upstream) = upstream.as_mut().filter(|_| chunked) {
                        http1::write::last_chunk(&mut upstream.out.bytes, &rest[trailers]);
                    }
                    break;
                }
            }
            if exchange.request.is_done() && !chunked {
                break;
            }
        }
        if let Some(upstream) = upstream {
            keep(&mut self.buffers, upstream, before);
            Self::make_dirty_upstream(&mut self.dirty, upstream);
        }
        self.content_came(client);
        Ok(at)
    }

    /// A part of a request's content has come; when it was the last, the answer is awaited.
    fn content_came(&mut self, client: &mut Client) {
        let now = self.now.mono;
        let Some(exchange) = client.exchange.as_mut() else { return };
        exchange.progress = now;
        exchange.backend_until = now.after(exchange.backend);
        if exchange.request.is_done() {
            if exchange.upstream.is_none() {
                self.finish_client(client);
            } else {
                self.alarm_exchange(client);
            }
        }
    }

    /// Passes on a piece of an answer's content; how many bytes it took, and whether the answer
    /// is whole.
    pub(super) fn pump_answer(
        &mut self,
        upstream: &mut Upstream,
        client: &mut Client,
        bytes: &[u8],
        held: Held<'_>,
    ) -> Result<(usize, bool), Cause> {
        let Some(exchange) = client.exchange.as_mut() else { return Ok((bytes.len(), false)) };
        let Some(body) = &mut upstream.response else { return Ok((0, false)) };
        self.buffers.fill(&mut client.out.bytes);
        let out = &mut client.out;
        let chunked = exchange.response == Framing::Chunked;
        exchange.progress = self.now.mono;
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let (took, event) = body.next(rest).map_err(|_| Cause::Truncated)?;
            let from = at;
            at += took;
            match event {
                Event::More => return Ok((at, false)),
                Event::Data(data) => {
                    exchange.response_bytes += data.len() as u64;
                    put(&mut self.buffers, out, chunked, rest, data, held.at(from));
                }
                Event::End { trailers } => {
                    if chunked {
                        let all = &rest[trailers];
                        let sent = if exchange.trailers { all } else { &[] };
                        http1::write::last_chunk(&mut out.bytes, sent);
                    }
                    return Ok((at, true));
                }
            }
        }
    }

    /// How long a server may be silent amid an exchange: as long as its route lets a request
    /// take, where that is longer than the default.
    pub(super) fn patience(timeouts: Timeouts) -> Nanos {
        let spans = [timeouts.request, timeouts.backend].into_iter().flatten();
        let longest = spans.map(|span| if span == Nanos(0) { FOR_EVER } else { span }).max();
        longest.unwrap_or_default().max(super::timers::ANSWER)
    }

    /// Which server's connection a client's request has.
    pub(super) fn upstream_of(client: &Client) -> Option<ConnKey> {
        client.exchange.as_ref().and_then(|exchange| exchange.upstream)
    }
}

/// Longer than anybody waits, and not so long that it overflows.
pub(super) const FOR_EVER: Nanos = Nanos(u64::MAX / 4);

/// Received bytes that may stay where they are, and where the slice at hand begins in them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held<'a>(pub(super) Option<&'a Kept>, pub(super) usize);

impl Held<'_> {
    fn at(self, offset: usize) -> Self {
        Self(self.0, self.1 + offset)
    }
}

/// Bytes around a chunk, at most.
const FRAME: usize = 24;

/// Adds content: from where it is when it is long, else a copy.
#[inline]
fn put(
    buffers: &mut Buffers,
    out: &mut Output,
    chunked: bool,
    bytes: &[u8],
    data: Range<usize>,
    held: Held<'_>,
) {
    match held {
        Held(Some(kept), at) if data.len() >= SPLICED => {
            if chunked {
                http1::write::chunk_size(&mut out.bytes, data.len() as u64);
            }
            buffers.fill_list(&mut out.kept);
            out.splice(kept.slice(at + data.start..at + data.end));
            if chunked {
                out.bytes.extend_from_slice(b"\r\n");
            }
        }
        _ => {
            buffers.make_room(&mut out.bytes, data.len() + FRAME, LARGEST);
            if chunked {
                http1::write::chunk(&mut out.bytes, &bytes[data]);
            } else {
                out.bytes.extend_from_slice(&bytes[data]);
            }
        }
    }
}

/// Keeps what has been added to a request, in case the connection dies before an answer comes;
/// the whole of it, or nothing.
pub(super) fn keep(buffers: &mut Buffers, upstream: &mut Upstream, before: Mark) {
    if !upstream.replayable {
        return;
    }
    buffers.fill(&mut upstream.kept);
    let kept = &mut upstream.kept;
    upstream.out.each_since(before, |bytes| {
        if kept.len() <= REPLAYED {
            kept.extend_from_slice(bytes);
        }
    });
    if kept.len() > REPLAYED {
        upstream.replayable = false;
        buffers.put(&mut upstream.kept);
    }
}
