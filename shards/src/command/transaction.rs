//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use crate::ids::{ClientId, DbId, ShardId, SlotId};
use crate::reply::Reply;
use crate::session::{Session, Transaction};
use crate::slot::slot_of;
use crate::time::Now;

use super::{Args, CommandError, CommandSpec, Context, Flags, Flow, Shard, execute};

type Done = Result<(), CommandError>;

/// Bytes that one transaction may queue, with their administration.
pub(super) const MAX_QUEUED_BYTES: usize = 1 << 30;

/// Queues a command between MULTI and EXEC.
pub(super) fn queue(
    shard: &mut Shard,
    session: &mut Session,
    spec: &'static CommandSpec,
    args: &Args<'_>,
    now: Now,
    reply: &mut Reply,
) {
    let Some(transaction) = &mut session.transaction else { return };
    let (stats, queued) = (shard.stats.clone(), transaction.memory());
    let mut refuse = |text: String| {
        transaction.refused = true;
        stats.count_error(&text);
        reply.error(text.as_bytes());
    };
    if spec.flags.has(Flags::NO_MULTI) {
        return refuse(format!("ERR Command '{}' not allowed inside a transaction", spec.name));
    }
    if spec.flags.has(Flags::DENYOOM) && !shard.has_room(now) {
        shard.stats.refused_out_of_memory.add(1);
        return refuse(CommandError::OutOfMemory.text());
    }
    let args = args.to_owned();
    if queued + args.memory() > MAX_QUEUED_BYTES {
        shard.stats.refused_transaction_size.add(1);
        return refuse("ERR the transaction is too large: at most 1 GiB may be queued".into());
    }
    transaction.bytes += args.memory();
    transaction.queue.push((spec, args));
    reply.simple("QUEUED");
}

/// Ends a transaction and all watches of a session.
pub(super) fn forget(shard: &mut Shard, session: &mut Session) {
    session.transaction = None;
    unwatch_all(shard, session);
}

fn unwatch_all(shard: &mut Shard, session: &mut Session) {
    if session.watched.is_empty() {
        return;
    }
    let slots = session.watched.drain(..).map(|(_, key)| slot_of(&key));
    bid_farewell(shard, session.id, slots);
}

/// A client watches none of the keys in these slots any more.
pub(super) fn bid_farewell(
    shard: &mut Shard,
    client: ClientId,
    slots: impl Iterator<Item = SlotId>,
) {
    shard.store.watches.unwatch(client);
    let mut homes: Vec<ShardId> = slots.map(|slot| shard.partition.home(slot)).collect();
    homes.sort_unstable();
    homes.dedup();
    let others = homes.into_iter().filter(|home| *home != shard.id);
    shard.farewells.extend(others.map(|home| (home, client)));
}

pub(super) fn multi(c: &mut Context<'_>) -> Done {
    c.session.transaction = Some(Box::new(Transaction::default()));
    c.reply.ok();
    Ok(())
}

pub(super) fn discard(c: &mut Context<'_>) -> Done {
    if c.session.transaction.is_none() {
        return Err(CommandError::Text("ERR DISCARD without MULTI"));
    }
    forget(c.shard, c.session);
    c.reply.ok();
    Ok(())
}

pub(super) fn watch(c: &mut Context<'_>) -> Done {
    for n in 1..c.args.len() {
        let (key, db) = (c.key(n), c.session.db);
        // A key that has expired by now is watched as the missing one it is.
        c.shard.store.entry(db, key, c.now);
        if c.shard.store.watches.watch(c.session.id, db, key) {
            c.session.watched.push((db, key.bytes.into()));
        }
    }
    c.reply.ok();
    Ok(())
}

/// What WATCH leaves with the client; the marks are at the keys' homes.
pub(crate) fn note_watches(session: &mut Session, args: &Args<'_>) {
    let db = session.db;
    let mut known: BTreeSet<(DbId, Box<[u8]>)> = session.watched.drain(..).collect();
    known.extend(args.from(1).map(|key| (db, Box::from(key))));
    session.watched.extend(known);
}

pub(super) fn unwatch(c: &mut Context<'_>) -> Done {
    unwatch_all(c.shard, c.session);
    c.reply.ok();
    Ok(())
}

pub(super) fn exec(c: &mut Context<'_>) -> Done {
    let Some(transaction) = c.session.transaction.take() else {
        return Err(CommandError::Text("ERR EXEC without MULTI"));
    };
    // Looking a watched key up removes it if it has expired, which breaks the watch.
    for (db, bytes) in &c.session.watched {
        let key = c.shard.hasher.key(bytes);
        c.shard.store.entry(*db, key, c.now);
    }
    let broken = c.shard.store.watches.is_broken(c.session.id);
    unwatch_all(c.shard, c.session);
    if transaction.refused {
        return Err(CommandError::Text(
            "EXECABORT Transaction discarded because of previous errors.",
        ));
    }
    if broken {
        c.shard.stats.transactions_broken.add(1);
        c.reply.null_array();
        return Ok(());
    }
    // Whether there is memory is decided once, before any of it; nothing is evicted amid it.
    let specs = transaction.queue.iter().map(|(spec, _)| *spec);
    if let Some(refusal) = refusal(c.shard, specs, c.now) {
        return Err(refusal);
    }
    c.reply.array(transaction.queue.len());
    for (spec, args) in &transaction.queue {
        let args = args.as_args();
        let flow = execute(c.shard, c.session, c.host, spec, &args, c.now, c.reply, true);
        debug_assert!(!matches!(flow, Flow::Pending(_)), "nothing is put off within EXEC");
        if let Flow::Close = flow {
            c.flow = flow;
        }
    }
    Ok(())
}

/// Why these commands may not run for want of memory, if they may not.
pub(super) fn refusal(
    shard: &mut Shard,
    mut specs: impl Iterator<Item = &'static CommandSpec>,
    now: Now,
) -> Option<CommandError> {
    if !specs.any(|spec| spec.flags.has(Flags::DENYOOM)) || shard.has_room(now) {
        return None;
    }
    shard.stats.refused_out_of_memory.add(1);
    let why = CommandError::OutOfMemory.text();
    Some(CommandError::Other(format!("EXECABORT Transaction discarded because of: {why}")))
}

/// A client has gone: nothing of it stays behind.
pub fn leave(shard: &mut Shard, session: &mut Session) {
    forget(shard, session);
}
