//! Which rule of the configuration a request falls under, and which backend answers it.
//!
//! Owns the search and the draw; reads the archive in place, allocates nothing, and scans
//! nothing that grows with the number of routes. Never looks at sockets or endpoints.
//!
//! Precedence is Gateway API's (HTTPRoute `hostnames` and `rules[].matches`): the most specific
//! listener, then the most specific hostname (an exact one, the longest wildcard, none), then an
//! exact path, the longest prefix in whole segments, a method, more headers, more query
//! parameters, and then what comes first in the files.
//!
//! ```text
//!   host      exact? ──> wildcard, longest first ──> all names      (by `parent`)
//!   path        exact? ──> prefix, longest first ──> /              (by `parent`)
//!   candidate     in the order they were laid out; the first that holds is the answer
//! ```
//! When nothing at one host holds, the next less specific one is asked: hostnames are a matter of
//! precedence, not a wall. Listeners are: the most specific one decides alone.

#![forbid(unsafe_code)]

pub mod path;
mod query;
mod search;
#[cfg(test)]
mod tests;

use crate::config::table::{hash_any_case, hash_exact};
use crate::config::{ArchivedConfig, BackendId, NONE, PathKind, PortId, RuleId};

/// What of a request is looked at, beside its headers.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// In any case, without a port; empty when there was none.
    pub host: &'a [u8],
    /// From the first slash up to the query.
    pub path: &'a [u8],
    /// What comes after the question mark, or nothing.
    pub query: &'a [u8],
    /// As it was sent; methods are case-sensitive (RFC 9110 section 9.1).
    pub method: &'a [u8],
}

/// The headers of a request.
pub trait Headers {
    /// The value of a header whose name is given in small letters; of several, all of them
    /// joined by commas or the first (Gateway API leaves it open).
    fn get(&self, name: &[u8]) -> Option<&[u8]>;
}

/// None at all.
impl Headers for () {
    fn get(&self, _: &[u8]) -> Option<&[u8]> {
        None
    }
}

/// Pairs of names in small letters and values.
impl Headers for [(&[u8], &[u8])] {
    fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(there, _)| *there == name).map(|(_, value)| *value)
    }
}

/// Why no rule was found: how far the search came. All of them are a 404.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoRoute {
    /// No listener or route has that hostname.
    Host,
    /// No route of that hostname has that path.
    Path,
    /// The path is there, for other methods, headers or query parameters.
    Match,
}

/// Why no backend was picked: no backends, none with a weight, or a reference that leads
/// nowhere. A 500, as Gateway API has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoBackend;

/// The rule that a request at this port falls under.
///
/// # Errors
/// When there is none.
pub fn find<H: Headers + ?Sized>(
    config: &ArchivedConfig,
    port: PortId,
    request: &Request<'_>,
    headers: &H,
) -> Result<RuleId, NoRoute> {
    search::find(config, port, request, headers)
}

/// The backend for a request under this rule: each has its weight's share of the random numbers.
///
/// # Errors
/// See [`NoBackend`].
pub fn pick(config: &ArchivedConfig, rule: RuleId, random: u64) -> Result<BackendId, NoBackend> {
    match config.rule(rule).share(random) {
        Some(backend) if backend != NONE => Ok(BackendId(backend)),
        _ => Err(NoBackend),
    }
}

/// Where a host is in its table.
pub(crate) fn host_hash(listener: u32, exact: bool, pattern: &[u8]) -> u64 {
    hash_any_case(u64::from(listener) << 1 | u64::from(exact), pattern)
}

/// Where an exact path is in its table; of a prefix, what the hash of its segments begins with.
pub(crate) fn place_hash(host: u32, kind: PathKind, path: &[u8]) -> u64 {
    hash_exact(u64::from(host) << 1 | u64::from(kind == PathKind::Exact), path)
}
