//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

#![forbid(unsafe_code)]

use crate::reply::Reply;
use crate::session::{Session, Transaction};
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
        stats.errors.add(1);
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
    if !session.watched.is_empty() {
        shard.store.watches.unwatch(session.id);
        session.watched.clear();
    }
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
    let needs_memory = transaction.queue.iter().any(|(spec, _)| spec.flags.has(Flags::DENYOOM));
    if needs_memory && !c.shard.has_room(c.now) {
        c.shard.stats.refused_out_of_memory.add(1);
        let why = CommandError::OutOfMemory.text();
        let text = format!("EXECABORT Transaction discarded because of: {why}");
        return Err(CommandError::Other(text));
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

/// A client has gone: nothing of it stays behind.
pub fn leave(shard: &mut Shard, session: &mut Session) {
    forget(shard, session);
}
