//! What the shards of a node say of themselves, made into what the node says.
//!
//! Owns which lines of INFO add up. Every other line is taken from the shard that was asked
//! first.

#![forbid(unsafe_code)]

use std::fmt::Write;

use super::human;

/// How the values of one line become one.
enum Join {
    First,
    Sum,
    Most,
    /// `a=1,b=2`: each number for itself.
    Fields,
    /// For people: made from the line of that name.
    Human(&'static str),
}

fn join_of(name: &str) -> Join {
    match name {
        "connected_clients"
        | "watching_clients"
        | "total_watched_keys"
        | "used_memory"
        | "used_memory_dataset"
        | "corelane_waiting_memory"
        | "total_connections_received"
        | "total_commands_processed"
        | "rejected_connections"
        | "expired_keys"
        | "evicted_keys"
        | "keyspace_hits"
        | "keyspace_misses"
        | "total_error_replies"
        | "current_clients_net_input_bytes"
        | "current_clients_net_output_bytes" => Join::Sum,
        "client_recent_max_input_buffer" | "client_recent_max_output_buffer" => Join::Most,
        "used_memory_human" => Join::Human("used_memory"),
        _ if name.starts_with("cmdstat_") || name.starts_with("errorstat_") => Join::Fields,
        _ if name.strip_prefix("db").is_some_and(|n| n.parse::<u8>().is_ok()) => Join::Fields,
        _ => Join::First,
    }
}

/// The text of a node out of those of its shards.
pub(crate) fn joined(texts: &[&str]) -> String {
    let mut out = String::new();
    for section in sections(texts) {
        if !out.is_empty() {
            out.push_str("\r\n");
        }
        // Writing to a string cannot fail.
        let _ = write!(out, "# {section}\r\n");
        let parts: Vec<Vec<(&str, &str)>> = texts.iter().map(|text| lines(text, section)).collect();
        for name in names(&parts) {
            let of = |wanted: &str| -> Vec<&str> {
                let lines = parts.iter().flatten().filter(|(name, _)| *name == wanted);
                lines.map(|(_, value)| *value).collect()
            };
            let value = match join_of(name) {
                Join::First => of(name).first().map_or(String::new(), |value| value.to_string()),
                Join::Sum => sum(&of(name)).to_string(),
                Join::Most => of(name).iter().map(|v| number(v)).max().unwrap_or(0).to_string(),
                Join::Fields => fields(&of(name)),
                Join::Human(other) => human(sum(&of(other))),
            };
            let _ = write!(out, "{name}:{value}\r\n");
        }
    }
    out
}

fn number(value: &str) -> u64 {
    value.parse().unwrap_or(0)
}

fn sum(values: &[&str]) -> u64 {
    values.iter().map(|value| number(value)).sum()
}

/// Names of sections, in the order of the first text.
fn sections<'a>(texts: &[&'a str]) -> Vec<&'a str> {
    let first = texts.first().copied().unwrap_or("");
    first.split("\r\n").filter_map(|line| line.strip_prefix("# ")).collect()
}

/// The lines of one section.
fn lines<'a>(text: &'a str, section: &str) -> Vec<(&'a str, &'a str)> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.split("\r\n") {
        if let Some(name) = line.strip_prefix("# ") {
            inside = name == section;
        } else if inside && let Some(pair) = line.split_once(':') {
            found.push(pair);
        }
    }
    found
}

/// Names of lines in the order they are met; those of databases and commands sorted, since a
/// shard shows only those it has.
fn names<'a>(parts: &[Vec<(&'a str, &'a str)>]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in parts.iter().flatten() {
        if !names.contains(name) {
            names.push(name);
        }
    }
    if names.iter().all(|name| matches!(join_of(name), Join::Fields)) {
        names.sort_by_key(|name| (name.len(), *name));
    }
    names
}

fn fields(values: &[&str]) -> String {
    let mut sums: Vec<(&str, u64)> = Vec::new();
    for (name, value) in values.iter().flat_map(|v| v.split(',')).filter_map(|f| f.split_once('='))
    {
        match sums.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += number(value),
            None => sums.push((name, number(value))),
        }
    }
    let shown: Vec<String> = sums.iter().map(|(name, sum)| format!("{name}={sum}")).collect();
    shown.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_adds_up_and_what_does_not() {
        let a = "# Memory\r\nused_memory:1000\r\nused_memory_human:1000B\r\nmaxmemory:7\r\n\r\n\
                 # Keyspace\r\ndb1:keys=2,expires=1,avg_ttl=0\r\n";
        let b = "# Memory\r\nused_memory:1048\r\nused_memory_human:1.02K\r\nmaxmemory:7\r\n\r\n\
                 # Keyspace\r\ndb0:keys=4,expires=0,avg_ttl=0\r\ndb1:keys=3,expires=1,avg_ttl=0\r\n";
        assert_eq!(
            joined(&[a, b]),
            "# Memory\r\nused_memory:2048\r\nused_memory_human:2.00K\r\nmaxmemory:7\r\n\r\n\
             # Keyspace\r\ndb0:keys=4,expires=0,avg_ttl=0\r\ndb1:keys=5,expires=2,avg_ttl=0\r\n"
        );
        assert_eq!(joined(&[a]), a);
    }
}
