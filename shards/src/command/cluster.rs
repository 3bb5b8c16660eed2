//! CLUSTER and what clients of clusters ask besides: which node serves which slots.
//!
//! Owns the view that a shard gives of its node as a cluster: one primary a shard, no
//! replicas, no bus, and a map of slots that never changes while the node runs. The shapes
//! of replies are Valkey 9.1's (<https://valkey.io/commands/#cluster>).

#![forbid(unsafe_code)]

use std::fmt::Write;

use crate::ids::{DbId, SLOTS, ShardId, SlotId};
use crate::number;
use crate::session::Face;
use crate::slot::slot_of;

use super::redirect::{ClusterNode, reached};
use super::{CommandError, Context, LongOp, introspect};

type Done = Result<(), CommandError>;

/// The face as seen from the one shard that is asked.
struct View {
    ip: String,
    me: ShardId,
    nodes: Vec<Seen>,
}

/// One node and its slots.
struct Seen {
    node: ClusterNode,
    shard: ShardId,
    first: SlotId,
    last: SlotId,
}

/// Refuses what only a node of a cluster answers.
fn only_in_cluster(c: &Context<'_>) -> Done {
    if c.session.face == Face::Cluster {
        return Ok(());
    }
    Err(CommandError::Text("ERR This instance has cluster support disabled"))
}

fn view(c: &Context<'_>) -> Result<View, CommandError> {
    only_in_cluster(c)?;
    let partition = c.shard.partition;
    let nodes = c.host.facts().cluster.iter().zip((0..partition.shards()).map(ShardId));
    let nodes = nodes.map(|(node, shard)| {
        let (first, last) = partition.slots(shard).into_inner();
        Seen { node: node.clone(), shard, first, last }
    });
    Ok(View { ip: reached(c.session), me: c.shard.id, nodes: nodes.collect() })
}

impl View {
    fn me(&self) -> Result<&ClusterNode, CommandError> {
        let mine = self.nodes.iter().find(|seen| seen.shard == self.me);
        let lost = CommandError::Text("ERR internal error: this shard is no node");
        mine.map(|seen| &seen.node).ok_or(lost)
    }

    fn known(&self, id: &[u8]) -> Done {
        if self.nodes.iter().any(|seen| seen.node.id.as_bytes() == id) {
            return Ok(());
        }
        Err(CommandError::Other(format!("ERR Unknown node {}", String::from_utf8_lossy(id))))
    }
}

pub(super) fn help(c: &mut Context<'_>) -> Done {
    only_in_cluster(c)?;
    introspect::help(c)
}

pub(super) fn slots(c: &mut Context<'_>) -> Done {
    let View { ip, nodes, .. } = view(c)?;
    c.reply.array(nodes.len());
    for Seen { node, first, last, .. } in &nodes {
        c.reply.array(3);
        c.reply.integer(first.get().into());
        c.reply.integer(last.get().into());
        c.reply.array(4);
        c.reply.bulk(ip.as_bytes());
        c.reply.integer(node.port.into());
        c.reply.bulk(node.id.as_bytes());
        c.reply.map(0); // no further ways to reach it
    }
    Ok(())
}

pub(super) fn shards(c: &mut Context<'_>) -> Done {
    let View { ip, nodes, .. } = view(c)?;
    c.reply.array(nodes.len());
    for Seen { node, first, last, .. } in &nodes {
        c.reply.map(3);
        c.reply.bulk(b"slots");
        c.reply.array(2);
        c.reply.integer(first.get().into());
        c.reply.integer(last.get().into());
        c.reply.bulk(b"nodes");
        c.reply.array(1);
        c.reply.map(7);
        let text = |c: &mut Context<'_>, name: &str, value: &str| {
            c.reply.bulk(name.as_bytes());
            c.reply.bulk(value.as_bytes());
        };
        text(c, "id", &node.id);
        c.reply.bulk(b"port");
        c.reply.integer(node.port.into());
        text(c, "ip", &ip);
        text(c, "endpoint", &ip);
        text(c, "role", "master");
        c.reply.bulk(b"replication-offset");
        c.reply.integer(0);
        text(c, "health", "online");
        text(c, "id", &node.shard_id);
    }
    Ok(())
}

/// `id ip:port@bus-port flags primary ping-sent pong-received epoch link slots`; there is no
/// bus, so that its port and all that it would tell are 0.
pub(super) fn nodes(c: &mut Context<'_>) -> Done {
    let View { ip, me, nodes } = view(c)?;
    let mut text = String::new();
    for Seen { node, shard, first, last } in &nodes {
        let myself = if *shard == me { "myself," } else { "" };
        let (id, port) = (&node.id, node.port);
        // Writing to a string cannot fail.
        let _ = write!(text, "{id} {ip}:{port}@0 {myself}master - 0 0 0 connected {}", first.get());
        let _ = if first == last { writeln!(text) } else { writeln!(text, "-{}", last.get()) };
    }
    c.reply.verbatim(text.as_bytes());
    Ok(())
}

pub(super) fn info(c: &mut Context<'_>) -> Done {
    let nodes = view(c)?.nodes.len();
    let slots = usize::from(SLOTS);
    let mut text = String::from("cluster_state:ok\r\n");
    for (name, value) in [
        ("cluster_slots_assigned", slots),
        ("cluster_slots_ok", slots),
        ("cluster_slots_pfail", 0),
        ("cluster_slots_fail", 0),
        ("cluster_nodes_pfail", 0),
        ("cluster_nodes_fail", 0),
        ("cluster_voting_nodes_pfail", 0),
        ("cluster_voting_nodes_fail", 0),
        ("cluster_known_nodes", nodes),
        ("cluster_size", nodes),
        ("cluster_current_epoch", 0),
        ("cluster_my_epoch", 0),
        ("cluster_stats_messages_sent", 0),
        ("cluster_stats_messages_received", 0),
        ("cluster_stats_bytes_sent", 0),
        ("cluster_stats_bytes_received", 0),
        ("cluster_stats_pubsub_bytes_sent", 0),
        ("cluster_stats_pubsub_bytes_received", 0),
        ("cluster_stats_module_bytes_sent", 0),
        ("cluster_stats_module_bytes_received", 0),
        ("total_cluster_links_buffer_limit_exceeded", 0),
    ] {
        let _ = write!(text, "{name}:{value}\r\n");
    }
    c.reply.verbatim(text.as_bytes());
    Ok(())
}

pub(super) fn myid(c: &mut Context<'_>) -> Done {
    c.reply.bulk(view(c)?.me()?.id.as_bytes());
    Ok(())
}

pub(super) fn myshardid(c: &mut Context<'_>) -> Done {
    c.reply.bulk(view(c)?.me()?.shard_id.as_bytes());
    Ok(())
}

/// The one subcommand that any server answers.
pub(super) fn keyslot(c: &mut Context<'_>) -> Done {
    c.reply.integer(slot_of(c.args.at(2)).get().into());
    Ok(())
}

/// An argument as the number of a slot.
fn slot_at(c: &Context<'_>, n: usize, none: &'static str) -> Result<SlotId, CommandError> {
    let number = number::integer(c.args.at(n)).ok_or(CommandError::NotInteger)?;
    let slot = u16::try_from(number).ok().and_then(SlotId::new);
    slot.ok_or(CommandError::Text(none))
}

/// Keys that have expired and were not met since count, as in Redis.
pub(super) fn countkeysinslot(c: &mut Context<'_>) -> Done {
    only_in_cluster(c)?;
    let slot = slot_at(c, 2, "ERR Invalid slot")?;
    c.reply.count(c.shard.store.keys_in_slot(DbId(0), slot));
    Ok(())
}

pub(super) fn getkeysinslot(c: &mut Context<'_>) -> Done {
    const WRONG: &str = "ERR Invalid slot or number of keys";
    only_in_cluster(c)?;
    let slot = slot_at(c, 2, WRONG);
    let count = number::integer(c.args.at(3)).ok_or(CommandError::NotInteger);
    // What is no number is complained of before what is out of range.
    let (slot, count) = match (slot, count) {
        (Err(CommandError::Text(_)), Err(error)) => return Err(error),
        (slot, count) => (slot?, count?),
    };
    let most = usize::try_from(count).map_err(|_| CommandError::Text(WRONG))?;
    let op = LongOp::slot(slot, most, c.reply.protocol);
    c.go_on(op);
    Ok(())
}

/// Links to other nodes: they are in the same process.
pub(super) fn links(c: &mut Context<'_>) -> Done {
    only_in_cluster(c)?;
    c.reply.array(0);
    Ok(())
}

pub(super) fn count_failure_reports(c: &mut Context<'_>) -> Done {
    view(c)?.known(c.args.at(2))?;
    c.reply.integer(0);
    Ok(())
}

pub(super) fn replicas(c: &mut Context<'_>) -> Done {
    view(c)?.known(c.args.at(2))?;
    c.reply.array(0);
    Ok(())
}

/// Slots do not move between nodes here, so that there is nothing to be let in to.
pub(super) fn asking(c: &mut Context<'_>) -> Done {
    only_in_cluster(c)?;
    c.reply.ok();
    Ok(())
}

pub(super) fn readonly(c: &mut Context<'_>) -> Done {
    c.session.readonly = true;
    c.reply.ok();
    Ok(())
}

pub(super) fn readwrite(c: &mut Context<'_>) -> Done {
    c.session.readonly = false;
    c.reply.ok();
    Ok(())
}
