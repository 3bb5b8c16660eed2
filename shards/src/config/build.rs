//! From a draft to the archive: rows are numbered, texts are kept once, hash tables are filled.
//!
//! Owns the order of everything, so that the same draft has the same bytes. Knows no documents
//! and no places in files; who hands in a draft has told the operator what is wrong before.

#![forbid(unsafe_code)]

mod places;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;

use super::archive::{
    Backend, Condition, Config, Endpoint, HostKind, Key, Limit, Listener, NONE, Port, Range, Rule,
    Share,
};
use super::draft::{self, Draft};
use super::path::RoutePathError;
use super::snapshot::Snapshot;
use super::table;
use crate::limit::{Rate, RateError, Tokens};
use places::Places;

/// Matches, each counted for every hostname and listener of its route: compiling so many takes
/// 600 MiB and two seconds. Ten thousand routes of ten matches are a tenth of it.
pub const MAX_CANDIDATES: usize = 1_000_000;

/// Why a draft has no archive; whoever made it is to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// A position in a list that is not so long.
    Dangling(&'static str),
    /// Two of them with one name.
    Twice(&'static str, String),
    /// A path that no route may name.
    Path(String, RoutePathError),
    /// A limit that no bucket can obey.
    Rate(String, RateError),
    /// Weights of one rule that add up to more than 32 bits.
    Weights(String),
    /// More than the tables can number, or bytes that are refused.
    TooLarge(String),
}

impl Draft {
    /// Lays out the archive.
    ///
    /// # Errors
    /// When the draft is not consistent.
    pub fn compile(&self) -> Result<Snapshot, BuildError> {
        let candidates = self.routes.iter().map(draft::Route::candidates);
        if candidates.fold(0, usize::saturating_add) > MAX_CANDIDATES {
            return Err(BuildError::TooLarge(format!("more than {MAX_CANDIDATES} matches")));
        }
        let mut builder = Builder::default();
        builder.config.generation = self.generation;
        self.backends.iter().for_each(|backend| builder.backend(backend));
        self.limits.iter().try_for_each(|limit| builder.limit(limit))?;
        let hashes: Vec<u64> =
            self.limits.iter().map(|l| table::hash_exact(0, l.name.as_bytes())).collect();
        builder.config.limit_table = table::build(&hashes);
        let rows = builder.listeners(&self.listeners)?;
        let mut places = Places::default();
        for (n, route) in self.routes.iter().enumerate() {
            for (k, rule) in route.rules.iter().enumerate() {
                let row = builder.rule(&route.name, k, rule)?;
                places.add(&mut builder, (route, n), (rule, k, row), &rows)?;
            }
        }
        places.lay_out(&mut builder);
        Snapshot::of(&builder.config).map_err(|why| BuildError::TooLarge(why.to_string()))
    }
}

/// The tables so far.
#[derive(Default)]
struct Builder {
    config: Config,
    texts: HashMap<String, Range>,
    endpoints: HashMap<SocketAddr, u32>,
    limits: HashSet<Range>,
}

impl Builder {
    /// Where the text is; each is there once.
    fn text(&mut self, text: &str) -> Range {
        if let Some(range) = self.texts.get(text) {
            return *range;
        }
        let range = Range { start: self.config.text.len() as u32, len: text.len() as u32 };
        self.config.text.push_str(text);
        self.texts.insert(text.to_owned(), range);
        range
    }

    fn backend(&mut self, backend: &draft::Backend) {
        let start = self.config.members.len();
        for address in &backend.endpoints {
            let row = self.endpoint(*address);
            if !self.config.members[start..].contains(&row) {
                self.config.members.push(row);
            }
        }
        let members = rows(start, self.config.members.len());
        let name = self.text(&backend.name);
        self.config.backends.push(Backend { name, balance: backend.balance, members });
    }

    fn endpoint(&mut self, at: SocketAddr) -> u32 {
        let table = &mut self.config.endpoints;
        *self.endpoints.entry(at).or_insert_with(|| {
            let address = match at.ip() {
                std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                std::net::IpAddr::V6(v6) => v6.octets(),
            };
            table.push(Endpoint { address, port: at.port() });
            table.len() as u32 - 1
        })
    }

    fn limit(&mut self, limit: &draft::Limit) -> Result<(), BuildError> {
        let name = self.text(&limit.name);
        if !self.limits.insert(name) {
            return Err(BuildError::Twice("limit", limit.name.clone()));
        }
        Rate::new(limit.tokens, limit.period, Tokens(limit.burst))
            .map_err(|why| BuildError::Rate(limit.name.clone(), why))?;
        let start = self.config.keys.len();
        for key in &limit.keys {
            let key = match key {
                &draft::Key::ClientAddress { v4, v6 } => Key::ClientAddress { v4, v6 },
                draft::Key::Header(name) => Key::Header(self.text(&name.to_ascii_lowercase())),
                draft::Key::Path => Key::Path,
                draft::Key::Route => Key::Route,
            };
            self.config.keys.push(key);
        }
        self.config.limits.push(Limit {
            name,
            tokens: limit.tokens,
            period_ns: limit.period.0,
            burst: limit.burst,
            cost: limit.cost,
            keys: rows(start, self.config.keys.len()),
        });
        Ok(())
    }

    /// Sorted by port, then from the most specific name to the least. Says where each went.
    fn listeners(&mut self, drafts: &[draft::Listener]) -> Result<Vec<u32>, BuildError> {
        let key = |n: usize| {
            let (kind, pattern) = pattern(drafts[n].hostname.as_deref());
            (drafts[n].port, std::cmp::Reverse((kind, pattern.len())), pattern)
        };
        let mut order: Vec<usize> = (0..drafts.len()).collect();
        order.sort_by_cached_key(|&n| key(n));
        if let Some(pair) = order.windows(2).find(|pair| key(pair[0]) == key(pair[1])) {
            return Err(BuildError::Twice("listener", drafts[pair[1]].name.clone()));
        }
        let mut placed = vec![NONE; drafts.len()];
        for (row, &n) in order.iter().enumerate() {
            placed[n] = row as u32;
            let (kind, pattern) = pattern(drafts[n].hostname.as_deref());
            let (name, hostname) = (self.text(&drafts[n].name), self.text(&pattern));
            let wildcard_lengths = Range::default();
            self.config.listeners.push(Listener {
                name,
                hostname,
                kind,
                any: NONE,
                wildcard_lengths,
            });
            let number = u32::from(drafts[n].port);
            match self.config.ports.last_mut() {
                Some(last) if last.number == number => last.listeners.len += 1,
                _ => {
                    let listeners = Range { start: row as u32, len: 1 };
                    self.config.ports.push(Port { number, listeners });
                }
            }
        }
        Ok(placed)
    }

    fn rule(&mut self, route: &str, n: usize, rule: &draft::Rule) -> Result<u32, BuildError> {
        let start = self.config.shares.len();
        let mut upto = 0u32;
        for &(weight, backend) in rule.backends.iter().filter(|(weight, _)| *weight > 0) {
            let past = |b: &usize| *b >= self.config.backends.len();
            if backend.as_ref().is_some_and(past) {
                return Err(BuildError::Dangling("backend"));
            }
            let sum = upto.checked_add(weight);
            upto = sum.ok_or_else(|| BuildError::Weights(route.to_owned()))?;
            let backend = backend.map_or(NONE, |b| b as u32);
            self.config.shares.push(Share { upto, backend });
        }
        let shares = rows(start, self.config.shares.len());
        let start = self.config.rule_limits.len();
        for &limit in &rule.limits {
            if limit >= self.config.limits.len() {
                return Err(BuildError::Dangling("limit"));
            }
            self.config.rule_limits.push(limit as u32);
        }
        let limits = rows(start, self.config.rule_limits.len());
        let route = self.text(route);
        let name = rule.name.clone().unwrap_or_else(|| n.to_string());
        let name = self.text(&name);
        let request_ns = rule.request_timeout.map(|span| span.0);
        let backend_ns = rule.backend_timeout.map(|span| span.0);
        self.config.rules.push(Rule { route, name, request_ns, backend_ns, shares, limits });
        Ok(self.config.rules.len() as u32 - 1)
    }

    fn conditions<'a>(&mut self, pairs: impl IntoIterator<Item = (String, &'a String)>) -> Range {
        let start = self.config.conditions.len();
        for (name, value) in pairs {
            let (name, value) = (self.text(&name), self.text(value));
            self.config.conditions.push(Condition { name, value });
        }
        rows(start, self.config.conditions.len())
    }
}

fn rows(start: usize, end: usize) -> Range {
    Range { start: start as u32, len: (end - start) as u32 }
}

/// What a hostname stands for, in small letters and without `*.`.
fn pattern(hostname: Option<&str>) -> (HostKind, String) {
    let Some(name) = hostname else { return (HostKind::Any, String::new()) };
    match name.strip_prefix("*.") {
        Some(rest) => (HostKind::Wildcard, rest.to_ascii_lowercase()),
        None => (HostKind::Exact, name.to_ascii_lowercase()),
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dangling(what) => write!(f, "a {what} is named that is not there"),
            Self::Twice(what, name) => write!(f, "there are two of {what} {name}"),
            Self::Path(path, why) => write!(f, "{why}, not '{path}'"),
            Self::Rate(limit, why) => write!(f, "limit {limit}: {}", why.text()),
            Self::Weights(route) => write!(f, "weights of {route} add up to more than 2^32 - 1"),
            Self::TooLarge(why) => write!(f, "the configuration is too large: {why}"),
        }
    }
}

impl std::error::Error for BuildError {}
