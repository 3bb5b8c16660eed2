//! Which shard serves a connection, and when a node of several has ended.
//!
//! Owns the choice: the first shard accepts, and the one with the fewest connections serves.
//! Clients of a cluster have chosen themselves.

#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;

use shards::ids::ShardId;
use shards::session::Face;

use super::CacheServer;
use crate::mesh::parcel::{Handed, Message};
use crate::runtime::Driver;

impl<D: Driver> CacheServer<D> {
    /// Gives a new connection to the shard with the fewest.
    pub(super) fn place(&mut self, handed: Handed) {
        let open = |shard: usize| {
            let stats = &self.node[shard].loop_stats;
            let came = self.handed[shard] + stats.cluster_connections.get();
            came.saturating_sub(stats.departed_connections.get())
        };
        let fewest = (0..self.handed.len()).min_by_key(|shard| open(*shard)).unwrap_or(0);
        self.handed[fewest] += 1;
        let shard = ShardId(fewest as u16);
        match &mut self.across {
            Some(across) if shard != self.shard.id => {
                across.mesh.post(shard, Message::Connection(handed));
            }
            _ => self.adopt(handed, Face::Standalone),
        }
    }

    /// Whether all shards are done, of which this one is (`done`) or is not: until then it
    /// serves the others' clients.
    pub(super) fn all_done(&mut self, done: bool) -> bool {
        self.control.done.store(done, Ordering::Release);
        self.node.iter().all(|control| control.done.load(Ordering::Acquire))
    }
}
