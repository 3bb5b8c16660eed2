//! A node of several shards in one thread, under one seed.
//!
//! Owns the shards, the clients' sessions and what is on its way between shards: a queue for
//! each ordered pair, of which any may be delivered next, but each only from its head, so that
//! all may overlap that may overlap between threads. What goes to another shard is packed
//! as if to another thread. Never decides what a command means or where it runs.

use std::collections::VecDeque;

use crate::command::tests::Alone;
use crate::command::{
    CommandSpec, Flow, LONG_STEP, LongOp, OwnedArgs, Place, Spread, dispatch, leave, lookup, place,
    run_local,
};
use crate::holds::OpId;
use crate::ids::{ClientId, ShardId};
use crate::partition::Partition;
use crate::reply::Reply;
use crate::session::Session;

use super::super::*;
use super::seat::{
    Begun, Client, ClientNo, DATABASES, Message, NOW, Seat, Single, arguments, flat,
};

/// About how many steps a queue is slow.
const SLOW_STEPS: usize = 64;

/// Far more than any test takes.
const MOST_TURNS: usize = 300_000;

const NONE_SLOW: (usize, usize) = (usize::MAX, usize::MAX);

/// Something that can happen next.
#[derive(Clone, Copy)]
enum Turn {
    Deliver { from: usize, to: usize },
    Run(usize, usize),
    GoOn(usize, usize),
}

/// See the module's text.
pub(super) struct Node {
    pub(super) seats: Vec<Seat>,
    pub(super) clients: Vec<Client>,
    /// By sender, then receiver.
    queues: Vec<Vec<VecDeque<Message>>>,
    pub(super) partition: Partition,
    host: Alone,
    random: u64,
    /// A queue that stands still for a while, by sender and receiver.
    slow: (usize, usize),
    turns: usize,
    /// Whether holds are respected: without them the checks of isolation must fail.
    pub(super) holds: bool,
}

impl Node {
    pub(super) fn new(shards: u16, random: u64) -> Self {
        let partition = Partition::new(shards).unwrap();
        let queues = || (0..shards).map(|_| VecDeque::new()).collect();
        Self {
            seats: (0..shards).map(|n| Seat::new(ShardId(n), partition)).collect(),
            clients: Vec::new(),
            queues: (0..shards).map(|_| queues()).collect(),
            partition,
            host: Alone::default(),
            random,
            slow: NONE_SLOW,
            turns: 0,
            holds: true,
        }
    }

    /// A client on some shard.
    pub(super) fn connect(&mut self) -> ClientNo {
        let number = self.clients.len();
        let seat = ShardId((self.random() % self.seats.len()) as u16);
        let session = Session::new(ClientId(number as u64 + 1), true, NOW);
        self.clients.push(Client { seat, session, reply: None, is_gone: false });
        ClientNo(number)
    }

    pub(super) fn random(&mut self) -> usize {
        self.random = self.random.wrapping_mul(6364136223846793005).wrapping_add(1);
        (self.random >> 33) as usize
    }

    pub(super) fn session(&mut self, client: ClientNo) -> &mut Session {
        &mut self.clients[client.0].session
    }

    pub(super) fn take_reply(&mut self, client: ClientNo) -> Option<Vec<u8>> {
        self.clients[client.0].reply.take()
    }

    /// One command; the reply comes some steps later.
    pub(super) fn ask(&mut self, client: ClientNo, words: &[Vec<u8>]) {
        let Client { seat, session, .. } = &self.clients[client.0];
        let (own, db, caller) = (*seat, session.db, Caller::of(session));
        let seat = &self.seats[usize::from(own.0)];
        let args = arguments(&seat.blobs, words);
        let Some(spec) = lookup(&words[0]) else { return self.run_own(client, None, &args) };
        let single = Single { client, caller, db, spec, args };
        match place(&seat.shard, session, spec, &single.args.as_args(), None) {
            Place::Connection => self.run_own(client, Some(spec), &single.args),
            Place::At(home) if home == own => self.arrive(own, single),
            Place::At(home) => {
                let packer = self.seats[usize::from(own.0)].packer();
                let single = single.with(|args| packer.args(args));
                self.send(own, home, Message::Single(Box::new(single)));
            }
            Place::Wide => self.start(client, spec, &single.args),
        }
        self.return_lent();
    }

    /// A client goes, whether it has its reply or not.
    pub(super) fn disconnect(&mut self, number: ClientNo) {
        let client = &mut self.clients[number.0];
        client.is_gone = true;
        let at = client.seat;
        leave(&mut self.seats[usize::from(at.0)].shard, &mut client.session);
        self.say_farewell(at);
    }

    /// Anything that can happen next, happens; `false` when there is nothing.
    pub(super) fn step(&mut self) -> bool {
        self.step_without_slow() || {
            self.slow = NONE_SLOW;
            self.take_turn()
        }
    }

    /// The same, but for what is in the slow queue.
    pub(super) fn step_without_slow(&mut self) -> bool {
        if self.random().is_multiple_of(SLOW_STEPS) {
            let (from, to) = (self.random(), self.random());
            self.slow = (from % self.seats.len(), to % self.seats.len());
        }
        self.take_turn()
    }

    fn take_turn(&mut self) -> bool {
        self.turns += 1;
        assert!(self.turns < MOST_TURNS, "it goes on for ever");
        let mut turns = Vec::new();
        for (n, seat) in self.seats.iter().enumerate() {
            let to = self.queues[n].iter().enumerate().filter(|(_, queue)| !queue.is_empty());
            let fast = to.filter(|(to, _)| (n, *to) != self.slow);
            turns.extend(fast.map(|(to, _)| Turn::Deliver { from: n, to }));
            turns.extend((0..seat.running.len()).map(|i| Turn::Run(n, i)));
            turns.extend((0..seat.long.len()).map(|i| Turn::GoOn(n, i)));
        }
        if turns.is_empty() {
            return false;
        }
        match turns[self.random() % turns.len()] {
            Turn::Deliver { from, to } => {
                if let Some(message) = self.queues[from][to].pop_front() {
                    self.deliver(ShardId(from as u16), ShardId(to as u16), message);
                }
            }
            Turn::Run(n, i) => {
                let running = self.seats[n].running.swap_remove(i);
                self.run(ShardId(n as u16), running);
            }
            Turn::GoOn(n, i) => {
                let (client, op, reply) = self.seats[n].long.swap_remove(i);
                self.go_on(ShardId(n as u16), client, op, reply);
            }
        }
        self.return_lent();
        true
    }

    /// Runs until nothing is left to do and makes sure that nothing is left behind.
    pub(super) fn drain(&mut self) {
        while self.step() {}
        for (n, seat) in self.seats.iter().enumerate() {
            assert_eq!(seat.home.counts(), (0, 0), "shard {n}: granted and waiting");
            assert!(seat.home.is_idle() && seat.parked.is_empty(), "shard {n}: waits");
            assert!(seat.operations.is_empty(), "shard {n}: operations without an end");
            assert_eq!(seat.lender.out(), 0, "shard {n}: lent values come back");
        }
    }

    /// Where clients that watch nothing have left marks.
    pub(super) fn stray_watches(&self) -> Vec<(ShardId, ClientNo)> {
        let mut strays = Vec::new();
        for (n, client) in self.clients.iter().enumerate() {
            let marked = |seat: &&Seat| {
                let marks = seat.shard.store.watches.of(client.session.id);
                marks.iter().any(|mark| !client.session.watched.contains(mark))
            };
            strays.extend(self.seats.iter().filter(marked).map(|s| (s.shard.id, ClientNo(n))));
        }
        strays
    }

    fn send(&mut self, from: ShardId, to: ShardId, message: Message) {
        self.queues[usize::from(from.0)][usize::from(to.0)].push_back(message);
    }

    /// Values that nobody reads any more go home.
    fn return_lent(&mut self) {
        for n in 0..self.seats.len() {
            let mut ids = Vec::new();
            self.seats[n].returns.take(&mut ids);
            for id in ids {
                self.send(ShardId(n as u16), id.home(), Message::Back(id));
            }
        }
    }

    fn deliver(&mut self, from: ShardId, at: ShardId, message: Message) {
        let seat = &mut self.seats[usize::from(at.0)];
        match message {
            Message::Task(task) => {
                let mut task = seat.unpacker().task(task);
                if !self.holds {
                    task.hold = None;
                }
                if let Some(task) = seat.home.arrive(task) {
                    self.run(at, Running::from(task));
                }
            }
            Message::Answer(op, replies) => {
                let unpacker = seat.unpacker();
                let replies = replies.into_iter().map(|reply| unpacker.answer(reply)).collect();
                let begun = seat.operations.get_mut(&op.number).unwrap();
                let step = begun.operation.answer(from, replies);
                self.advance(op, step);
            }
            Message::Single(single) => {
                let unpacker = seat.unpacker();
                let single = single.with(|args| unpacker.args(args));
                self.arrive(at, single);
            }
            Message::Reply(client, reply) => {
                let reply = seat.unpacker().reply(reply);
                self.finish(client, &reply);
            }
            Message::Unwatch(client) => seat.shard.store.watches.unwatch(client),
            Message::Back(id) => seat.lender.take_back(id),
        }
    }

    /// A command has come to its home, where it waits while one of its slots is held. What
    /// needs its client's session becomes an operation instead.
    fn arrive(&mut self, at: ShardId, single: Single<OwnedArgs>) {
        let seat = &mut self.seats[usize::from(at.0)];
        let client = &self.clients[single.client.0];
        if seat.blocks(client, &single) {
            if matches!(single.spec.spread, Spread::Exec | Spread::Watch) {
                return self.start(single.client, single.spec, &single.args);
            }
            return seat.parked.push(single);
        }
        if client.seat == at {
            return self.run_own(single.client, Some(single.spec), &single.args);
        }
        let Caller { client, protocol, no_touch, .. } = single.caller;
        let mut reply = Reply::new(protocol);
        seat.guest.stand_in(client, protocol, single.db, no_touch);
        let (shard, guest, host) = (&mut seat.shard, &mut seat.guest, &mut self.host);
        let (spec, args) = (Some(single.spec), single.args.as_args());
        match dispatch(shard, guest, host, spec, &args, NOW, &mut reply) {
            Flow::Pending(op) => seat.long.push((single.client, op, reply)),
            Flow::Done | Flow::Close => self.reply(at, single.client, reply),
        }
    }

    /// A command runs where its connection is.
    fn run_own(&mut self, number: ClientNo, spec: Option<&'static CommandSpec>, args: &OwnedArgs) {
        let Client { seat: at, session, .. } = &mut self.clients[number.0];
        let seat = &mut self.seats[usize::from(at.0)];
        let (mut reply, host) = (Reply::new(session.protocol), &mut self.host);
        let args = args.as_args();
        match dispatch(&mut seat.shard, session, host, spec, &args, NOW, &mut reply) {
            Flow::Pending(op) => seat.long.push((number, op, reply)),
            Flow::Done | Flow::Close => {
                let at = *at;
                self.say_farewell(at);
                self.finish(number, &reply);
            }
        }
    }

    fn say_farewell(&mut self, at: ShardId) {
        for (home, client) in std::mem::take(&mut self.seats[usize::from(at.0)].shard.farewells) {
            self.send(at, home, Message::Unwatch(client));
        }
    }

    fn go_on(&mut self, at: ShardId, client: ClientNo, mut op: LongOp, mut reply: Reply) {
        let seat = &mut self.seats[usize::from(at.0)];
        if op.step(&seat.shard, NOW, LONG_STEP, &mut reply) {
            self.reply(at, client, reply);
        } else {
            seat.long.push((client, op, reply));
        }
    }

    /// A command has its reply, here or where its client is.
    fn reply(&mut self, at: ShardId, client: ClientNo, reply: Reply) {
        let own = self.clients[client.0].seat;
        if own == at {
            return self.finish(client, &reply);
        }
        let reply = self.seats[usize::from(at.0)].packer().reply(reply);
        self.send(at, own, Message::Reply(client, reply));
    }

    fn finish(&mut self, client: ClientNo, reply: &Reply) {
        let before = self.clients[client.0].reply.replace(flat(reply));
        assert!(before.is_none(), "one reply to one command");
    }

    fn start(&mut self, number: ClientNo, spec: &'static CommandSpec, args: &OwnedArgs) {
        let noise = self.random() as u64;
        let Client { seat: at, session, .. } = &mut self.clients[number.0];
        let seat = &mut self.seats[usize::from(at.0)];
        seat.begun += 1;
        let id = OpId { shard: *at, number: seat.begun };
        let start =
            Start { id, partition: self.partition, databases: DATABASES, noise, only: None };
        let args = args.as_args();
        let (operation, step) = match spec.spread {
            Spread::Exec => Operation::of_exec(start, session, None),
            _ => Operation::of_command(start, session, spec, &args),
        };
        let watches = spec.spread == Spread::Watch;
        let watch = args.from(1).filter(|_| watches).map(|key| (session.db, key.into())).collect();
        seat.operations.insert(id.number, Begun { client: number, operation, watch });
        self.advance(id, step);
    }

    pub(super) fn advance(&mut self, op: OpId, step: Step) {
        let (tasks, done) = match step {
            Step::Go(tasks) => (tasks, false),
            Step::Done(tasks) => (tasks, true),
        };
        for (to, task) in tasks {
            let task = self.seats[usize::from(op.shard.0)].packer().task(task);
            self.send(op.shard, to, Message::Task(task));
        }
        if !done {
            return;
        }
        let begun = self.seats[usize::from(op.shard.0)].operations.remove(&op.number).unwrap();
        self.done(op.shard, begun);
    }

    /// An operation has all its answers.
    fn done(&mut self, at: ShardId, begun: Begun) {
        let Seat { shard, guest, .. } = &mut self.seats[usize::from(at.0)];
        let (client, host) = (&mut self.clients[begun.client.0], &mut self.host);
        let session = if client.is_gone { guest } else { &mut client.session };
        let outcome = begun.operation.finish(&mut |spec, args, reply| {
            run_local(shard, session, host, spec, args, NOW, reply)
        });
        if client.is_gone {
            shard.forget_watches(client.session.id, &begun.watch);
            return self.say_farewell(at);
        }
        self.finish(begun.client, &outcome.reply);
    }

    /// Does what it can of a task.
    fn run(&mut self, at: ShardId, mut running: Running) {
        let seat = &mut self.seats[usize::from(at.0)];
        if !running.step(&mut seat.shard, &mut seat.guest, &mut self.host, NOW) {
            return seat.running.push(running);
        }
        let op = running.op;
        if running.answered {
            let mut packer = seat.packer();
            let replies = running.replies.into_iter().map(|reply| packer.answer(reply)).collect();
            self.send(at, op.shard, Message::Answer(op, replies));
        }
        if running.release && self.holds {
            let seat = &mut self.seats[usize::from(at.0)];
            let (ready, parked) = (seat.home.release(op), std::mem::take(&mut seat.parked));
            for granted in ready {
                let Granted::Task(task) = granted else { unreachable!("no single has asked") };
                self.run(at, Running::from(task));
            }
            parked.into_iter().for_each(|single| self.arrive(at, single));
        }
    }
}
