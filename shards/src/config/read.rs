//! Looking at the archive: rows by number, as plain values.
//!
//! Owns the views and no decision. Numbers that come from the same generation are always there;
//! others panic or name something else, never more.

#![forbid(unsafe_code)]

use std::net::{Ipv6Addr, SocketAddr};

use super::archive::{
    ArchivedBackend, ArchivedBalance, ArchivedConfig, ArchivedHost, ArchivedKey, ArchivedLimit,
    ArchivedPlace, ArchivedRange, ArchivedRule, Balance, NONE,
};
use super::{BackendId, EndpointId, LimitId, PortId, RuleId, table};
use crate::time::Nanos;

/// A rule of a route.
#[derive(Clone, Copy)]
pub struct RuleView<'a> {
    config: &'a ArchivedConfig,
    row: &'a ArchivedRule,
}

/// A port of a service.
#[derive(Clone, Copy)]
pub struct BackendView<'a> {
    config: &'a ArchivedConfig,
    row: &'a ArchivedBackend,
}

/// A limit of a policy.
#[derive(Clone, Copy)]
pub struct LimitView<'a> {
    config: &'a ArchivedConfig,
    row: &'a ArchivedLimit,
}

/// How long things may take; `None` where the route does not say, zero for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request's head to the last byte of the answer.
    pub request: Option<Nanos>,
    /// One try at a backend.
    pub backend: Option<Nanos>,
}

/// A part of a bucket's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPart<'a> {
    /// The client's address, of which this many bits count.
    ClientAddress {
        /// 1 to 32.
        v4: u8,
        /// 1 to 128.
        v6: u8,
    },
    /// The value of the header of that name, which is in small letters.
    Header(&'a [u8]),
    /// The path.
    Path,
    /// The name of the route.
    Route,
}

impl ArchivedRange {
    pub(crate) fn of<'a, T>(&self, table: &'a [T]) -> &'a [T] {
        let start = self.start.to_native() as usize;
        &table[start..start + self.len.to_native() as usize]
    }
}

impl ArchivedConfig {
    /// The number of this configuration.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.to_native()
    }

    /// Sockets to listen on, by number; `None` is the node's default HTTP port.
    pub fn ports(&self) -> impl ExactSizeIterator<Item = (PortId, Option<u16>)> + '_ {
        let port = |(n, row): (usize, &super::archive::ArchivedPort)| {
            (PortId(n as u32), Some(row.number.to_native() as u16).filter(|number| *number != 0))
        };
        self.ports.iter().enumerate().map(port)
    }

    /// The socket with that number, or the default one.
    #[must_use]
    pub fn port(&self, number: Option<u16>) -> Option<PortId> {
        self.ports().find(|(_, there)| *there == number).map(|(id, _)| id)
    }

    /// How many rules there are; their numbers are below that.
    #[must_use]
    pub fn rules(&self) -> u32 {
        self.rules.len() as u32
    }

    /// The rule of that number.
    #[must_use]
    pub fn rule(&self, rule: RuleId) -> RuleView<'_> {
        RuleView { config: self, row: &self.rules[rule.0 as usize] }
    }

    /// How many backends there are; their numbers are below that.
    #[must_use]
    pub fn backends(&self) -> u32 {
        self.backends.len() as u32
    }

    /// The backend of that number.
    #[must_use]
    pub fn backend(&self, backend: BackendId) -> BackendView<'_> {
        BackendView { config: self, row: &self.backends[backend.0 as usize] }
    }

    /// How many endpoints there are; their numbers are below that.
    #[must_use]
    pub fn endpoints(&self) -> u32 {
        self.endpoints.len() as u32
    }

    /// The endpoint's address.
    #[must_use]
    pub fn endpoint(&self, endpoint: EndpointId) -> SocketAddr {
        let row = &self.endpoints[endpoint.0 as usize];
        let address = Ipv6Addr::from(row.address).to_canonical();
        SocketAddr::new(address, row.port.to_native())
    }

    /// How many limits there are; their numbers are below that.
    #[must_use]
    pub fn limits(&self) -> u32 {
        self.limits.len() as u32
    }

    /// The limit of that number.
    #[must_use]
    pub fn limit(&self, limit: LimitId) -> LimitView<'_> {
        LimitView { config: self, row: &self.limits[limit.0 as usize] }
    }

    /// The limit of that name.
    #[must_use]
    pub fn limit_named(&self, name: &[u8]) -> Option<LimitId> {
        let is = |row: u32| self.bytes(&self.limits[row as usize].name) == name;
        table::find(&self.limit_table, table::hash_exact(0, name), is).map(LimitId)
    }

    pub(crate) fn bytes(&self, range: &ArchivedRange) -> &[u8] {
        range.of(self.text.as_bytes())
    }

    fn name(&self, range: &ArchivedRange) -> &str {
        let start = range.start.to_native() as usize;
        &self.text[start..start + range.len.to_native() as usize]
    }

    pub(crate) fn host(&self, row: u32) -> Option<&ArchivedHost> {
        self.hosts.get(row as usize)
    }

    pub(crate) fn place(&self, row: u32) -> Option<&ArchivedPlace> {
        self.places.get(row as usize)
    }
}

impl<'a> RuleView<'a> {
    /// The route's `namespace/name`.
    #[must_use]
    pub fn route(self) -> &'a str {
        self.config.name(&self.row.route)
    }

    /// The rule's own name, or its position in the route.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.config.name(&self.row.name)
    }

    /// How long it may take.
    #[must_use]
    pub fn timeouts(self) -> Timeouts {
        let nanos = |ns: &rkyv::option::ArchivedOption<rkyv::rend::u64_le>| {
            ns.as_ref().map(|ns| Nanos(ns.to_native()))
        };
        Timeouts { request: nanos(&self.row.request_ns), backend: nanos(&self.row.backend_ns) }
    }

    /// The limits that it takes from.
    pub fn limits(self) -> impl ExactSizeIterator<Item = LimitId> + 'a {
        self.row.limits.of(&self.config.rule_limits).iter().map(|row| LimitId(row.to_native()))
    }

    /// Backends that may be picked; `None` for a reference that leads nowhere.
    pub fn backends(self) -> impl ExactSizeIterator<Item = Option<BackendId>> + 'a {
        let shares = self.row.shares.of(&self.config.shares).iter();
        shares.map(|share| Some(share.backend.to_native()).filter(|b| *b != NONE).map(BackendId))
    }

    /// The row of the backend whose share a random number falls into, [`NONE`] for a reference
    /// that leads nowhere; nothing when there is no weight at all.
    pub(crate) fn share(self, random: u64) -> Option<u32> {
        let shares = self.row.shares.of(&self.config.shares);
        let total = u64::from(shares.last()?.upto.to_native());
        let at = (u128::from(random) * u128::from(total)) >> 64;
        let n = shares.partition_point(|share| u128::from(share.upto.to_native()) <= at);
        shares.get(n).map(|share| share.backend.to_native())
    }
}

impl<'a> BackendView<'a> {
    /// `namespace/name:port`.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.config.name(&self.row.name)
    }

    /// How its endpoints are chosen.
    #[must_use]
    pub fn balance(self) -> Balance {
        match self.row.balance {
            ArchivedBalance::LeastRequest => Balance::LeastRequest,
            ArchivedBalance::RoundRobin => Balance::RoundRobin,
        }
    }

    /// Where it can be reached, each address once.
    pub fn endpoints(self) -> impl ExactSizeIterator<Item = EndpointId> + Clone + 'a {
        self.row.members.of(&self.config.members).iter().map(|row| EndpointId(row.to_native()))
    }
}

impl<'a> LimitView<'a> {
    /// Unique on the node.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.config.name(&self.row.name)
    }

    /// Tokens each period.
    #[must_use]
    pub fn tokens(self) -> u64 {
        self.row.tokens.to_native()
    }

    /// How long that is.
    #[must_use]
    pub fn period(self) -> Nanos {
        Nanos(self.row.period_ns.to_native())
    }

    /// The most tokens at once.
    #[must_use]
    pub fn burst(self) -> u32 {
        self.row.burst.to_native()
    }

    /// Tokens a request takes.
    #[must_use]
    pub fn cost(self) -> u32 {
        self.row.cost.to_native()
    }

    /// What has a bucket of its own; none for one bucket.
    pub fn keys(self) -> impl ExactSizeIterator<Item = KeyPart<'a>> + 'a {
        let config = self.config;
        self.row.keys.of(&config.keys).iter().map(|key| match key {
            ArchivedKey::ClientAddress { v4, v6 } => KeyPart::ClientAddress { v4: *v4, v6: *v6 },
            ArchivedKey::Header(name) => KeyPart::Header(config.bytes(name)),
            ArchivedKey::Path => KeyPart::Path,
            ArchivedKey::Route => KeyPart::Route,
        })
    }
}
