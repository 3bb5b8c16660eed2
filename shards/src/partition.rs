//! Which shard of a node owns which slots.
//!
//! Owns the arithmetic and nothing else. Slots go to shards in contiguous ranges whose
//! sizes differ by at most one, so that the number of shards says it all: no table, and
//! the home of a slot is a multiplication and a shift. Never changes: a node with another
//! number of shards has another partition.
//!
//! ```text
//! 3 shards:  0 ------- 5461 | 5462 ------- 10922 | 10923 ------- 16383
//! ```

#![forbid(unsafe_code)]

use std::ops::RangeInclusive;

use crate::ids::{SLOTS, ShardId, SlotId};

/// Most shards of one node: more than any machine has cores, and 16 slots for each.
pub const MAX_SHARDS: u16 = 1024;

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    shards: u16,
}

impl Partition {
    /// One shard that owns everything.
    pub const SINGLE: Self = Self { shards: 1 };

    /// The partition among 1 to [`MAX_SHARDS`] shards.
    pub const fn new(shards: u16) -> Option<Self> {
        if shards == 0 || shards > MAX_SHARDS { None } else { Some(Self { shards }) }
    }

    /// How many shards there are.
    pub const fn shards(self) -> u16 {
        self.shards
    }

    /// Whether one shard owns everything.
    pub const fn is_single(self) -> bool {
        self.shards == 1
    }

    /// The shard that owns a slot.
    #[inline]
    pub const fn home(self, slot: SlotId) -> ShardId {
        // Below `shards`, since the slot is below 2^14.
        ShardId(((slot.get() as u32 * self.shards as u32) >> SLOT_BITS) as u16)
    }

    /// First and last slot of a shard of this node; panics when it is none.
    pub fn slots(self, shard: ShardId) -> RangeInclusive<SlotId> {
        assert!(shard.0 < self.shards, "shard {} of {}", shard.0, self.shards);
        let first = |shard: u16| (u32::from(shard) << SLOT_BITS).div_ceil(self.shards.into());
        slot(first(shard.0))..=slot(first(shard.0 + 1) - 1)
    }
}

const SLOT_BITS: u32 = SLOTS.ilog2();
const _: () = assert!(SLOTS == 1 << SLOT_BITS, "the shift divides by the number of slots");
const _: () = assert!(MAX_SHARDS <= SLOTS, "every shard has a slot");

fn slot(number: u32) -> SlotId {
    SlotId::new(number as u16).expect("the last shard's range ends with the last slot")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every slot is within the range of its home and no other; ranges are as even as can be.
    fn check(shards: u16) {
        let partition = Partition::new(shards).unwrap();
        assert_eq!(partition.shards(), shards);
        let mut next = 0;
        for shard in (0..shards).map(ShardId) {
            let range = partition.slots(shard);
            let (start, end) = (range.start().get(), range.end().get());
            assert_eq!(start, next, "ranges touch: shard {} of {shards}", shard.0);
            for number in start.into()..=end.into() {
                assert_eq!(partition.home(slot(number)), shard, "slot {number} of {shards}");
            }
            let size = end - start + 1;
            let even = SLOTS / shards;
            assert!(size == even || size == even + 1, "{size} slots, {even} would be even");
            next = end + 1;
        }
        assert_eq!(next, SLOTS, "every slot has a home");
    }

    #[test]
    fn homes_are_even_contiguous_ranges() {
        (1..=64).chain([100, 127, 128, 255, 500, 1000, 1023, 1024]).for_each(check);
    }

    #[test]
    fn three_shards() {
        let partition = Partition::new(3).unwrap();
        let ends = [0, 1, 2].map(|shard| partition.slots(ShardId(shard)).end().get());
        assert_eq!(ends, [5461, 10922, 16383]);
    }

    #[test]
    fn limits() {
        assert_eq!(Partition::new(0), None);
        assert_eq!(Partition::new(MAX_SHARDS + 1), None);
        assert_eq!(Partition::new(1), Some(Partition::SINGLE));
        assert!(Partition::SINGLE.is_single());
        assert!(!Partition::new(2).unwrap().is_single());
    }

    #[test]
    #[should_panic(expected = "shard 2 of 2")]
    fn a_shard_of_another_node_has_no_slots_here() {
        Partition::new(2).unwrap().slots(ShardId(2));
    }
}
