//! The tables of the archive, as they lie in memory.
//!
//! Owns the types and no behaviour. Every number that names a row of another table has been
//! looked at once (`check`) before anybody follows it; [`NONE`] names no row.

#![forbid(unsafe_code)]

use rkyv::{Archive, Serialize};

/// Names no row.
pub(crate) const NONE: u32 = u32::MAX;

/// Rows `start..start + len` of a table, or that piece of the text.
#[derive(Archive, Serialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Range {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

/// The root. Public for the sake of its archived form, which is what others see.
#[derive(Archive, Serialize, Clone, Debug, Default)]
#[expect(unreachable_pub, reason = "the archived form takes its visibility")]
pub struct Config {
    pub(crate) generation: u64,
    pub(crate) text: String,
    pub(crate) ports: Vec<Port>,
    pub(crate) listeners: Vec<Listener>,
    /// Lengths of wildcard patterns, of each listener in descending order.
    pub(crate) lengths: Vec<u32>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) host_table: Vec<Slot>,
    pub(crate) places: Vec<Place>,
    pub(crate) place_table: Vec<Slot>,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) shares: Vec<Share>,
    pub(crate) rule_limits: Vec<u32>,
    pub(crate) backends: Vec<Backend>,
    pub(crate) members: Vec<u32>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) limit_table: Vec<Slot>,
    pub(crate) keys: Vec<Key>,
}

/// A place in a hash table: the upper half of the hash, and the row or [`NONE`].
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) tag: u32,
    pub(crate) row: u32,
}

/// A socket, with its listeners from the most specific hostname to the least.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub(crate) struct Port {
    /// 0 is the node's default HTTP port.
    pub(crate) number: u32,
    pub(crate) listeners: Range,
}

/// What names a pattern stands for.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[rkyv(compare(PartialEq), derive(Clone, Copy, Debug))]
#[repr(u8)]
pub(crate) enum HostKind {
    Any,
    /// The text is what comes after `*.`.
    Wildcard,
    Exact,
}

#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub(crate) struct Listener {
    pub(crate) name: Range,
    pub(crate) hostname: Range,
    pub(crate) kind: HostKind,
    /// The host for all other names, or [`NONE`].
    pub(crate) any: u32,
    pub(crate) wildcard_lengths: Range,
}

/// A pattern of names at one listener.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub(crate) struct Host {
    pub(crate) listener: u32,
    pub(crate) pattern: Range,
    pub(crate) kind: HostKind,
    /// Whether any place of it is an exact path.
    pub(crate) has_exact: bool,
    /// Bit `n`: there is a prefix of `n` segments.
    pub(crate) depths: u32,
    /// The place of the prefix `/`, or [`NONE`].
    pub(crate) root: u32,
    /// The next less specific pattern that the same names have, an earlier row, or [`NONE`].
    pub(crate) parent: u32,
}

#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[rkyv(compare(PartialEq), derive(Clone, Copy, Debug))]
#[repr(u8)]
pub(crate) enum PathKind {
    /// Without a trailing slash, so that `/` is empty.
    Prefix,
    Exact,
}

/// A path of one host.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) host: u32,
    pub(crate) path: Range,
    pub(crate) kind: PathKind,
    /// The next shorter prefix of the same host, an earlier row, or [`NONE`].
    pub(crate) parent: u32,
    /// From the most demanding to the least.
    pub(crate) candidates: Range,
}

/// What a match asks for beside host and path.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// Empty for any.
    pub(crate) method: Range,
    pub(crate) headers: Range,
    pub(crate) params: Range,
    pub(crate) rule: u32,
}

/// A name that must have a value.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub(crate) struct Condition {
    pub(crate) name: Range,
    pub(crate) value: Range,
}

#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// The route's `namespace/name`.
    pub(crate) route: Range,
    /// The rule's own name, or its number in the route.
    pub(crate) name: Range,
    pub(crate) request_ns: Option<u64>,
    pub(crate) backend_ns: Option<u64>,
    pub(crate) shares: Range,
    pub(crate) limits: Range,
}

/// A weighted backend. Those of weight 0 are not in the table.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub(crate) struct Share {
    /// The sum of the weights up to here and with it; the last of a rule is their total.
    pub(crate) upto: u32,
    /// [`NONE`] where the reference leads nowhere.
    pub(crate) backend: u32,
}

/// How a backend's endpoints are chosen.
#[derive(Archive, Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[rkyv(derive(Clone, Copy, Debug))]
#[repr(u8)]
pub enum Balance {
    /// The less busy one of two drawn at random.
    #[default]
    LeastRequest,
    /// One after the other.
    RoundRobin,
}

#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub(crate) struct Backend {
    /// `namespace/name:port`.
    pub(crate) name: Range,
    pub(crate) balance: Balance,
    pub(crate) members: Range,
}

/// IPv4 as an IPv6-mapped address.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: [u8; 16],
    pub(crate) port: u16,
}

#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) name: Range,
    pub(crate) tokens: u64,
    pub(crate) period_ns: u64,
    pub(crate) burst: u32,
    pub(crate) cost: u32,
    pub(crate) keys: Range,
}

#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub(crate) enum Key {
    /// Bits of an address that count.
    ClientAddress {
        v4: u8,
        v6: u8,
    },
    Header(Range),
    Path,
    Route,
}
