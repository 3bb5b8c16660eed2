//! The proxy as a tenant of the shard's loop.
//!
//! Owns how events find their way to it, and what it may ask of the shard. Connections of the
//! cache are looked for first, so that their events cost what they did without a proxy.

#![forbid(unsafe_code)]

use std::io;

use shards::ids::{DbId, ShardId};
use shards::order::Seq;
use shards::reply::Protocol;
use shards::session::Face;

use super::CacheServer;
use super::output::conn_of;
use crate::mesh::parcel::{Message, NewHead, Service, Ticket};
use crate::proxy::{Hands, Lending, Proxy};
use crate::runtime::{ConnKey, Driver, Event, ListenerId, Socket};

/// The first listener that a driver is given, unless that is the proxy's.
const RESP: ListenerId = ListenerId(0);

impl<D: Driver> CacheServer<D> {
    /// What those who connect to a listener want; nothing, where it has just been closed.
    pub(super) fn service_of(&self, listener: ListenerId) -> Option<Service> {
        if let Some(number) = self.http.iter().position(|http| *http == Some(listener)) {
            return Some(Service::Proxy(number as u16));
        }
        if self.cluster == Some(listener) {
            return Some(Service::Cache(Face::Cluster));
        }
        (listener == RESP).then_some(Service::Cache(Face::Standalone))
    }

    /// Accepts on the sockets of the configuration at hand, and on no other. They belong to the
    /// first shard. Says what went wrong first, and goes on with the others.
    pub(super) fn heed_listeners(&mut self) -> io::Result<()> {
        let Some(proxy) = &self.proxy else { return Ok(()) };
        if self.shard.id != ShardId(0) || self.draining.is_some() {
            return Ok(());
        }
        let sockets = proxy.sockets();
        self.http.resize(self.http.len().max(sockets.len()), None);
        let mut outcome = Ok(());
        // Before others are closed, so that nobody has a number that was another's in this turn.
        for (http, socket) in self.http.iter_mut().zip(sockets) {
            if let (None, Some(socket)) = (&http, socket) {
                match self.driver.listen(socket.clone()) {
                    Ok(id) => *http = Some(id),
                    Err(error) => outcome = outcome.and(Err(error)),
                }
            }
        }
        for (http, socket) in self.http.iter_mut().zip(sockets) {
            if socket.is_none()
                && let Some(id) = http.take()
            {
                self.driver.close_listener(id);
            }
        }
        outcome
    }

    /// Whether a connection is not one of the cache's.
    #[inline]
    pub(super) fn is_proxied(&mut self, key: ConnKey) -> bool {
        conn_of(&mut self.conns, key).is_none()
    }

    /// Something has happened to a connection that is not the cache's.
    pub(super) fn proxied(&mut self, event: Event) {
        self.with_proxy(|proxy, hands| proxy.event(hands, event));
    }

    /// The proxy learns what time it is, and what configuration there is.
    pub(super) fn begin_proxy_turn(&mut self) {
        let Some(proxy) = &mut self.proxy else { return };
        if proxy.begin_turn(&mut self.shard.limiter, self.now)
            && let Err(error) = self.heed_listeners()
        {
            tracing::error!(%error, "a listener of the new configuration accepts nobody");
        }
    }

    /// The proxy lets go of all clients with nothing under way.
    pub(super) fn drain_proxy(&mut self) {
        let gone = self.with_proxy(|proxy, hands| proxy.drain(hands)).unwrap_or(0);
        (0..gone).for_each(|_| self.node[0].proxy_census.leave());
    }

    /// The end of the proxy's part of a turn.
    pub(super) fn turn_proxy(&mut self) {
        let gone = self.with_proxy(|proxy, hands| proxy.turn(hands)).unwrap_or(0);
        (0..gone).for_each(|_| self.node[0].proxy_census.leave());
        self.ask_for_proxy();
    }

    /// A client of the proxy that this shard is to serve.
    pub(super) fn adopt_proxied(&mut self, socket: Socket, listener: u16) {
        let now = self.now;
        let adopted = self.with_proxy(|proxy, hands| proxy.adopt(hands, socket, listener, now));
        if adopted != Some(true) {
            self.node[0].proxy_census.leave();
        }
    }

    /// There is no descriptor left: some connections to servers that nobody uses are closed.
    pub(super) fn make_room(&mut self) {
        self.with_proxy(|proxy, hands| proxy.make_room(hands));
    }

    fn with_proxy<R>(&mut self, f: impl FnOnce(&mut Proxy, &mut Hands<'_, D>) -> R) -> Option<R> {
        let proxy = self.proxy.as_deref_mut()?;
        let hasher = *self.shard.hasher();
        let mut hands = Hands {
            driver: &mut self.driver,
            limiter: &mut self.shard.limiter,
            hasher,
            partition: self.shard.partition,
            me: self.shard.id,
        };
        Some(f(proxy, &mut hands))
    }

    /// What the proxy wants to know of other shards' buckets travels as the command does.
    fn ask_for_proxy(&mut self) {
        let (Some(proxy), Some(across)) = (&mut self.proxy, &mut self.across) else { return };
        while let Some((shard, said)) = proxy.lending() {
            across.mesh.post(shard, Message::Lending(said));
        }
        let Some(spec) = self.throttle else { return };
        for _ in 0..proxy.questions() {
            let Some(question) = proxy.question() else { return };
            let Some(open) = across.mesh.open(question.home) else {
                proxy.ask_later(question); // until a parcel comes back
                continue;
            };
            let head = NewHead {
                spec,
                at: Some(question.at),
                db: DbId(0),
                protocol: Protocol::Resp2,
                no_touch: false,
            };
            let ticket = Ticket {
                conn: question.client,
                seq: Seq::numbered(question.number),
                write: true,
                silent: false,
            };
            open.push_words(head, &question.args, ticket);
            proxy.asked(question);
        }
    }

    /// Another shard wants or lends an idle connection.
    pub(super) fn hear_lending(&mut self, from: ShardId, said: Lending) {
        self.with_proxy(|proxy, hands| proxy.hear_lending(hands, from, said));
    }

    /// An answer to that.
    pub(super) fn answer_for_proxy(&mut self, ticket: Ticket, reply: &[u8]) {
        if let Some(proxy) = &mut self.proxy {
            proxy.decided(ticket.conn, ticket.seq.number(), reply);
        }
    }
}
