//! Where a command is carried out on a node of several shards.
//!
//! Owns the rule only: a key is at home on the shard of its slot; a command all of whose keys
//! are at home on one shard runs there as it is; any other is divided (`crate::operation`).
//! Knows no connection and sends nothing.

#![forbid(unsafe_code)]

use crate::ids::{ShardId, SlotId};
use crate::partition::Partition;
use crate::slot::slot_of;

use super::redirect::turned_away;
use super::{Args, CommandSpec, Flags, Shard, lookup};
use crate::session::{Face, Session};

/// How a command's work is spread when it concerns more than one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// It has no keys: it runs where its connection is.
    Connection,
    /// At the home of its one key.
    Home,
    /// SCAN: at the home of the slot that its cursor points to, and on from there.
    Cursor,
    /// By key; the numbers are added up.
    Sum,
    /// By key; done when all are done.
    All,
    /// By key; values in the order of the keys.
    Values,
    /// MSETNX: all keys are looked at before any is set.
    SetAllIfNone,
    /// RENAME: taken from one home and put into another.
    Rename,
    /// RENAMENX.
    RenameIfFree,
    /// COPY.
    Copy,
    /// WATCH: at each key's home, by the client's number.
    Watch,
    /// EXEC: as its commands are.
    Exec,
    /// On all shards.
    Everywhere(Gather),
}

/// How the replies of all shards become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// Numbers of one moment are added up: everything is held meanwhile.
    Count,
    /// Done everywhere at one moment.
    Done,
    /// Done everywhere, each shard in its own time.
    DoneLoosely,
    /// Arrays, one behind the other; each shard in its own time.
    Arrays,
    /// One key of all, each as likely as any other; all are held, since a key that is being
    /// renamed is nowhere for a moment.
    RandomKey,
    /// Lines of clients.
    Clients,
    /// What each shard says of itself, added up where it adds up.
    Info,
    /// How many clients were closed, or whether there was one.
    Kills,
}

impl Spread {
    /// Whether a node of a cluster answers it for its own keys alone, where one server answers
    /// it for all: clients of the port of a shard are clients of the whole node still.
    pub(crate) const fn is_of_keyspace(self) -> bool {
        match self {
            Self::Cursor => true,
            Self::Everywhere(gather) => !matches!(gather, Gather::Clients | Gather::Kills),
            _ => false,
        }
    }
}

impl Gather {
    /// Whether it must see, or change, all shards at one moment.
    pub(crate) const fn holds(self) -> bool {
        matches!(self, Self::Count | Self::Done | Self::RandomKey)
    }
}

/// Where to carry a command out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where the connection is; it touches no keys, so that holds do not concern it.
    Connection,
    /// On one shard, which may be this one.
    At(ShardId),
    /// On several: as an operation.
    Wide,
}

/// The command itself or, of a container, the subcommand that is called.
pub fn resolve(spec: &'static CommandSpec, args: &Args<'_>) -> &'static CommandSpec {
    if spec.flags.has(Flags::CONTAINER)
        && let Some(name) = args.get(1)
        && let Some(sub) = lookup::subcommand(spec, name)
    {
        return sub;
    }
    spec
}

/// Where a command of a client runs. `first` is the slot of its first key, where it is known.
///
/// What will be refused (arity, no authentication) or queued (within MULTI) stays with its
/// connection.
pub fn place(
    shard: &Shard,
    session: &Session,
    spec: &'static CommandSpec,
    args: &Args<'_>,
    first: Option<SlotId>,
) -> Place {
    let spec = resolve(spec, args);
    if !session.authenticated || !spec.takes(args.len()) {
        return Place::Connection;
    }
    if session.face == Face::Cluster {
        return place_in_cluster(shard, session, spec, args);
    }
    if session.transaction.is_some() {
        return if spec.spread == Spread::Exec {
            place_exec(shard, session)
        } else {
            Place::Connection
        };
    }
    let partition = shard.partition;
    match spec.spread {
        Spread::Connection | Spread::Exec => Place::Connection,
        Spread::Home => {
            let slot = first.unwrap_or_else(|| slot_of(args.at(spec.keys.first as usize)));
            Place::At(partition.home(slot))
        }
        Spread::Cursor | Spread::Everywhere(_) => Place::Wide,
        Spread::Watch => match home_of_keys(partition, spec, args) {
            Some(home) if home == shard.id => Place::At(home),
            _ => Place::Wide,
        },
        _ => home_of_keys(partition, spec, args).map_or(Place::Wide, Place::At),
    }
}

/// The same for a client of this shard as a node of a cluster: nothing is sent elsewhere but
/// what concerns clients.
fn place_in_cluster(
    shard: &Shard,
    session: &Session,
    spec: &'static CommandSpec,
    args: &Args<'_>,
) -> Place {
    if turned_away(shard, session, spec, args).is_some() {
        return Place::Connection;
    }
    let reaches_out = |spec: &CommandSpec| {
        matches!(spec.spread, Spread::Everywhere(_)) && !spec.spread.is_of_keyspace()
    };
    match (&session.transaction, spec.spread) {
        (Some(transaction), Spread::Exec) if transaction.refused => Place::Connection,
        (Some(transaction), Spread::Exec) => {
            let wide = transaction.queue.iter().any(|(spec, _)| reaches_out(spec));
            if wide { Place::Wide } else { Place::At(shard.id) }
        }
        (Some(_), _) | (None, Spread::Exec | Spread::Connection | Spread::Cursor) => {
            Place::Connection
        }
        (None, _) if reaches_out(spec) => Place::Wide,
        (None, Spread::Everywhere(gather)) if !gather.holds() => Place::Connection,
        _ => Place::At(shard.id),
    }
}

/// Whether a command that runs on one shard concerns all its keys, those of slots that an
/// operation holds too: FLUSHALL and its like from a client of the shard as a node of a cluster.
pub fn needs_whole_shard(session: &Session, spec: &'static CommandSpec, args: &Args<'_>) -> bool {
    let whole =
        |spec: &CommandSpec| matches!(spec.spread, Spread::Everywhere(gather) if gather.holds());
    let queue = || session.transaction.iter().flat_map(|transaction| &transaction.queue);
    let spec = resolve(spec, args);
    whole(spec) || spec.spread == Spread::Exec && queue().any(|(spec, _)| whole(spec))
}

/// The one home of all keys, if it is one.
pub(crate) fn home_of_keys(
    partition: Partition,
    spec: &CommandSpec,
    args: &Args<'_>,
) -> Option<ShardId> {
    let mut homes = spec.keys.positions(args.len()).map(|n| partition.home(slot_of(args.at(n))));
    let first = homes.next()?;
    homes.all(|home| home == first).then_some(first)
}

/// EXEC runs as it is while all that it and its watches touch is at home here. One that will
/// be refused touches nothing.
fn place_exec(shard: &Shard, session: &Session) -> Place {
    let Some(transaction) = session.transaction.as_ref().filter(|t| !t.refused) else {
        return Place::Connection;
    };
    let here = |slot: SlotId| shard.partition.home(slot) == shard.id;
    let keys_here = |spec: &CommandSpec, args: &Args<'_>| match spec.spread {
        Spread::Connection => true,
        Spread::Everywhere(_) | Spread::Cursor | Spread::Exec => false,
        _ => spec.keys.positions(args.len()).all(|n| here(slot_of(args.at(n)))),
    };
    let all = session.watched.iter().all(|(_, key)| here(slot_of(key)))
        && transaction.queue.iter().all(|(spec, args)| keys_here(spec, &args.as_args()));
    if all { Place::At(shard.id) } else { Place::Wide }
}

/// Visits the slots that a command's keys are in.
pub fn each_slot(
    session: &Session,
    spec: &'static CommandSpec,
    args: &Args<'_>,
    visit: &mut dyn FnMut(SlotId),
) {
    let spec = resolve(spec, args);
    if spec.spread == Spread::Exec {
        session.watched.iter().for_each(|(_, key)| visit(slot_of(key)));
        for (spec, args) in session.transaction.iter().flat_map(|t| &t.queue) {
            let args = args.as_args();
            spec.keys.positions(args.len()).for_each(|n| visit(slot_of(args.at(n))));
        }
        return;
    }
    spec.keys.positions(args.len()).for_each(|n| visit(slot_of(args.at(n))));
}
