//! A hierarchical timing wheel: the one type for all timers.
//!
//! Owns which timers are due when, in ticks of whichever clock its user chose (nanoseconds
//! of the monotonic clock rounded up, milliseconds of the wall clock ...). Reads no clock.
//! Never fires early; fires late by less than a tick of the level a timer waits on only if
//! its user does not come back at [`Wheel::next_deadline`]. Timers live in one table, so
//! that setting and cancelling costs no allocation once it has grown.
//!
//! ```text
//! level 0: 64 slots of 1 tick    level 1: 64 slots of 64    ...    level 7: 64^7
//! a timer waits on the level of the highest bit in which its deadline differs from now,
//! and moves down when that level's hand reaches its slot (Varghese and Lauck, 1987)
//! ```

#![forbid(unsafe_code)]

const LEVEL_BITS: u32 = 6;
const SLOTS: usize = 1 << LEVEL_BITS;
const LEVELS: usize = 8;
/// Deadlines beyond this many ticks wait at the end and are looked at again then.
const SPAN: u64 = 1 << (LEVEL_BITS * LEVELS as u32);
const NONE: u32 = u32::MAX;

/// Names a timer until it fires or is cancelled; then it names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

struct Node<T> {
    generation: u32,
    /// `None` while the node is free.
    what: Option<T>,
    deadline: u64,
    slot: u16,
    next: u32,
    previous: u32,
}

/// See the module's text.
pub struct Wheel<T> {
    now: u64,
    /// No timer fires before this, while there is one. Cancelling leaves it as it is.
    next: u64,
    nodes: Vec<Node<T>>,
    free: u32,
    heads: Box<[u32; SLOTS * LEVELS]>,
    /// One bit for each slot with timers, by level.
    occupied: [u64; LEVELS],
    len: usize,
}

impl<T> std::fmt::Debug for Wheel<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wheel({} timers at {})", self.len, self.now)
    }
}

impl<T> Wheel<T> {
    /// An empty wheel whose hand stands at `now`.
    pub fn new(now: u64) -> Self {
        Self {
            now,
            next: u64::MAX,
            nodes: Vec::new(),
            free: NONE,
            heads: Box::new([NONE; SLOTS * LEVELS]),
            occupied: [0; LEVELS],
            len: 0,
        }
    }

    /// Timers waiting.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is waiting.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets a timer. A deadline that has passed fires at the next [`Wheel::expire`].
    pub fn insert(&mut self, deadline: u64, what: T) -> TimerId {
        let index = if self.free == NONE {
            self.nodes.push(Node {
                generation: 0,
                what: None,
                deadline: 0,
                slot: 0,
                next: NONE,
                previous: NONE,
            });
            self.nodes.len() as u32 - 1
        } else {
            let index = self.free;
            self.free = self.nodes[index as usize].next;
            index
        };
        let node = &mut self.nodes[index as usize];
        node.what = Some(what);
        node.deadline = deadline;
        let generation = node.generation;
        self.len += 1;
        self.link(index);
        TimerId { index, generation }
    }

    /// Takes a timer back; `None` when it has fired or was cancelled before.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        let node = self.nodes.get(id.index as usize)?;
        if node.generation != id.generation || node.what.is_none() {
            return None;
        }
        self.unlink(id.index);
        self.release(id.index)
    }

    /// No timer fires before this; `None` while there are none. It may be earlier than the
    /// first deadline: coming back then moves timers to finer levels.
    #[inline]
    pub fn next_deadline(&self) -> Option<u64> {
        (self.len > 0).then_some(self.next)
    }

    fn first(&self) -> Option<u64> {
        (0..LEVELS).filter_map(|level| self.first_of_level(level)).min()
    }

    fn first_of_level(&self, level: usize) -> Option<u64> {
        let shift = LEVEL_BITS * level as u32;
        let hand = self.now >> shift & (SLOTS as u64 - 1);
        let ahead = self.occupied[level].rotate_right(hand as u32);
        if ahead == 0 {
            return None;
        }
        // The hand's own slot holds what is due now (level 0) or a full turn ahead: all others
        // come before that.
        let steps = match (level, ahead & !1) {
            (0, _) => u64::from(ahead.trailing_zeros()),
            (_, 0) => SLOTS as u64,
            (_, others) => u64::from(others.trailing_zeros()),
        };
        Some(((self.now >> shift) + steps) << shift)
    }

    /// Moves the hand to `now` and hands out at most `budget` due timers, in order of their
    /// ticks; `true` when all that were due are out.
    #[inline]
    pub fn expire(&mut self, now: u64, budget: usize, fire: impl FnMut(T)) -> bool {
        if now < self.next {
            self.now = self.now.max(now);
            return true;
        }
        self.expire_due(now, budget, fire)
    }

    fn expire_due(&mut self, now: u64, mut budget: usize, mut fire: impl FnMut(T)) -> bool {
        loop {
            let next = self.first();
            self.next = next.unwrap_or(u64::MAX);
            let Some(next) = next.filter(|next| *next <= now) else {
                self.now = self.now.max(now);
                return true;
            };
            self.now = self.now.max(next);
            self.cascade();
            let slot = (self.now & (SLOTS as u64 - 1)) as usize;
            while self.heads[slot] != NONE {
                if budget == 0 {
                    return false;
                }
                budget -= 1;
                let index = self.heads[slot];
                self.unlink(index);
                if self.nodes[index as usize].deadline > self.now {
                    self.link(index); // it was beyond the span
                } else if let Some(what) = self.release(index) {
                    fire(what);
                }
            }
        }
    }

    /// Moves the timers that the hands of the upper levels have reached down.
    fn cascade(&mut self) {
        for level in (1..LEVELS).rev() {
            let shift = LEVEL_BITS * level as u32;
            if self.now & ((1 << shift) - 1) != 0 {
                continue; // this hand has not just moved
            }
            let slot = level * SLOTS + (self.now >> shift & (SLOTS as u64 - 1)) as usize;
            let mut index = std::mem::replace(&mut self.heads[slot], NONE);
            self.occupied[level] &= !(1 << (slot % SLOTS));
            while index != NONE {
                let next = self.nodes[index as usize].next;
                self.link(index);
                index = next;
            }
        }
    }

    fn link(&mut self, index: u32) {
        let deadline = self.nodes[index as usize].deadline.clamp(self.now, self.now + SPAN - 1);
        let differ = (deadline ^ self.now) | 1;
        let level = ((differ.ilog2() / LEVEL_BITS) as usize).min(LEVELS - 1);
        let shift = LEVEL_BITS * level as u32;
        self.next = self.next.min(deadline >> shift << shift);
        let within = deadline >> shift & (SLOTS as u64 - 1);
        let slot = level * SLOTS + within as usize;
        let next = std::mem::replace(&mut self.heads[slot], index);
        self.occupied[level] |= 1 << within;
        let node = &mut self.nodes[index as usize];
        (node.slot, node.next, node.previous) = (slot as u16, next, NONE);
        if next != NONE {
            self.nodes[next as usize].previous = index;
        }
    }

    fn unlink(&mut self, index: u32) {
        let node = &self.nodes[index as usize];
        let (slot, next, previous) = (usize::from(node.slot), node.next, node.previous);
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        if previous != NONE {
            self.nodes[previous as usize].next = next;
        } else {
            self.heads[slot] = next;
            if next == NONE {
                self.occupied[slot / SLOTS] &= !(1 << (slot % SLOTS));
            }
        }
    }

    fn release(&mut self, index: u32) -> Option<T> {
        let node = &mut self.nodes[index as usize];
        node.generation = node.generation.wrapping_add(1);
        node.next = self.free;
        self.free = index;
        self.len -= 1;
        node.what.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Fires what a sorted list would fire, never early, and is never late for a user
        /// who comes back at `next_deadline`.
        #[test]
        fn behaves_like_a_sorted_list(
            start in prop_oneof![Just(0u64), 0..10_000u64, Just(u64::from(u32::MAX) * 64 - 3)],
            steps in prop::collection::vec((0..4u8, 0..52u32, any::<u64>()), 1..120),
        ) {
            let mut wheel = Wheel::new(start);
            let (mut now, mut model, mut ids) = (start, Vec::new(), Vec::new());
            for (n, (kind, shift, noise)) in steps.into_iter().enumerate() {
                let span = noise & ((1 << shift) - 1);
                match kind {
                    0 | 1 => {
                        ids.push((wheel.insert(now + span, n), n));
                        model.push((now + span, n));
                    }
                    2 if !ids.is_empty() => {
                        let (id, n) = ids.swap_remove(noise as usize % ids.len());
                        let expect = model.iter().position(|(_, m)| *m == n);
                        prop_assert_eq!(wheel.cancel(id).is_some(), expect.is_some());
                        if let Some(at) = expect { model.swap_remove(at); }
                    }
                    _ => {
                        now += span;
                        let mut fired = Vec::new();
                        prop_assert!(wheel.expire(now, usize::MAX, |n| fired.push(n)));
                        let mut due: Vec<_> = model.extract_if(.., |(at, _)| *at <= now).collect();
                        due.sort_unstable();
                        fired.sort_unstable();
                        let mut expect: Vec<_> = due.into_iter().map(|(_, n)| n).collect();
                        expect.sort_unstable();
                        prop_assert_eq!(fired, expect);
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                let first = model.iter().map(|(at, _)| *at).min();
                prop_assert_eq!(wheel.next_deadline().is_some(), first.is_some());
                if let (Some(next), Some(first)) = (wheel.next_deadline(), first) {
                    prop_assert!(next <= first.max(now), "{} after {}", next, first);
                }
            }
        }
    }

    #[test]
    fn a_budget_leaves_the_rest_for_the_next_call() {
        let mut wheel = Wheel::new(0);
        for n in 0..10 {
            wheel.insert(5, n);
        }
        let mut fired = 0;
        assert!(!wheel.expire(100, 4, |_| fired += 1));
        assert_eq!(fired, 4);
        assert!(wheel.expire(100, 100, |_| fired += 1));
        assert_eq!(fired, 10);
    }

    #[test]
    fn next_deadline_comes_closer_and_is_exact_in_the_end() {
        let mut wheel = Wheel::new(0);
        wheel.insert(1_000_000, ());
        let (mut fired, mut visits) = (false, 0);
        while !fired {
            let next = wheel.next_deadline().unwrap();
            wheel.expire(next, usize::MAX, |()| fired = true);
            visits += 1;
            assert!(!fired || next == 1_000_000);
        }
        assert!(visits <= LEVELS);
    }

    /// A timer for ever is a full turn of the last level away, in the slot of the hand itself.
    #[test]
    fn a_timer_for_ever_hides_no_other() {
        let slot = 1 << (LEVEL_BITS * (LEVELS as u32 - 1));
        let mut wheel = Wheel::new(5);
        wheel.insert(u64::MAX / 4, "ever");
        wheel.insert(slot + 1, "soon");
        assert_eq!(wheel.next_deadline(), Some(slot));
        let mut fired = Vec::new();
        wheel.expire(2 * slot, usize::MAX, |what| fired.push(what));
        assert_eq!(fired, ["soon"]);
    }
}
