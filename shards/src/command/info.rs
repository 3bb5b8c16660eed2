//! INFO: the node in lines of `name:value`.

#![forbid(unsafe_code)]

mod joined;

use std::fmt::Write;

use crate::ids::DbId;
use crate::session::Face;
use crate::stats::{CommandCounts, Counter, ShardStats};

pub(crate) use joined::joined;

use super::connection::REDIS_VERSION;
use super::table::COMMANDS;
use super::{CommandError, Context};

type Done = Result<(), CommandError>;
type Section = fn(&Context<'_>, &mut String);

/// Sections in order, and whether they are shown unasked.
const SECTIONS: &[(&str, bool, Section)] = &[
    ("Server", true, server),
    ("Clients", true, clients),
    ("Memory", true, memory),
    ("Persistence", true, persistence),
    ("Stats", true, stats),
    ("Replication", true, replication),
    ("Errorstats", true, error_stats),
    ("Cluster", true, |c, out| line(out, "cluster_enabled", u8::from(in_cluster(c)))),
    ("Commandstats", false, command_stats),
    ("Keyspace", true, keyspace),
];

fn line(out: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{name}:{value}\r\n");
}

pub(super) fn info(c: &mut Context<'_>) -> Done {
    let wanted: Vec<Vec<u8>> = c.args.from(1).map(<[u8]>::to_ascii_lowercase).collect();
    let has = |name: &[u8]| wanted.iter().any(|word| word == name);
    let all = has(b"all") || has(b"everything");
    let usual = wanted.is_empty() || has(b"default");
    let mut text = String::new();
    for (name, by_default, section) in SECTIONS {
        if all || usual && *by_default || has(name.to_ascii_lowercase().as_bytes()) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let _ = write!(text, "# {name}\r\n");
            section(c, &mut text);
        }
    }
    c.reply.verbatim(text.as_bytes());
    Ok(())
}

fn in_cluster(c: &Context<'_>) -> bool {
    c.session.face == Face::Cluster
}

/// Where clients like this one connect.
fn port(c: &Context<'_>) -> u16 {
    let (facts, me) = (c.host.facts(), usize::from(c.shard.id.0));
    let node = facts.cluster.get(me).filter(|_| in_cluster(c));
    node.map_or(facts.port, |node| node.port)
}

fn server(c: &Context<'_>, out: &mut String) {
    let facts = c.host.facts();
    line(out, "redis_version", REDIS_VERSION);
    line(out, "server_name", "corelane");
    line(out, "corelane_version", &facts.version);
    line(out, "corelane_driver", facts.driver);
    line(out, "corelane_shards", facts.shards);
    line(out, "redis_mode", if in_cluster(c) { "cluster" } else { "standalone" });
    line(out, "os", &facts.os);
    line(out, "arch_bits", usize::BITS);
    line(out, "multiplexing_api", facts.driver);
    line(out, "process_id", facts.pid);
    line(out, "run_id", &facts.run_id);
    line(out, "tcp_port", port(c));
    line(out, "server_time_usec", c.now.wall_us);
    let uptime = c.now.unix_seconds().saturating_sub(facts.started);
    line(out, "uptime_in_seconds", uptime);
    line(out, "uptime_in_days", uptime / 86_400);
    line(out, "executable", &facts.executable);
    line(out, "config_file", "");
}

fn clients(c: &Context<'_>, out: &mut String) {
    // Who stands for a client of another shard is no client.
    let own = usize::from(!c.session.is_guest);
    let (mut connected, mut watching, mut most_unread, mut most_unsent) = (own, 0, 0, 0);
    let mut watched = c.session.watched.len();
    c.host.each_client(&mut |session, traffic| {
        connected += 1;
        watching += usize::from(!session.watched.is_empty());
        watched += session.watched.len();
        most_unread = most_unread.max(traffic.unread);
        most_unsent = most_unsent.max(traffic.unsent);
    });
    watching += usize::from(!c.session.watched.is_empty());
    line(out, "connected_clients", connected);
    line(out, "cluster_connections", 0);
    line(out, "maxclients", c.shard.settings.maxclients);
    line(out, "client_recent_max_input_buffer", most_unread);
    line(out, "client_recent_max_output_buffer", most_unsent);
    line(out, "blocked_clients", 0);
    line(out, "watching_clients", watching);
    line(out, "total_watched_keys", watched);
}

/// Bytes in the unit that people read.
fn human(bytes: u64) -> String {
    let units = [(1u64 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match units.into_iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.2}{unit}", bytes as f64 / size as f64),
        None => format!("{bytes}B"),
    }
}

fn memory(c: &Context<'_>, out: &mut String) {
    let used = c.shard.store.memory_used() as u64;
    let resident = c.host.resident_bytes();
    let limit = c.shard.settings.maxmemory;
    line(out, "used_memory", used);
    line(out, "used_memory_human", human(used));
    line(out, "used_memory_rss", resident);
    line(out, "used_memory_rss_human", human(resident));
    line(out, "used_memory_dataset", used);
    line(out, "corelane_waiting_memory", c.shard.store.memory_waiting());
    line(out, "maxmemory", limit);
    line(out, "maxmemory_human", human(limit));
    line(out, "maxmemory_policy", c.shard.settings.policy_name());
    line(out, "mem_allocator", "corelane-slab");
}

fn persistence(_: &Context<'_>, out: &mut String) {
    line(out, "loading", 0);
    line(out, "rdb_bgsave_in_progress", 0);
    line(out, "aof_enabled", 0);
}

fn stats(c: &Context<'_>, out: &mut String) {
    let baseline = &c.shard.baseline;
    let since = |count: fn(&ShardStats) -> &Counter| {
        count(&c.shard.stats).get().saturating_sub(count(&baseline.stats).get())
    };
    let accepted = c.host.connections_accepted().saturating_sub(baseline.accepted);
    let refused = c.host.connections_refused().saturating_sub(baseline.refused);
    let (mut received, mut sent) = (c.host.own_traffic().received, c.host.own_traffic().sent);
    c.host.each_client(&mut |_, traffic| {
        received += traffic.received;
        sent += traffic.sent;
    });
    line(out, "total_connections_received", accepted);
    line(out, "total_commands_processed", since(|stats| &stats.commands));
    line(out, "rejected_connections", refused);
    line(out, "expired_keys", since(|stats| &stats.expired_keys));
    line(out, "evicted_keys", since(|stats| &stats.evicted_keys));
    line(out, "keyspace_hits", since(|stats| &stats.keyspace_hits));
    line(out, "keyspace_misses", since(|stats| &stats.keyspace_misses));
    line(out, "total_error_replies", since(|stats| &stats.errors));
    line(out, "current_clients_net_input_bytes", received);
    line(out, "current_clients_net_output_bytes", sent);
}

fn replication(_: &Context<'_>, out: &mut String) {
    line(out, "role", "master");
    line(out, "connected_slaves", 0);
    line(out, "master_repl_offset", 0);
}

fn error_stats(c: &Context<'_>, out: &mut String) {
    let codes = c.shard.stats.error_codes.all().zip(c.shard.baseline.stats.error_codes.all());
    for ((code, now), (_, then)) in codes {
        let count = now.get().saturating_sub(then.get());
        if count > 0 {
            line(out, &format!("errorstat_{code}"), format_args!("count={count}"));
        }
    }
}

fn command_stats(c: &Context<'_>, out: &mut String) {
    let (stats, before) = (&c.shard.stats, &c.shard.baseline.stats);
    for spec in COMMANDS {
        let since = |now: &CommandCounts, then: &CommandCounts| {
            now.of(spec).get().saturating_sub(then.of(spec).get())
        };
        let calls = since(&stats.calls, &before.calls);
        let failed = since(&stats.failed_calls, &before.failed_calls);
        if calls + failed > 0 {
            line(
                out,
                &format!("cmdstat_{}", spec.name),
                format_args!("calls={calls},failed_calls={failed}"),
            );
        }
    }
}

fn keyspace(c: &Context<'_>, out: &mut String) {
    for db in 0..c.databases() {
        let keys = c.shard.store.len(DbId(db));
        if keys > 0 {
            let expires = c.shard.store.expires(DbId(db));
            line(out, &format!("db{db}"), format_args!("keys={keys},expires={expires},avg_ttl=0"));
        }
    }
}
