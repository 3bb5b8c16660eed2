//! A shard's side of others' operations: holds granted in turn, parts done one after another.
//!
//! Owns what waits for a hold: tasks of operations, and the place in line of single commands.
//! Sans-IO; knows neither who sent a task nor how its answer goes
//! back.

#![forbid(unsafe_code)]

use std::collections::HashMap;

use crate::command::{Host, LONG_STEP, LongOp, Shard};
use crate::holds::{HoldSet, Holds, OpId, SlotSet};
use crate::ids::{DbId, SlotId};
use crate::reply::Reply;
use crate::session::Session;
use crate::time::Now;

use super::{Begun, Caller, Part, PartReply, Task, Work};

/// See the module's text. At most one task waits for each operation under way in the node,
/// and a client has one at a time.
#[derive(Debug, Default)]
pub struct Home {
    holds: Holds,
    waiting: HashMap<OpId, Task>,
    granted: Vec<OpId>,
}

/// Whose turn has come.
#[derive(Debug)]
pub enum Granted {
    /// A task may run.
    Task(Task),
    /// What has asked by [`Home::ask`] may run; its hold is to be released then.
    Single(OpId),
}

impl Home {
    /// Whether nothing is held: the one test on the way of a single key.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.holds.is_idle()
    }

    /// Whether an operation holds the slot, so that others have to wait.
    #[inline]
    pub fn is_held(&self, slot: SlotId) -> bool {
        self.holds.is_held(slot)
    }

    /// Operations and single commands that hold something here, and those in line.
    pub fn counts(&self) -> (usize, usize) {
        (self.holds.granted(), self.holds.waiting())
    }

    /// A task has come; it is given back when it may run now.
    pub fn arrive(&mut self, mut task: Task) -> Option<Task> {
        let Some(set) = task.hold.take() else { return Some(task) };
        if self.holds.request(task.op, set) {
            return Some(task);
        }
        self.waiting.insert(task.op, task);
        None
    }

    /// A single command asks for its slots, so that it has its place among operations; `true`
    /// when they are its own at once. It holds nothing elsewhere and waits for nothing once
    /// they are, so nobody waits for it in turn.
    pub fn ask(&mut self, op: OpId, slots: SlotSet) -> bool {
        self.holds.request(op, HoldSet::Slots(slots))
    }

    /// A hold has ended here: whose turn it is now, in the order they came.
    pub fn release(&mut self, op: OpId) -> Vec<Granted> {
        self.holds.release(op, &mut self.granted);
        let granted = std::mem::take(&mut self.granted);
        let ready = granted
            .iter()
            .map(|op| self.waiting.remove(op).map_or(Granted::Single(*op), Granted::Task))
            .collect();
        self.granted = granted;
        self.granted.clear();
        ready
    }
}

/// A task that is being done.
#[derive(Debug)]
pub struct Running {
    /// Whose.
    pub op: OpId,
    /// Whether its hold ends with it.
    pub release: bool,
    /// Whether an answer is awaited.
    pub answered: bool,
    /// What was answered so far.
    pub replies: Vec<PartReply>,
    caller: Caller,
    whole: bool,
    left: std::vec::IntoIter<Part>,
    long: Option<(LongOp, Reply)>,
}

impl From<Task> for Running {
    fn from(task: Task) -> Self {
        debug_assert!(task.hold.is_none(), "its hold has been granted");
        let replies = Vec::with_capacity(task.parts.len());
        Self {
            op: task.op,
            release: task.release,
            answered: task.answered,
            replies,
            caller: task.caller,
            whole: task.whole,
            left: task.parts.into_iter(),
            long: None,
        }
    }
}

impl Running {
    /// Commands that it has still to begin.
    pub fn commands(&self) -> u64 {
        let of_part = |part: &Part| match &part.work {
            Work::Run(requests) => requests.len() as u64,
            _ => 1,
        };
        self.left.as_slice().iter().map(of_part).sum()
    }

    /// Does parts until all are done (`true`) or one of them has taken a step of many.
    /// `guest` stands for the client.
    pub fn step(
        &mut self,
        shard: &mut Shard,
        guest: &mut Session,
        host: &mut dyn Host,
        now: Now,
    ) -> bool {
        if let Some((op, reply)) = &mut self.long {
            if !op.step(shard, now, LONG_STEP, reply) {
                return false;
            }
            self.replies.push(PartReply::Reply(std::mem::take(reply)));
            self.long = None;
        }
        let Caller { client, no_touch, face, .. } = self.caller;
        for part in self.left.by_ref() {
            if guest.is_guest {
                guest.stand_in(client, part.protocol, DbId(0), no_touch);
                guest.face = face;
            }
            match part.run(shard, guest, host, self.whole, now) {
                Begun::Done(reply) => self.replies.push(reply),
                Begun::Long(op, reply) => {
                    self.long = Some((op, reply));
                    return false;
                }
            }
        }
        true
    }
}
