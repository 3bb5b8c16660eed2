//! What happens by the clock: who is too slow, too long idle, or gone in silence.
//!
//! Owns the spans. A connection has one timer, which is left alone while its deadline only moves
//! away, so that a steady stream of requests sets none; it fires early then, and is set anew.

#![forbid(unsafe_code)]

use shards::time::Nanos;
use shards::wheel::Wheel;

use super::cause::Cause;
use super::clients::HALF_CLOSED;
use super::peers::{Alarm, Client, Stage, Upstream, Use};
use super::{Hands, Proxy};
use crate::runtime::{ConnKey, Driver};

/// From the first byte of a head to its last.
pub(super) const HEAD: Nanos = Nanos(10 * Nanos::SECOND.0);
/// Between two requests of a client (nginx: `keepalive_timeout 75s`).
const CLIENT_IDLE: Nanos = Nanos(75 * Nanos::SECOND.0);
/// Until a server has accepted a connection.
pub(super) const CONNECT: Nanos = Nanos(5 * Nanos::SECOND.0);
/// From the last byte of a request to the first of its answer, and between two parts of an
/// answer (nginx: `proxy_read_timeout 60s`); longer where the route's time-outs are.
pub(super) const ANSWER: Nanos = Nanos(60 * Nanos::SECOND.0);
/// How long a client may take nothing of an answer (nginx: `send_timeout 60s`).
pub(super) const SEND: Nanos = Nanos(60 * Nanos::SECOND.0);
/// The same when it has half-closed its connection: it has gone, most likely.
const HALF_SEND: Nanos = Nanos(5 * Nanos::SECOND.0);
/// How often a client that has not taken all is looked at.
const LOOK: Nanos = Nanos(Nanos::SECOND.0);
/// How long an unused connection to a server is kept.
pub(super) const SERVER_IDLE: Nanos = Nanos(60 * Nanos::SECOND.0);
/// Between two bytes of a tunnel, in either direction.
pub(super) const TUNNEL: Nanos = Nanos(3_600 * Nanos::SECOND.0);
/// The same when one side of it has ended.
pub(super) const HALF_TUNNEL: Nanos = Nanos(60 * Nanos::SECOND.0);
/// How long the client may take to close after our last answer.
const LINGER: Nanos = Nanos(Nanos::SECOND.0);
/// How often a content's speed is looked at, or what has been taken of an answer, and the least
/// number of bytes of a content between two looks.
pub(super) const BODY_LOOK: Nanos = Nanos(10 * Nanos::SECOND.0);
const BODY_FLOOR: u64 = 5_000;
/// After this time without a part of its content a client is the reason that a server gives up.
const LATE: Nanos = Nanos(Nanos::SECOND.0);
/// Timers fired in one turn. Each may close a connection, which takes about 10 us.
const PER_TURN: usize = 16;

impl Proxy {
    /// Nothing is under way in a tunnel but what its sides say.
    pub(super) fn alarm_tunnel(&mut self, client: &mut Client, half: bool) {
        self.alarm_client(client, if half { HALF_TUNNEL } else { TUNNEL });
    }

    /// How long a client may take nothing.
    pub(super) fn await_taking(&mut self, client: &mut Client) {
        self.alarm_client(client, if client.ended { HALF_SEND } else { BODY_LOOK });
    }

    /// Between two requests.
    pub(super) fn rest(&mut self, client: &mut Client) {
        client.heading = false;
        self.alarm_client(client, CLIENT_IDLE);
    }

    /// A head has begun.
    pub(super) fn await_head(&mut self, client: &mut Client) {
        let at = self.now.mono.after(HEAD);
        // Not moved by further bytes of the same head.
        if !std::mem::replace(&mut client.heading, true) {
            set(&mut self.wheel, &mut client.alarm, client.key, at);
        }
    }

    /// The client is to close.
    pub(super) fn await_end(&mut self, client: &mut Client) {
        self.alarm_client(client, LINGER);
    }

    /// The client is looked at after this span.
    pub(super) fn alarm_client(&mut self, client: &mut Client, span: Nanos) {
        let at = self.now.mono.after(span);
        set(&mut self.wheel, &mut client.alarm, client.key, at);
    }

    /// The server's connection is looked at after this span.
    pub(super) fn alarm_upstream(&mut self, upstream: &mut Upstream, span: Nanos) {
        let at = self.now.mono.after(span);
        set(&mut self.wheel, &mut upstream.alarm, upstream.key, at);
    }

    /// No timer names this connection any more.
    pub(super) fn disarm(&mut self, alarm: &mut Alarm) {
        if let Some((timer, _)) = alarm.armed.take() {
            self.wheel.cancel(timer);
        }
    }

    /// Fires what is due.
    pub(super) fn fire_timers<D: Driver>(&mut self, hands: &mut Hands<'_, D>) {
        let now = self.now.mono;
        if self.wheel.next_deadline().is_none_or(|next| next > now.0) {
            return;
        }
        let mut due = std::mem::take(&mut self.due);
        self.wheel.expire(now.0, PER_TURN, |key| due.push(key));
        for key in due.drain(..) {
            if let Some(client) = self.clients.get(key) {
                client.alarm.armed = None;
                if client.alarm.deadline > now {
                    let at = client.alarm.deadline;
                    set(&mut self.wheel, &mut client.alarm, key, at);
                } else {
                    self.client_due(hands, key);
                }
            } else if let Some(upstream) = self.upstreams.get(key) {
                upstream.alarm.armed = None;
                if upstream.alarm.deadline > now {
                    let at = upstream.alarm.deadline;
                    set(&mut self.wheel, &mut upstream.alarm, key, at);
                } else {
                    self.upstream_due(hands, key);
                }
            }
        }
        self.due = due;
    }

    fn client_due<D: Driver>(&mut self, hands: &mut Hands<'_, D>, key: ConnKey) {
        let Some(mut client) = self.clients.take(key) else { return };
        if client.stage != Stage::Exchange && client.out.in_flight > 0 {
            // What it owes is that it takes its answers.
            let now = self.now.mono;
            let taken = client.out.look(hands.driver.unsent(key), now);
            let until = taken.after(if client.ended { HALF_SEND } else { SEND });
            if until <= now {
                self.causes.add(Cause::SlowReader);
                return self.drop_client(hands, client);
            }
            set(&mut self.wheel, &mut client.alarm, key, until.min(now.after(BODY_LOOK)));
            return self.clients.put(client);
        }
        match client.stage {
            Stage::Head if client.input.is_empty() => return self.drop_client(hands, client),
            Stage::Head => self.refuse_client(&mut client, Cause::SlowHead),
            Stage::Closing => return self.drop_client(hands, client),
            Stage::Tunnel => {
                self.note_cause(&mut client, Cause::Stalled);
                return self.drop_client(hands, client);
            }
            Stage::Exchange => {
                if self.borrows_too_long(hands, &mut client) {
                    return self.clients.put(client);
                }
                if let Some(cause) = self.exchange_due(hands, &mut client) {
                    self.blame(&client, cause);
                    if cause.status() == 0 {
                        self.note_cause(&mut client, cause);
                        return self.drop_client(hands, client);
                    }
                    self.abandon(hands, &mut client, cause);
                }
            }
        }
        self.clients.put(client);
    }

    /// A server that was too slow has failed; not where its client was.
    fn blame(&mut self, client: &Client, cause: Cause) {
        let slow = matches!(cause, Cause::ResponseTimeout | Cause::RequestTimeout | Cause::Stalled);
        let its = slow && !client.owes() && client.out.in_flight == 0;
        let exchange = client.exchange.as_ref().filter(|_| its);
        if let Some(exchange) = exchange
            && exchange.upstream.is_some()
            && let Some(target) = exchange.endpoint
        {
            self.endpoint_failed(target);
        }
    }

    /// What is wrong with an exchange whose time has come; nothing, if it goes on.
    fn exchange_due<D: Driver>(
        &mut self,
        hands: &Hands<'_, D>,
        client: &mut Client,
    ) -> Option<Cause> {
        let now = self.now.mono;
        let taken = client.out.look(hands.driver.unsent(client.key), now);
        let full = client.out.in_flight > 0;
        let owes = client.owes();
        let exchange = client.exchange.as_mut()?;
        if let Some(upstream) = exchange.upstream.and_then(|key| self.upstreams.get(key))
            && upstream.out.in_flight > 0
        {
            let taken = upstream.out.look(hands.driver.unsent(upstream.key), now);
            exchange.progress = exchange.progress.max(taken);
        }
        if client.ended && !full && exchange.progress.max(taken).after(HALF_CLOSED) <= now {
            return Some(Cause::ClientGone);
        }
        if exchange.until <= now {
            return Some(if owes { Cause::SlowBody } else { Cause::RequestTimeout });
        }
        let late = match exchange.status {
            0 => Cause::ResponseTimeout,
            _ => Cause::Stalled,
        };
        if !full && !owes && exchange.backend_until <= now {
            return Some(late);
        }
        if owes {
            if exchange.request_bytes - exchange.request_bytes_then < BODY_FLOOR {
                return Some(Cause::SlowBody);
            }
            exchange.request_bytes_then = exchange.request_bytes;
        } else if full {
            let (span, cause) = match client.ended {
                true => (HALF_SEND, Cause::ClientGone),
                false => (SEND, Cause::SlowReader),
            };
            if taken.after(span) <= now {
                return Some(cause);
            }
        } else if exchange.progress.after(exchange.patience) <= now {
            return Some(late);
        }
        arm_exchange(&mut self.wheel, client, now);
        None
    }

    /// Sets the clock for an exchange.
    pub(super) fn alarm_exchange(&mut self, client: &mut Client) {
        arm_exchange(&mut self.wheel, client, self.now.mono);
    }

    fn upstream_due<D: Driver>(&mut self, hands: &mut Hands<'_, D>, key: ConnKey) {
        let Some(upstream) = self.upstreams.get(key) else { return };
        match upstream.state {
            Use::Idle => self.close_idle(hands, key),
            Use::Connecting => self.connect_failed(hands, key, Cause::ConnectTimeout),
            // The client's clock counts.
            Use::Busy | Use::Tunnel => {}
        }
    }
}

impl Client {
    /// Since when a client between two requests is there.
    pub(super) fn rests_since(&self) -> Nanos {
        Nanos(self.alarm.deadline.0.saturating_sub(CLIENT_IDLE.0))
    }

    /// Whether nothing has come of it for longer than a client takes that is well.
    pub(super) fn is_late(&self, now: Nanos) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.progress.after(LATE) <= now)
    }
}

/// All has been taken: a client without a request is idle from here on.
pub(super) fn rest(wheel: &mut Wheel<ConnKey>, client: &mut Client, now: Nanos) {
    if client.stage == Stage::Head && client.input.is_empty() {
        set(wheel, &mut client.alarm, client.key, now.after(CLIENT_IDLE));
    }
}

/// Sets the clock for an exchange: its own limits, the content's speed, the client's taking, or
/// the next part of the answer, whichever is first.
pub(super) fn arm_exchange(wheel: &mut Wheel<ConnKey>, client: &mut Client, now: Nanos) {
    let full = client.out.in_flight > 0;
    let owes = client.owes();
    let Some(exchange) = &client.exchange else { return };
    let mut at = if owes {
        now.after(BODY_LOOK)
    } else if full {
        now.after(LOOK)
    } else {
        exchange.progress.after(exchange.patience).min(now.after(BODY_LOOK))
    };
    if !full {
        if !owes {
            at = at.min(exchange.backend_until);
        }
        if client.ended {
            at = at.min(exchange.progress.max(client.out.since()).after(HALF_CLOSED));
        }
    }
    at = at.min(exchange.until);
    set(wheel, &mut client.alarm, client.key, at);
}

/// Moves a deadline, and sets a timer when the one there is would be too late.
fn set(wheel: &mut Wheel<ConnKey>, alarm: &mut Alarm, key: ConnKey, at: Nanos) {
    alarm.deadline = at;
    match alarm.armed {
        Some((_, armed)) if armed <= at => return,
        Some((timer, _)) => {
            wheel.cancel(timer);
        }
        None => {}
    }
    alarm.armed = Some((wheel.insert(at.0, key), at));
}
