//! How exchanges end: whole, by an answer of our own, or broken off.

#![forbid(unsafe_code)]

use super::access::{self, Became};
use super::answers;
use super::cause::Cause;
use super::peers::{Client, Exchange, Stage, Target, Upstream, Use};
use super::pump::DISCARDED;
use super::{Hands, Proxy, timers};
use crate::http1::Body;
use crate::runtime::{ConnKey, Driver};

impl Exchange {
    /// Whether the rest of a request's content is more than is read for nothing, or may never
    /// come, so that the connection ends with the answer (RFC 9112 section 9.3).
    pub(super) fn stays_unread(&self) -> bool {
        let rest = match &self.request {
            Body::Length(left) => *left,
            _ if self.request.is_done() => 0,
            _ => 1, // nobody knows, and it is counted as it comes
        };
        rest > DISCARDED || self.head.expects_continue && !self.continued && rest > 0
    }
}

impl Proxy {
    /// The proxy answers a request itself. Its content, if that is short, is still read.
    pub(super) fn answer(&mut self, client: &mut Client, cause: Cause) {
        self.causes.add(cause);
        let last = client.is_last();
        let Some(exchange) = client.exchange.as_mut() else { return };
        let unread = exchange.stays_unread();
        // After these nobody can tell where a next request begins: it was cut short, or is what
        // a client sends through the tunnel that it believes to have (RFC 9931).
        let lost = matches!(cause, Cause::Malformed(_) | Cause::SlowBody | Cause::NoConnect);
        exchange.close |= unread || lost || last || self.draining;
        (exchange.status, exchange.cause) = (cause.status(), Some(cause));
        self.buffers.put(&mut exchange.held); // no other answer may follow
        let id = *exchange.id.text();
        let given = exchange.given_id();
        let asked = answers::Asked {
            id: given.unwrap_or(&id),
            is_head: exchange.head.is_head,
            close: exchange.close,
            old: exchange.head.old,
            extra: &exchange.extra,
            refusal: exchange.refusal.filter(|_| cause == Cause::BadResponse),
            date: self.date.at(self.now.unix_seconds()),
        };
        self.buffers.fill(&mut client.out.bytes);
        let sent = answers::write(&mut client.out.bytes, &mut self.scratch, cause, &asked);
        exchange.response_bytes = sent;
        self.make_dirty_client(client);
        let Some(exchange) = client.exchange.as_ref() else { return };
        if exchange.close || exchange.request.is_done() {
            self.finish_client(client);
        } else {
            self.alarm_exchange(client);
        }
    }

    /// The server has answered before it had the whole request. What the client still sends of
    /// it is for nobody, but not the end of its connection.
    pub(super) fn answered_early(&mut self, client: &mut Client) {
        match client.exchange.as_ref() {
            Some(exchange) if !exchange.close => self.alarm_exchange(client),
            _ => self.finish_client(client),
        }
    }

    /// The same for bytes that are no request.
    pub(super) fn answer_unread(&mut self, client: &mut Client, cause: Cause) {
        self.causes.add(cause);
        let id = *self.random.id().text();
        let asked = answers::Asked {
            id: &id,
            is_head: false,
            close: true,
            old: false,
            extra: b"",
            refusal: None,
            date: self.date.at(self.now.unix_seconds()),
        };
        self.buffers.fill(&mut client.out.bytes);
        let sent = answers::write(&mut client.out.bytes, &mut self.scratch, cause, &asked);
        self.count_status(cause.status());
        if self.log.is_on() {
            let mut line = std::mem::take(&mut self.scratch);
            let asked = access::Asked {
                wall_us: self.now.wall_us,
                id: &id,
                client: client.address.text(),
                ..access::Asked::default()
            };
            self.log.begin(&mut line, &asked);
            let became = Became {
                status: cause.status(),
                bytes_in: 0,
                bytes_out: sent,
                us: 0,
                first_us: None,
                tries: 0,
                endpoint: b"",
                cause: cause.label(),
            };
            access::finish(&mut line, &became);
            self.log.add(&line, self.now.mono);
            self.stats.logged.add(1);
            line.clear();
            self.scratch = line;
        }
    }

    /// Why an exchange was broken off is remembered for the records.
    pub(super) fn note_cause(&mut self, client: &mut Client, cause: Cause) {
        if let Some(exchange) = client.exchange.as_mut()
            && exchange.cause.is_none()
        {
            exchange.cause = Some(cause);
            self.causes.add(cause);
        }
    }

    /// An exchange cannot go on: the client is told, if nothing of an answer has been sent, and
    /// cut off otherwise.
    pub(super) fn abandon<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        client: &mut Client,
        cause: Cause,
    ) {
        self.detach(hands, client);
        let Some(exchange) = client.exchange.as_mut() else { return self.close_after(client) };
        if exchange.status == 0 && cause.status() != 0 {
            return self.answer(client, cause);
        }
        exchange.close = true;
        client.broken = exchange.ends_with_connection();
        self.note_cause(client, cause);
        self.finish_client(client);
    }

    /// The server's connection of an exchange that is broken off cannot be used again.
    pub(super) fn detach<D: Driver>(&mut self, hands: &mut Hands<'_, D>, client: &mut Client) {
        let key = client.exchange.as_mut().and_then(|exchange| exchange.upstream.take());
        if let Some(upstream) = key.and_then(|key| self.upstreams.take(key)) {
            self.drop_upstream(hands, upstream);
        }
    }

    /// The client's side of an exchange is over.
    pub(super) fn finish_client(&mut self, client: &mut Client) {
        let Some(mut exchange) = client.exchange.take() else { return };
        self.record(client, &mut exchange);
        let close = exchange.close || !exchange.request.is_done() || client.is_last();
        client.by_close = exchange.ends_with_connection();
        exchange.clear(&mut self.buffers);
        self.spare.push(exchange);
        if close || client.stage == Stage::Tunnel {
            return self.close_after(client);
        }
        client.stage = Stage::Head;
        self.rest(client);
        if !client.input.is_empty() && !cfg!(corelane_mutant = "pipeline_forgotten") {
            self.look_later(client);
        }
    }

    /// A line in the access log, and the counts.
    fn record(&mut self, client: &Client, exchange: &mut Exchange) {
        self.count_status(exchange.status);
        let now = self.now.mono;
        if exchange.status != 0 {
            self.latency.record(now.since(exchange.started));
        }
        if !self.log.is_on() {
            return;
        }
        let became = Became {
            status: exchange.status,
            bytes_in: exchange.request_bytes,
            bytes_out: exchange.response_bytes,
            us: now.since(exchange.started).0 / 1_000,
            first_us: exchange.answered.map(|at| at.since(exchange.started).0 / 1_000),
            tries: exchange.tries,
            endpoint: exchange.endpoint.as_ref().map_or(b"", |target| target.text.get()),
            cause: exchange.cause.map_or("-", Cause::label),
        };
        debug_assert!(client.exchange.is_none(), "it has been taken out");
        access::finish(&mut exchange.record, &became);
        self.log.add(&exchange.record, now);
        self.stats.logged.add(1);
    }

    fn count_status(&mut self, status: u16) {
        let counter = match status {
            100..200 => &self.stats.answered_1xx,
            200..300 => &self.stats.answered_2xx,
            300..400 => &self.stats.answered_3xx,
            400..500 => &self.stats.answered_4xx,
            500..600 => &self.stats.answered_5xx,
            _ => return, // nothing was answered
        };
        counter.add(1);
    }

    /// The server's side of an exchange is over, and the answer was whole.
    pub(super) fn release<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        mut upstream: Box<Upstream>,
        clean: bool,
    ) {
        let served = self.ends_at(&upstream.target);
        upstream.client = None;
        upstream.response = None;
        upstream.answering = false;
        upstream.replayable = false;
        upstream.held_since = None;
        self.buffers.put(&mut upstream.kept);
        self.buffers.put(&mut upstream.input);
        let quiet = upstream.out.pending() == 0;
        let clean = clean || cfg!(corelane_mutant = "keeps_spoiled");
        let lives = clean && quiet && upstream.keep_alive && !upstream.deaf;
        let keep = lives && served && !self.draining;
        if !keep || !self.pool.put(upstream.target.slot, upstream.key) {
            return self.close_server(hands, upstream);
        }
        upstream.state = Use::Idle;
        if std::mem::take(&mut upstream.paused) {
            hands.driver.resume(upstream.key);
        }
        self.alarm_upstream(&mut upstream, timers::SERVER_IDLE);
        self.stats.idle_upstreams.set(self.pool.idle() as u64);
        self.upstreams.put(upstream);
    }

    /// A request at an endpoint has come to its end; says whether the endpoint is still one.
    fn ends_at(&mut self, target: &Target) -> bool {
        self.pool.end(target.slot);
        let served = self.served.get().find(target).is_some();
        if !served {
            self.pool.let_go(target.slot);
        }
        served
    }

    /// A server's connection that an exchange still had.
    pub(super) fn drop_upstream<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        upstream: Box<Upstream>,
    ) {
        self.ends_at(&upstream.target);
        self.close_server(hands, upstream);
    }

    /// Closes a connection to a server.
    pub(super) fn close_server<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        mut upstream: Box<Upstream>,
    ) {
        self.disarm(&mut upstream.alarm);
        self.buffers.put(&mut upstream.kept);
        self.buffers.put(&mut upstream.input);
        if upstream.out.pending() > 0 {
            // What the kernel has of it would stay there for minutes: the server does not take it.
            hands.driver.reset(upstream.key);
        }
        self.buffers.put(&mut upstream.out.bytes);
        self.pending -= upstream.out.accounted;
        hands.driver.close(upstream.key);
        self.stats.upstreams.set(self.stats.upstreams.get() - 1);
        self.stats.idle_upstreams.set(self.pool.idle() as u64);
    }

    /// Closes an idle connection to a server.
    pub(super) fn close_idle<D: Driver>(&mut self, hands: &mut Hands<'_, D>, key: ConnKey) {
        if let Some(upstream) = self.upstreams.take(key) {
            self.pool.forget(upstream.target.slot, key);
            self.close_server(hands, upstream);
        }
    }

    /// Closes a client's connection now.
    pub(super) fn close_client<D: Driver>(&mut self, hands: &mut Hands<'_, D>, key: ConnKey) {
        if let Some(mut client) = self.clients.take(key) {
            self.note_cause(&mut client, Cause::ClientGone);
            self.drop_client(hands, client);
        }
    }

    /// The same, when it is out of its table; what it had under way is broken off.
    pub(super) fn drop_client<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        mut client: Box<Client>,
    ) {
        self.detach(hands, &mut client);
        let broken = client.exchange.as_ref().is_some_and(|e| e.ends_with_connection());
        let cut = client.by_close && client.out.pending() > 0;
        if client.broken || cut || broken && client.stage == Stage::Exchange {
            // Only a reset can tell that the answer is not whole.
            hands.driver.reset(client.key);
        }
        if let Some(mut exchange) = client.exchange.take() {
            self.record(&client, &mut exchange);
            exchange.clear(&mut self.buffers);
            self.spare.push(exchange);
        }
        self.disarm(&mut client.alarm);
        self.buffers.put(&mut client.input);
        self.buffers.put(&mut client.out.bytes);
        self.pending -= client.out.accounted;
        hands.driver.close(client.key);
        self.stats.departed.add(1);
        self.stats.connections.set(self.stats.connections.get() - 1);
        self.gone += 1;
    }
}
