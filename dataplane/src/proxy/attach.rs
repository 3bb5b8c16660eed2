//! How a request gets a connection to its server, and another one when that has failed.

#![forbid(unsafe_code)]

use shards::ids::ShardId;

use super::cause::Cause;
use super::peers::{Client, Target, Upstream, Use};
use super::timers;
use super::{Hands, Proxy};
use crate::runtime::{ConnKey, Driver, Kept};

/// Connections begun for one request before it is given up.
const DIALS: u8 = 3;
/// Idle connections that are closed when there is no descriptor left.
const EVICTED: usize = 8;

impl Proxy {
    /// A connection to an endpoint for a client's request: an idle one, or one that is begun.
    pub(super) fn attach<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        client: &mut Client,
        target: Target,
    ) -> Result<ConnKey, Cause> {
        let mut target = target;
        loop {
            let key = match self.reuse(client.key, target) {
                Some(key) => Ok(key),
                None => self.dial(hands, client.key, target),
            };
            match key {
                Ok(key) => {
                    self.note_attached(hands.me, client, target, key);
                    return Ok(key);
                }
                Err(Cause::ConnectFailed) => {
                    if let Some(exchange) = client.exchange.as_mut() {
                        exchange.tries = exchange.tries.saturating_add(1);
                    }
                    target = self.next_after(client, target).ok_or(Cause::ConnectFailed)?;
                }
                Err(cause) => return Err(cause),
            }
        }
    }

    /// Which endpoint a request goes to after one could not be reached, if there is one.
    fn next_after(&mut self, client: &mut Client, failed: Target) -> Option<Target> {
        self.endpoint_failed(failed);
        let exchange = client.exchange.as_mut()?;
        exchange.endpoint = Some(failed);
        if exchange.tries >= DIALS {
            return None;
        }
        let next = self.choose_again(failed)?;
        self.stats.retries_connect.add(1);
        Some(next)
    }

    fn note_attached(&mut self, me: ShardId, client: &mut Client, target: Target, key: ConnKey) {
        self.pool.begin(target.slot);
        if let Some(endpoint) = self.served.get().find(&target) {
            self.pool.hold(target.slot, &endpoint.shared, me.0.into());
        }
        if let Some(exchange) = client.exchange.as_mut() {
            exchange.upstream = Some(key);
            exchange.endpoint = Some(target);
            exchange.tries = exchange.tries.saturating_add(1);
            exchange.backend_until = self.now.mono.after(exchange.backend);
        }
    }

    fn reuse(&mut self, client: ConnKey, target: Target) -> Option<ConnKey> {
        let key = self.pool.take(target.slot)?;
        let upstream = self.upstreams.get(key)?;
        debug_assert_eq!(upstream.state, Use::Idle, "the pool has idle ones only");
        (upstream.state, upstream.client, upstream.target) = (Use::Busy, Some(client), target);
        upstream.reused = true;
        self.stats.reused.add(1);
        self.stats.idle_upstreams.set(self.pool.idle() as u64);
        Some(key)
    }

    fn dial<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        client: ConnKey,
        target: Target,
    ) -> Result<ConnKey, Cause> {
        let key = hands.driver.connect(target.address).map_err(|error| {
            tracing::debug!(%error, address = %target.address, "a server cannot be called");
            match error.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE) => Cause::NoDescriptor,
                _ => Cause::ConnectFailed,
            }
        });
        if key == Err(Cause::NoDescriptor) {
            self.make_room(hands);
        }
        let key = key?;
        self.stats.dialled.add(1);
        self.stats.upstreams.set(self.stats.upstreams.get() + 1);
        let mut upstream = Box::new(Upstream::new(key, target, Use::Connecting));
        upstream.client = Some(client);
        self.alarm_upstream(&mut upstream, timers::CONNECT);
        self.upstreams.put(upstream);
        Ok(key)
    }

    /// Some connections that nobody uses make room for others.
    pub fn make_room<D: Driver>(&mut self, hands: &mut Hands<'_, D>) {
        for _ in 0..EVICTED {
            let Some(key) = self.pool.any() else { return };
            self.close_idle(hands, key);
        }
    }

    /// A server could not be reached. Nothing of the request has been sent, so that it can go
    /// to another one, whatever it is.
    pub(super) fn connect_failed<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        key: ConnKey,
        cause: Cause,
    ) {
        let Some(mut upstream) = self.upstreams.take(key) else { return };
        let unsent = upstream.out.take();
        let kept = std::mem::take(&mut upstream.kept);
        let (failed, client, replayable) = (upstream.target, upstream.client, upstream.replayable);
        self.drop_upstream(hands, upstream);
        let Some(mut client) = client.and_then(|key| self.clients.take(key)) else {
            return self.endpoint_failed(failed);
        };
        if let Some(exchange) = client.exchange.as_mut() {
            exchange.upstream = None;
        }
        let next = self.next_after(&mut client, failed);
        match next.map(|next| self.attach(hands, &mut client, next)) {
            Some(Ok(key)) => {
                self.give(key, unsent, kept, replayable);
                self.alarm_exchange(&mut client);
            }
            Some(Err(cause)) => self.abandon(hands, &mut client, cause),
            None => self.abandon(hands, &mut client, cause),
        }
        self.clients.put(client);
    }

    /// A connection died before a byte of the answer came. What is idempotent and was kept
    /// whole is sent once more, over a fresh connection, to another endpoint if there is one: the
    /// whole server may have died. What was the first on its connection goes to another one or
    /// nowhere. Says whether that went well.
    pub(super) fn send_again<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        upstream: &mut Upstream,
        client: &mut Client,
    ) -> bool {
        let Some(exchange) = client.exchange.as_mut() else { return false };
        if !upstream.replayable || exchange.resent {
            return false;
        }
        exchange.resent = true;
        let target = match self.choose_again(upstream.target) {
            Some(other) if other.slot != upstream.target.slot => other,
            _ if upstream.reused => upstream.target,
            _ => return false,
        };
        let key = match self.dial(hands, client.key, target) {
            Ok(key) => {
                self.note_attached(hands.me, client, target, key);
                Some(key)
            }
            Err(Cause::ConnectFailed) => {
                if let Some(exchange) = client.exchange.as_mut() {
                    exchange.tries = exchange.tries.saturating_add(1);
                }
                let next = self.next_after(client, target);
                next.and_then(|next| self.attach(hands, client, next).ok())
            }
            Err(_) => None,
        };
        let Some(key) = key else { return false };
        self.stats.retries_died.add(1);
        let kept = std::mem::take(&mut upstream.kept);
        let mut bytes = self.buffers.take();
        bytes.extend_from_slice(&kept);
        self.give(key, (bytes, Vec::new()), kept, false);
        self.alarm_exchange(client);
        true
    }

    /// Bytes of a request for its next connection.
    fn give(
        &mut self,
        key: ConnKey,
        unsent: (Vec<u8>, Vec<(usize, Kept)>),
        kept: Vec<u8>,
        replayable: bool,
    ) {
        let Some(upstream) = self.upstreams.get(key) else { return };
        upstream.out.put_back(unsent);
        (upstream.kept, upstream.replayable) = (kept, replayable);
        Self::make_dirty_upstream(&mut self.dirty, upstream);
    }

    /// Another endpoint for a request that one could not take. A generation that has come
    /// meanwhile may have other numbers: then the same address is tried once more.
    fn choose_again(&mut self, failed: Target) -> Option<Target> {
        if self.served.get().config.generation() != failed.generation {
            return Some(failed);
        }
        let next = self.choose(failed.rule, failed.backend, Some(failed.slot))?;
        (next.slot != failed.slot).then_some(next)
    }

    /// An endpoint has failed; enough of that, and it gets no requests for a while.
    pub(super) fn endpoint_failed(&mut self, target: Target) {
        let now = self.now.mono;
        if let Some(endpoint) = self.served.get().find(&target)
            && endpoint.shared.health.failed(now)
        {
            tracing::warn!(
                address = %target.address,
                "an endpoint has failed {} times in a row and gets no requests for a while",
                shards::balance::FAILURES
            );
            self.stats.ejections.add(1);
        }
    }

    /// An endpoint has answered.
    pub(super) fn endpoint_succeeded(&mut self, target: Target) {
        if let Some(endpoint) = self.served.get().find(&target) {
            endpoint.shared.health.succeeded();
        }
    }
}
