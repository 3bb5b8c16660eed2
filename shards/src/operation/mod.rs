//! Commands over several shards: atomic and isolated, as on one.
//!
//! Owns the order in which holds are taken, parts sent, answers merged and holds released.
//! Sans-IO: tasks go out, answers come in; who carries them, and that each reaches its shard
//! once and in order, is the mesh's business. Never gives a hold back before all are granted
//! (two-phase locking; Bernstein, Hadzilacos, Goodman 1987, chapter 3), and takes them in
//! ascending order of shards, so that no two operations wait for each other.
//!
//! ```text
//! begin -> hold shard 0 -> hold shard 1 ... -> [watches intact?] -> stage -> ... -> done
//!                                  |                 | no                ^ |
//!                                  |                 +-> release, null   +-+ a script's next
//!                                  +-> one stage: its parts go with the last hold, and every
//!                                      home releases once it has done its own
//! ```

#![forbid(unsafe_code)]

mod gather;
mod home;
mod item;
mod packed;
mod part;
mod run;
mod scan;
mod script;
#[cfg(test)]
mod tests;

pub use home::{Granted, Home, Running};
pub use packed::{PackedAnswer, PackedEntry, PackedReply, PackedTask, Packer, Unpacker};
pub use part::{Begun, Caller, Lifted, LiftedValue, Part, PartReply, Work};
pub use run::RunRequest;

use crate::command::{
    Args, CommandError, CommandSpec, Spread, hello_of, note_watches, resolve, select_of,
};
use crate::holds::{HoldSet, OpId, SlotSet};
use crate::ids::{DbId, ShardId, SlotId};
use crate::partition::Partition;
use crate::reply::{Protocol, Reply};
use crate::session::Session;
use crate::slot::slot_of;
use item::{Divider, Item, Parts};
use run::Run;

/// What one shard is asked: holds first, then parts in their order, then the release.
/// It is answered once, unless there is neither a hold nor a part in it.
#[derive(Debug)]
pub struct Task {
    /// Whose.
    pub op: OpId,
    /// For which client.
    pub caller: Caller,
    /// What to hold before anything is done.
    pub hold: Option<HoldSet>,
    /// What to do then.
    pub parts: Vec<Part>,
    /// Whether the hold ends with it.
    pub release: bool,
    /// Whether parts run in one go since others are held meanwhile.
    pub whole: bool,
    /// Whether an answer is awaited.
    pub answered: bool,
}

/// Tasks and whom each is for.
pub type Tasks = Vec<(ShardId, Task)>;

/// What an answer has led to.
#[derive(Debug)]
pub enum Step {
    /// Send these and wait for answers.
    Go(Tasks),
    /// Send these; nothing more is awaited: [`Operation::finish`].
    Done(Tasks),
}

/// What became of an operation.
#[derive(Debug)]
pub struct Outcome {
    /// For the client.
    pub reply: Reply,
    /// Whether its connection is to be closed.
    pub closes: bool,
    /// Whether a watched key had changed.
    pub broken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    One,
    Exec,
}

/// What one shard owes: which item each of its parts belongs to.
#[derive(Debug)]
struct Owed {
    shard: ShardId,
    items: Vec<usize>,
}

/// Parts that go out together, by home: which item each belongs to, and as which of its own.
type Stage = Vec<(ShardId, Vec<(usize, usize, Part)>)>;

/// See the module's text.
#[derive(Debug)]
pub struct Operation {
    id: OpId,
    caller: Caller,
    kind: Kind,
    /// In ascending order of shards.
    holds: Vec<(ShardId, HoldSet)>,
    granted: usize,
    /// Homes that have been told to release.
    released: Vec<ShardId>,
    /// Homes to ask whether watches are intact.
    watched: Vec<ShardId>,
    checking: bool,
    broken: bool,
    refused: Option<CommandError>,
    closes: bool,
    items: Vec<Item>,
    /// The protocol of each item's reply: HELLO amid them changes that of those behind it.
    protocols: Vec<Protocol>,
    /// Items begun so far.
    begun: usize,
    /// Answers of the items under way, by item, in the order of their parts.
    answers: Vec<Vec<Option<PartReply>>>,
    owed: Vec<Owed>,
    /// Parts of the stage that goes out once the last hold is granted.
    kept: Stage,
    noise: u64,
}

/// Where an operation begins.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Its number.
    pub id: OpId,
    /// Which shard owns what.
    pub partition: Partition,
    /// Logical databases.
    pub databases: u8,
    /// Something random.
    pub noise: u64,
    /// The one shard whose keys it concerns: its client takes that for a node of its own.
    pub only: Option<ShardId>,
}

impl Operation {
    /// Of one command that concerns several shards. Keys of WATCH become the session's at
    /// once, so that whatever ends its watches ends them where they are under way, too.
    pub fn of_command(
        start: Start,
        session: &mut Session,
        spec: &'static CommandSpec,
        args: &Args<'_>,
    ) -> (Self, Step) {
        let spec = resolve(spec, args);
        let divider = divider(start, session.db);
        let mut slots = Vec::new();
        let mut every = false;
        let item = if spec.spread == Spread::Watch {
            note_watches(session, args);
            Item::Parts(spec, divider.by_home(spec, args), item::Merge::All)
        } else {
            every = !divider.slots(spec, args, &mut slots);
            divider.divide(spec, args)
        };
        let holds = match spec.spread {
            Spread::Everywhere(gather) if !gather.holds() => Vec::new(),
            _ => holds(start, every, slots),
        };
        let mut operation = Self::new(start, session, Kind::One, holds, vec![item]);
        let step = operation.next();
        (operation, step)
    }

    /// Of the commands queued since MULTI; ends the transaction and the watches. `refused`
    /// says why nothing of it may run, should the watches be intact.
    pub fn of_exec(
        start: Start,
        session: &mut Session,
        refused: Option<CommandError>,
    ) -> (Self, Step) {
        debug_assert!(session.transaction.as_ref().is_some_and(|t| !t.refused), "see `place`");
        let mut queue = session.transaction.take().map(|t| t.queue).unwrap_or_default();
        if refused.is_some() {
            queue.clear();
        }
        let mut divider = divider(start, session.db);
        let (mut items, mut slots, mut every) = (Vec::new(), Vec::new(), false);
        let (mut protocol, mut protocols) = (session.protocol, Vec::new());
        for (spec, args) in &queue {
            let args = args.as_args();
            every |= !divider.slots(spec, &args, &mut slots);
            items.push(divider.divide(spec, &args));
            protocols.push(protocol);
            if let Some(db) = select_of(spec, &args, start.databases) {
                divider.db = db;
            }
            protocol = hello_of(spec, &args).unwrap_or(protocol);
        }
        let watched = std::mem::take(&mut session.watched);
        let homes = watched.iter().map(|(_, key)| slot_of(key));
        let mut watching: Vec<ShardId> =
            homes.clone().map(|slot| start.partition.home(slot)).collect();
        slots.extend(homes);
        watching.sort_unstable();
        watching.dedup();
        let holds = holds(start, every, slots);
        let mut operation = Self::new(start, session, Kind::Exec, holds, items);
        operation.watched = watching;
        operation.refused = refused;
        operation.protocols = protocols;
        let step = operation.next();
        (operation, step)
    }

    /// Of requests of one connection that are at home on several shards, in their order.
    pub fn of_run(start: Start, session: &Session, requests: Vec<RunRequest>) -> (Self, Step) {
        debug_assert!(!requests.is_empty(), "there is something to do");
        let mut slots = Vec::new();
        for RunRequest { spec, args, .. } in &requests {
            let args = args.as_args();
            let keys = resolve(spec, &args).keys.positions(args.len());
            slots.extend(keys.map(|n| slot_of(args.at(n))));
        }
        let spec = requests[0].spec;
        let run = Item::Run(spec, Box::new(Run::new(requests, session.db, session.protocol)));
        let holds = holds(start, false, slots);
        let mut operation = Self::new(start, session, Kind::One, holds, vec![run]);
        let step = operation.next();
        (operation, step)
    }

    fn new(
        start: Start,
        session: &Session,
        kind: Kind,
        holds: Vec<(ShardId, HoldSet)>,
        items: Vec<Item>,
    ) -> Self {
        Self {
            id: start.id,
            caller: Caller::of(session),
            kind,
            holds,
            granted: 0,
            released: Vec::new(),
            watched: Vec::new(),
            checking: false,
            broken: false,
            refused: None,
            closes: false,
            answers: items.iter().map(|_| Vec::new()).collect(),
            protocols: vec![session.protocol; items.len()],
            items,
            begun: 0,
            owed: Vec::new(),
            kept: Vec::new(),
            noise: start.noise,
        }
    }

    /// Its number.
    pub fn id(&self) -> OpId {
        self.id
    }

    /// Commands it consists of, for counting.
    pub fn commands(&self) -> impl Iterator<Item = &'static CommandSpec> {
        self.items.iter().map(Item::spec)
    }

    /// Shards whose answers are awaited.
    pub fn awaits(&self) -> impl Iterator<Item = ShardId> {
        self.owed.iter().map(|owed| owed.shard)
    }

    /// A shard has answered its task.
    pub fn answer(&mut self, shard: ShardId, replies: Vec<PartReply>) -> Step {
        let Some(at) = self.owed.iter().position(|owed| owed.shard == shard) else {
            debug_assert!(false, "an answer that nobody waits for");
            return Step::Go(Vec::new());
        };
        let owed = self.owed.swap_remove(at);
        debug_assert!(self.checking || owed.items.len() == replies.len(), "one reply a part");
        if self.checking {
            self.broken |= replies.iter().any(|reply| matches!(reply, PartReply::Flag(false)));
        } else {
            for (packed, reply) in owed.items.into_iter().zip(replies) {
                self.closes |= matches!(reply, PartReply::Closing(_));
                let (item, nth) = (packed >> 32, packed & 0xFFFF_FFFF);
                self.answers[item][nth] = Some(reply);
            }
        }
        if !self.owed.is_empty() {
            return Step::Go(Vec::new());
        }
        if self.granted < self.holds.len() {
            self.granted += 1;
        }
        self.next()
    }

    /// All that was awaited is there.
    fn next(&mut self) -> Step {
        if self.granted < self.holds.len() {
            return Step::Go(self.hold_next());
        }
        if !self.kept.is_empty() {
            let kept = std::mem::take(&mut self.kept);
            return self.send(kept, true);
        }
        if self.checking {
            self.checking = false;
            if self.broken {
                return Step::Done(self.release_all());
            }
        } else if !self.watched.is_empty() {
            return Step::Go(self.check_watches());
        }
        loop {
            let again = self.collect();
            let stage = if again.is_empty() { self.begin_stage() } else { again };
            if stage.is_empty() {
                if self.begun < self.items.len() {
                    continue; // only commands without parts so far
                }
                return Step::Done(self.release_all());
            }
            let last = self.begun == self.items.len() && self.items.iter().all(Item::is_simple);
            return self.send(stage, last);
        }
    }

    /// Takes the next hold. When there is only one stage, its parts go with the last one.
    fn hold_next(&mut self) -> Tasks {
        let (shard, set) = self.holds[self.granted].clone();
        let last = self.granted + 1 == self.holds.len();
        let mut task = self.task(Some(set), Vec::new(), false);
        let mut items = Vec::new();
        if last && self.watched.is_empty() && self.items.iter().all(Item::is_simple) {
            let mut stage = self.begin_stage();
            let own = stage.iter().position(|(home, _)| *home == shard);
            for (item, nth, part) in own.map(|at| stage.swap_remove(at).1).into_iter().flatten() {
                items.push(item << 32 | nth);
                task.parts.push(part);
            }
            task.release = true;
            self.released.push(shard);
            self.kept = stage;
        }
        self.owed.push(Owed { shard, items });
        vec![(shard, task)]
    }

    fn check_watches(&mut self) -> Tasks {
        self.checking = true;
        let db = DbId(0); // a watch knows its own
        let homes = std::mem::take(&mut self.watched);
        homes
            .into_iter()
            .map(|shard| {
                self.owed.push(Owed { shard, items: Vec::new() });
                (shard, self.task(None, vec![Part::new(db, Work::Intact)], false))
            })
            .collect()
    }

    /// Begins items until one of them has a second stage.
    fn begin_stage(&mut self) -> Stage {
        let mut stage = Vec::new();
        while self.begun < self.items.len() {
            let n = self.begun;
            self.begun += 1;
            let parts = self.items[n].start();
            self.put(n, parts, &mut stage);
            if !self.items[n].is_simple() {
                break;
            }
        }
        stage
    }

    fn put(&mut self, item: usize, parts: Parts, stage: &mut Stage) {
        self.answers[item] = parts.iter().map(|_| None).collect();
        for (nth, (home, mut part)) in parts.into_iter().enumerate() {
            part.protocol = self.protocols[item];
            match stage.iter_mut().find(|(shard, _)| *shard == home) {
                Some((_, list)) => list.push((item, nth, part)),
                None => stage.push((home, vec![(item, nth, part)])),
            }
        }
    }

    /// Merges what has been answered; parts of a script's next stage, if there is one.
    fn collect(&mut self) -> Stage {
        let mut stage = Vec::new();
        for n in 0..self.begun {
            if self.answers[n].is_empty() {
                continue;
            }
            let answers: Option<Vec<PartReply>> =
                std::mem::take(&mut self.answers[n]).into_iter().collect();
            let answers = answers.expect("all that was owed has come");
            let noise = self.noise.rotate_left(n as u32);
            let parts = self.items[n].resume(answers, self.protocols[n], noise);
            self.put(n, parts, &mut stage);
        }
        stage
    }

    fn send(&mut self, stage: Stage, last: bool) -> Step {
        let mut tasks: Tasks = Vec::new();
        for (shard, list) in stage {
            let items = list.iter().map(|(item, nth, _)| item << 32 | nth).collect();
            self.owed.push(Owed { shard, items });
            let parts = list.into_iter().map(|(_, _, part)| part).collect();
            let release = last && self.holds.iter().any(|(held, _)| *held == shard);
            if release {
                self.released.push(shard);
            }
            tasks.push((shard, self.task(None, parts, release)));
        }
        if last {
            tasks.extend(self.release_all());
        }
        Step::Go(tasks)
    }

    /// Releases what is held still.
    fn release_all(&mut self) -> Tasks {
        let held: Vec<ShardId> = self.holds[..self.granted].iter().map(|(s, _)| *s).collect();
        let left: Vec<ShardId> =
            held.into_iter().filter(|shard| !self.released.contains(shard)).collect();
        self.released.extend(&left);
        left.into_iter().map(|shard| (shard, self.task(None, Vec::new(), true))).collect()
    }

    fn task(&self, hold: Option<HoldSet>, parts: Vec<Part>, release: bool) -> Task {
        let whole = !self.holds.is_empty();
        let answered = hold.is_some() || !parts.is_empty();
        Task { op: self.id, caller: self.caller, hold, parts, release, whole, answered }
    }

    /// The reply. Commands without keys run now, by `local`, which returns whether the
    /// connection is to be closed.
    pub fn finish(
        self,
        local: &mut dyn FnMut(&'static CommandSpec, &Args<'_>, &mut Reply) -> bool,
    ) -> Outcome {
        let mut reply = Reply::new(self.caller.protocol);
        let mut closes = self.closes;
        if self.broken {
            reply.null_array();
            return Outcome { reply, closes, broken: true };
        }
        if let Some(error) = self.refused {
            reply.error(error.text().as_bytes());
            return Outcome { reply, closes, broken: false };
        }
        if self.kind == Kind::Exec {
            reply.array(self.items.len());
        }
        for item in self.items {
            match item {
                Item::Local(spec, args) => closes |= local(spec, &args.as_args(), &mut reply),
                Item::Done(_, done) => reply.append(done),
                // Finished before its parts were answered.
                Item::Parts(..) | Item::Script(..) | Item::Run(..) => {
                    reply.append(part::mixed_up(reply.protocol));
                }
            }
        }
        Outcome { reply, closes, broken: false }
    }
}

fn divider(start: Start, db: DbId) -> Divider {
    Divider { partition: start.partition, db, databases: start.databases, only: start.only }
}

/// What to hold, in ascending order of shards.
fn holds(start: Start, every: bool, mut slots: Vec<SlotId>) -> Vec<(ShardId, HoldSet)> {
    let Start { partition, only, .. } = start;
    if let (true, Some(shard)) = (every, only) {
        return vec![(shard, HoldSet::All)];
    }
    if every {
        return (0..partition.shards()).map(|n| (ShardId(n), HoldSet::All)).collect();
    }
    slots.sort_unstable();
    slots.dedup();
    slots
        .chunk_by(|a, b| partition.home(*a) == partition.home(*b))
        .map(|chunk| {
            (
                partition.home(chunk[0]),
                HoldSet::Slots(SlotSet::new(chunk.to_vec()).expect("a chunk is not empty")),
            )
        })
        .collect()
}
