//! Connections that speak another protocol after `101 Switching Protocols` (RFC 9110 section 7.8):
//! bytes go both ways as they come, and each side may end for itself.

#![forbid(unsafe_code)]

use super::cause::Cause;
use super::peers::{Client, Stage, Upstream};
use super::{Hands, Proxy};
use crate::runtime::Driver;

impl Proxy {
    /// A server has agreed to another protocol.
    pub(super) fn tunnel_begun<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        mut upstream: Box<Upstream>,
        client: &mut Client,
    ) {
        self.stats.tunnels.add(1);
        client.stage = Stage::Tunnel;
        self.alarm_tunnel(client, false);
        if std::mem::take(&mut upstream.pieces) {
            hands.driver.receive_by_pieces(upstream.key, false);
            upstream.paused = false;
            hands.driver.resume(upstream.key);
        }
        self.upstreams.put(upstream);
        if !client.input.is_empty() {
            self.feed_kept(hands, client); // what the client has not waited with
        }
        if client.ended {
            self.tunnel_up_ended(hands, client);
        }
    }

    /// Bytes of a client that speaks another protocol by now.
    pub(super) fn tunnel_up(&mut self, client: &mut Client, bytes: &[u8]) -> usize {
        let key = Self::upstream_of(client);
        let mut half = client.ended;
        if let Some(upstream) = key.and_then(|key| self.upstreams.get(key)) {
            half |= upstream.ended;
            self.buffers.fill(&mut upstream.out.bytes);
            upstream.out.bytes.extend_from_slice(bytes);
            Self::make_dirty_upstream(&mut self.dirty, upstream);
        }
        if let Some(exchange) = client.exchange.as_mut() {
            exchange.request_bytes += bytes.len() as u64;
        }
        self.alarm_tunnel(client, half);
        bytes.len()
    }

    /// Bytes of a server that does.
    pub(super) fn tunnel_down(&mut self, client: &mut Client, bytes: &[u8]) {
        self.buffers.fill(&mut client.out.bytes);
        client.out.bytes.extend_from_slice(bytes);
        if let Some(exchange) = client.exchange.as_mut() {
            exchange.response_bytes += bytes.len() as u64;
        }
        self.alarm_tunnel(client, client.ended);
        self.make_dirty_client(client);
    }

    /// A client will send no more.
    pub(super) fn tunnel_up_ended<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        client: &mut Client,
    ) {
        let key = Self::upstream_of(client);
        let Some(upstream) = key.and_then(|key| self.upstreams.get(key)) else { return };
        let drained = upstream.out.pending() == 0;
        if drained && upstream.ended {
            self.detach(hands, client);
            return self.finish_client(client);
        }
        if drained {
            hands.driver.finish(upstream.key);
        } else {
            upstream.finishing = true;
        }
        self.alarm_tunnel(client, true);
    }

    /// A server will send no more, or has broken the connection off.
    pub(super) fn tunnel_down_ended<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        mut upstream: Box<Upstream>,
        mut client: Box<Client>,
        in_order: bool,
    ) {
        upstream.ended = true;
        let over = client.ended && upstream.out.pending() == 0;
        self.upstreams.put(upstream);
        if !in_order {
            // The client learns it as we have.
            self.note_cause(&mut client, Cause::UpstreamReset);
            hands.driver.reset(client.key);
            return self.drop_client(hands, client);
        }
        if over {
            self.detach(hands, &mut client);
            self.finish_client(&mut client);
        } else if !client.ended {
            client.finishing = true;
            self.make_dirty_client(&mut client);
            self.alarm_tunnel(&mut client, true);
        }
        self.clients.put(client);
    }
}
