//! Background work in steps: expiry, and the release of memory.
//!
//! Expiry is exact on access; here it only gives memory back. When a slot's time has come
//! ([`Deadlines`]) it is walked, but not more often than such that walking all slots for
//! ever takes about 2 % of a core: small databases expire to the millisecond, large ones
//! within seconds.
//!
//! Memory goes back a step a tick, and beyond that as fast as it is taken from the system:
//! while any waits to be given back, the process does not grow from tick to tick.

#![forbid(unsafe_code)]

use crate::ids::{DbId, SlotId};
use crate::time::{Now, UnixMs};

use super::deadlines::{Deadlines, Walk};
use super::mapping::STEP_BYTES;
use super::slab::Loc;
use super::{KeyHash, NextTick, Store};

/// Walking an entry takes about 20 ns; fifty times that between two walks is 2 %.
const PAUSE_NS_PER_KEY: u64 = 1_000;

/// See the module's text.
pub(super) struct Sweeper {
    /// Of each database in which a key ever expired.
    deadlines: Vec<Option<Box<Deadlines>>>,
    /// The database that comes first at the next tick: each gets its turn.
    first: usize,
    /// When the next key's time may come, where nothing is under way.
    quiet: Option<NextTick>,
    /// Entries met on a line, reused.
    due: Vec<(KeyHash, Loc)>,
}

impl Sweeper {
    pub(super) fn new(databases: usize) -> Self {
        Self {
            deadlines: (0..databases).map(|_| None).collect(),
            first: 0,
            quiet: None,
            due: Vec::new(),
        }
    }

    fn of(&mut self, db: DbId) -> &mut Option<Box<Deadlines>> {
        &mut self.deadlines[usize::from(db.0)]
    }

    /// A key of this slot will expire then.
    pub(super) fn expect(&mut self, db: DbId, slot: SlotId, at: UnixMs) {
        self.of(db).get_or_insert_with(|| Box::new(Deadlines::new())).expect(slot, at);
        self.quiet = self.quiet.filter(|quiet| matches!(quiet, NextTick::At(next) if *next <= at));
    }

    /// A slot in which keys may expire, and all of them are in one of those.
    pub(super) fn any(&self, db: DbId, noise: u64) -> Option<SlotId> {
        self.deadlines[usize::from(db.0)].as_ref()?.any(noise)
    }

    /// No key of the slot expires.
    pub(super) fn disarm(&mut self, db: DbId, slot: SlotId) {
        if let Some(deadlines) = self.of(db) {
            deadlines.disarm(slot);
        }
    }

    /// The databases have changed places.
    pub(super) fn swap(&mut self, a: DbId, b: DbId) {
        self.deadlines.swap(a.0.into(), b.0.into());
        self.quiet = None;
    }

    /// A database has been emptied; what is returned is of no use any more.
    pub(super) fn forget(&mut self, db: DbId) -> Option<Box<Deadlines>> {
        self.of(db).take()
    }
}

impl Store {
    /// Expires and releases, visiting at most about `budget` entries.
    pub fn tick(&mut self, now: Now, budget: usize) -> NextTick {
        let expiring = self.expire_step(now, budget);
        let releasing = self.release(STEP_BYTES);
        self.stats.memory_waiting_bytes.set(self.memory.waiting() as u64);
        if releasing { NextTick::Soon } else { expiring }
    }

    fn expire_step(&mut self, now: Now, budget: usize) -> NextTick {
        let unix = now.unix_ms();
        match self.sweeper.quiet {
            Some(NextTick::At(at)) if at <= unix => {}
            Some(quiet) => return quiet,
            None => {}
        }
        let (mut left, mut next, mut all) = (budget, None, true);
        let databases = self.dbs.len();
        for number in (self.sweeper.first..databases).chain(0..self.sweeper.first) {
            let db = DbId(number as u8);
            let Some(mut deadlines) = self.sweeper.of(db).take() else { continue };
            if deadlines.is_walking() || deadlines.next().is_some_and(|at| at <= unix) {
                all &= self.expire_db(db, &mut deadlines, now, &mut left);
            }
            next = next.into_iter().chain(deadlines.next()).min();
            *self.sweeper.of(db) = Some(deadlines);
        }
        self.sweeper.first = (self.sweeper.first + 1) % databases.max(1);
        let tick = match next {
            _ if !all => NextTick::Soon,
            Some(at) => NextTick::At(at),
            None => NextTick::Idle,
        };
        self.sweeper.quiet = Some(tick).filter(|tick| *tick != NextTick::Soon);
        tick
    }

    /// Starts and goes on with the walks of a database; `true` when none is left.
    fn expire_db(
        &mut self,
        db: DbId,
        deadlines: &mut Deadlines,
        now: Now,
        left: &mut usize,
    ) -> bool {
        let unix = now.unix_ms();
        let keys = self.dbs.iter().map(|db| db.len() as u64).sum::<u64>();
        let pause = UnixMs(unix.0 + (keys * PAUSE_NS_PER_KEY).div_ceil(1_000_000));
        let all_started = deadlines.start_walks(unix, pause, *left);
        while *left > 0
            && let Some(walk) = deadlines.next_walk()
        {
            match self.walk_on(db, walk, now, left) {
                (walk, true) => deadlines.walked(walk),
                (walk, false) => deadlines.put_off(walk),
            }
        }
        all_started && !deadlines.is_walking()
    }

    /// Walks a slot from where it was left, as far as the budget goes; `true` at its end.
    fn walk_on(&mut self, db: DbId, mut walk: Walk, now: Now, left: &mut usize) -> (Walk, bool) {
        let unix = now.unix_ms();
        let mut due = std::mem::take(&mut self.sweeper.due);
        while !walk.from.is_end() && *left > 0 {
            let (mut visited, mut earliest) = (1, walk.earliest);
            let content = &mut self.dbs[usize::from(db.0)];
            walk.from = content.walk(walk.slot, walk.from, |seen| {
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
                self.expire_at(db, at, loc);
            }
        }
        self.sweeper.due = due;
        (walk, walk.from.is_end())
    }

    /// Removes the entry at a place, whose time has come.
    pub(super) fn expire_at(&mut self, db: DbId, at: KeyHash, loc: Loc) {
        if self.dbs[usize::from(db.0)].remove_at(at, loc) {
            self.stats.expired_keys.add(1);
            self.watches.touch(db, at);
        }
    }

    /// Gives back `bytes` and as much as has been taken from the system since the last time,
    /// in steps of about 20 us; `true` while there is more. To fill memory takes seven times
    /// as long, so a turn that received all it may (4 MiB) goes on for 0.3 ms more.
    pub(super) fn release(&mut self, bytes: usize) -> bool {
        let mut left = self.memory.taken() + bytes;
        if self.memory.waiting() == 0 && self.ruins.is_empty() {
            return false;
        }
        while left > 0 {
            let released = self.release_step();
            if released == 0 {
                return false;
            }
            left = left.saturating_sub(released);
        }
        self.memory.waiting() > 0 || !self.ruins.is_empty()
    }

    /// Gives one step's worth back and says how many bytes; 0: there is no more.
    fn release_step(&mut self) -> usize {
        let released = self.memory.release_step();
        if released > 0 {
            return released;
        }
        while let Some(ruin) = self.ruins.last_mut() {
            let released = ruin.demolish_step();
            if ruin.is_gone() {
                self.ruins.pop();
            }
            if released > 0 {
                return released;
            }
        }
        self.dbs.iter_mut().map(|db| db.release_step()).find(|released| *released > 0).unwrap_or(0)
    }
}
