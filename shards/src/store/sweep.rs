//! Background work in steps: expiry by the wheel, and the release of memory.
//!
//! Expiry is exact on access; here it only gives memory back. One timer per database and
//! slot stands at the slot's earliest expiry known, since one per key would cost 12 bytes
//! a key. When it fires the slot is walked; the next time is the earliest expiry left, but
//! not sooner than a pause that grows with the database, such that walking all slots for
//! ever takes about 2 % of a core: small databases expire to the millisecond, large ones
//! within seconds.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use crate::ids::{DbId, SLOTS, SlotId};
use crate::time::{Now, UnixMs};
use crate::wheel::{TimerId, Wheel};

use super::index::TagBound;
use super::slab::Loc;
use super::{KeyHash, NextTick, Store};

/// Walking an entry takes about 20 ns; fifty times that between two walks is 2 %.
const PAUSE_NS_PER_KEY: u64 = 1_000;

/// When a slot is to be walked, 0 for never, and the timer that says so.
type SlotTimer = (u64, Option<TimerId>);

/// A walk under way.
#[derive(Clone, Copy, Debug)]
struct Walk {
    db: DbId,
    slot: SlotId,
    from: TagBound,
    /// Earliest expiry met that is not due.
    earliest: Option<UnixMs>,
}

/// See the module's text.
pub(super) struct Sweeper {
    wheel: Wheel<(DbId, SlotId)>,
    slots: Vec<Option<Box<[SlotTimer]>>>,
    walks: VecDeque<Walk>,
    /// Entries met on a line, reused.
    due: Vec<(KeyHash, Loc)>,
}

impl Sweeper {
    pub(super) fn new(databases: usize) -> Self {
        Self {
            wheel: Wheel::new(0),
            slots: (0..databases).map(|_| None).collect(),
            walks: VecDeque::new(),
            due: Vec::new(),
        }
    }

    /// A key of this slot will expire then.
    pub(super) fn expect(&mut self, db: DbId, slot: SlotId, at: UnixMs) {
        let timers = self.slots[usize::from(db.0)]
            .get_or_insert_with(|| vec![(0, None); SLOTS.into()].into());
        let (deadline, timer) = &mut timers[usize::from(slot.get())];
        if *deadline != 0 && *deadline <= at.0 {
            return;
        }
        if let Some(timer) = timer.take() {
            self.wheel.cancel(timer);
        }
        *deadline = at.0.max(1);
        *timer = Some(self.wheel.insert(at.0, (db, slot)));
    }

    /// The databases have changed places.
    pub(super) fn swap(&mut self, a: DbId, b: DbId) {
        if a == b {
            return;
        }
        for walk in &mut self.walks {
            walk.db = if walk.db == a {
                b
            } else if walk.db == b {
                a
            } else {
                walk.db
            };
            // What was met so far stays true: the slot moved with its database.
        }
        for db in [a, b] {
            // Rare: walk every slot that expected something soon; walking finds out the rest.
            if let Some(timers) = self.slots[usize::from(db.0)].take() {
                for (slot, (deadline, timer)) in timers.into_iter().enumerate() {
                    if let Some(timer) = timer {
                        self.wheel.cancel(timer);
                    }
                    if let Some(slot) = SlotId::new(slot as u16)
                        && deadline != 0
                    {
                        let other = if db == a { b } else { a };
                        self.walks.push_back(Walk {
                            db: other,
                            slot,
                            from: TagBound::default(),
                            earliest: None,
                        });
                    }
                }
            }
        }
    }

    /// A database has been emptied.
    pub(super) fn forget(&mut self, db: DbId) {
        self.walks.retain(|walk| walk.db != db);
        for (_, timer) in self.slots[usize::from(db.0)].take().into_iter().flatten() {
            if let Some(timer) = timer {
                self.wheel.cancel(timer);
            }
        }
    }
}

impl Store {
    /// Expires and releases, visiting at most about `budget` entries.
    pub fn tick(&mut self, now: Now, budget: usize) -> NextTick {
        let unix = now.unix_ms();
        let sweeper = &mut self.sweeper;
        let (slots, walks) = (&mut sweeper.slots, &mut sweeper.walks);
        let all_fired = sweeper.wheel.expire(unix.0, budget, |(db, slot)| {
            if let Some(timers) = &mut slots[usize::from(db.0)] {
                timers[usize::from(slot.get())] = (0, None);
            }
            walks.push_back(Walk { db, slot, from: TagBound::default(), earliest: None });
        });
        let mut left = budget;
        while left > 0
            && let Some(walk) = self.sweeper.walks.pop_front()
        {
            self.walk_on(walk, now, &mut left);
        }
        let releasing = self.release_step();
        if releasing || !all_fired || !self.sweeper.walks.is_empty() {
            return NextTick::Soon;
        }
        match self.sweeper.wheel.next_deadline() {
            Some(at) => NextTick::At(UnixMs(at)),
            None => NextTick::Idle,
        }
    }

    /// Walks a slot from where it was left, as far as the budget goes.
    fn walk_on(&mut self, mut walk: Walk, now: Now, left: &mut usize) {
        let unix = now.unix_ms();
        let mut due = std::mem::take(&mut self.sweeper.due);
        while walk.from < TagBound::END {
            if *left == 0 {
                self.sweeper.walks.push_front(walk);
                self.sweeper.due = due;
                return;
            }
            let (mut visited, mut earliest) = (1, walk.earliest);
            let db = &mut self.dbs[usize::from(walk.db.0)];
            walk.from = db.walk(walk.slot, walk.from, |seen| {
                visited += 1;
                match seen.entry.expiry() {
                    Some(at) if at <= unix => due.push((seen.at, seen.loc)),
                    Some(at) => earliest = Some(earliest.map_or(at, |other| other.min(at))),
                    None => {}
                }
            });
            walk.earliest = earliest;
            *left = left.saturating_sub(visited);
            for (at, loc) in due.drain(..) {
                if db.remove_at(at, loc) {
                    self.stats.expired_keys.add(1);
                    self.watches.touch(walk.db, at);
                }
            }
        }
        self.sweeper.due = due;
        if let Some(at) = walk.earliest {
            let keys = self.dbs[usize::from(walk.db.0)].len() as u64;
            let pause = UnixMs(unix.0 + keys * PAUSE_NS_PER_KEY / 1_000_000);
            self.sweeper.expect(walk.db, walk.slot, at.max(pause));
        }
    }

    /// Releases one step's worth of memory, which takes about 20 us; `true` while there is
    /// more.
    fn release_step(&mut self) -> bool {
        if self.graveyard.release_step() {
            return true;
        }
        if let Some(ruin) = self.ruins.last_mut() {
            if !ruin.demolish_step() {
                self.ruins.pop();
            }
            return true;
        }
        self.dbs.iter_mut().any(super::db::Db::release_step)
    }
}
