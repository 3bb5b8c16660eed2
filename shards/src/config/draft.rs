//! A configuration with all references resolved, as it is handed in to be compiled.
//!
//! Owns plain values and no rule about them but what [`Draft::compile`] says. References are
//! positions in the lists of the draft.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

pub use super::archive::Balance;
use crate::time::Nanos;

/// Everything that one generation has.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The number of this configuration.
    pub generation: u64,
    /// In any order; each pair of port and hostname once.
    pub listeners: Vec<Listener>,
    /// In order of precedence: of two that match alike the first wins.
    pub routes: Vec<Route>,
    /// Ports of services.
    pub backends: Vec<Backend>,
    /// Each name once.
    pub limits: Vec<Limit>,
}

/// Where requests come in.
#[derive(Clone, Debug, Default)]
pub struct Listener {
    /// For people: `gateway/listener`.
    pub name: String,
    /// 0 is the node's default HTTP port.
    pub port: u16,
    /// `example.com`, `*.example.com`, or all names.
    pub hostname: Option<String>,
}

/// A list of rules with what they have in common.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// `namespace/name`.
    pub name: String,
    /// Positions of the listeners that it is attached to.
    pub listeners: Vec<usize>,
    /// As in [`Listener::hostname`]; none for all names.
    pub hostnames: Vec<String>,
    /// In order of precedence.
    pub rules: Vec<Rule>,
}

impl Route {
    /// Rows that its matches take: each of them one for every hostname and listener.
    #[must_use]
    pub fn candidates(&self) -> usize {
        let matches: usize = self.rules.iter().map(|rule| rule.matches.len().max(1)).sum();
        matches.saturating_mul(self.hostnames.len().max(1)).saturating_mul(self.listeners.len())
    }
}

/// What happens to requests that match.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// For people; without one it is called by its position in the route.
    pub name: Option<String>,
    /// One of them is enough; none is the prefix `/`.
    pub matches: Vec<Match>,
    /// Weight, and the position of the backend, or `None` where the reference leads nowhere.
    pub backends: Vec<(u32, Option<usize>)>,
    /// For the whole request; zero for no limit.
    pub request_timeout: Option<Nanos>,
    /// For each try at a backend; zero for no limit.
    pub backend_timeout: Option<Nanos>,
    /// Positions of the limits that it takes from.
    pub limits: Vec<usize>,
}

/// All of it must hold.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// Which paths.
    pub path: Path,
    /// The one method, or all.
    pub method: Option<String>,
    /// Name in any case, and value.
    pub headers: Vec<(String, String)>,
    /// Name and value, both decoded.
    pub params: Vec<(String, String)>,
}

/// A path, or all paths below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// This path alone.
    Exact(String),
    /// Whole segments; a trailing slash means nothing.
    Prefix(String),
}

impl Default for Path {
    fn default() -> Self {
        Self::Prefix("/".into())
    }
}

/// A port of a service.
#[derive(Clone, Debug, Default)]
pub struct Backend {
    /// `namespace/name:port`.
    pub name: String,
    /// How endpoints are chosen.
    pub balance: Balance,
    /// Where it can be reached.
    pub endpoints: Vec<SocketAddr>,
}

/// A limit by name.
#[derive(Clone, Debug, Default)]
pub struct Limit {
    /// Unique on the node.
    pub name: String,
    /// Tokens each period.
    pub tokens: u64,
    /// How long that is.
    pub period: Nanos,
    /// The most at once.
    pub burst: u32,
    /// Tokens a request takes.
    pub cost: u32,
    /// What has a bucket of its own; none for one bucket.
    pub keys: Vec<Key>,
}

/// A part of a bucket's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The client's address, of which this many bits count.
    ClientAddress {
        /// 1 to 32.
        v4: u8,
        /// 1 to 128.
        v6: u8,
    },
    /// The value of a header.
    Header(String),
    /// The path.
    Path,
    /// The route's name.
    Route,
}
