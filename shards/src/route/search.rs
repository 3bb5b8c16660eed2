//! The search: listener, host, path, candidate.

#![forbid(unsafe_code)]

use super::{Headers, NoRoute, Request, host_hash, place_hash, query};
use crate::config::table::{self, hash_exact};
use crate::config::{
    ArchivedCandidate, ArchivedConfig, ArchivedHost, ArchivedHostKind, ArchivedListener,
    ArchivedPlace, HostKind, PathKind, PortId, RuleId,
};

/// The longest name that DNS has (RFC 1035 section 2.3.4); longer ones have no route.
const LONGEST_HOST: usize = 253;

pub(super) fn find<H: Headers + ?Sized>(
    config: &ArchivedConfig,
    port: PortId,
    request: &Request<'_>,
    headers: &H,
) -> Result<RuleId, NoRoute> {
    if request.host.len() > LONGEST_HOST {
        return Err(NoRoute::Host);
    }
    let (row, listener) = listener(config, port, request.host).ok_or(NoRoute::Host)?;
    let mut at = host(config, row, listener, request.host);
    let mut failed = NoRoute::Host;
    while let Some((number, host)) = at {
        match at_host(config, number, host, request, headers) {
            Ok(rule) => return Ok(rule),
            Err(why) => failed = failed.max(why),
        }
        let wider = host.parent.to_native();
        at = config.host(wider).map(|host| (wider, host));
    }
    Err(failed)
}

/// The most specific listener of a port that takes the name.
fn listener<'a>(
    config: &'a ArchivedConfig,
    port: PortId,
    host: &[u8],
) -> Option<(u32, &'a ArchivedListener)> {
    let range = &config.ports.get(port.0 as usize)?.listeners;
    let takes = |(_, listener): &(u32, &ArchivedListener)| {
        let hostname = config.bytes(&listener.hostname);
        match listener.kind {
            ArchivedHostKind::Any => true,
            ArchivedHostKind::Exact => host.eq_ignore_ascii_case(hostname),
            ArchivedHostKind::Wildcard => suffix(host, hostname.len())
                .is_some_and(|suffix| suffix.eq_ignore_ascii_case(hostname)),
        }
    };
    (range.start.to_native()..).zip(range.of(&config.listeners)).find(takes)
}

/// The end of a name, that long, with a dot and something before it.
fn suffix(host: &[u8], len: usize) -> Option<&[u8]> {
    let start = host.len().checked_sub(len)?;
    (start >= 2 && host[start - 1] == b'.').then(|| &host[start..])
}

/// The most specific host that has the name.
fn host<'a>(
    config: &'a ArchivedConfig,
    row: u32,
    listener: &ArchivedListener,
    name: &[u8],
) -> Option<(u32, &'a ArchivedHost)> {
    let lookup = |exact: bool, pattern: &[u8]| {
        table::find(&config.host_table, host_hash(row, exact, pattern), |n| {
            let host = &config.hosts[n as usize];
            let kind = if exact { HostKind::Exact } else { HostKind::Wildcard };
            host.listener.to_native() == row
                && host.kind == kind
                && config.bytes(&host.pattern).eq_ignore_ascii_case(pattern)
        })
    };
    let wildcard = || {
        let lengths = listener.wildcard_lengths.of(&config.lengths).iter();
        let mut suffixes = lengths.filter_map(|len| suffix(name, len.to_native() as usize));
        suffixes.find_map(|suffix| lookup(false, suffix))
    };
    let n = lookup(true, name).or_else(wildcard).unwrap_or(listener.any.to_native());
    config.host(n).map(|host| (n, host))
}

/// The rule at this host; never [`NoRoute::Host`].
fn at_host<H: Headers + ?Sized>(
    config: &ArchivedConfig,
    number: u32,
    host: &ArchivedHost,
    request: &Request<'_>,
    headers: &H,
) -> Result<RuleId, NoRoute> {
    let holds = |place: &ArchivedPlace| {
        let mut candidates = place.candidates.of(&config.candidates).iter();
        let found = candidates.find(|candidate| meets(config, candidate, request, headers));
        found.map(|candidate| RuleId(candidate.rule.to_native()))
    };
    let mut failed = NoRoute::Path;
    if let Some(place) = exact(config, number, host, request.path) {
        if let Some(rule) = holds(place) {
            return Ok(rule);
        }
        failed = NoRoute::Match;
    }
    let mut at = prefix(config, number, host, request.path);
    while let Some(place) = at {
        if let Some(rule) = holds(place) {
            return Ok(rule);
        }
        failed = NoRoute::Match;
        at = config.place(place.parent.to_native());
    }
    Err(failed)
}

fn exact<'a>(
    config: &'a ArchivedConfig,
    number: u32,
    host: &ArchivedHost,
    path: &[u8],
) -> Option<&'a ArchivedPlace> {
    if !host.has_exact {
        return None;
    }
    let hash = place_hash(number, PathKind::Exact, path);
    place(config, number, hash, PathKind::Exact, path)
}

/// The longest prefix. Walks the path once, as deep as this host's prefixes go.
fn prefix<'a>(
    config: &'a ArchivedConfig,
    number: u32,
    host: &ArchivedHost,
    path: &[u8],
) -> Option<&'a ArchivedPlace> {
    if path.first() != Some(&b'/') {
        return None;
    }
    let depths = host.depths.to_native();
    let mut longest = config.place(host.root.to_native());
    let mut hash = place_hash(number, PathKind::Prefix, b"");
    let (mut start, mut depth) = (1, 1);
    while depth < u32::BITS && depths >> depth != 0 {
        let rest = &path[start..];
        let segment = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        if segment == 0 {
            break; // no prefix has an empty segment
        }
        hash = hash_exact(hash, &rest[..segment]);
        let end = start + segment;
        if depths >> depth & 1 == 1 {
            let found = place(config, number, hash, PathKind::Prefix, &path[..end]);
            longest = found.or(longest);
        }
        if end == path.len() {
            break;
        }
        (start, depth) = (end + 1, depth + 1);
    }
    longest
}

fn place<'a>(
    config: &'a ArchivedConfig,
    host: u32,
    hash: u64,
    kind: PathKind,
    path: &[u8],
) -> Option<&'a ArchivedPlace> {
    let is = |n: u32| {
        let place = &config.places[n as usize];
        place.host.to_native() == host && place.kind == kind && config.bytes(&place.path) == path
    };
    table::find(&config.place_table, hash, is).and_then(|n| config.place(n))
}

fn meets<H: Headers + ?Sized>(
    config: &ArchivedConfig,
    candidate: &ArchivedCandidate,
    request: &Request<'_>,
    headers: &H,
) -> bool {
    let method = config.bytes(&candidate.method);
    let bytes = |range| config.bytes(range);
    (method.is_empty() || method == request.method)
        && candidate
            .headers
            .of(&config.conditions)
            .iter()
            .all(|condition| headers.get(bytes(&condition.name)) == Some(bytes(&condition.value)))
        && candidate.params.of(&config.conditions).iter().all(|condition| {
            query::has(request.query, bytes(&condition.name), bytes(&condition.value))
        })
}
