//! Operations over several shards: those that began here, and our part in others'.
//!
//! Owns the queues between the state machines of `shards::operation` and the mesh.

#![forbid(unsafe_code)]

use shards::command::{Traffic, count_operation, run_local};
use shards::holds::OpId;
use shards::operation::{Granted, Outcome, Packer, PartReply, Running, Step, Task};
use shards::time::Now;

use super::CacheServer;
use super::across::Begun;
use super::conn::{Conn, Reason};
use super::host::{View, view};
use crate::mesh::parcel::Message;
use crate::runtime::Driver;

/// Tasks of many steps that go on in one turn.
const LONG_STEPS: usize = 8;
/// Keys evicted for others in one turn: about 100 us.
const EVICTIONS: usize = 64;

impl<D: Driver> CacheServer<D> {
    /// Lets operations go on as far as they can without others.
    pub(super) fn pump(&mut self) {
        loop {
            let Some(across) = &mut self.across else { return };
            if let Some((number, step)) = across.steps.pop_front() {
                self.take_step(number, step);
            } else if let Some(task) = across.own_tasks.pop_front() {
                self.task_arrived(task);
            } else if let Some((number, replies)) = across.own_answers.pop_front() {
                let me = self.shard.id;
                self.answered(me, number, replies);
            } else {
                return;
            }
        }
    }

    fn take_step(&mut self, number: u64, step: Step) {
        let Some(across) = &mut self.across else { return };
        let (tasks, done) = match step {
            Step::Go(tasks) => (tasks, false),
            Step::Done(tasks) => (tasks, true),
        };
        for (shard, task) in tasks {
            if shard == self.shard.id {
                across.own_tasks.push_back(task);
            } else {
                across.departing.push((shard, task));
            }
        }
        if done && let Some(begun) = across.operations.remove(&number) {
            self.finish(begun);
        }
    }

    /// A shard has done its part of an operation of ours.
    pub(super) fn answered(
        &mut self,
        from: shards::ids::ShardId,
        number: u64,
        replies: Vec<PartReply>,
    ) {
        let Some(across) = &mut self.across else { return };
        let Some(begun) = across.operations.get_mut(&number) else { return };
        let step = begun.operation.answer(from, replies);
        across.steps.push_back((number, step));
    }

    /// Somebody's operation wants something of this shard.
    pub(super) fn task_arrived(&mut self, task: Task) {
        let Some(across) = &mut self.across else { return };
        if let Some(task) = across.home.arrive(task) {
            self.run_task(Running::from(task));
        }
    }

    /// Does a task, or the next step of it, and then what its end lets run.
    fn run_task(&mut self, first: Running) {
        let mut ended = self.step_task(first);
        let mut ready: Vec<Granted> = Vec::new();
        loop {
            if let (Some(op), Some(across)) = (ended, &mut self.across) {
                // The first in line is popped first.
                ready.extend(across.home.release(op).into_iter().rev());
            }
            ended = match ready.pop() {
                Some(Granted::Task(task)) => self.step_task(Running::from(task)),
                Some(Granted::Single(op)) => {
                    self.run_parked(op);
                    Some(op)
                }
                None => return,
            };
        }
    }

    /// Does what may be done of a task at once; whose hold ends with it, if one does.
    fn step_task(&mut self, mut running: Running) -> Option<OpId> {
        let now = self.now;
        let across = self.across.as_mut()?;
        let mut view = view!(self, Traffic::default());
        self.requests += running.commands();
        if !running.step(&mut self.shard, &mut across.guest, &mut view, now) {
            across.running.push_back(running);
            return None;
        }
        let op = running.op;
        if running.answered {
            if op.shard == self.shard.id {
                across.own_answers.push_back((op.number, running.replies));
            } else {
                let mut packer = Packer { blobs: &self.blobs, lender: &mut across.lender };
                let answers =
                    running.replies.into_iter().map(|reply| packer.answer(reply)).collect();
                across.mesh.post(op.shard, Message::Answer(op, answers));
            }
        }
        running.release.then_some(op)
    }

    /// One step of some of the tasks that take many.
    pub(super) fn step_tasks(&mut self) {
        let steps = self.across.as_ref().map_or(0, |across| across.running.len().min(LONG_STEPS));
        for _ in 0..steps {
            if let Some(running) =
                self.across.as_mut().and_then(|across| across.running.pop_front())
            {
                self.run_task(running);
            }
        }
        self.pump();
    }

    /// An operation of ours has all its answers.
    fn finish(&mut self, begun: Begun) {
        let Begun { operation, client, conn: key, silent, specs, watch } = begun;
        let now = self.now;
        let place = self.conns.get_mut(key.index as usize);
        let alive = |conn: &mut Box<Conn>| conn.key == key && conn.closing.is_none();
        let mut conn = place.and_then(|place| place.take_if(alive));
        let outcome = self.outcome(operation, conn.as_deref_mut(), now);
        count_operation(&self.shard, &specs, &outcome.reply);
        if outcome.broken {
            self.shard.stats.transactions_broken.add(1);
        }
        let Some(mut conn) = conn else {
            // Nobody is left to watch for.
            self.shard.forget_watches(client, &watch);
            return;
        };
        if conn.reply.bytes.capacity() == 0 {
            conn.reply.bytes = self.pool.take();
        }
        if !silent {
            conn.reply.append(outcome.reply);
        }
        // HELLO among the commands of a transaction has changed it.
        conn.reply.protocol = conn.session.protocol;
        if outcome.closes {
            conn.closing = Some(Reason::Killed);
        }
        self.reopen(&mut conn);
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(key);
        }
        self.conns[key.index as usize] = Some(conn);
    }

    fn outcome(
        &mut self,
        operation: shards::operation::Operation,
        conn: Option<&mut Conn>,
        now: Now,
    ) -> Outcome {
        let Self { shard, conns, driver, facts, stats, publisher, kills, across, .. } = self;
        let Some(across) = across else { unreachable!("only a node of several shards has any") };
        let session = match conn {
            Some(conn) => &mut conn.session,
            None => &mut across.guest,
        };
        let own = Traffic::default();
        let mut view = View { conns, driver, facts, stats, publisher, own, kills };
        operation.finish(&mut |spec, args, reply| {
            run_local(shard, session, &mut view, spec, args, now, reply)
        })
    }

    /// Gives up some of what others want.
    pub(super) fn make_room_for_others(&mut self) {
        let Some(across) = &mut self.across else { return };
        for _ in 0..EVICTIONS {
            if across.wanted == 0 {
                return;
            }
            let before = self.shard.store.memory_used();
            if !self.shard.evict_for_others(self.now) {
                across.wanted = 0;
            }
            let freed = before.saturating_sub(self.shard.store.memory_used());
            across.wanted = across.wanted.saturating_sub(freed as u64);
        }
    }

    /// Hands everything to the other shards that is for them.
    pub(super) fn flush_mesh(&mut self) {
        self.finish_guests();
        let Some(across) = &mut self.across else { return };
        // Before the tasks: a client that gives its watches up may watch anew in the same turn,
        // and until a WATCH is answered it cannot give that up.
        for (shard, client) in self.shard.farewells.drain(..) {
            across.mesh.post(shard, Message::Farewell(client));
        }
        for (shard, task) in across.departing.drain(..) {
            let packer = Packer { blobs: &self.blobs, lender: &mut across.lender };
            across.mesh.post(shard, Message::Task(packer.task(task)));
        }
        for (shard, bytes) in self.shard.pleas.drain(..) {
            across.mesh.post(shard, Message::MakeRoom(bytes));
        }
        if !across.returns.is_empty() {
            across.returns.take(&mut across.settled);
            for id in across.settled.drain(..) {
                across.mesh.post(id.home(), Message::Settled(id));
            }
        }
        let driver = &mut self.driver;
        across.mesh.flush(&self.blobs, &mut |waker| driver.wake(waker));
    }
}
