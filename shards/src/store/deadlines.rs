//! When the slots of one database are to be walked for keys that have expired.
//!
//! Owns one timer a slot, which stands at the slot's earliest expiry known, since one a key
//! would cost 12 bytes a key; and the walks under way. Never lets a slot be walked again
//! before a pause has passed since the last time, whatever is asked meanwhile.
//!
//! ```text
//! nothing expires --expect--> armed --fires--> walking --ends, more expires--> armed
//!        ^--------------------- disarm, or nothing was found ---------'
//! ```

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use crate::ids::{SLOTS, SlotId};
use crate::time::UnixMs;
use crate::wheel::{TimerId, Wheel};

use super::index::TagBound;

/// What is known of a slot's keys that expire.
#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    /// The earliest expiry known, 0 for none.
    earliest: u64,
    /// Not to be walked again before.
    not_before: u64,
    timer: Option<TimerId>,
    /// 1 + place in `expecting`, 0 while nothing expires.
    place: u16,
    walking: bool,
}

/// A walk under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    pub(super) slot: SlotId,
    pub(super) from: TagBound,
    /// The earliest expiry met that is not due.
    pub(super) earliest: Option<UnixMs>,
}

/// See the module's text.
pub(super) struct Deadlines {
    wheel: Wheel<SlotId>,
    slots: Box<[Expected]>,
    /// Slots in which keys may expire: armed or being walked.
    expecting: Vec<SlotId>,
    walks: VecDeque<Walk>,
}

impl Deadlines {
    pub(super) fn new() -> Self {
        Self {
            wheel: Wheel::new(0),
            slots: vec![Expected::default(); SLOTS.into()].into(),
            expecting: Vec::new(),
            walks: VecDeque::new(),
        }
    }

    /// A key of this slot will expire then.
    pub(super) fn expect(&mut self, slot: SlotId, at: UnixMs) {
        let expected = &mut self.slots[usize::from(slot.get())];
        if expected.earliest != 0 && expected.earliest <= at.0 {
            return;
        }
        expected.earliest = at.0.max(1);
        if expected.place == 0 {
            self.expecting.push(slot);
            expected.place = self.expecting.len() as u16;
        }
        if !expected.walking {
            if let Some(timer) = expected.timer.take() {
                self.wheel.cancel(timer);
            }
            let when = expected.earliest.max(expected.not_before);
            expected.timer = Some(self.wheel.insert(when, slot));
        }
    }

    /// Starts the walks that are due, at most `budget`; each slot's next has to wait until
    /// `not_before`. `true` when all that are due have been started.
    pub(super) fn start_walks(&mut self, now: UnixMs, not_before: UnixMs, budget: usize) -> bool {
        let (slots, walks) = (&mut self.slots, &mut self.walks);
        self.wheel.expire(now.0, budget, |slot| {
            let expected = &mut slots[usize::from(slot.get())];
            *expected = Expected {
                earliest: 0,
                not_before: not_before.0,
                timer: None,
                place: expected.place,
                walking: true,
            };
            walks.push_back(Walk { slot, from: TagBound::default(), earliest: None });
        })
    }

    /// The walk to go on with.
    pub(super) fn next_walk(&mut self) -> Option<Walk> {
        self.walks.pop_front()
    }

    /// A walk has to wait.
    pub(super) fn put_off(&mut self, walk: Walk) {
        self.walks.push_front(walk);
    }

    /// A walk has come to the end of its slot.
    pub(super) fn walked(&mut self, walk: Walk) {
        let expected = &mut self.slots[usize::from(walk.slot.get())];
        expected.walking = false;
        // Expected while it was walked.
        let meanwhile = std::mem::take(&mut expected.earliest);
        let meanwhile = (meanwhile != 0).then_some(UnixMs(meanwhile));
        match walk.earliest.into_iter().chain(meanwhile).min() {
            Some(at) => self.expect(walk.slot, at),
            None => self.disarm(walk.slot),
        }
    }

    /// No key of the slot expires, as somebody has found who has seen all of them.
    pub(super) fn disarm(&mut self, slot: SlotId) {
        let expected = &mut self.slots[usize::from(slot.get())];
        if expected.walking || expected.place == 0 {
            return;
        }
        if let Some(timer) = expected.timer.take() {
            self.wheel.cancel(timer);
        }
        let place = usize::from(std::mem::take(&mut expected.place)) - 1;
        expected.earliest = 0;
        self.expecting.swap_remove(place);
        if let Some(moved) = self.expecting.get(place) {
            self.slots[usize::from(moved.get())].place = place as u16 + 1;
        }
    }

    /// One of the slots in which keys may expire.
    pub(super) fn any(&self, noise: u64) -> Option<SlotId> {
        let n = (noise as usize).checked_rem(self.expecting.len())?;
        Some(self.expecting[n])
    }

    /// Whether walks are under way.
    pub(super) fn is_walking(&self) -> bool {
        !self.walks.is_empty()
    }

    /// When the next walk is due.
    pub(super) fn next(&self) -> Option<UnixMs> {
        self.wheel.next_deadline().map(UnixMs)
    }
}

const _: () = assert!(SLOTS < u16::MAX, "1 + a place among all slots fits 16 bits");

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(n: u16) -> SlotId {
        SlotId::of_crc(n)
    }

    /// Lets a millisecond pass in which all due walks run and find `left` in their slots.
    fn walk_all(deadlines: &mut Deadlines, now: u64, pause: u64, left: Option<u64>) -> Vec<u16> {
        assert!(deadlines.start_walks(UnixMs(now), UnixMs(now + pause), usize::MAX));
        let mut walked = Vec::new();
        while let Some(walk) = deadlines.next_walk() {
            walked.push(walk.slot.get());
            deadlines.walked(Walk { earliest: left.map(UnixMs), ..walk });
        }
        walked
    }

    #[test]
    fn a_slot_is_walked_at_its_earliest_expiry_and_no_more_than_once_a_pause() {
        let mut deadlines = Deadlines::new();
        deadlines.expect(slot(1), UnixMs(50));
        deadlines.expect(slot(1), UnixMs(20));
        deadlines.expect(slot(1), UnixMs(30));
        assert!(walk_all(&mut deadlines, 19, 10, None).is_empty());
        assert_eq!(walk_all(&mut deadlines, 20, 10, Some(21)), [1]);
        // Somebody writes keys that expire at once, again and again.
        let mut walks = 0;
        for now in 21..121 {
            deadlines.expect(slot(1), UnixMs(now));
            walks += walk_all(&mut deadlines, now, 10, Some(now + 1)).len();
        }
        assert_eq!(walks, 10);
    }

    #[test]
    fn what_is_expected_amid_a_walk_is_not_forgotten() {
        let mut deadlines = Deadlines::new();
        deadlines.expect(slot(7), UnixMs(5));
        assert!(deadlines.start_walks(UnixMs(5), UnixMs(6), usize::MAX));
        let walk = deadlines.next_walk().unwrap();
        deadlines.expect(slot(7), UnixMs(9));
        assert_eq!(deadlines.any(3), Some(slot(7)), "keys may expire there all the time");
        deadlines.walked(Walk { earliest: Some(UnixMs(12)), ..walk });
        assert_eq!(walk_all(&mut deadlines, 9, 1, None), [7]);
        assert_eq!(deadlines.any(3), None);
        assert!(walk_all(&mut deadlines, 1_000, 1, None).is_empty());
    }

    #[test]
    fn slots_where_nothing_expires_are_not_among_those_where_it_may() {
        let mut deadlines = Deadlines::new();
        (0..100).for_each(|n| deadlines.expect(slot(n), UnixMs(1_000)));
        (0..100).filter(|n| n % 10 != 3).for_each(|n| deadlines.disarm(slot(n)));
        let mut any: Vec<u16> = (0..10).map(|n| deadlines.any(n).unwrap().get()).collect();
        any.sort_unstable();
        assert_eq!(any, [3, 13, 23, 33, 43, 53, 63, 73, 83, 93]);
        assert_eq!(walk_all(&mut deadlines, 1_000, 1, None).len(), 10);
    }
}
