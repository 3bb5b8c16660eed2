//! What is served: one generation of the configuration with all that shards need beside it.
//!
//! Owns the numbers of endpoints, which stay the same from generation to generation so that
//! connections and health outlive a change of the configuration. Made off the shards.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use shards::balance::{Candidates, Health};
use shards::config::{BackendView, EndpointId, LimitId, PortId, Snapshot};
use shards::limit::{Policies, Rate, Tokens};
use shards::time::Nanos;

use super::borrow::Idle;
use super::peers::{Target, Written};
use super::pool::Pool;
use super::said::{self, Window};

/// The place of what is in no list.
const NOWHERE: u32 = u32::MAX;

/// An endpoint of this generation.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    pub(super) text: Written,
    /// Its number on this node.
    pub(super) slot: u32,
    pub(super) shared: Arc<Shared>,
}

/// What all shards and generations know of an endpoint.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) health: Health,
    /// Idle connections to it, of each shard; none where there is one shard.
    pub(super) idle: Box<[Idle]>,
}

/// See the module's text.
#[derive(Debug)]
pub struct Served {
    pub(super) config: Snapshot,
    /// What each of the node's listeners is in it; none for one that has no routes.
    pub(super) ports: Vec<Option<PortId>>,
    sockets: Vec<Option<Arc<OwnedFd>>>,
    pub(super) endpoints: Vec<Endpoint>,
    /// Where they are in that list, by their numbers on this node, which are dense.
    places: Box<[u32]>,
    /// Of each limit.
    pub(super) rates: Vec<Rate>,
    /// What answers say of each as far as it is always the same.
    pub(super) constant_fields: Vec<Box<[u8]>>,
    /// The same by name, for whoever names a bucket.
    pub(super) policies: Arc<Policies>,
}

impl Served {
    /// Gives it the sockets of the node's listeners, bound and listening, in the order of their
    /// numbers, and none for those that have been closed. The first shard accepts on them from
    /// this generation on.
    #[must_use]
    pub fn listening(mut self, sockets: Vec<Option<Arc<OwnedFd>>>) -> Self {
        self.sockets = sockets;
        self
    }

    /// Whether a listener is still there.
    pub(super) fn is_open(&self, listener: u16) -> bool {
        self.sockets.get(usize::from(listener)).is_none_or(Option::is_some)
    }

    /// See [`Self::listening`].
    pub(crate) fn sockets(&self) -> &[Option<Arc<OwnedFd>>] {
        &self.sockets
    }

    /// Whether a number on this node is that of an endpoint of this generation.
    pub(super) fn has(&self, slot: u32) -> bool {
        self.places.get(slot as usize).is_some_and(|place| *place != NOWHERE)
    }

    /// The endpoint of a request that may have come under another generation, if it is still
    /// one; its number may be another endpoint's by now.
    #[inline]
    pub(super) fn find(&self, target: &Target) -> Option<&Endpoint> {
        let place = match self.config.generation() == target.generation {
            true => target.index as usize,
            false => *self.places.get(target.slot as usize)? as usize,
        };
        self.endpoints.get(place).filter(|one| one.address == target.address)
    }
}

/// Who knows all endpoints that are in use; the control side has one.
///
/// The number of an endpoint that has gone serves again once no generation and no shard holds
/// what is shared of it: a shard does while it has connections to it.
#[derive(Debug, Default)]
pub struct Endpoints {
    known: HashMap<SocketAddr, Known>,
    free: Vec<u32>,
    shards: usize,
}

/// What stays of an endpoint from generation to generation.
#[derive(Debug)]
struct Known {
    slot: u32,
    shared: Arc<Shared>,
}

impl Endpoints {
    /// None yet, for a node of so many shards.
    pub fn new(shards: usize) -> Self {
        Self { known: HashMap::new(), free: Vec::new(), shards }
    }

    /// Endpoints that are in use, and those whose last connections have just gone.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What nobody holds any more is forgotten.
    fn forget_unused(&mut self) {
        let (known, free) = (&mut self.known, &mut self.free);
        known.retain(|_, one| {
            let used = Arc::strong_count(&one.shared) > 1;
            if !used {
                free.push(one.slot);
            }
            used
        });
        known.shrink_to(2 * known.len());
    }

    fn know(&mut self, address: SocketAddr) -> (u32, Arc<Shared>) {
        let (count, shards, free) =
            (self.known.len() + self.free.len(), self.shards, &mut self.free);
        let known = self.known.entry(address).or_insert_with(|| Known {
            slot: free.pop().unwrap_or(count as u32),
            shared: Arc::new(Shared {
                health: Health::default(),
                idle: (0..shards).map(|_| Idle::default()).collect(),
            }),
        });
        (known.slot, known.shared.clone())
    }

    /// A generation to serve. `listeners` are the node's, in the order of their numbers, by their
    /// port in the configuration; none is the default one.
    ///
    /// # Errors
    /// When a limit is none, in words; compiling a configuration checks that before.
    pub fn serve(&mut self, config: Snapshot, listeners: &[Option<u16>]) -> Result<Served, String> {
        let limits = (0..config.limits()).map(|n| config.limit(LimitId(n)));
        let mut rates = Vec::new();
        let (mut named, mut constant_fields) = (Vec::new(), Vec::new());
        for limit in limits {
            constant_fields.push(said::constant_fields(limit.name(), limit.window()));
            let rate = Rate::new(limit.tokens(), limit.period(), Tokens(limit.burst()))
                .map_err(|why| format!("limit {}: {}", limit.name(), why.text()))?;
            rates.push(rate);
            named.push((limit.name().as_bytes().into(), rate));
        }
        let policies = Policies::new(named).map_err(|why| format!("limits: {why:?}"))?;
        let ports = listeners.iter().map(|number| config.port(*number)).collect();
        self.forget_unused();
        let endpoints: Vec<Endpoint> = (0..config.endpoints())
            .map(|n| {
                let address = config.endpoint(EndpointId(n));
                let (slot, shared) = self.know(address);
                Endpoint { address, text: Written::of(address), slot, shared }
            })
            .collect();
        let slots = endpoints.iter().map(|endpoint| endpoint.slot as usize + 1).max();
        let mut places = vec![NOWHERE; slots.unwrap_or(0)].into_boxed_slice();
        for (endpoint, n) in endpoints.iter().zip(0..) {
            places[endpoint.slot as usize] = n;
        }
        let policies = Arc::new(policies);
        let sockets = Vec::new();
        Ok(Served { config, ports, sockets, endpoints, places, rates, constant_fields, policies })
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
        self.at(n).is_none_or(|endpoint| endpoint.shared.health.is_out(self.now))
    }

    fn load(&self, n: usize) -> u32 {
        self.at(n).map_or(0, |endpoint| self.pool.load(endpoint.slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn know(endpoints: &mut Endpoints, port: u16) -> (u32, Arc<Shared>) {
        endpoints.know(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// A number means one address for as long as anybody holds on to it.
    #[test]
    fn numbers_serve_again_once_nobody_holds_them() {
        let mut endpoints = Endpoints::new(2);
        let held = know(&mut endpoints, 1);
        let (second, third) = (know(&mut endpoints, 2).0, know(&mut endpoints, 3).0);
        endpoints.forget_unused();
        assert_eq!(endpoints.len(), 1);
        assert_eq!(know(&mut endpoints, 1).0, held.0, "known all the time");
        let mut anew = [know(&mut endpoints, 4).0, know(&mut endpoints, 5).0];
        anew.sort_unstable();
        let mut freed = [second, third];
        freed.sort_unstable();
        assert_eq!(anew, freed);
        assert_eq!(know(&mut endpoints, 6).0, 3, "none is free");
    }

    #[test]
    fn a_thousand_generations_take_no_more_than_two() {
        let mut endpoints = Endpoints::new(2);
        let mut before = Vec::new();
        for n in 0..1_000_u16 {
            endpoints.forget_unused();
            before = (0..20).map(|m| know(&mut endpoints, 20 * (n % 3_000) + m + 1)).collect();
        }
        assert!(endpoints.len() <= 40 && before.iter().all(|(slot, _)| *slot < 40));
    }
}
