//! What comes from servers: heads are read, contents passed on, ends noticed.

#![forbid(unsafe_code)]

use std::io;

use super::cause::Cause;
use super::clients::Source;
use super::peers::{Client, Upstream, Use};
use super::pump::Held;
use super::{Hands, Proxy};
use crate::http1::{self, Asked, Body, Framing, Known, ResponseHead, Version};
use crate::runtime::{ConnKey, Driver, Loan};

/// Content from which on a server's connection is received from piece by piece.
const LONG: u64 = 128 << 10;

/// Interim answers (1xx) to one request that are passed on; more is 502.
const INTERIMS: u16 = 100;

/// How far an answer has come.
enum Progress {
    /// More has to come.
    More,
    /// It is whole.
    Whole,
    /// It is none.
    Bad(Cause),
}

impl Proxy {
    /// A server has accepted a connection.
    pub(super) fn server_connected(&mut self, key: ConnKey) {
        if let Some(upstream) = self.upstreams.get(key) {
            upstream.state = Use::Busy;
            upstream.alarm.deadline = super::pump::FOR_EVER;
            Self::make_dirty_upstream(&mut self.dirty, upstream);
        }
    }

    /// A connection to a server has broken, or has not come about.
    pub(super) fn server_failed<D: Driver>(&mut self, hands: &mut Hands<'_, D>, key: ConnKey) {
        let Some(upstream) = self.upstreams.get(key) else { return self.loan_fails(hands, key) };
        match upstream.state {
            Use::Connecting => self.connect_failed(hands, key, Cause::ConnectFailed),
            // What has come before is still to be read, when the client has taken enough; it may
            // have just done so, in the same turn.
            Use::Busy
                if upstream.response.is_some()
                    && (upstream.paused || hands.driver.unreceived(key) > 0) =>
            {
                upstream.broken = true;
            }
            _ => self.server_ended(hands, key, Cause::UpstreamReset),
        }
    }

    /// Bytes of a server have come.
    pub(super) fn server_received<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        key: ConnKey,
        loan: Loan,
    ) {
        let Some(mut upstream) = self.upstreams.take(key) else {
            return self.loan_fails(hands, key);
        };
        let bytes = hands.driver.bytes(loan);
        self.stats.upstream_bytes.add(bytes.len() as u64);
        let Some(mut client) = upstream.client.and_then(|client| self.clients.take(client)) else {
            // Nobody has asked for anything: whose answer would it be?
            self.stats.unsolicited.add(1);
            self.upstreams.put(upstream);
            return self.close_idle(hands, key);
        };
        if upstream.state == Use::Tunnel {
            self.tunnel_down(&mut client, bytes);
            self.hold_back(hands, &mut upstream, &client);
            self.clients.put(client);
            return self.upstreams.put(upstream);
        }
        let source = if upstream.input.is_empty() {
            Source::of(hands, loan, upstream.response.is_some())
        } else {
            upstream.input.extend_from_slice(bytes);
            Source::Copied(std::mem::take(&mut upstream.input), 0)
        };
        self.answer_came(hands, upstream, client, source);
    }

    /// Goes through bytes of an answer.
    fn answer_came<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        mut upstream: Box<Upstream>,
        mut client: Box<Client>,
        source: Source,
    ) {
        let bytes = source.bytes(hands.driver);
        let (at, progress) = self.answer_pieces(&mut upstream, &mut client, &source, bytes);
        let all = at == bytes.len();
        if matches!(progress, Progress::More) && !all {
            self.buffers.fill(&mut upstream.input);
            upstream.input.clear();
            upstream.input.extend_from_slice(&bytes[at..]);
        }
        if let Source::Copied(mut kept, _) = source {
            self.buffers.put(&mut kept);
        }
        self.make_dirty_client(&mut client);
        match progress {
            Progress::More if upstream.state == Use::Tunnel => {
                self.tunnel_begun(hands, upstream, &mut client);
            }
            Progress::More => {
                self.hold_back(hands, &mut upstream, &client);
                self.upstreams.put(upstream);
            }
            Progress::Whole => {
                self.note_length(hands, &mut upstream, &client);
                self.answered(hands, upstream, &mut client, all);
            }
            Progress::Bad(cause) => {
                if cause != Cause::EarlySwitch {
                    self.endpoint_failed(upstream.target);
                }
                self.upstreams.put(upstream);
                self.abandon(hands, &mut client, cause);
            }
        }
        self.clients.put(client);
    }

    /// The same piece by piece: how many bytes were used, and how far the answer has come.
    fn answer_pieces(
        &mut self,
        upstream: &mut Upstream,
        client: &mut Client,
        source: &Source,
        bytes: &[u8],
    ) -> (usize, Progress) {
        let mut at = 0;
        loop {
            match self.answer_piece(upstream, client, &bytes[at..], source.held(at)) {
                Ok((took, true)) => return (at + took, Progress::Whole),
                Ok((0, false)) => return (at, Progress::More),
                Ok((took, false)) => at += took,
                Err(cause) => return (at, Progress::Bad(cause)),
            }
            if upstream.state == Use::Tunnel {
                self.tunnel_down(client, &bytes[at..]);
                return (bytes.len(), Progress::More);
            }
        }
    }

    /// The next piece of an answer: how many bytes it took, and whether that was the last.
    fn answer_piece(
        &mut self,
        upstream: &mut Upstream,
        client: &mut Client,
        bytes: &[u8],
        held: Held<'_>,
    ) -> Result<(usize, bool), Cause> {
        if let Some(body) = &upstream.response {
            if bytes.is_empty() && !body.is_done() {
                return Ok((0, false));
            }
            return self.pump_answer(upstream, client, bytes, held);
        }
        if bytes.is_empty() {
            return Ok((0, false));
        }
        let Some(exchange) = client.exchange.as_mut() else { return Err(Cause::BadResponse) };
        let asked = Asked { method: exchange.head.method, upgrade: exchange.head.upgrade };
        let (scan, fields) = (&mut upstream.scan, &mut self.fields);
        let head = match http1::response(bytes, scan, &self.limits, fields, asked) {
            Ok(Some(head)) => head,
            Ok(None) => {
                upstream.answering = true;
                return Ok((0, false));
            }
            Err(refusal) => {
                exchange.refusal = Some(refusal);
                return Err(Cause::BadResponse);
            }
        };
        if head.status == 101 && !exchange.request.is_done() {
            // RFC 9110 section 7.8: not amid a request.
            return Err(Cause::EarlySwitch);
        }
        if head.is_interim() {
            exchange.interims += 1;
            if exchange.interims > INTERIMS {
                return Err(Cause::BadResponse);
            }
        }
        self.head_came(upstream, client, bytes, &head);
        Ok((head.len, false))
    }

    /// The head of an answer goes on to the client.
    fn head_came(
        &mut self,
        upstream: &mut Upstream,
        client: &mut Client,
        bytes: &[u8],
        head: &ResponseHead,
    ) {
        (upstream.answering, upstream.replayable) = (true, false);
        self.buffers.put(&mut upstream.kept);
        let last = client.is_last();
        let Some(exchange) = client.exchange.as_mut() else { return };
        exchange.progress = self.now.mono;
        let version = if exchange.head.old { Version::Http10 } else { Version::Http11 };
        if head.is_interim() {
            self.stats.answered_1xx.add(1);
            if head.status == 100 {
                exchange.continued = true;
            }
            if exchange.head.old {
                return self.alarm_exchange(client); // RFC 9110 section 15.2: not sent on
            }
        } else {
            exchange.answered = Some(self.now.mono);
            exchange.status = head.status;
            exchange.close |= self.draining || last || exchange.stays_unread();
            upstream.keep_alive = head.keep_alive;
            upstream.response = Some(Body::new(head.body, &self.limits));
        }
        self.scratch.clear();
        if !head.is_interim() {
            self.scratch.extend_from_slice(&exchange.extra);
            if head.status != 101 && !self.fields.has(Known::Date) {
                // RFC 9110 section 6.6.1: who forwards may add what is missing.
                self.scratch.extend_from_slice(b"Date: ");
                self.scratch.extend_from_slice(self.date.at(self.now.unix_seconds()));
                self.scratch.extend_from_slice(b"\r\n");
            }
        }
        let back =
            http1::write::Back { version, keep_alive: !exchange.close, extra: &self.scratch };
        self.buffers.fill(&mut client.out.bytes);
        let sent = http1::write::response(&mut client.out.bytes, bytes, head, &self.fields, &back);
        self.scratch.clear();
        if head.is_interim() {
            return self.alarm_exchange(client);
        }
        exchange.response = sent.body;
        exchange.close |= !sent.keep_alive;
        if head.status == 101 {
            upstream.state = Use::Tunnel;
        } else {
            self.alarm_exchange(client);
        }
    }

    /// An answer is whole.
    fn answered<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        upstream: Box<Upstream>,
        client: &mut Client,
        all: bool,
    ) {
        let whole = client.exchange.as_ref().is_some_and(|e| e.request.is_done());
        let status = client.exchange.as_ref().map_or(0, |e| e.status);
        if let Some(exchange) = client.exchange.as_mut() {
            exchange.upstream = None;
        }
        if matches!(status, 502..=504) {
            self.endpoint_failed(upstream.target);
        } else {
            self.endpoint_succeeded(upstream.target);
        }
        if !all {
            self.stats.unsolicited.add(1);
        }
        self.release(hands, upstream, whole && all);
        if whole {
            self.finish_client(client);
        } else {
            self.answered_early(client);
        }
    }

    /// Stops a server that sends faster than its client takes.
    fn hold_back<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        upstream: &mut Upstream,
        client: &Client,
    ) {
        if upstream.pieces {
            upstream.paused = client.out.pending() > 0; // until the piece has left
            if !upstream.paused {
                hands.driver.resume(upstream.key);
            }
        } else if matches!(upstream.response, Some(Body::Length(left)) if left >= LONG)
            && hands.driver.receive_by_pieces(upstream.key, true)
        {
            (upstream.pieces, upstream.paused) = (true, true);
        } else if client.out.pending() > self.credit() && !upstream.paused {
            upstream.paused = true;
            self.stats.upstream_pauses.add(1);
            hands.driver.pause(upstream.key);
        }
        if upstream.paused && upstream.held_since.is_none() {
            upstream.held_since = Some(self.now.mono);
        }
    }

    /// An answer is over: whether the next is likely to be as long.
    fn note_length<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        upstream: &mut Upstream,
        client: &Client,
    ) {
        let bytes = client.exchange.as_ref().map_or(0, |exchange| exchange.response_bytes);
        if upstream.pieces {
            upstream.paused = true;
            if bytes < LONG {
                upstream.pieces = false;
                hands.driver.receive_by_pieces(upstream.key, false);
            }
        }
    }

    /// A server's connection has ended, in order or not.
    pub(super) fn server_ended<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        key: ConnKey,
        why: Cause,
    ) {
        let Some(mut upstream) = self.upstreams.take(key) else {
            return self.loan_fails(hands, key);
        };
        let Some(mut client) = upstream.client.and_then(|client| self.clients.take(client)) else {
            self.upstreams.put(upstream);
            return self.close_idle(hands, key);
        };
        let (closed, deaf) = (why == Cause::UpstreamClosed && !upstream.broken, upstream.deaf);
        match (&upstream.response, upstream.state) {
            (_, Use::Tunnel) => return self.tunnel_down_ended(hands, upstream, client, closed),
            (Some(body), _)
                if closed && (body.may_end() || cfg!(corelane_mutant = "cut_is_whole")) =>
            {
                self.end_of_content(&mut client);
                upstream.keep_alive = false;
                self.answered(hands, upstream, &mut client, true);
            }
            (Some(_), _) => {
                self.endpoint_failed(upstream.target);
                self.upstreams.put(upstream);
                self.abandon(hands, &mut client, Cause::Truncated);
            }
            (None, _) => {
                // A server may well end a connection that it has not got a request on, or whose
                // client takes too long for it.
                let late = client.owes() && client.is_late(self.now.mono);
                if (!upstream.reused || upstream.answering) && !late {
                    self.endpoint_failed(upstream.target);
                }
                let again =
                    !upstream.answering && self.send_again(hands, &mut upstream, &mut client);
                if again {
                    self.drop_upstream(hands, upstream);
                } else {
                    self.upstreams.put(upstream);
                    let why = if deaf { Cause::UpstreamReset } else { why };
                    self.abandon(hands, &mut client, why);
                }
            }
        }
        self.clients.put(client);
    }

    /// A server takes no more of a request. It may have answered already, so that what it has
    /// sent is waited for, and its end.
    pub(super) fn server_deaf<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        key: ConnKey,
        error: &io::Error,
    ) {
        let Some(upstream) = self.upstreams.get(key) else { return self.loan_fails(hands, key) };
        upstream.deaf = true;
        // The other error says that its end in order had come before.
        upstream.broken |= error.kind() == io::ErrorKind::ConnectionReset;
        upstream.out.settle(self.now.mono);
        let (mut unsent, _) = upstream.out.take();
        upstream.out.account(&mut self.pending);
        self.buffers.put(&mut unsent);
        if upstream.state == Use::Tunnel {
            self.server_ended(hands, key, Cause::UpstreamReset);
        }
    }

    /// A content that ends with its connection is whole; in chunks, it needs the last one.
    fn end_of_content(&mut self, client: &mut Client) {
        let Some(exchange) = client.exchange.as_ref() else { return };
        if exchange.response == Framing::Chunked {
            self.buffers.fill(&mut client.out.bytes);
            http1::write::last_chunk(&mut client.out.bytes, &[]);
        }
        self.make_dirty_client(client);
    }
}
