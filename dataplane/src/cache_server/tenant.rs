//! The proxy as a tenant of the shard's loop.
//!
//! Owns how events find their way to it, and what it may ask of the shard. Connections of the
//! cache are looked for first, so that their events cost what they did without a proxy.

#![forbid(unsafe_code)]

use shards::session::Face;

use super::CacheServer;
use super::output::conn_of;
use crate::mesh::parcel::Service;
use crate::runtime::{ConnKey, Driver, Event, ListenerId};

impl<D: Driver> CacheServer<D> {
    /// What those who connect to a listener want.
    pub(super) fn service_of(&self, listener: ListenerId) -> Service {
        match self.http {
            Some(first) if listener.0 >= first.0 => Service::Proxy(listener.0 - first.0),
            _ if self.cluster == Some(listener) => Service::Cache(Face::Cluster),
            _ => Service::Cache(Face::Standalone),
        }
    }

    /// Whether a connection is not one of the cache's.
    #[inline]
    pub(super) fn is_proxied(&mut self, key: ConnKey) -> bool {
        conn_of(&mut self.conns, key).is_none()
    }

    /// The proxy handles it in its part of the turn.
    pub(super) fn proxied(&mut self, event: Event) {
        if let Some(proxy) = &mut self.proxy {
            proxy.take(event);
        }
    }

    /// The proxy lets go of all clients with nothing under way.
    pub(super) fn drain_proxy(&mut self) {
        let Some(proxy) = &mut self.proxy else { return };
        let gone = proxy.drain(&mut self.driver);
        (0..gone).for_each(|_| self.node[0].proxy_census.leave());
    }

    /// The proxy's part of a turn: its events, its timers, and one send a connection.
    pub(super) fn turn_proxy(&mut self) {
        let Some(proxy) = &mut self.proxy else { return };
        let gone = proxy.turn(&mut self.driver, self.now);
        (0..gone).for_each(|_| self.node[0].proxy_census.leave());
    }
}
