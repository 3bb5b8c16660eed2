//! A node of several shards under a seed: operations take holds in ascending order of shards,
//! run and release part by part, and give up now and then.

use super::tests::{Asked, asked, op, slot};
use super::*;
use crate::partition::Partition;
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_node_never_locks_up_and_each_slot_sees_one_operation_after_the_other(
        shards in 1..6u16,
        operations in prop::collection::vec(asked(SLOTS_USED), 1..25),
        seed: u64,
    ) {
        let mut node = Node::new(Partition::new(shards).unwrap(), &operations, seed);
        while node.operations.iter().any(|operation| !operation.is_over()) {
            prop_assert!(node.step(), "nobody can go on: {:?}", node.operations);
        }
        node.assert_serial();
        prop_assert!(node.holds.iter().all(|holds| holds.is_idle() && holds.waiting() == 0));
    }
}

/// Slots that the simulated node uses, spread over all of its shards.
const SLOTS_USED: u16 = 12;

fn spread(number: u16) -> SlotId {
    slot(number * (SLOTS / SLOTS_USED))
}

/// An operation at one of its shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    NotAsked,
    Asked,
    Granted,
    Running,
    Ran,
    Released,
}

#[derive(Debug)]
struct Operation {
    /// In ascending order.
    shards: Vec<(ShardId, Vec<SlotId>, Part)>,
    all: bool,
}

impl Operation {
    fn is_over(&self) -> bool {
        self.shards.iter().all(|(.., part)| *part == Part::Released)
    }

    /// The part that can go on, one of them if they are many: shards are asked one by
    /// one, and once all have granted each runs and releases in its own time.
    fn next(&self, random: usize) -> Option<usize> {
        let parts = || self.shards.iter().map(|(.., part)| *part).enumerate();
        if parts().any(|(_, part)| part == Part::Asked) {
            return None;
        }
        parts().find(|(_, part)| *part == Part::NotAsked).map(|(i, _)| i).or_else(|| {
            let going: Vec<_> = parts().filter(|(_, part)| *part != Part::Released).collect();
            (!going.is_empty()).then(|| going[random % going.len()].0)
        })
    }
}

struct Node {
    holds: Vec<Holds>,
    partition: Partition,
    operations: Vec<Operation>,
    /// Begin (`true`) and end of each operation at each slot.
    histories: HashMap<SlotId, Vec<(usize, bool)>>,
    random: u64,
}

impl Node {
    fn new(partition: Partition, operations: &[Asked], random: u64) -> Self {
        let operation = |asked: &Asked| {
            let slots = |shard| {
                let wanted = |n: &u16| asked.as_ref().is_none_or(|slots| slots.contains(n));
                let slots = (0..SLOTS_USED).filter(wanted).map(spread);
                slots.filter(|slot| partition.home(*slot) == shard).collect::<Vec<_>>()
            };
            let shards = (0..partition.shards()).map(ShardId);
            let shards = shards.map(|shard| (shard, slots(shard), Part::NotAsked));
            let shards = shards.filter(|(_, slots, _)| !slots.is_empty()).collect();
            Operation { shards, all: asked.is_none() }
        };
        Self {
            holds: (0..partition.shards()).map(|_| Holds::default()).collect(),
            partition,
            operations: operations.iter().map(operation).collect(),
            histories: HashMap::new(),
            random,
        }
    }

    fn random(&mut self) -> usize {
        self.random = self.random.wrapping_mul(6364136223846793005).wrapping_add(1);
        (self.random >> 33) as usize
    }

    /// One of those who can go on does; `false` when there is none.
    fn step(&mut self) -> bool {
        let random = self.random();
        if random.is_multiple_of(4) {
            self.touch_one_key();
        }
        let able: Vec<_> = (0..self.operations.len())
            .filter_map(|i| self.operations[i].next(random).map(|part| (i, part)))
            .collect();
        let waiting: Vec<_> = (0..self.operations.len())
            .filter(|i| self.operations[*i].shards.iter().any(|(.., p)| *p == Part::Asked))
            .collect();
        if random.is_multiple_of(23) && !waiting.is_empty() {
            self.give_up(waiting[random % waiting.len()]);
            return true;
        }
        if able.is_empty() {
            return false;
        }
        let (number, part) = able[self.random() % able.len()];
        self.advance(number, part);
        true
    }

    /// A command of one key runs at once, unless its slot is held.
    fn touch_one_key(&mut self) {
        let slot = spread(self.random() as u16 % SLOTS_USED);
        let holds = &self.holds[usize::from(self.partition.home(slot).0)];
        if holds.is_idle() || !holds.is_held(slot) {
            let name = usize::MAX - self.histories.values().map(Vec::len).sum::<usize>();
            self.histories.entry(slot).or_default().extend([(name, true), (name, false)]);
        }
    }

    fn advance(&mut self, number: usize, part: usize) {
        let all = self.operations[number].all;
        let (shard, slots, state) = &mut self.operations[number].shards[part];
        let holds = &mut self.holds[usize::from(shard.0)];
        match state {
            Part::NotAsked => {
                let slots = SlotSet::new(slots.clone()).unwrap();
                let set = if all { HoldSet::All } else { HoldSet::Slots(slots) };
                let granted = holds.request(op(number as u64), set);
                *state = if granted { Part::Granted } else { Part::Asked };
            }
            Part::Granted | Part::Running => {
                let begins = *state == Part::Granted;
                for slot in slots {
                    self.histories.entry(*slot).or_default().push((number, begins));
                }
                *state = if begins { Part::Running } else { Part::Ran };
            }
            Part::Ran => self.release(number, part),
            Part::Asked | Part::Released => unreachable!("it cannot go on"),
        }
    }

    fn release(&mut self, number: usize, part: usize) {
        let (shard, _, state) = &mut self.operations[number].shards[part];
        let shard = *shard;
        *state = Part::Released;
        let mut granted = Vec::new();
        self.holds[usize::from(shard.0)].release(op(number as u64), &mut granted);
        for op in granted {
            let mut parts = self.operations[op.number as usize].shards.iter_mut();
            let (.., state) = parts.find(|(other, ..)| *other == shard).unwrap();
            assert_eq!(*state, Part::Asked, "granted to one that waits");
            *state = Part::Granted;
        }
    }

    /// An operation that waits is given up, with what it has been granted elsewhere.
    fn give_up(&mut self, number: usize) {
        for part in 0..self.operations[number].shards.len() {
            if self.operations[number].shards[part].2 == Part::NotAsked {
                self.operations[number].shards[part].2 = Part::Released;
            } else {
                self.release(number, part);
            }
        }
    }

    /// At each slot operations follow each other, and there is one order of all of them
    /// that every slot agrees with.
    fn assert_serial(&self) {
        let mut after: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut earlier: HashMap<usize, usize> = HashMap::new();
        for (slot, history) in &self.histories {
            for pair in history.chunks(2) {
                let [(begun, true), (ended, false)] = pair else {
                    panic!("slot {slot:?}: one begins before the other ends: {history:?}");
                };
                assert_eq!(begun, ended, "slot {slot:?}: {history:?}");
            }
            let order: Vec<_> = history.iter().step_by(2).map(|(number, _)| *number).collect();
            order.iter().for_each(|number| _ = earlier.entry(*number).or_default());
            for pair in order.windows(2) {
                after.entry(pair[0]).or_default().push(pair[1]);
                *earlier.get_mut(&pair[1]).unwrap() += 1;
            }
        }
        let mut free: Vec<_> = earlier.iter().filter(|(_, n)| **n == 0).map(|e| *e.0).collect();
        let mut sorted = 0;
        while let Some(number) = free.pop() {
            sorted += 1;
            for next in after.get(&number).into_iter().flatten() {
                let left = earlier.get_mut(next).unwrap();
                *left -= 1;
                if *left == 0 {
                    free.push(*next);
                }
            }
        }
        assert_eq!(sorted, earlier.len(), "two slots disagree: {:?}", self.histories);
    }
}
