//! What is served: one generation of the configuration with all that shards need beside it.
//!
//! Owns the numbers of endpoints, which stay the same from generation to generation so that
//! connections and health outlive a change of the configuration. Made off the shards.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use shards::balance::{Candidates, Health};
use shards::config::{BackendView, EndpointId, LimitId, PortId, Snapshot};
use shards::limit::{Policies, Rate, Tokens};
use shards::time::Nanos;

use super::borrow::Idle;
use super::peers::Written;
use super::pool::Pool;

/// An endpoint of this generation.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    pub(super) text: Written,
    /// Its number on this node.
    pub(super) slot: u32,
    pub(super) health: Arc<Health>,
    /// Idle connections to it, of each shard; none where there is one shard.
    pub(super) idle: Arc<[Idle]>,
}

/// See the module's text.
#[derive(Debug)]
pub struct Served {
    pub(super) config: Snapshot,
    /// What each of the node's listeners is in it; none for one that has no routes.
    pub(super) ports: Vec<Option<PortId>>,
    pub(super) endpoints: Vec<Endpoint>,
    /// Their numbers on this node.
    slots: HashSet<u32>,
    /// Of each limit.
    pub(super) rates: Vec<Rate>,
    /// The same by name, for whoever names a bucket.
    pub(super) policies: Arc<Policies>,
}

impl Served {
    /// Whether an endpoint, by its number on this node, is one of this generation.
    pub(super) fn has(&self, slot: u32) -> bool {
        self.slots.contains(&slot)
    }
}

/// Who knows all endpoints that there have been; the control side has one.
#[derive(Debug, Default)]
pub struct Endpoints {
    known: HashMap<SocketAddr, Known>,
    shards: usize,
}

/// What stays of an endpoint from generation to generation.
#[derive(Debug)]
struct Known {
    slot: u32,
    health: Arc<Health>,
    idle: Arc<[Idle]>,
}

impl Endpoints {
    /// None yet, for a node of so many shards.
    pub fn new(shards: usize) -> Self {
        Self { known: HashMap::new(), shards }
    }

    /// A generation to serve. `listeners` are the node's, by their port in the configuration;
    /// the first is the default one.
    ///
    /// # Errors
    /// When a limit is none, in words; compiling a configuration checks that before.
    pub fn serve(&mut self, config: Snapshot, listeners: &[Option<u16>]) -> Result<Served, String> {
        let limits = (0..config.limits()).map(|n| config.limit(LimitId(n)));
        let mut rates = Vec::new();
        let mut named = Vec::new();
        for limit in limits {
            let rate = Rate::new(limit.tokens(), limit.period(), Tokens(limit.burst()))
                .map_err(|why| format!("limit {}: {}", limit.name(), why.text()))?;
            rates.push(rate);
            named.push((limit.name().as_bytes().into(), rate));
        }
        let policies = Policies::new(named).map_err(|why| format!("limits: {why:?}"))?;
        let ports = listeners.iter().map(|number| config.port(*number)).collect();
        let endpoints: Vec<Endpoint> = (0..config.endpoints())
            .map(|n| {
                let address = config.endpoint(EndpointId(n));
                let (slot, shards) = (self.known.len() as u32, self.shards);
                let known = self.known.entry(address).or_insert_with(|| Known {
                    slot,
                    health: Arc::default(),
                    idle: (0..shards).map(|_| Idle::default()).collect(),
                });
                let text = Written::of(address);
                let (health, idle) = (known.health.clone(), known.idle.clone());
                Endpoint { address, text, slot: known.slot, health, idle }
            })
            .collect();
        let slots = endpoints.iter().map(|endpoint| endpoint.slot).collect();
        let policies = Arc::new(policies);
        Ok(Served { config, ports, endpoints, slots, rates, policies })
    }
}

/// The endpoints of a backend as the balancer sees them.
pub(super) struct Members<'a> {
    pub(super) backend: BackendView<'a>,
    pub(super) served: &'a Served,
    pub(super) pool: &'a Pool,
    pub(super) now: Nanos,
}

impl<'a> Members<'a> {
    pub(super) fn at(&self, n: usize) -> Option<&'a Endpoint> {
        let endpoint = self.backend.endpoints().nth(n)?;
        self.served.endpoints.get(endpoint.0 as usize)
    }
}

impl Candidates for Members<'_> {
    fn len(&self) -> usize {
        self.backend.endpoints().len()
    }

    fn is_out(&self, n: usize) -> bool {
        self.at(n).is_none_or(|endpoint| endpoint.health.is_out(self.now))
    }

    fn load(&self, n: usize) -> u32 {
        self.at(n).map_or(0, |endpoint| self.pool.load(endpoint.slot))
    }
}
