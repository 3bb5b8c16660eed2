//! Single commands that wait until no operation holds their slots.
//!
//! Owns their order. A client's commands wait in one line, as they came. The first of a line has
//! asked for its slots as an operation does (`shards::holds`), so that nobody who comes later
//! goes before it. It holds them only while it runs; those behind it that want no slot of
//! anybody else's run along.
//!
//! ```text
//! parked -> first of its line -> asks for its slots -> granted: runs -> released
//!                  ^                                      |
//!                  +------- next of the line <------------+
//! ```

#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};

use shards::command::{Args, CommandSpec, OwnedArgs, each_slot};
use shards::holds::{OpId, SlotSet};
use shards::ids::{DbId, ShardId, SlotId};
use shards::operation::Home;
use shards::reply::Protocol;
use shards::session::{Face, Session};

use crate::mesh::parcel::Ticket;
use crate::runtime::ConnKey;

/// Whose commands wait: a connection, and the shard that serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Whose {
    pub(super) shard: ShardId,
    pub(super) conn: ConnKey,
}

/// A command that waits.
pub(super) struct Parked {
    pub(super) ticket: Ticket,
    pub(super) spec: &'static CommandSpec,
    pub(super) args: OwnedArgs,
    pub(super) slots: Vec<SlotId>,
    pub(super) db: DbId,
    pub(super) protocol: Protocol,
    pub(super) no_touch: bool,
    pub(super) face: Face,
}

impl Parked {
    /// A request of the client that a session is, or stands for.
    pub(super) fn new(
        ticket: Ticket,
        session: &Session,
        spec: &'static CommandSpec,
        args: &Args<'_>,
    ) -> Self {
        let mut slots = Vec::new();
        each_slot(session, spec, args, &mut |slot| slots.push(slot));
        let Session { db, protocol, no_touch, face, .. } = *session;
        Self { ticket, spec, args: args.to_owned(), slots, db, protocol, no_touch, face }
    }
}

/// See the module's text.
#[derive(Default)]
pub(super) struct Parking {
    lines: HashMap<Whose, VecDeque<Parked>>,
    /// Whose first command has asked for its slots by this number.
    asked: HashMap<OpId, Whose>,
    count: usize,
}

impl Parking {
    /// Commands that wait.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Whether an earlier command of the client waits.
    pub(super) fn has(&self, whose: Whose) -> bool {
        self.count > 0 && self.lines.contains_key(&whose)
    }

    /// A command waits from now on, by `op` if it is the first of its line.
    pub(super) fn park(&mut self, home: &mut Home, op: OpId, whose: Whose, parked: Parked) {
        let line = self.lines.entry(whose).or_default();
        line.push_back(parked);
        self.count += 1;
        if line.len() == 1 {
            self.ask(home, op, whose);
        }
    }

    /// The client's first command asks for its slots.
    pub(super) fn ask(&mut self, home: &mut Home, op: OpId, whose: Whose) {
        let Some(first) = self.lines.get(&whose).and_then(VecDeque::front) else { return };
        let slots = SlotSet::new(first.slots.clone());
        let slots = slots.expect("what wants no slot is never the first to wait");
        let granted = home.ask(op, slots);
        debug_assert!(!granted, "somebody holds one of its slots");
        self.asked.insert(op, whose);
    }

    /// A client's turn has come: whose, and the slots that are its own now.
    pub(super) fn granted(&mut self, op: OpId) -> Option<(Whose, Vec<SlotId>)> {
        let whose = self.asked.remove(&op)?;
        Some((whose, self.lines.get(&whose)?.front()?.slots.clone()))
    }

    /// The client's next command, if it wants nothing but the slots it has and free ones.
    pub(super) fn next(&mut self, home: &Home, whose: Whose, own: &[SlotId]) -> Option<Parked> {
        let line = self.lines.get_mut(&whose)?;
        let free = |slot: &SlotId| own.contains(slot) || !home.is_held(*slot);
        line.front().filter(|parked| parked.slots.iter().all(free))?;
        let parked = line.pop_front()?;
        self.count -= 1;
        if line.is_empty() {
            self.lines.remove(&whose);
        }
        Some(parked)
    }
}
