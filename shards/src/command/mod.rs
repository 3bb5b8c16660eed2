//! What every command means: sans-IO, from arguments to an encoded reply.
//!
//! Owns the rules common to all commands (unknown ones, arity, authentication,
//! transactions, memory) and the commands themselves. Touches one shard and one session;
//! what it needs of the node around them comes through [`Host`].

#![forbid(unsafe_code)]

mod admin;
mod args;
mod client;
mod cluster;
mod connection;
mod docs;
mod error;
mod expiry;
mod info;
mod introspect;
mod keys;
mod limit;
mod long;
mod lookup;
mod numbers;
mod redirect;
mod spec;
mod spread;
mod strings;
mod syntax;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod transaction;

use std::sync::Arc;

pub use args::{Args, OwnedArgs, PackedArgs, Span};
pub(crate) use connection::{hello_of, select_of};
pub use docs::reference_markdown;
pub use error::CommandError;
pub(crate) use info::joined as joined_info;
pub(crate) use keys::copy_options;
pub use long::{LONG_STEP, LongOp};
pub use lookup::lookup;
pub use redirect::ClusterNode;
pub use spec::{CommandSpec, Flags, Group, Keys};
pub(crate) use spread::home_of_keys;
pub use spread::{Gather, Place, Spread, each_slot, needs_whole_shard, place, resolve};
pub use table::COMMANDS;
pub use transaction::leave;
pub(crate) use transaction::note_watches;

use crate::budget::{Budget, Room};
use crate::ids::{ClientId, DbId, ShardId};
use crate::limit::Limiter;
use crate::operation::{Begun, PartReply};
use crate::partition::Partition;
use crate::reply::Reply;
use crate::session::{Face, ReplyMode, Session};
use crate::settings::Settings;
use crate::stats::{Baseline, ShardStats};
use crate::store::{Eviction, EvictionPolicy, Hasher, Key, Store, StoreConfig};
use crate::time::Now;

/// Most keys evicted for one write; more wait for the next, so that no write stalls.
const EVICTIONS_PER_WRITE: usize = 64;

/// One core's data and what decides about it.
#[derive(Debug)]
pub struct Shard {
    /// Keys and values.
    pub store: Store,
    /// Rate limits, which are no keys.
    pub limiter: Limiter,
    /// What the operator has set.
    pub settings: Settings,
    /// What it counts.
    pub stats: Arc<ShardStats>,
    /// Which shard of its node it is.
    pub id: ShardId,
    /// Which shard owns what.
    pub partition: Partition,
    /// What the shards of its node hold.
    pub budget: Option<Arc<Budget>>,
    /// Bytes that others are asked to make room for.
    pub pleas: Vec<(ShardId, u64)>,
    /// What was held here when another was last asked for what a write had left too much.
    pleaded_at: u64,
    /// Clients that watch no more, and a shard that is to forget them.
    pub farewells: Vec<(ShardId, ClientId)>,
    /// From where INFO counts.
    baseline: Baseline,
    hasher: Hasher,
}

impl Shard {
    /// An empty shard.
    pub fn new(settings: Settings, seed: u64, stats: Arc<ShardStats>) -> Self {
        let config = StoreConfig { databases: settings.databases, seed, stats: stats.clone() };
        let store = Store::new(config);
        let hasher = store.hasher();
        let partition = Partition::SINGLE;
        let limiter = Limiter::new(settings.limit_buckets, stats.clone());
        Self {
            store,
            limiter,
            settings,
            stats,
            id: ShardId(0),
            partition,
            budget: None,
            pleas: Vec::new(),
            pleaded_at: 0,
            farewells: Vec::new(),
            baseline: Baseline::default(),
            hasher,
        }
    }

    /// The same as one of several: all of a node hash keys under one seed.
    pub fn in_node(self, id: ShardId, partition: Partition) -> Self {
        let buckets = self.settings.limit_buckets.div_ceil(partition.shards().into());
        let limiter = Limiter::new(buckets, self.stats.clone());
        Self { id, partition, limiter, ..self }
    }

    /// The same under the node's limit of memory.
    pub fn within(self, budget: Arc<Budget>) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// Tells the others what this shard holds.
    pub fn say_memory(&self) {
        if let Some(budget) = &self.budget {
            let all = (0..self.store.databases()).map(DbId);
            let expiring = all.map(|db| self.store.expires(db) as u64).sum();
            budget.say(self.id, self.store.memory_used() as u64, expiring);
        }
    }

    /// Evicts what another shard has asked for; `false` when it cannot, or has.
    pub fn evict_for_others(&mut self, now: Now) -> bool {
        let (policy, samples) = (self.settings.policy, self.settings.samples);
        self.store.evict_one(policy, samples.into(), now) == Eviction::Done
    }

    /// A client has gone whose watches had just been set.
    pub fn forget_watches(&mut self, client: ClientId, watched: &[(DbId, Box<[u8]>)]) {
        let slots = watched.iter().map(|(_, key)| crate::slot::slot_of(key));
        transaction::bid_farewell(self, client, slots);
    }

    /// Whether no key that the client watches here has changed; forgets its watches.
    pub(crate) fn watches_intact(&mut self, client: ClientId, now: Now) -> bool {
        // Looking a watched key up removes it if it has expired, which breaks the watch.
        for (db, bytes) in self.store.watches.of(client) {
            let key = self.hasher.key(&bytes);
            self.store.entry(db, key, now);
        }
        let broken = self.store.watches.is_broken(client);
        self.store.watches.unwatch(client);
        !broken
    }

    /// The hasher of this shard's keys.
    pub fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    /// Whether what needs memory may run: evicts until the limit holds, if there is one.
    #[inline]
    fn has_room(&mut self, now: Now) -> bool {
        self.settings.maxmemory == 0 || self.make_room(now)
    }

    /// Evicts until the limit holds; `false` when it does not and nothing may go.
    fn make_room(&mut self, now: Now) -> bool {
        for _ in 0..EVICTIONS_PER_WRITE {
            match self.room() {
                Room::Enough => return true,
                Room::There(..) if self.settings.policy == EvictionPolicy::NoEviction => {
                    return false;
                }
                Room::There(shard, bytes) => {
                    self.plead(shard, bytes);
                    return true;
                }
                Room::Here => {}
            }
            let (policy, samples) = (self.settings.policy, self.settings.samples);
            match self.store.evict_one(policy, samples.into(), now) {
                Eviction::Done => {}
                Eviction::NoneMet => return true,
                Eviction::NoneLeft => {
                    // Another shard may have what the policy lets go.
                    let budget = self.budget.as_ref();
                    return policy != EvictionPolicy::NoEviction
                        && budget.is_some_and(|budget| budget.others_expire(self.id));
                }
            }
        }
        true
    }

    /// Evicts some of what is beyond the limit, which a write may leave and a new limit may make;
    /// `true` while there is more that may go.
    pub fn evict_excess(&mut self, most: usize, now: Now) -> bool {
        let (policy, samples) = (self.settings.policy, self.settings.samples);
        if self.settings.maxmemory == 0 || policy == EvictionPolicy::NoEviction {
            return false;
        }
        let mut some = false;
        for _ in 0..most {
            match self.room() {
                Room::Enough => {
                    self.pleaded_at = 0;
                    return false;
                }
                Room::There(shard, bytes) => {
                    // Once for what has come here: it may have nothing that may go.
                    let held = self.store.memory_used() as u64;
                    if held > self.pleaded_at {
                        self.pleaded_at = held;
                        self.plead(shard, bytes);
                    }
                    return false;
                }
                Room::Here => {}
            }
            match self.store.evict_one(policy, samples.into(), now) {
                Eviction::Done => some = true,
                Eviction::NoneMet => {}
                Eviction::NoneLeft => return false,
            }
        }
        some // where none is met for long, the next write looks again
    }

    /// Asks another shard to make room, once a turn.
    fn plead(&mut self, shard: ShardId, bytes: u64) {
        if !self.pleas.iter().any(|(asked, _)| *asked == shard) {
            self.pleas.push((shard, bytes));
        }
    }

    /// Who is to make room, if there is none.
    fn room(&self) -> Room {
        let limit = self.settings.maxmemory;
        let Some(budget) = &self.budget else {
            let used = self.store.memory_used() as u64;
            return if used <= limit { Room::Enough } else { Room::Here };
        };
        self.say_memory();
        budget.room(self.id, limit)
    }
}

/// What CLIENT LIST shows of a connection beyond its session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Bytes received and not executed.
    pub unread: usize,
    /// Bytes encoded and not sent.
    pub unsent: usize,
    /// Bytes received in all.
    pub received: u64,
    /// Bytes sent in all.
    pub sent: u64,
    /// The descriptor's number.
    pub descriptor: i32,
}

/// What a command may ask of the node around its shard.
pub trait Host {
    /// Facts for INFO and HELLO.
    fn facts(&self) -> &NodeFacts;
    /// Visits all clients but the one whose command is being executed.
    fn each_client(&self, visit: &mut dyn FnMut(&Session, Traffic));
    /// Traffic of the client whose command is being executed.
    fn own_traffic(&self) -> Traffic;
    /// Changes the settings of the whole node. `change` makes new ones of those in force, and
    /// is called again when somebody else was faster.
    ///
    /// # Errors
    /// What `change` says, or that there have been too many changes.
    fn change_settings(
        &mut self,
        change: &mut dyn FnMut(&Settings) -> Result<Settings, CommandError>,
    ) -> Result<Settings, CommandError>;
    /// Closes another client's connection.
    fn kill(&mut self, client: ClientId);
    /// Connections accepted so far.
    fn connections_accepted(&self) -> u64;
    /// Connections refused so far.
    fn connections_refused(&self) -> u64;
    /// Resident memory of the process in bytes.
    fn resident_bytes(&self) -> u64;
}

/// What does not change while a node runs.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// Of this program.
    pub version: String,
    /// `uring` or `epoll`.
    pub driver: &'static str,
    /// Port of the standalone RESP listener.
    pub port: u16,
    /// Process.
    pub pid: u32,
    /// Forty hexadecimal digits, new with each start.
    pub run_id: String,
    /// When it started, in seconds since 1970.
    pub started: u64,
    /// Path of the program.
    pub executable: String,
    /// System, release and machine.
    pub os: String,
    /// Shards of this node.
    pub shards: u16,
    /// The shards as nodes of a cluster, in their order; none where that is switched off.
    pub cluster: Arc<[ClusterNode]>,
}

/// What becomes of the connection after a command.
#[derive(Debug)]
pub enum Flow {
    /// It goes on.
    Done,
    /// It is closed once the reply has been sent.
    Close,
    /// The command goes on in steps; nothing else of this client runs meanwhile.
    Pending(LongOp),
}

const _: () = assert!(size_of::<Flow>() <= 16, "it travels in two registers");

/// All that a command's code sees.
pub struct Context<'a> {
    shard: &'a mut Shard,
    session: &'a mut Session,
    host: &'a mut dyn Host,
    spec: &'static CommandSpec,
    args: &'a Args<'a>,
    now: Now,
    reply: &'a mut Reply,
    flow: Flow,
    /// Whether it runs within EXEC, where nothing may be put off.
    in_exec: bool,
}

impl<'a> Context<'a> {
    fn key(&self, number: usize) -> Key<'a> {
        self.args.key(number, &self.shard.hasher)
    }

    /// Databases that this client may use.
    fn databases(&self) -> u8 {
        databases(self.shard, self.session)
    }

    fn touch(&self) -> bool {
        !self.session.no_touch
    }

    fn count_lookup(&self, hit: bool) {
        self.shard.stats.count_lookup(hit);
    }
}

/// Databases that a client may use: a cluster has one, as in Redis.
pub fn databases(shard: &Shard, session: &Session) -> u8 {
    if session.face == Face::Cluster { 1 } else { shard.store.databases() }
}

/// Executes one command and encodes its reply.
///
/// `spec` is what [`lookup`] found for the first argument.
pub fn dispatch(
    shard: &mut Shard,
    session: &mut Session,
    host: &mut dyn Host,
    spec: Option<&'static CommandSpec>,
    args: &Args<'_>,
    now: Now,
    reply: &mut Reply,
) -> Flow {
    session.commands += 1;
    let Some(spec) = spec else {
        return refuse_unknown(shard, session, args, reply);
    };
    session.last_command = Some(spec);
    if session.is_plain()
        && !spec.flags.has(Flags::CONTAINER)
        && spec.takes(args.len())
        && (session.face == Face::Standalone || redirect::serves(shard, spec, args))
    {
        return execute(shard, session, host, spec, args, now, reply, false);
    }
    carefully(shard, session, host, spec, args, now, reply)
}

/// The rest of [`dispatch`]: subcommands, refusals, redirections, transactions, silenced
/// replies.
#[inline(never)]
fn carefully(
    shard: &mut Shard,
    session: &mut Session,
    host: &mut dyn Host,
    mut spec: &'static CommandSpec,
    args: &Args<'_>,
    now: Now,
    reply: &mut Reply,
) -> Flow {
    let mark = reply.mark();
    if session.replies == ReplyMode::SkipNext {
        session.replies = ReplyMode::Skip;
    }
    let mut refusal = None;
    if spec.flags.has(Flags::CONTAINER) && args.len() > 1 {
        match lookup::subcommand(spec, args.at(1)) {
            Some(sub) => spec = sub,
            None => refusal = Some(unknown_subcommand(spec, args.at(1))),
        }
        session.last_command = Some(spec);
    }
    let refusal = refusal.or_else(|| refusal_of(shard, session, spec, args));
    let turned = redirect::turned_away(shard, session, spec, args);
    let flow = match (refusal, turned) {
        (Some(text), _) => {
            refuse(shard, session, spec, &text, reply);
            Flow::Done
        }
        (None, Some(turned)) => {
            redirect::turn_away(shard, session, host, spec, turned, reply);
            Flow::Done
        }
        _ if session.transaction.is_some() && !spec.flags.has(Flags::IMMEDIATE) => {
            transaction::queue(shard, session, spec, args, now, reply);
            Flow::Done
        }
        _ => execute(shard, session, host, spec, args, now, reply, false),
    };
    match session.replies {
        ReplyMode::On | ReplyMode::SkipNext => return flow,
        ReplyMode::Off => {}
        ReplyMode::Skip => session.replies = ReplyMode::On,
    }
    reply.rewind(mark);
    match flow {
        Flow::Pending(op) => Flow::Pending(op.silenced()),
        flow => flow,
    }
}

/// Why a command may not run for this client, if it may not.
fn refusal_of(
    shard: &Shard,
    session: &Session,
    spec: &CommandSpec,
    args: &Args<'_>,
) -> Option<String> {
    if !spec.takes(args.len()) {
        shard.stats.refused_arity.add(1);
        return Some(format!("ERR wrong number of arguments for '{}' command", spec.name));
    }
    if !session.authenticated && !spec.flags.has(Flags::NO_AUTH) {
        shard.stats.refused_unauthenticated.add(1);
        return Some("NOAUTH Authentication required.".into());
    }
    None
}

/// Refuses a command, and with it the transaction that it would have been part of.
fn refuse(
    shard: &mut Shard,
    session: &mut Session,
    spec: &'static CommandSpec,
    text: &str,
    reply: &mut Reply,
) {
    if spec.name == "exec" {
        let why = text.strip_prefix("ERR ").unwrap_or(text);
        transaction::forget(shard, session);
        let text = format!("EXECABORT Transaction discarded because of: {why}");
        shard.stats.count_error(&text);
        return reply.error(text.as_bytes());
    }
    if let Some(transaction) = &mut session.transaction {
        transaction.refused = true;
    }
    shard.stats.count_error(text);
    shard.stats.failed_calls.of(spec).add(1);
    reply.error(text.as_bytes());
}

/// Runs a command that may run.
#[inline]
#[expect(clippy::too_many_arguments, reason = "the parts of a Context, which it makes")]
fn execute(
    shard: &mut Shard,
    session: &mut Session,
    host: &mut dyn Host,
    spec: &'static CommandSpec,
    args: &Args<'_>,
    now: Now,
    reply: &mut Reply,
    in_exec: bool,
) -> Flow {
    let stats = &shard.stats;
    stats.commands.add(1);
    stats.calls.of(spec).add(1);
    // Within EXEC the whole transaction was admitted, and nothing is evicted amid it.
    if !in_exec && !admit(shard, spec, now, reply) {
        return Flow::Done;
    }
    let mut context =
        Context { shard, session, host, spec, args, now, reply, flow: Flow::Done, in_exec };
    let mark = context.reply.mark();
    if let Err(error) = (spec.handler)(&mut context) {
        let text = error.text();
        context.reply.rewind(mark);
        context.reply.error(text.as_bytes());
        context.shard.stats.count_error(&text);
        context.shard.stats.failed_calls.of(spec).add(1);
    }
    context.flow
}

/// Runs a command as one part of an operation: counted, checked for memory and admitted by
/// the shard where the operation began.
pub(crate) fn run_part(
    shard: &mut Shard,
    session: &mut Session,
    host: &mut dyn Host,
    spec: &'static CommandSpec,
    args: &Args<'_>,
    whole: bool,
    now: Now,
) -> Begun {
    let mut reply = Reply::new(session.protocol);
    let mut context = Context {
        shard,
        session,
        host,
        spec,
        args,
        now,
        reply: &mut reply,
        flow: Flow::Done,
        in_exec: whole,
    };
    let done = (spec.handler)(&mut context);
    let flow = context.flow;
    if let Err(error) = done {
        reply = Reply::new(session.protocol);
        reply.error(error.text().as_bytes());
    }
    match flow {
        Flow::Done => Begun::Done(PartReply::Reply(reply)),
        Flow::Close => Begun::Done(PartReply::Closing(reply)),
        Flow::Pending(op) => Begun::Long(op, reply),
    }
}

/// Runs a command of an operation that has no keys, where its connection is; returns whether
/// the connection is to be closed.
pub fn run_local(
    shard: &mut Shard,
    session: &mut Session,
    host: &mut dyn Host,
    spec: &'static CommandSpec,
    args: &Args<'_>,
    now: Now,
    reply: &mut Reply,
) -> bool {
    let mut context =
        Context { shard, session, host, spec, args, now, reply, flow: Flow::Done, in_exec: true };
    let mark = context.reply.mark();
    if let Err(error) = (spec.handler)(&mut context) {
        context.reply.rewind(mark);
        context.reply.error(error.text().as_bytes());
    }
    matches!(context.flow, Flow::Close)
}

/// Why a transaction may not run for want of memory, if it may not.
pub fn refuse_exec(shard: &mut Shard, session: &Session, now: Now) -> Option<CommandError> {
    let queue = session.transaction.iter().flat_map(|transaction| &transaction.queue);
    transaction::refusal(shard, queue.map(|(spec, _)| *spec), now)
}

/// Counts an operation of several commands or shards, once it has its reply.
pub fn count_operation(shard: &Shard, specs: &[&'static CommandSpec], reply: &Reply) {
    let stats = &shard.stats;
    stats.commands.add(specs.len() as u64);
    specs.iter().for_each(|spec| stats.calls.of(spec).add(1));
    if let (Some(text), [spec]) = (reply.bytes.strip_prefix(b"-"), specs) {
        stats.count_error(&String::from_utf8_lossy(text));
        stats.failed_calls.of(spec).add(1);
    }
}

/// Whether a write may begin: evicts here until the limit holds, or refuses.
pub fn admit(shard: &mut Shard, spec: &'static CommandSpec, now: Now, reply: &mut Reply) -> bool {
    if !spec.flags.has(Flags::DENYOOM) || shard.has_room(now) {
        return true;
    }
    shard.stats.refused_out_of_memory.add(1);
    let text = CommandError::OutOfMemory.text();
    shard.stats.count_error(&text);
    shard.stats.failed_calls.of(spec).add(1);
    reply.error(text.as_bytes());
    false
}

fn refuse_unknown(
    shard: &mut Shard,
    session: &mut Session,
    args: &Args<'_>,
    reply: &mut Reply,
) -> Flow {
    /// Bytes of the arguments that the message repeats, as in Valkey.
    const SHOWN: usize = 128;
    if let Some(transaction) = &mut session.transaction {
        transaction.refused = true;
    }
    shard.stats.refused_unknown.add(1);
    let mut text = b"ERR ".to_vec();
    if session.authenticated {
        let name = args.at(0);
        text.extend_from_slice(b"unknown command '");
        text.extend_from_slice(&name[..name.len().min(SHOWN)]);
        text.extend_from_slice(b"', with args beginning with: ");
        let mut shown = 0;
        for arg in args.from(1) {
            if shown >= SHOWN {
                break;
            }
            let part = &arg[..arg.len().min(SHOWN - shown)];
            // A NUL ends an argument here, as it does where this text comes from.
            let part = part.split(|byte| *byte == 0).next().unwrap_or(part);
            text.push(b'\'');
            text.extend_from_slice(part);
            text.extend_from_slice(b"' ");
            shown += part.len() + 3;
        }
    } else {
        text = b"NOAUTH Authentication required.".to_vec();
    }
    shard.stats.count_error(&String::from_utf8_lossy(&text));
    match session.replies {
        ReplyMode::On => reply.error(&text),
        ReplyMode::SkipNext => session.replies = ReplyMode::On,
        ReplyMode::Off | ReplyMode::Skip => {}
    }
    Flow::Done
}

fn unknown_subcommand(spec: &CommandSpec, name: &[u8]) -> String {
    format!(
        "ERR unknown subcommand '{}'. Try {} HELP.",
        String::from_utf8_lossy(&name[..name.len().min(128)]),
        spec.name.to_uppercase(),
    )
}
