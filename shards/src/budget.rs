//! What the memory limit of a node means to one of its shards.
//!
//! Owns what each shard last said that it holds: written by that shard alone, read by all,
//! never locked. The limit is the node's, so who wants to write looks at the sum. A shard that
//! holds its share or more makes room itself; one that holds less asks the fullest.

#![forbid(unsafe_code)]

use crate::ids::ShardId;
use crate::stats::Counter;

/// What one shard holds.
#[derive(Debug, Default)]
#[repr(align(128))] // a line of its own, and the neighbour that is fetched along with it
struct Held {
    bytes: Counter,
    expiring: Counter,
}

/// See the module's text.
#[derive(Debug)]
pub struct Budget(Box<[Held]>);

/// Who is to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Enough,
    /// This shard.
    Here,
    /// Another, of so many bytes.
    There(ShardId, u64),
}

impl Budget {
    /// Of a node of so many shards.
    pub fn new(shards: u16) -> Self {
        Self((0..shards).map(|_| Held::default()).collect())
    }

    /// A shard says what it holds; its own thread.
    pub fn say(&self, shard: ShardId, bytes: u64, expiring: u64) {
        let held = &self.0[usize::from(shard.0)];
        held.bytes.set(bytes);
        held.expiring.set(expiring);
    }

    /// Bytes of all shards, as they last said.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|held| held.bytes.get()).sum()
    }

    /// Whether any other shard has keys that expire, which a policy may want.
    pub fn others_expire(&self, shard: ShardId) -> bool {
        self.others(shard).any(|(_, held)| held.expiring.get() > 0)
    }

    /// Who is to make room under a limit.
    pub fn room(&self, shard: ShardId, limit: u64) -> Room {
        let total = self.total();
        if total <= limit {
            return Room::Enough;
        }
        let own = self.0[usize::from(shard.0)].bytes.get();
        let fullest = self.others(shard).max_by_key(|(_, held)| held.bytes.get());
        match fullest {
            Some((other, held)) if own * self.0.len() as u64 <= total && held.bytes.get() > own => {
                Room::There(other, total - limit)
            }
            _ => Room::Here,
        }
    }

    fn others(&self, shard: ShardId) -> impl Iterator<Item = (ShardId, &Held)> {
        let all = self.0.iter().enumerate().map(|(n, held)| (ShardId(n as u16), held));
        all.filter(move |(other, _)| *other != shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(held: &[u64], shard: u16, limit: u64, expect: Room) {
        let budget = Budget::new(held.len() as u16);
        for (n, bytes) in held.iter().enumerate() {
            budget.say(ShardId(n as u16), *bytes, 0);
        }
        assert_eq!(budget.room(ShardId(shard), limit), expect, "{held:?}");
    }

    #[test]
    fn the_fullest_makes_room() {
        check(&[10, 20], 0, 30, Room::Enough);
        check(&[10, 20], 0, 25, Room::There(ShardId(1), 5));
        check(&[10, 20], 1, 25, Room::Here);
        check(&[15, 15], 0, 25, Room::Here);
        check(&[0, 0, 90], 0, 60, Room::There(ShardId(2), 30));
        check(&[90], 0, 60, Room::Here);
    }

    #[test]
    fn others_that_expire() {
        let budget = Budget::new(2);
        assert!(!budget.others_expire(ShardId(0)));
        budget.say(ShardId(1), 0, 3);
        assert!(budget.others_expire(ShardId(0)) && !budget.others_expire(ShardId(1)));
    }
}
