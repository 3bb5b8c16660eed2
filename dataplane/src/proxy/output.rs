//! What leaves: one send a connection and turn, and who may go on once it has left.

#![forbid(unsafe_code)]

use super::peers::{Client, Output, Stage, Upstream, Use};
use super::{CREDIT, Hands, Proxy};
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
        let mut dirty = std::mem::take(&mut self.dirty);
        for key in dirty.drain(..) {
            if let Some(upstream) = self.upstreams.get(key) {
                upstream.out.dirty = false;
                if upstream.state != Use::Connecting
                    && let Some(payload) = send(hands.driver, key, &mut upstream.out)
                {
                    self.sent_to_server(hands, key, payload);
                }
            } else if let Some(client) = self.clients.get(key) {
                client.out.dirty = false;
                if let Some(payload) = send(hands.driver, key, &mut client.out) {
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
        client.out.in_flight = 0;
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
        upstream.out.in_flight = 0;
        if upstream.out.encoded() > 0 {
            mark(&mut self.dirty, &mut upstream.out, key);
        } else if std::mem::take(&mut upstream.finishing) {
            hands.driver.finish(key);
        }
        if upstream.out.pending() > CREDIT / 2 {
            return;
        }
        let Some(client) = upstream.client else { return };
        if let Some(mut client) = self.clients.take(client) {
            if client.paused && client.stage != Stage::Head {
                self.feed_kept(hands, &mut client);
            }
            self.clients.put(client);
        }
    }

    /// A client has taken enough: its server may go on, or the connection ends.
    fn client_caught_up<D: Driver>(&mut self, hands: &mut Hands<'_, D>, key: ConnKey) {
        let Some(client) = self.clients.get(key) else { return };
        let pending = client.out.pending();
        if pending > CREDIT / 2 {
            return;
        }
        if pending == 0 {
            match client.stage {
                Stage::Closing => return self.linger(hands, key),
                Stage::Head if client.ended && !client.waiting => {
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
        let upstream = client.exchange.as_ref().and_then(|exchange| exchange.upstream);
        if let Some(upstream) = upstream.and_then(|key| self.upstreams.get(key))
            && upstream.paused
            && (!upstream.pieces || pending == 0)
        {
            upstream.paused = false;
            hands.driver.resume(upstream.key);
        }
    }

    /// The last answer is out: says so to the client and waits a moment for its end, since
    /// closing over unread bytes would take the answer back (RFC 9112 section 9.6).
    fn linger<D: Driver>(&mut self, hands: &mut Hands<'_, D>, key: ConnKey) {
        let Some(mut client) = self.clients.take(key) else { return };
        if client.ended {
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
fn send<D: Driver>(driver: &mut D, key: ConnKey, out: &mut Output) -> Option<Payload> {
    if out.in_flight > 0 || out.encoded() == 0 {
        return None;
    }
    let (bytes, kept) = out.take();
    let payload = Payload::forwarding(bytes, kept);
    out.in_flight = payload.left();
    driver.send(key, payload)
}
