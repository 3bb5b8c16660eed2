//! Which matches there are at each host and path, and in what order they are tried.
//!
//! Owns Gateway API's precedence as far as it is a matter of order (HTTPRouteRule.matches): a
//! method before none, more headers before fewer, then more query parameters, then the earlier
//! route, rule and match. What host and path come first is a matter of the search (`route`).

#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{BuildError, Builder, pattern, rows};
use crate::config::archive::{Candidate, Host, HostKind, NONE, PathKind, Place, Range};
use crate::config::draft::{Match, Path, Route, Rule};
use crate::config::path::route_path;
use crate::config::table::{self, hash_exact};
use crate::route::{host_hash, place_hash};

/// Listener, kind, length, pattern: in the order of the rows, what is less specific first.
type HostKey = (u32, HostKind, usize, String);
/// Kind, length, path: shorter ones first.
type PlaceKey = (PathKind, usize, String);
/// The smallest is tried first.
type Rank = (bool, Reverse<usize>, Reverse<usize>, [usize; 3]);

/// All matches, by host and path.
#[derive(Default)]
pub(super) struct Places(BTreeMap<HostKey, BTreeMap<PlaceKey, Vec<(Rank, Candidate)>>>);

impl Places {
    /// Adds the matches of a rule. Routes and rules come with their positions.
    pub(super) fn add(
        &mut self,
        builder: &mut Builder,
        (route, route_at): (&Route, usize),
        (rule, rule_at, row): (&Rule, usize, u32),
        listeners: &[u32],
    ) -> Result<(), BuildError> {
        let every = [Match::default()];
        let matches = if rule.matches.is_empty() { &every[..] } else { &rule.matches };
        for (n, one) in matches.iter().enumerate() {
            let place = place_key(&one.path)?;
            let candidate = candidate(builder, one, row);
            let rank = (
                one.method.is_none(),
                Reverse(one.headers.len()),
                Reverse(one.params.len()),
                [route_at, rule_at, n],
            );
            for &listener in &route.listeners {
                let listener = *listeners.get(listener).ok_or(BuildError::Dangling("listener"))?;
                for (kind, name) in patterns(route) {
                    let host = self.0.entry((listener, kind, name.len(), name)).or_default();
                    host.entry(place.clone()).or_default().push((rank, candidate));
                }
            }
        }
        Ok(())
    }

    /// Writes the tables of hosts, places and candidates.
    pub(super) fn lay_out(self, builder: &mut Builder) {
        let numbers: BTreeMap<HostKey, u32> = self.0.keys().cloned().zip(0..).collect();
        let (mut host_hashes, mut place_hashes) = (Vec::new(), Vec::new());
        for (key, places) in self.0 {
            let (listener, kind, _, name) = &key;
            host_hashes.push(host_hash(*listener, *kind == HostKind::Exact, name.as_bytes()));
            let host = Host {
                listener: *listener,
                pattern: builder.text(name),
                kind: *kind,
                has_exact: places.keys().any(|(kind, ..)| *kind == PathKind::Exact),
                depths: 0,
                root: NONE,
                parent: wider(&numbers, &key),
            };
            let row = builder.config.hosts.len() as u32;
            builder.config.hosts.push(host);
            lay_out_places(builder, row, places, &mut place_hashes);
        }
        for listener in 0..builder.config.listeners.len() as u32 {
            index_wildcards(builder, listener);
        }
        builder.config.host_table = table::build(&host_hashes);
        builder.config.place_table = table::build(&place_hashes);
    }
}

/// The hostnames of a route, each once.
fn patterns(route: &Route) -> Vec<(HostKind, String)> {
    let mut patterns: Vec<_> = route.hostnames.iter().map(|name| pattern(Some(name))).collect();
    if patterns.is_empty() {
        patterns.push(pattern(None));
    }
    patterns.sort();
    patterns.dedup();
    patterns
}

/// The next less specific host at the same listener whose names include those of this one.
fn wider(numbers: &BTreeMap<HostKey, u32>, (listener, kind, _, name): &HostKey) -> u32 {
    if *kind == HostKind::Any {
        return NONE;
    }
    let mut rest = name.as_str();
    while let Some((_, suffix)) = rest.split_once('.') {
        let key = (*listener, HostKind::Wildcard, suffix.len(), suffix.to_owned());
        if let Some(&row) = numbers.get(&key) {
            return row;
        }
        rest = suffix;
    }
    let any = (*listener, HostKind::Any, 0, String::new());
    numbers.get(&any).copied().unwrap_or(NONE)
}

/// In normal form, a prefix without the slash at its end.
fn place_key(path: &Path) -> Result<PlaceKey, BuildError> {
    let (Path::Exact(written) | Path::Prefix(written)) = path;
    let normal = route_path(written).map_err(|why| BuildError::Path(written.clone(), why))?;
    let (kind, text) = match path {
        Path::Exact(_) => (PathKind::Exact, &*normal),
        Path::Prefix(_) => (PathKind::Prefix, normal.strip_suffix('/').unwrap_or(&normal)),
    };
    Ok((kind, text.len(), text.to_owned()))
}

fn candidate(builder: &mut Builder, one: &Match, rule: u32) -> Candidate {
    let method = one.method.as_deref().map_or(Range::default(), |method| builder.text(method));
    let headers = one.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let headers = builder.conditions(headers);
    let params = one.params.iter().map(|(name, value)| (name.clone(), value));
    Candidate { method, headers, params: builder.conditions(params), rule }
}

fn lay_out_places(
    builder: &mut Builder,
    host: u32,
    places: BTreeMap<PlaceKey, Vec<(Rank, Candidate)>>,
    hashes: &mut Vec<u64>,
) {
    let first = builder.config.places.len() as u32;
    let numbers: BTreeMap<PlaceKey, u32> = places.keys().cloned().zip(first..).collect();
    for ((kind, _, path), mut found) in places {
        found.sort_by_key(|(rank, _)| *rank);
        let start = builder.config.candidates.len();
        builder.config.candidates.extend(found.into_iter().map(|(_, candidate)| candidate));
        let candidates = rows(start, builder.config.candidates.len());
        let row = builder.config.places.len() as u32;
        let entry = &mut builder.config.hosts[host as usize];
        let parent = match kind {
            PathKind::Exact => NONE,
            PathKind::Prefix => {
                entry.depths |= 1 << path.matches('/').count();
                shorter(&numbers, &path)
            }
        };
        if kind == PathKind::Prefix && path.is_empty() {
            entry.root = row;
        }
        let text = builder.text(&path);
        builder.config.places.push(Place { host, path: text, kind, parent, candidates });
        hashes.push(match kind {
            PathKind::Exact => place_hash(host, PathKind::Exact, path.as_bytes()),
            PathKind::Prefix => {
                let seed = place_hash(host, PathKind::Prefix, b"");
                path.split('/').skip(1).fold(seed, |hash, part| hash_exact(hash, part.as_bytes()))
            }
        });
    }
}

/// The next shorter prefix of the same host.
fn shorter(numbers: &BTreeMap<PlaceKey, u32>, path: &str) -> u32 {
    let mut rest = path;
    while let Some((parent, _)) = rest.rsplit_once('/') {
        let key = (PathKind::Prefix, parent.len(), parent.to_owned());
        if let Some(&row) = numbers.get(&key) {
            return row;
        }
        rest = parent;
    }
    NONE
}

/// Notes what the search needs to find wildcards: their lengths, and the host for all names.
fn index_wildcards(builder: &mut Builder, listener: u32) {
    let of_it = || builder.config.hosts.iter().zip(0..).filter(|(h, _)| h.listener == listener);
    let any = of_it().find(|(host, _)| host.kind == HostKind::Any).map_or(NONE, |(_, row)| row);
    let mut lengths: Vec<u32> = of_it()
        .filter(|(host, _)| host.kind == HostKind::Wildcard)
        .map(|(host, _)| host.pattern.len)
        .collect();
    lengths.reverse();
    lengths.dedup();
    let start = builder.config.lengths.len();
    builder.config.lengths.extend(lengths);
    let wildcard_lengths = rows(start, builder.config.lengths.len());
    let listener = &mut builder.config.listeners[listener as usize];
    (listener.any, listener.wildcard_lengths) = (any, wildcard_lengths);
}
