//! Names of things: newtypes that keep shards, slots, databases and clients apart.

#![forbid(unsafe_code)]

/// Slots of a cluster: CRC16(key) mod 16384, as in Redis Cluster.
pub const SLOTS: u16 = 16_384;

/// A shard of this node, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// One of the 16,384 slots; always below [`SLOTS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(u16);

impl SlotId {
    /// The last one.
    pub const LAST: Self = Self(SLOTS - 1);

    /// The slot of that number, if there is one.
    pub const fn new(number: u16) -> Option<Self> {
        if number < SLOTS { Some(Self(number)) } else { None }
    }

    /// The slot that a CRC16 falls into.
    pub const fn of_crc(crc: u16) -> Self {
        Self(crc % SLOTS)
    }

    /// The slot's number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// A logical database, as `SELECT` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DbId(pub u8);

/// A client connection, unique for the life of the node; `CLIENT ID` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);
