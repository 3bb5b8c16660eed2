//! What every command means: sans-IO, from arguments to an encoded reply.
//!
//! Owns the rules common to all commands (unknown ones, arity, authentication,
//! transactions, memory) and the commands themselves. Touches one shard and one session;
//! what it needs of the node around them comes through [`Host`].

#![forbid(unsafe_code)]

mod admin;
mod args;
mod client;
mod connection;
mod docs;
mod error;
mod expiry;
mod info;
mod introspect;
mod keys;
mod long;
mod lookup;
mod numbers;
mod spec;
mod strings;
mod syntax;
mod table;
#[cfg(test)]
mod tests;
mod transaction;

use std::sync::Arc;

pub use args::{Args, OwnedArgs, Span};
pub use docs::reference_markdown;
pub use error::CommandError;
pub use long::{LONG_STEP, LongOp};
pub use lookup::lookup;
pub use spec::{CommandSpec, Flags, Group, Keys};
pub use table::COMMANDS;
pub use transaction::leave;

use crate::ids::ClientId;
use crate::reply::Reply;
use crate::session::{ReplyMode, Session};
use crate::settings::Settings;
use crate::stats::{Baseline, ShardStats};
use crate::store::{Eviction, Hasher, Key, Store, StoreConfig};
use crate::time::Now;

/// Most keys evicted for one write; more wait for the next, so that no write stalls.
const EVICTIONS_PER_WRITE: usize = 64;

/// One core's data and what decides about it.
#[derive(Debug)]
pub struct Shard {
    /// Keys and values.
    pub store: Store,
    /// What the operator has set.
    pub settings: Settings,
    /// What it counts.
    pub stats: Arc<ShardStats>,
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
        Self { store, settings, stats, baseline: Baseline::default(), hasher }
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
        let limit = self.settings.maxmemory;
        for _ in 0..EVICTIONS_PER_WRITE {
            if self.store.memory_used() as u64 <= limit {
                return true;
            }
            let (policy, samples) = (self.settings.policy, self.settings.samples);
            match self.store.evict_one(policy, samples.into(), now) {
                Eviction::Done => {}
                Eviction::NoneMet => return true,
                Eviction::NoneLeft => return false,
            }
        }
        true
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

    fn touch(&self) -> bool {
        !self.session.no_touch
    }

    fn count_lookup(&self, hit: bool) {
        self.shard.stats.count_lookup(hit);
    }
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
    if session.is_plain() && !spec.flags.has(Flags::CONTAINER) && spec.takes(args.len()) {
        return execute(shard, session, host, spec, args, now, reply, false);
    }
    carefully(shard, session, host, spec, args, now, reply)
}

/// The rest of [`dispatch`]: subcommands, refusals, transactions, silenced replies.
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
    let flow = match (refusal, &session.transaction) {
        (Some(text), _) => {
            refuse(shard, session, spec, &text, reply);
            Flow::Done
        }
        (None, Some(_)) if !spec.flags.has(Flags::IMMEDIATE) => {
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
    shard.stats.errors.add(1);
    if spec.name == "exec" {
        let why = text.strip_prefix("ERR ").unwrap_or(text);
        transaction::forget(shard, session);
        let text = format!("EXECABORT Transaction discarded because of: {why}");
        return reply.error(text.as_bytes());
    }
    if let Some(transaction) = &mut session.transaction {
        transaction.refused = true;
    }
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
    if !in_exec && spec.flags.has(Flags::DENYOOM) && !shard.has_room(now) {
        shard.stats.refused_out_of_memory.add(1);
        shard.stats.errors.add(1);
        shard.stats.failed_calls.of(spec).add(1);
        reply.error(CommandError::OutOfMemory.text().as_bytes());
        return Flow::Done;
    }
    let mut context =
        Context { shard, session, host, spec, args, now, reply, flow: Flow::Done, in_exec };
    let mark = context.reply.mark();
    if let Err(error) = (spec.handler)(&mut context) {
        context.reply.rewind(mark);
        context.reply.error(error.text().as_bytes());
        context.shard.stats.errors.add(1);
        context.shard.stats.failed_calls.of(spec).add(1);
    }
    context.flow
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
    shard.stats.errors.add(1);
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
