//! What a cluster node does not serve: keys of other nodes, and keys of several slots at once.
//!
//! Owns the rule and the words of Redis Cluster (<https://valkey.io/topics/cluster-spec/>,
//! MOVED redirection and multi-key operations). Forwards nothing: who is turned away asks
//! elsewhere.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

use crate::ids::{ShardId, SlotId};
use crate::reply::Reply;
use crate::session::{Face, Session, Transaction};
use crate::slot::slot_of;

use super::spread::Spread;
use super::{Args, CommandSpec, Flags, Host, Shard, transaction};

/// One shard's face as a node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNode {
    /// Forty hexadecimal digits, new with each start.
    pub id: String,
    /// The same of the group of this node and its replicas, of which there are none.
    pub shard_id: String,
    /// Where it listens.
    pub port: u16,
}

/// Why a command is not served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// Its slot is another shard's.
    Moved(SlotId, ShardId),
    /// Its keys are in several slots.
    CrossSlot,
}

/// Whether keys of these slots are served here together.
#[inline]
fn served(shard: &Shard, mut slots: impl Iterator<Item = SlotId>) -> Result<(), Turned> {
    let Some(first) = slots.next() else { return Ok(()) };
    if slots.any(|slot| slot != first) {
        return Err(Turned::CrossSlot);
    }
    let home = shard.partition.home(first);
    if home == shard.id { Ok(()) } else { Err(Turned::Moved(first, home)) }
}

fn slots_of(spec: &CommandSpec, args: &Args<'_>) -> impl Iterator<Item = SlotId> {
    spec.keys
        .positions(args.len())
        .map(|n| args.known_slot(n).unwrap_or_else(|| slot_of(args.at(n))))
}

/// Whether the keys of queued commands, each of which is served here, are in one slot.
fn together(transaction: &Transaction) -> Result<(), Turned> {
    let mut slot = None;
    for (spec, args) in &transaction.queue {
        for other in slots_of(spec, &args.as_args()) {
            if *slot.get_or_insert(other) != other {
                return Err(Turned::CrossSlot);
            }
        }
    }
    Ok(())
}

/// Whether a command outside any transaction is served here, as far as its keys say.
#[inline]
pub(super) fn serves(shard: &Shard, spec: &CommandSpec, args: &Args<'_>) -> bool {
    let one = spec.keys.first == spec.keys.last;
    match args.known_slot(spec.keys.first as usize).filter(|_| one) {
        Some(slot) => shard.partition.home(slot) == shard.id,
        None => served(shard, slots_of(spec, args)).is_ok(),
    }
}

/// Why a command that might run or be queued is not served to this client, if it is not.
/// Queued commands are judged one by one, and together by EXEC.
pub(super) fn turned_away(
    shard: &Shard,
    session: &Session,
    spec: &CommandSpec,
    args: &Args<'_>,
) -> Option<Turned> {
    if session.face == Face::Standalone {
        return None;
    }
    let verdict = match &session.transaction {
        Some(transaction) if spec.spread == Spread::Exec => {
            if transaction.refused || shard.store.watches.is_broken(session.id) {
                return None; // EXEC has its own answer
            }
            together(transaction)
        }
        Some(_) if spec.flags.has(Flags::NO_MULTI) => return None, // refused for that
        _ => served(shard, slots_of(spec, args)),
    };
    verdict.err()
}

/// Says so, and ends or spoils the transaction that the command would have been part of.
pub(super) fn turn_away(
    shard: &mut Shard,
    session: &mut Session,
    host: &dyn Host,
    spec: &'static CommandSpec,
    turned: Turned,
    reply: &mut Reply,
) {
    let text = match turned {
        Turned::CrossSlot => {
            shard.stats.refused_cross_slot.add(1);
            "CROSSSLOT Keys in request don't hash to the same slot".into()
        }
        Turned::Moved(slot, home) => {
            shard.stats.redirected.add(1);
            let port = host.facts().cluster.get(usize::from(home.0)).map_or(0, |node| node.port);
            format!("MOVED {} {}:{port}", slot.get(), reached(session))
        }
    };
    if spec.spread == Spread::Exec {
        transaction::forget(shard, session);
    } else if let Some(transaction) = &mut session.transaction {
        transaction.refused = true;
    }
    shard.stats.count_error(&text);
    shard.stats.failed_calls.of(spec).add(1);
    reply.error(text.as_bytes());
}

/// The address under which the client has reached this node, without the port; it reaches
/// the others under the same.
pub(super) fn reached(session: &Session) -> String {
    // A socket of both families shows an IPv4 address as one of IPv6.
    let ip = session.local.as_ref().map(SocketAddr::ip);
    ip.map_or_else(String::new, |ip| ip.to_canonical().to_string())
}

#[cfg(test)]
mod tests;
