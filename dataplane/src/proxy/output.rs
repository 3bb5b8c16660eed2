//! What leaves: one send a connection and turn, and who may go on once it has left.

#![forbid(unsafe_code)]

use super::peers::{Client, Stage, Upstream, Use};
use super::pending::Output;
use shards::time::Nanos;

use super::{Hands, Proxy, timers};
use crate::runtime::{ConnKey, Driver, Payload};

impl Proxy {
    /// A client has something to send, or is to be looked at after it had.
    #[inline]
    pub(super) fn make_dirty_client(&mut self, client: &mut Client) {
        mark(&mut self.dirty, &mut client.out, client.key);
    }

    /// The same for a server's connection.
    #[inline]
    pub(super) fn make_dirty_upstream(dirty: &mut Vec<ConnKey>, upstream: &mut Upstream) {
        mark(dirty, &mut upstream.out, upstream.key);
    }

    /// Hands all that is new to the kernel.
    pub(super) fn flush<D: Driver>(&mut self, hands: &mut Hands<'_, D>) {
        let now = self.now.mono;
        let mut dirty = std::mem::take(&mut self.dirty);
        hands.driver.expect_sends(dirty.len());
        for key in dirty.drain(..) {
            if let Some(upstream) = self.upstreams.get(key) {
                upstream.out.dirty = false;
                if upstream.state == Use::Connecting || upstream.deaf {
                    continue;
                }
                let sent = send(hands.driver, key, &mut upstream.out, now);
                upstream.out.account(&mut self.pending);
                if let Some(payload) = sent {
                    self.sent_to_server(hands, key, payload);
                }
            } else if let Some(client) = self.clients.get(key) {
                client.out.dirty = false;
                let sent = send(hands.driver, key, &mut client.out, now);
                client.out.account(&mut self.pending);
                if let Some(payload) = sent {
                    self.sent_to_client(hands, key, payload);
                } else if client.out.pending() == 0 {
                    self.client_caught_up(hands, key);
                }
            }
        }
        if self.dirty.is_empty() {
            self.dirty = dirty; // keeps its memory
        }
    }

    /// A client has taken a payload.
    pub(super) fn sent_to_client<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        key: ConnKey,
        payload: Payload,
    ) {
        self.buffers.put_payload(payload);
        let Some(client) = self.clients.get(key) else { return };
        client.out.settle(self.now.mono);
        client.out.account(&mut self.pending);
        if client.out.encoded() > 0 {
            mark(&mut self.dirty, &mut client.out, key);
        }
        self.client_caught_up(hands, key);
    }

    /// A server has taken a payload.
    pub(super) fn sent_to_server<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        key: ConnKey,
        payload: Payload,
    ) {
        self.buffers.put_payload(payload);
        let Some(upstream) = self.upstreams.get(key) else { return };
        upstream.out.settle(self.now.mono);
        upstream.out.account(&mut self.pending);
        if upstream.out.encoded() > 0 {
            mark(&mut self.dirty, &mut upstream.out, key);
        } else if std::mem::take(&mut upstream.finishing) {
            hands.driver.finish(key);
        }
        let (pending, client, ended) = (upstream.out.pending(), upstream.client, upstream.ended);
        if pending > self.credit() / 2 {
            return;
        }
        let Some(client) = client else { return };
        if let Some(mut client) = self.clients.take(client) {
            if client.stage == Stage::Tunnel && ended && client.ended && pending == 0 {
                self.detach(hands, &mut client);
                self.finish_client(&mut client);
            } else if client.paused && client.stage != Stage::Head {
                self.feed_kept(hands, &mut client);
            }
            self.clients.put(client);
        }
    }

    /// A client has taken enough: its server may go on, or the connection ends.
    fn client_caught_up<D: Driver>(&mut self, hands: &mut Hands<'_, D>, key: ConnKey) {
        let Some(client) = self.clients.get(key) else { return };
        let pending = client.out.pending();
        if pending > self.credit() / 2 {
            return;
        }
        let Some(client) = self.clients.get(key) else { return };
        if pending == 0 {
            timers::rest(&mut self.wheel, client, self.now.mono);
            if std::mem::take(&mut client.finishing) {
                hands.driver.finish(key);
            }
            match client.stage {
                Stage::Closing => return self.linger(hands, key),
                Stage::Head if client.ended && client.input.is_empty() => {
                    return self.close_client(hands, key);
                }
                _ => {}
            }
        }
        if client.paused && !client.waiting {
            // It has taken answers: what it may do now is looked at.
            client.waiting = true;
            self.waiting.push(key);
        }
        let now = self.now.mono;
        let Some(exchange) = client.exchange.as_mut() else { return };
        if let Some(upstream) = exchange.upstream.and_then(|key| self.upstreams.get(key))
            && upstream.paused
            && (!upstream.pieces || pending == 0)
        {
            upstream.paused = cfg!(corelane_mutant = "server_stays_paused");
            if !upstream.paused {
                hands.driver.resume(upstream.key);
            }
            // The time that the client took is not the server's.
            exchange.progress = now;
            if let Some(since) = upstream.held_since.take() {
                exchange.backend_until = exchange.backend_until.after(now.since(since));
            }
            if client.stage == Stage::Exchange {
                timers::arm_exchange(&mut self.wheel, client, now);
            }
        }
    }

    /// The last answer is out: says so to the client and waits a moment for its end, since
    /// closing over unread bytes would take the answer back (RFC 9112 section 9.6).
    fn linger<D: Driver>(&mut self, hands: &mut Hands<'_, D>, key: ConnKey) {
        let Some(mut client) = self.clients.take(key) else { return };
        if client.ended || client.broken {
            return self.drop_client(hands, client);
        }
        if !client.lingering {
            client.lingering = true;
            hands.driver.finish(key);
            if std::mem::take(&mut client.paused) {
                hands.driver.resume(key);
            }
            self.await_end(&mut client);
        }
        self.clients.put(client);
    }
}

fn mark(dirty: &mut Vec<ConnKey>, out: &mut Output, key: ConnKey) {
    if !out.dirty {
        out.dirty = true;
        dirty.push(key);
    }
}

/// Sends what is encoded, unless something is in flight; the payload when it left at once.
fn send<D: Driver>(driver: &mut D, key: ConnKey, out: &mut Output, now: Nanos) -> Option<Payload> {
    if out.in_flight > 0 || out.encoded() == 0 {
        return None;
    }
    let (bytes, kept) = out.take();
    let payload = Payload::forwarding(bytes, kept);
    out.hand_over(payload.left(), now);
    driver.send(key, payload)
}
