//! The holds of one shard: slots reserved for operations that span shards.
//!
//! Owns which operation holds which of the shard's slots and who waits for whom, first come,
//! first served: a request waits for every earlier one that it shares a slot with, granted
//! or in line, and for no other. Never runs an operation, sends nothing and knows no other
//! shard. No two operations wait for each other as long as each asks its shards in ascending
//! order, one after the other.
//!
//! ```text
//! request ---- shares a slot with an earlier one ----> in line
//!    | shares none                                       | the last of those is released
//!    v                                                   v
//! granted <------------------------------------------ granted
//!    | release                             release, given up |
//!    v                                                       v
//!   gone
//! ```
//!
//! Every slot that is asked for has a queue; a request is granted when it heads those of all
//! its slots. A request for all slots is a *barrier*: it waits for all that came before, and
//! all that come after it wait behind it, outside the queues, until it is gone.

#![forbid(unsafe_code)]

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use crate::ids::{SLOTS, ShardId, SlotId};

/// An operation, or a single command that asks for its slots like one: unique in the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId {
    /// The shard that runs it.
    pub shard: ShardId,
    /// Never given twice by that shard.
    pub number: u64,
}

/// The slots that an operation asks of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldSet {
    /// Whatever the shard has, as for FLUSHALL.
    All,
    /// Some.
    Slots(SlotSet),
}

/// Slots in ascending order, each once, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotSet(Box<[SlotId]>);

impl SlotSet {
    /// Of slots in any order; `None` when there are none.
    pub fn new(mut slots: Vec<SlotId>) -> Option<Self> {
        slots.sort_unstable();
        slots.dedup();
        if slots.is_empty() { None } else { Some(Self(slots.into())) }
    }

    /// The slots.
    pub fn as_slice(&self) -> &[SlotId] {
        &self.0
    }
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Holds {
    granted: usize,
    /// Slots of granted requests.
    held: Bitmap,
    /// Granted or in a queue; those behind a barrier are not.
    requests: HashMap<OpId, Request>,
    /// Requests ever made: their order of arrival.
    arrivals: u64,
    queues: HashMap<SlotId, Queue>,
    /// At most one request for all slots; it is granted once `requests` is empty.
    barrier: Option<Barrier>,
    /// What came after the barrier, in order.
    behind: VecDeque<(OpId, HoldSet)>,
}

#[derive(Debug)]
struct Request {
    arrival: u64,
    slots: SlotSet,
    /// Queues that another one heads; 0 when it is granted.
    waits: usize,
}

/// Who asked for a slot, in order. Where nobody waits it allocates nothing.
#[derive(Debug)]
struct Queue {
    head: OpId,
    rest: VecDeque<OpId>,
}

#[derive(Clone, Copy, Debug)]
struct Barrier {
    op: OpId,
    granted: bool,
}

impl Holds {
    /// Whether nothing is granted: the one test on the path of a single key.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.granted == 0
    }

    /// Whether an operation holds the slot.
    #[inline]
    pub fn is_held(&self, slot: SlotId) -> bool {
        self.held.has(slot) || self.barrier.is_some_and(|barrier| barrier.granted)
    }

    /// Requests that are granted.
    pub fn granted(&self) -> usize {
        self.granted
    }

    /// Requests in line.
    pub fn waiting(&self) -> usize {
        self.requests.len() + usize::from(self.barrier.is_some()) + self.behind.len() - self.granted
    }

    /// Asks for slots: granted at once, or (`false`) in line until a release says so. Panics
    /// when the operation has asked this shard before and not released.
    pub fn request(&mut self, op: OpId, set: HoldSet) -> bool {
        if cfg!(corelane_mutant = "holds_off") {
            return true;
        }
        debug_assert!(!self.knows(op), "an operation asks a shard once");
        if self.barrier.is_some() {
            self.behind.push_back((op, set));
            return false;
        }
        self.admit(op, set)
    }

    /// Ends a hold, or gives a request in line up (in time linear in the line); appends those
    /// that are granted by it, in order of arrival. One that is not known is ignored.
    pub fn release(&mut self, op: OpId, granted: &mut Vec<OpId>) {
        if let Some(request) = self.requests.remove(&op) {
            self.leave_queues(op, &request, granted);
            self.try_barrier(granted);
        } else if let Some(barrier) = self.barrier.take_if(|barrier| barrier.op == op) {
            self.granted -= usize::from(barrier.granted);
            self.admit_behind(granted);
        } else {
            self.behind.retain(|(other, _)| *other != op);
        }
    }

    fn knows(&self, op: OpId) -> bool {
        self.requests.contains_key(&op)
            || self.barrier.is_some_and(|barrier| barrier.op == op)
            || self.behind.iter().any(|(other, _)| *other == op)
    }

    /// Takes a request in that no barrier keeps out; `true` when it is granted.
    fn admit(&mut self, op: OpId, set: HoldSet) -> bool {
        let granted = match set {
            HoldSet::All => {
                let granted = self.requests.is_empty();
                self.barrier = Some(Barrier { op, granted });
                granted
            }
            HoldSet::Slots(slots) => {
                let waits = slots.0.iter().filter(|slot| self.enqueue(**slot, op)).count();
                if waits == 0 {
                    slots.0.iter().for_each(|slot| self.held.set(*slot));
                }
                self.arrivals += 1;
                let request = Request { arrival: self.arrivals, slots, waits };
                let before = self.requests.insert(op, request);
                assert!(before.is_none(), "an operation asks a shard once");
                waits == 0
            }
        };
        self.granted += usize::from(granted);
        granted
    }

    /// Puts an operation into a slot's queue; `true` when it does not head it.
    fn enqueue(&mut self, slot: SlotId, op: OpId) -> bool {
        match self.queues.entry(slot) {
            Entry::Occupied(mut queue) => {
                queue.get_mut().rest.push_back(op);
                true
            }
            Entry::Vacant(place) => {
                place.insert(Queue { head: op, rest: VecDeque::new() });
                false
            }
        }
    }

    fn leave_queues(&mut self, op: OpId, request: &Request, granted: &mut Vec<OpId>) {
        let held = request.waits == 0;
        self.granted -= usize::from(held);
        let first = granted.len();
        for slot in request.slots.as_slice() {
            if held {
                self.held.clear(*slot);
            }
            let queue = self.queues.get_mut(slot).expect("a request is in the queue of each slot");
            if queue.head != op {
                queue.rest.retain(|other| *other != op);
            } else if let Some(next) = queue.rest.pop_front() {
                queue.head = next;
                let next_request = self.requests.get_mut(&next).expect("it is in a queue");
                next_request.waits -= 1;
                if next_request.waits == 0 {
                    granted.push(next);
                }
            } else {
                self.queues.remove(slot);
            }
        }
        granted[first..].sort_unstable_by_key(|op| self.requests[op].arrival);
        self.granted += granted.len() - first;
        for op in &granted[first..] {
            self.requests[op].slots.as_slice().iter().for_each(|slot| self.held.set(*slot));
        }
    }

    /// The barrier is granted when nothing is left before it.
    fn try_barrier(&mut self, granted: &mut Vec<OpId>) {
        if let Some(barrier) = &mut self.barrier
            && self.requests.is_empty()
        {
            debug_assert!(!barrier.granted, "it was granted when nothing was before it");
            barrier.granted = true;
            self.granted += 1;
            granted.push(barrier.op);
        }
    }

    /// The barrier is gone: those behind it come in, up to the next one.
    fn admit_behind(&mut self, granted: &mut Vec<OpId>) {
        while self.barrier.is_none()
            && let Some((op, set)) = self.behind.pop_front()
        {
            if self.admit(op, set) {
                granted.push(op);
            }
        }
    }
}

/// One bit for each slot: 2 KiB.
#[derive(Debug)]
struct Bitmap(Box<[u64; SLOTS as usize / 64]>);

impl Default for Bitmap {
    fn default() -> Self {
        Self(Box::new([0; SLOTS as usize / 64]))
    }
}

impl Bitmap {
    #[inline]
    fn has(&self, slot: SlotId) -> bool {
        self.0[usize::from(slot.get() / 64)] >> (slot.get() % 64) & 1 != 0
    }

    fn set(&mut self, slot: SlotId) {
        debug_assert!(!self.has(slot), "a slot is held once");
        self.0[usize::from(slot.get() / 64)] |= 1 << (slot.get() % 64);
    }

    fn clear(&mut self, slot: SlotId) {
        debug_assert!(self.has(slot), "only what is held is let go");
        self.0[usize::from(slot.get() / 64)] &= !(1 << (slot.get() % 64));
    }
}
