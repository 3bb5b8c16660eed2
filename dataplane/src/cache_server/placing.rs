//! Which shard serves a connection, and when a node of several has ended.
//!
//! Owns the choice: the first shard accepts, and the one with the fewest connections serves.
//! Clients of a cluster have chosen themselves.

#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;

use shards::ids::ShardId;

use super::CacheServer;
use crate::mesh::parcel::{Handed, Message, Service};
use crate::runtime::Driver;

/// Connections given to one shard so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Given {
    cache: u64,
    proxy: u64,
}

impl<D: Driver> CacheServer<D> {
    /// Gives a new connection to the shard with the fewest.
    pub(super) fn place(&mut self, handed: Handed) {
        let proxied = matches!(handed.service, Service::Proxy(_));
        let open = |shard: usize| {
            let control = &self.node[shard];
            let stats = &control.loop_stats;
            let (came, gone) = if proxied {
                (self.handed[shard].proxy, control.proxy_stats.departed.get())
            } else {
                let came = self.handed[shard].cache + stats.cluster_connections.get();
                (came, stats.departed_connections.get())
            };
            came.saturating_sub(gone)
        };
        let fewest = (0..self.handed.len()).min_by_key(|shard| open(*shard)).unwrap_or(0);
        let given = &mut self.handed[fewest];
        *(if proxied { &mut given.proxy } else { &mut given.cache }) += 1;
        let shard = ShardId(fewest as u16);
        match &mut self.across {
            Some(across) if shard != self.shard.id => {
                across.mesh.post(shard, Message::Connection(handed));
            }
            _ => self.take_over(handed),
        }
    }

    /// Whether the node has no client left, on its way from shard to shard or elsewhere, and
    /// takes none any more, or their time is up: until then this shard serves the others'.
    pub(super) fn all_done(&mut self) -> bool {
        // From here on this shard accepts nobody, so that the census only shrinks.
        self.control.closed.store(true, Ordering::Release);
        let closed = self.node.iter().all(|control| control.closed.load(Ordering::Acquire));
        let late = self.draining.is_some_and(|end| self.now.mono >= end);
        closed && (self.node[0].is_deserted() || late)
    }
}
