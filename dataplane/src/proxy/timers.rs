//! What happens by the clock: who is too slow, too long idle, or gone in silence.
//!
//! Owns the spans. A connection has one timer, which is left alone while its deadline only moves
//! away, so that a steady stream of requests sets none; it fires early then, and is set anew.

#![forbid(unsafe_code)]

use shards::time::Nanos;
use shards::wheel::Wheel;

use super::cause::Cause;
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
/// answer (nginx: `proxy_read_timeout 60s`), where the route does not say.
pub(super) const ANSWER: Nanos = Nanos(60 * Nanos::SECOND.0);
/// How long an unused connection to a server is kept.
pub(super) const SERVER_IDLE: Nanos = Nanos(60 * Nanos::SECOND.0);
/// Between two bytes of a tunnel, in either direction.
pub(super) const TUNNEL: Nanos = Nanos(3_600 * Nanos::SECOND.0);
/// How long the client may take to close after our last answer.
const LINGER: Nanos = Nanos(Nanos::SECOND.0);
/// How often a content's speed is looked at, and the least number of bytes between two looks.
pub(super) const BODY_LOOK: Nanos = Nanos(10 * Nanos::SECOND.0);
const BODY_FLOOR: u64 = 5_000;
/// Timers fired in one turn.
const PER_TURN: usize = 256;

impl Proxy {
    /// Between two requests.
    pub(super) fn rest(&mut self, client: &mut Client) {
        self.alarm_client(client, CLIENT_IDLE);
    }

    /// A head has begun.
    pub(super) fn await_head(&mut self, client: &mut Client) {
        let at = self.now.mono.after(HEAD);
        // Not moved by further bytes of the same head.
        if client.alarm.deadline > at {
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
        match client.stage {
            Stage::Head if client.input.is_empty() => return self.drop_client(hands, client),
            Stage::Head => self.refuse_client(&mut client, Cause::SlowHead),
            Stage::Closing => return self.drop_client(hands, client),
            Stage::Tunnel => {
                self.note_cause(&mut client, Cause::Stalled);
                return self.drop_client(hands, client);
            }
            Stage::Exchange => {
                if let Some(cause) = self.exchange_due(&mut client) {
                    if cause.status() == 0 || client.ended {
                        self.note_cause(&mut client, cause);
                        return self.drop_client(hands, client);
                    }
                    self.abandon(hands, &mut client, cause);
                }
            }
        }
        self.clients.put(client);
    }

    /// What is wrong with an exchange whose time has come; nothing, if it goes on.
    fn exchange_due(&mut self, client: &mut Client) -> Option<Cause> {
        let now = self.now.mono;
        let paused = client.paused;
        let stuck = client.out.pending() > 0;
        let exchange = client.exchange.as_mut()?;
        if client.ended {
            return Some(Cause::ClientGone);
        }
        if exchange.until <= now {
            return Some(Cause::RequestTimeout);
        }
        if exchange.awaits_content() && !paused {
            let came = exchange.request_bytes - exchange.request_bytes_then;
            if came < BODY_FLOOR {
                return Some(Cause::SlowBody);
            }
            exchange.request_bytes_then = exchange.request_bytes;
        } else if exchange.progress.after(exchange.patience) <= now {
            return Some(match (exchange.status, stuck) {
                (0, _) => Cause::ResponseTimeout,
                (_, true) => Cause::SlowReader,
                (_, false) => Cause::Stalled,
            });
        }
        self.alarm_exchange(client);
        None
    }

    /// Sets the clock for an exchange: the request's own limit, the content's speed, or the
    /// next part of the answer, whichever is first.
    pub(super) fn alarm_exchange(&mut self, client: &mut Client) {
        let now = self.now.mono;
        let Some(exchange) = &client.exchange else { return };
        let mut at = if !exchange.awaits_content() || client.paused {
            exchange.progress.after(exchange.patience)
        } else {
            now.after(BODY_LOOK)
        };
        if client.ended {
            at = at.min(now.after(super::clients::HALF_CLOSED));
        }
        at = at.min(exchange.until);
        set(&mut self.wheel, &mut client.alarm, client.key, at);
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
