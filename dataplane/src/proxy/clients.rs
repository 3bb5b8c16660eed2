//! What comes from clients: heads are found, contents passed on, ends noticed.
//!
//! Owns the client's side of an exchange. While a client is being fed, it is out of its table.

#![forbid(unsafe_code)]

use shards::time::Nanos;

use super::cause::Cause;
use super::peers::{Alarm, Client, Exchange, Stage};
use super::pending::Output;
use super::pump::{Held, SPLICED};
use super::{Hands, Proxy};
use crate::http1::write::Address;
use crate::http1::{self, Scan};
use crate::runtime::{ConnKey, Driver, Kept, Loan};

/// How long a client that has half-closed its connection is served on while nothing is sent to
/// it: it may have gone, and that cannot be told from a half close as long as there is nothing
/// that it could refuse. (nginx and Envoy give up at once.)
pub(super) const HALF_CLOSED: Nanos = Nanos(1_000_000_000);

/// Requests begun of one client before others have their turn.
const BEGUN: usize = 32;
/// Bytes that may wait behind the request at hand: a head of the largest size, and some.
const UNREAD: usize = 40 << 10;

/// Bytes on the way to a peer.
#[derive(Debug)]
pub(super) enum Source {
    /// Where the kernel put them.
    Loan(Loan),
    /// The same, for as long as they are wanted.
    Held(Kept),
    /// A copy: from before, and what has come since. The first so many have been used.
    Copied(Vec<u8>, usize),
}

impl Source {
    #[inline]
    pub(super) fn bytes<'a, D: Driver>(&'a self, driver: &'a D) -> &'a [u8] {
        match self {
            Self::Loan(loan) => driver.bytes(*loan),
            Self::Held(kept) => kept.bytes(),
            Self::Copied(bytes, used) => &bytes[*used..],
        }
    }

    /// A loan's bytes, held when `long` content is likely to be sent on from there.
    pub(super) fn of<D: Driver>(hands: &mut Hands<'_, D>, loan: Loan, content: bool) -> Self {
        if content && hands.driver.bytes(loan).len() >= SPLICED {
            return hands.driver.keep(loan).map_or(Self::Loan(loan), Self::Held);
        }
        Self::Loan(loan)
    }

    /// What of them may stay where it is, for the slice that begins at `at`.
    pub(super) fn held(&self, at: usize) -> Held<'_> {
        match self {
            Self::Held(kept) => Held(Some(kept), at),
            _ => Held(None, 0),
        }
    }
}

impl Client {
    pub(super) fn new(key: ConnKey, listener: u16, ip: std::net::IpAddr) -> Self {
        Self {
            key,
            listener,
            ip,
            address: Address::of(ip),
            stage: Stage::Head,
            input: Vec::new(),
            skip: 0,
            behind: false,
            scan: Scan::default(),
            out: Output::default(),
            alarm: Alarm::default(),
            exchange: None,
            paused: false,
            ended: false,
            lingering: false,
            broken: false,
            by_close: false,
            heading: false,
            finishing: false,
            waiting: false,
        }
    }
}

impl Proxy {
    /// Bytes of a client have come.
    pub(super) fn client_received<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        key: ConnKey,
        loan: Loan,
    ) {
        let Some(mut client) = self.clients.take(key) else { return };
        let bytes = hands.driver.bytes(loan);
        self.stats.received_bytes.add(bytes.len() as u64);
        if client.stage != Stage::Closing {
            if client.input.is_empty() {
                let source = Source::of(hands, loan, client.stage == Stage::Exchange);
                self.feed(hands, &mut client, source);
            } else {
                self.buffers.make_room(&mut client.input, bytes.len(), 2 * UNREAD);
                client.input.extend_from_slice(bytes);
                if !client.waiting {
                    self.feed_kept(hands, &mut client);
                }
            }
        }
        self.clients.put(client);
    }

    /// Looks at what has been kept of a client's bytes.
    pub(super) fn feed_kept<D: Driver>(&mut self, hands: &mut Hands<'_, D>, client: &mut Client) {
        let kept = std::mem::take(&mut client.input);
        let used = std::mem::take(&mut client.skip);
        self.feed(hands, client, Source::Copied(kept, used));
    }

    /// Clients whose last exchange has left them with the next request's bytes. Each turn takes
    /// one request of each, or a few that we answer ourselves, so that a long pipeline keeps
    /// nobody waiting.
    pub(super) fn look_again<D: Driver>(&mut self, hands: &mut Hands<'_, D>) {
        let mut waiting = std::mem::take(&mut self.waiting);
        for key in waiting.drain(..) {
            let Some(mut client) = self.clients.take(key) else { continue };
            client.waiting = false;
            if client.stage != Stage::Closing {
                self.feed_kept(hands, &mut client);
            }
            self.clients.put(client);
        }
        if self.waiting.is_empty() {
            self.waiting = waiting; // keeps its memory
        }
    }

    /// A client's bytes are looked at again in the next turn.
    pub(super) fn look_later(&mut self, client: &mut Client) {
        if !client.waiting {
            client.waiting = true;
            self.waiting.push(client.key);
        }
    }

    /// Goes through bytes of a client as far as they can be used now, and keeps the rest.
    pub(super) fn feed<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        client: &mut Client,
        mut source: Source,
    ) {
        let (mut at, mut begun) = (0, 0);
        let credit = self.credit();
        loop {
            let bytes = &source.bytes(hands.driver)[at..];
            if bytes.is_empty() {
                break;
            }
            match client.stage {
                Stage::Head if client.out.pending() > credit => break, // it takes no answers
                Stage::Head if begun == BEGUN => {
                    self.look_later(client);
                    break;
                }
                Stage::Head => {
                    let head =
                        http1::request(bytes, &mut client.scan, &self.limits, &mut self.fields);
                    match head {
                        Ok(None) => break,
                        Ok(Some(head)) => {
                            client.heading = false;
                            client.behind = bytes.len() > head.len;
                            self.begin(hands, client, &source, at, &head);
                            at += head.len;
                            begun += 1;
                        }
                        Err(refusal) => self.refuse_client(client, Cause::Malformed(refusal)),
                    }
                }
                Stage::Exchange => {
                    let waits = |e: &Exchange| e.request.is_done() || !e.held.is_empty();
                    if client.exchange.as_deref().is_none_or(waits) {
                        break; // the next request for this one's answer, content for a limit
                    }
                    match self.pump_request(client, bytes, source.held(at)) {
                        Ok(0) => break,
                        Ok(n) => at += n,
                        Err(cause) => self.abandon(hands, client, cause),
                    }
                }
                Stage::Tunnel => at += self.tunnel_up(client, bytes),
                Stage::Closing => at += bytes.len(),
            }
        }
        client.behind = false;
        self.keep_rest(hands, client, &mut source, at);
        self.after_feeding(hands, client, credit);
    }

    /// Keeps what cannot be used yet.
    fn keep_rest<D: Driver>(
        &mut self,
        hands: &Hands<'_, D>,
        client: &mut Client,
        source: &mut Source,
        at: usize,
    ) {
        match source {
            Source::Loan(_) | Source::Held(_) => {
                let rest = &source.bytes(hands.driver)[at..];
                if !rest.is_empty() {
                    self.buffers.fill(&mut client.input);
                    client.input.extend_from_slice(rest);
                }
            }
            Source::Copied(bytes, used) => {
                client.input = std::mem::take(bytes);
                client.skip = *used + at;
                if client.skip == client.input.len() {
                    client.skip = 0;
                    self.buffers.put(&mut client.input);
                } else if client.skip > client.input.len() / 2 {
                    client.input.drain(..client.skip);
                    client.skip = 0;
                }
            }
        }
    }

    /// Sets the clock for what the client owes now, and stops it when it sends too much.
    fn after_feeding<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        client: &mut Client,
        credit: usize,
    ) {
        let unread = client.stage == Stage::Head && client.out.pending() > credit;
        if client.stage == Stage::Head && !client.input.is_empty() && !client.waiting && !unread {
            if client.ended {
                return self.close_after(client); // the head will never be whole
            }
            self.await_head(client);
        }
        if client.ended && client.input.is_empty() && client.stage == Stage::Exchange {
            let whole = client.exchange.as_ref().is_some_and(|e| e.request.is_done());
            if !whole {
                self.abandon(hands, client, Cause::ClientGone);
            }
        }
        let waits = client.input.len() - client.skip;
        let too_much = unread || waits > UNREAD || self.upstream_is_full(client);
        if !too_much || client.stage == Stage::Closing {
            self.resume_client(hands, client);
        } else if !client.paused {
            client.paused = true;
            self.stats.pauses.add(1);
            hands.driver.pause(client.key);
        }
    }

    /// Whether the server that a client's request goes to has taken too little of it.
    fn upstream_is_full(&mut self, client: &Client) -> bool {
        let key = client.exchange.as_ref().and_then(|exchange| exchange.upstream);
        let credit = self.credit();
        let upstream = key.and_then(|key| self.upstreams.get(key));
        upstream.is_some_and(|up| up.deaf || up.out.pending() > credit)
    }

    /// A client's connection may receive again.
    pub(super) fn resume_client<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        client: &mut Client,
    ) {
        if client.paused {
            client.paused = false;
            if !client.ended {
                hands.driver.resume(client.key);
            }
        }
    }

    /// A client will send no more.
    pub(super) fn client_ended<D: Driver>(&mut self, hands: &mut Hands<'_, D>, key: ConnKey) {
        let Some(mut client) = self.clients.take(key) else { return };
        client.ended = true;
        match client.stage {
            // What is left of a head cannot be finished any more.
            Stage::Head if client.out.pending() == 0 && !client.waiting => {
                return self.drop_client(hands, client);
            }
            Stage::Closing if client.lingering => return self.drop_client(hands, client),
            Stage::Head | Stage::Closing => self.await_taking(&mut client),
            Stage::Tunnel => self.tunnel_up_ended(hands, &mut client),
            Stage::Exchange => {
                let whole = client.exchange.as_ref().is_some_and(|e| e.request.is_done());
                if whole || !client.input.is_empty() {
                    if let Some(exchange) = client.exchange.as_mut() {
                        exchange.progress = self.now.mono;
                    }
                    self.alarm_exchange(&mut client);
                } else {
                    // The content will never be whole; earlier answers are on their way.
                    self.abandon(hands, &mut client, Cause::ClientGone);
                }
            }
        }
        self.clients.put(client);
    }

    /// Answers what is no request, and closes after that.
    pub(super) fn refuse_client(&mut self, client: &mut Client, cause: Cause) {
        self.answer_unread(client, cause);
        self.close_after(client);
    }

    /// From here on nothing of the client is looked at; it goes once it has its answer.
    pub(super) fn close_after(&mut self, client: &mut Client) {
        client.stage = Stage::Closing;
        client.skip = 0;
        self.buffers.put(&mut client.input);
        self.make_dirty_client(client);
        self.await_taking(client);
    }
}
