//! Contents on their way: out of one connection's bytes into the other's, framed anew.

#![forbid(unsafe_code)]

use shards::time::Nanos;

use super::buffers::Buffers;
use super::cause::Cause;
use super::peers::{Client, Upstream};
use super::{CREDIT, Proxy};
use crate::http1::{self, Body, Event, Framing};
use crate::runtime::ConnKey;

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
    ) -> Result<usize, Cause> {
        let Some(exchange) = client.exchange.as_mut() else { return Ok(bytes.len()) };
        let key = exchange.upstream;
        let mut upstream = key.and_then(|key| self.upstreams.get(key));
        if let Some(upstream) = &mut upstream {
            if upstream.out.pending() > CREDIT {
                return Ok(0);
            }
            self.buffers.fill(&mut upstream.out.bytes);
        }
        let chunked = matches!(exchange.request, Body::Chunked(_));
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let (took, event) = exchange.request.next(rest).map_err(Cause::Malformed)?;
            at += took;
            match event {
                Event::More => break,
                Event::Data(data) => {
                    exchange.request_bytes += data.len() as u64;
                    if let Some(upstream) = &mut upstream {
                        put(&mut upstream.out.bytes, chunked, &rest[data]);
                        if upstream.out.pending() > CREDIT {
                            break;
                        }
                    } else if exchange.request_bytes > DISCARDED {
                        return Err(Cause::ClientGone);
                    }
                }
                Event::End { trailers } => {
                    if let Some(upstream) = &mut upstream {
                        if chunked {
                            http1::write::last_chunk(&mut upstream.out.bytes, &rest[trailers]);
                        }
                        keep(&mut self.buffers, upstream, exchange.head.idempotent);
                    }
                    break;
                }
            }
            if exchange.request.is_done() && !chunked {
                if let Some(upstream) = &mut upstream {
                    keep(&mut self.buffers, upstream, exchange.head.idempotent);
                }
                break;
            }
        }
        if let Some(upstream) = upstream {
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
    ) -> Result<(usize, bool), Cause> {
        let Some(exchange) = client.exchange.as_mut() else { return Ok((bytes.len(), false)) };
        let Some(body) = &mut upstream.response else { return Ok((0, false)) };
        self.buffers.fill(&mut client.out.bytes);
        let out = &mut client.out.bytes;
        let chunked = exchange.response == Framing::Chunked;
        exchange.progress = self.now.mono;
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let (took, event) = body.next(rest).map_err(|_| Cause::Truncated)?;
            at += took;
            match event {
                Event::More => return Ok((at, false)),
                Event::Data(data) => {
                    exchange.response_bytes += data.len() as u64;
                    put(out, chunked, &rest[data]);
                }
                Event::End { trailers } => {
                    if chunked {
                        let all = &rest[trailers];
                        let sent = if exchange.trailers { all } else { &[] };
                        http1::write::last_chunk(out, sent);
                    }
                    return Ok((at, true));
                }
            }
        }
    }

    /// Bytes of a client that speaks another protocol by now.
    pub(super) fn tunnel_up(&mut self, client: &mut Client, bytes: &[u8]) -> usize {
        let key = client.exchange.as_ref().and_then(|exchange| exchange.upstream);
        if let Some(upstream) = key.and_then(|key| self.upstreams.get(key)) {
            self.buffers.fill(&mut upstream.out.bytes);
            upstream.out.bytes.extend_from_slice(bytes);
            Self::make_dirty_upstream(&mut self.dirty, upstream);
        }
        if let Some(exchange) = client.exchange.as_mut() {
            exchange.request_bytes += bytes.len() as u64;
        }
        self.alarm_client(client, super::timers::TUNNEL);
        bytes.len()
    }

    /// Bytes of a server that does.
    pub(super) fn tunnel_down(&mut self, client: &mut Client, bytes: &[u8]) {
        self.buffers.fill(&mut client.out.bytes);
        client.out.bytes.extend_from_slice(bytes);
        if let Some(exchange) = client.exchange.as_mut() {
            exchange.response_bytes += bytes.len() as u64;
        }
        self.alarm_client(client, super::timers::TUNNEL);
        self.make_dirty_client(client);
    }

    /// How long a client or a server may be silent amid an exchange.
    pub(super) fn patience(timeout: Option<Nanos>) -> Nanos {
        match timeout {
            Some(Nanos(0)) => FOR_EVER,
            Some(span) => span,
            None => super::timers::ANSWER,
        }
    }

    /// A number of one connection, for lists of both kinds.
    pub(super) fn upstream_of(client: &Client) -> Option<ConnKey> {
        client.exchange.as_ref().and_then(|exchange| exchange.upstream)
    }
}

/// Longer than anybody waits, and not so long that it overflows.
pub(super) const FOR_EVER: Nanos = Nanos(u64::MAX / 4);

#[inline]
fn put(out: &mut Vec<u8>, chunked: bool, data: &[u8]) {
    if chunked {
        http1::write::chunk(out, data);
    } else {
        out.extend_from_slice(data);
    }
}

/// Keeps a whole request as it is sent, in case the connection dies before an answer comes.
pub(super) fn keep(buffers: &mut Buffers, upstream: &mut Upstream, idempotent: bool) {
    let whole = upstream.out.in_flight == 0 && upstream.out.bytes.len() <= REPLAYED;
    if idempotent && whole && upstream.kept.is_empty() {
        buffers.fill(&mut upstream.kept);
        upstream.kept.extend_from_slice(&upstream.out.bytes);
    }
}
