//! One command of an operation, divided into parts, and its replies put together again.
//!
//! Owns how each kind of command is divided; which kind a command is, the table says
//! (`crate::command::Spread`). Knows nothing of holds.

#![forbid(unsafe_code)]

use crate::command::{
    Args, COMMANDS, CommandSpec, Gather, OwnedArgs, Spread, home_of_keys, resolve,
};
use crate::ids::{DbId, ShardId, SlotId};
use crate::partition::Partition;
use crate::reply::{Protocol, Reply};
use crate::slot::slot_of;

use super::gather;
use super::part::{Part, PartReply, Work, mixed_up, refused};
use super::run::Run;
use super::script::{Next, Script};

/// Parts and where each is at home.
pub(super) type Parts = Vec<(ShardId, Part)>;

/// One command; see the module's text.
#[derive(Debug)]
pub(super) enum Item {
    /// Runs where its connection is.
    Local(&'static CommandSpec, OwnedArgs),
    /// Its parts go out at once; their replies are merged.
    Parts(&'static CommandSpec, Parts, Merge),
    /// Requests of a pipeline; the first one's command.
    Run(&'static CommandSpec, Box<Run>),
    /// Goes in stages.
    Script(&'static CommandSpec, Box<Script>),
    /// Has its reply.
    Done(&'static CommandSpec, Reply),
}

/// How replies become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merge {
    /// There is one.
    One,
    /// Numbers are added up.
    Sum,
    /// The first error, or the first.
    All,
    /// Each is an array of one; together they are one array.
    Values,
    /// As all shards' replies.
    Gather(Gather),
}

/// What dividing needs to know.
pub(super) struct Divider {
    pub(super) partition: Partition,
    pub(super) db: DbId,
    pub(super) databases: u8,
    /// See [`super::Start`].
    pub(super) only: Option<ShardId>,
}

impl Divider {
    fn home(&self, key: &[u8]) -> ShardId {
        self.partition.home(slot_of(key))
    }

    /// Divides one command. What its own code would refuse is left to that code.
    pub(super) fn divide(&self, spec: &'static CommandSpec, args: &Args<'_>) -> Item {
        let spec = resolve(spec, args);
        let local = || Item::Local(spec, args.to_owned());
        if !spec.takes(args.len()) {
            return local();
        }
        if let Some(home) = home_of_keys(self.partition, spec, args) {
            return self.whole(home, spec, args);
        }
        if let Some(only) = self.only.filter(|_| spec.spread.is_of_keyspace()) {
            return self.whole(only, spec, args);
        }
        match spec.spread {
            Spread::Connection | Spread::Watch | Spread::Exec | Spread::Home => local(),
            Spread::Cursor => {
                let script = Script::scan(self.partition, self.db, spec, args.to_owned());
                script.map_or_else(local, |script| Item::Script(spec, Box::new(script)))
            }
            Spread::Sum => Item::Parts(spec, self.by_home(spec, args), Merge::Sum),
            Spread::All if args.len().is_multiple_of(2) => local(),
            Spread::All => Item::Parts(spec, self.by_home(spec, args), Merge::All),
            Spread::Values => Item::Parts(spec, self.by_key(spec, args), Merge::Values),
            Spread::Everywhere(gather) => self.everywhere(gather, spec, args),
            Spread::SetAllIfNone if args.len().is_multiple_of(2) => local(),
            Spread::SetAllIfNone => self.set_all_if_none(spec, args),
            Spread::Rename | Spread::RenameIfFree => self.rename(spec, args),
            Spread::Copy => self.copy(spec, args).unwrap_or_else(local),
        }
    }

    fn part(&self, home: ShardId, work: Work) -> (ShardId, Part) {
        (home, Part::new(self.db, work))
    }

    fn whole(&self, home: ShardId, spec: &'static CommandSpec, args: &Args<'_>) -> Item {
        let work = Work::Command(spec, args.to_owned());
        Item::Parts(spec, vec![self.part(home, work)], Merge::One)
    }

    /// One part a home, with its keys and what belongs to them, in the order given.
    pub(super) fn by_home(&self, spec: &'static CommandSpec, args: &Args<'_>) -> Parts {
        let mut homes: Vec<(ShardId, Vec<usize>)> = Vec::new();
        for n in spec.keys.positions(args.len()) {
            let home = self.home(args.at(n));
            let at = homes.iter().position(|(known, _)| *known == home).unwrap_or_else(|| {
                homes.push((home, vec![0]));
                homes.len() - 1
            });
            homes[at].1.extend(n..n + spec.keys.step as usize);
        }
        homes.sort_by_key(|(home, _)| *home);
        homes
            .into_iter()
            .map(|(home, picked)| self.part(home, Work::Command(spec, args.pick(&picked))))
            .collect()
    }

    fn by_key(&self, spec: &'static CommandSpec, args: &Args<'_>) -> Parts {
        let one = |n| self.part(self.home(args.at(n)), Work::Command(spec, args.pick(&[0, n])));
        spec.keys.positions(args.len()).map(one).collect()
    }

    fn everywhere(&self, gather: Gather, spec: &'static CommandSpec, args: &Args<'_>) -> Item {
        let mut parts = Parts::new();
        for shard in (0..self.partition.shards()).map(ShardId) {
            parts.push(self.part(shard, Work::Command(spec, args.to_owned())));
            if gather == Gather::RandomKey {
                // How many keys a shard has says how likely its key is.
                parts.push(self.part(shard, Work::Command(dbsize(), OwnedArgs::of(&[b"dbsize"]))));
            }
        }
        Item::Parts(spec, parts, Merge::Gather(gather))
    }

    fn set_all_if_none(&self, spec: &'static CommandSpec, args: &Args<'_>) -> Item {
        let sets = self.by_home(mset(), args);
        let looks = sets
            .iter()
            .map(|(home, _)| {
                let keys = spec.keys.positions(args.len()).map(|n| args.at(n));
                let own = keys.filter(|key| self.home(key) == *home).map(Box::from).collect();
                self.part(*home, Work::AnyThere(own))
            })
            .collect();
        Item::Script(spec, Box::new(Script::SetAllIfNone { looks, sets }))
    }

    fn rename(&self, spec: &'static CommandSpec, args: &Args<'_>) -> Item {
        let only_if_free = spec.spread == Spread::RenameIfFree;
        let (from, to) = (args.at(1), args.at(2));
        let script = Script::rename(
            (self.home(from), from.into()),
            (self.home(to), to.into()),
            self.db,
            only_if_free,
        );
        Item::Script(spec, Box::new(script))
    }

    fn copy(&self, spec: &'static CommandSpec, args: &Args<'_>) -> Option<Item> {
        let options = crate::command::copy_options(args, self.db, self.databases)?;
        let (from, to) = (args.at(1), args.at(2));
        let script = Script::copy(
            (self.home(from), from.into(), self.db),
            (self.home(to), to.into(), options.db),
            options.replace,
        );
        Some(Item::Script(spec, Box::new(script)))
    }

    /// The slots that a command concerns; `false` when it is all of them.
    pub(super) fn slots(
        &self,
        spec: &'static CommandSpec,
        args: &Args<'_>,
        slots: &mut Vec<SlotId>,
    ) -> bool {
        let spec = resolve(spec, args);
        if let Spread::Everywhere(_) = spec.spread {
            return false;
        }
        slots.extend(spec.keys.positions(args.len()).map(|n| slot_of(args.at(n))));
        true
    }
}

fn named(name: &str) -> &'static CommandSpec {
    COMMANDS.iter().find(|spec| spec.name == name).expect("the table has it")
}

fn dbsize() -> &'static CommandSpec {
    named("dbsize")
}

fn mset() -> &'static CommandSpec {
    named("mset")
}

impl Item {
    /// The command, for counting.
    pub(super) fn spec(&self) -> &'static CommandSpec {
        match self {
            Self::Local(spec, _)
            | Self::Parts(spec, ..)
            | Self::Run(spec, _)
            | Self::Script(spec, _)
            | Self::Done(spec, _) => spec,
        }
    }

    /// Whether other commands' parts may go out beside its own: nothing follows its first.
    pub(super) fn is_simple(&self) -> bool {
        !matches!(self, Self::Script(..))
    }

    /// The parts that go out first.
    pub(super) fn start(&mut self) -> Parts {
        match self {
            Self::Local(..) | Self::Done(..) => Vec::new(),
            Self::Parts(_, parts, _) => std::mem::take(parts),
            Self::Run(_, run) => run.start(),
            Self::Script(_, script) => script.start(),
        }
    }

    /// All parts that went out have been answered, in their order: further ones, if any.
    pub(super) fn resume(
        &mut self,
        answers: Vec<PartReply>,
        protocol: Protocol,
        noise: u64,
    ) -> Parts {
        let reply = match self {
            Self::Local(..) | Self::Done(..) => return Vec::new(),
            Self::Parts(_, _, merge) => merged(*merge, answers, protocol, noise),
            Self::Run(_, run) => run.merge(answers, protocol),
            Self::Script(_, script) => match script.resume(answers, protocol) {
                Next::Parts(parts) => return parts,
                Next::Reply(reply) => reply,
                Next::Number(n) => {
                    let mut reply = Reply::new(protocol);
                    reply.integer(n);
                    reply
                }
                Next::Ok => {
                    let mut reply = Reply::new(protocol);
                    reply.ok();
                    reply
                }
                Next::Failed(error) => refused(&error, protocol),
            },
        };
        *self = Self::Done(self.spec(), reply);
        Vec::new()
    }
}

fn merged(merge: Merge, answers: Vec<PartReply>, protocol: Protocol, noise: u64) -> Reply {
    let replies: Vec<Reply> =
        answers.into_iter().map(|answer| answer.into_reply(protocol)).collect();
    if replies.is_empty() {
        return mixed_up(protocol);
    }
    match merge {
        Merge::One => gather::all(replies),
        Merge::Sum => gather::sum(replies, protocol),
        Merge::All => gather::all(replies),
        Merge::Values | Merge::Gather(Gather::Arrays) => gather::arrays(replies, protocol),
        Merge::Gather(Gather::Count) => gather::sum(replies, protocol),
        Merge::Gather(Gather::Done | Gather::DoneLoosely) => gather::all(replies),
        Merge::Gather(Gather::RandomKey) => gather::random_key(replies, protocol, noise),
        Merge::Gather(Gather::Info) => gather::info(replies, protocol),
        Merge::Gather(Gather::Clients) => gather::clients(replies, protocol),
        Merge::Gather(Gather::Kills) => gather::kills(replies, protocol),
    }
}
