//! Which shard serves a connection, and when a node of several has ended.
//!
//! Owns the choice: the first shard accepts, and the one with the fewest connections serves.

#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;

use shards::ids::ShardId;

use super::CacheServer;
use crate::mesh::parcel::{Handed, Message};
use crate::runtime::Driver;

impl<D: Driver> CacheServer<D> {
    /// Gives a new connection to the shard with the fewest.
    pub(super) fn place(&mut self, handed: Handed) {
        let open = |shard: usize| {
            self.handed[shard]
                .saturating_sub(self.node[shard].loop_stats.departed_connections.get())
        };
        let fewest = (0..self.handed.len()).min_by_key(|shard| open(*shard)).unwrap_or(0);
        self.handed[fewest] += 1;
        let shard = ShardId(fewest as u16);
        match &mut self.across {
            Some(across) if shard != self.shard.id => {
                across.mesh.post(shard, Message::Connection(handed));
            }
            _ => self.adopt(handed),
        }
    }

    /// Connections of all shards.
    pub(super) fn clients_of_node(&self) -> u64 {
        let departed = |shard: usize| self.node[shard].loop_stats.departed_connections.get();
        let open = (0..self.handed.len()).map(|n| self.handed[n].saturating_sub(departed(n)));
        open.sum()
    }

    /// Whether all shards are done, of which this one is (`done`) or is not: until then it
    /// serves the others' clients.
    pub(super) fn all_done(&mut self, done: bool) -> bool {
        self.control.done.store(done, Ordering::Release);
        self.node.iter().all(|control| control.done.load(Ordering::Acquire))
    }
}
