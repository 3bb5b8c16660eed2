//! A node of whole shards in one thread: each either works, or dozes until it has a reason to
//! wake. Owns the servers; who runs next is decided elsewhere.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use dataplane::cache_server::{CacheServer, Control, Leftovers, Order, Setup};
use dataplane::mesh::port::{Ends, MeshStats};
use dataplane::proxy::{self, Served};
use dataplane::publish::{Publisher, publication};
use dataplane::runtime::sim::{Net, Rules, SimDriver};
use dataplane::runtime::{Driver, ListenerId, Wait, Waker};
use dataplane::telemetry::PROXY_METRICS;
use shards::budget::Budget;
use shards::command::NodeFacts;
use shards::settings::Settings;
use shards::time::Nanos;

/// Where the proxy's clients connect.
pub const HTTP: ListenerId = ListenerId(1);

/// What a shard will do when it is let.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its turn is done: it will doze.
    Working,
    /// It has parked, and wakes at this time at the latest.
    Dozing(Until),
    /// It has ended.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Now,
    At(Nanos),
    SomethingComes,
}

struct Shard {
    server: CacheServer<SimDriver>,
    state: State,
    control: Arc<Control>,
    waker: Waker,
    mesh: Option<Arc<MeshStats>>,
}

/// See the module's text.
pub struct Node {
    pub net: Rc<RefCell<Net>>,
    shards: Vec<Shard>,
}

fn facts(shards: u16) -> NodeFacts {
    NodeFacts {
        version: "0".into(),
        driver: "sim",
        port: 6379,
        pid: 1,
        run_id: "0".repeat(40),
        started: 1_700_000_000,
        executable: "sim".into(),
        os: "sim".into(),
        shards,
        cluster: Arc::default(),
    }
}

/// A shard's proxy; the first shard accepts.
fn proxy_of(n: usize, served: Publisher<Served>, control: &Control, seed: u64) -> proxy::Setup {
    proxy::Setup {
        listener: Some(HTTP).filter(|_| n == 0),
        served,
        stats: control.proxy_stats.clone(),
        causes: control.causes.clone(),
        log: None,
        descriptors: 2_000,
        seed: seed.rotate_left(n as u32),
    }
}

impl Node {
    /// A node with a proxy when it is told what to serve.
    pub fn new(
        shards: u16,
        parcels: usize,
        settings: Settings,
        rules: Rules,
        seed: u64,
        served: Option<Publisher<Served>>,
    ) -> Self {
        let net = Net::new(usize::from(shards), rules, seed);
        let node: Arc<[Arc<Control>]> = (0..shards).map(|_| Arc::default()).collect();
        let budget = Arc::new(Budget::new(shards));
        let published = publication(settings);
        let mut ends = Ends::between(shards, parcels).into_iter();
        let shard = |(n, control): (usize, &Arc<Control>)| {
            let mesh = ends.next().filter(|_| shards > 1);
            let stats = mesh.as_ref().map(|ends| ends.stats.clone());
            let setup = Setup {
                listener: None,
                cluster: None,
                proxy: served.clone().map(|served| proxy_of(n, served, control, seed)),
                mesh,
                budget: budget.clone(),
                node: node.clone(),
                settings: published.clone(),
                seed,
                facts: facts(shards),
                control: control.clone(),
                spin: Nanos(0),
            };
            let driver = SimDriver::new(net.clone(), n);
            let waker = driver.waker();
            let server = CacheServer::new(driver, setup).expect("a simulated driver starts");
            Shard { server, state: State::Working, control: control.clone(), waker, mesh: stats }
        };
        let shards = node.iter().enumerate().map(shard).collect();
        Self { net, shards }
    }

    pub fn len(&self) -> usize {
        self.shards.len()
    }

    /// Whether a shard has a reason to run: none but work, a bell, an event or a deadline.
    pub fn is_runnable(&self, shard: usize) -> bool {
        match self.shards[shard].state {
            State::Working | State::Dozing(Until::Now) => true,
            State::Dozing(Until::At(at)) => {
                let net = self.net.borrow();
                net.now().mono >= at || net.is_ready(shard)
            }
            State::Dozing(Until::SomethingComes) => self.net.borrow().is_ready(shard),
            State::Ended => false,
        }
    }

    /// Whether it sleeps, so that waking it would be for nothing.
    pub fn is_dozing(&self, shard: usize) -> bool {
        matches!(self.shards[shard].state, State::Dozing(_))
    }

    pub fn has_ended(&self) -> bool {
        self.shards.iter().all(|shard| shard.state == State::Ended)
    }

    /// When the first sleeper wakes by itself.
    pub fn next_deadline(&self) -> Option<Nanos> {
        let deadlines = self.shards.iter().filter_map(|shard| match shard.state {
            State::Dozing(Until::At(at)) => Some(at),
            _ => None,
        });
        deadlines.min()
    }

    /// One step of a shard: it goes to sleep, or wakes and does a turn.
    pub fn step(&mut self, shard: usize) -> &'static str {
        let now = self.net.borrow().now().mono;
        let shard = &mut self.shards[shard];
        match shard.state {
            State::Working => {
                let wait = shard.server.doze().expect("a simulated driver does not fail");
                shard.state = State::Dozing(match wait {
                    None | Some(Wait::Poll) => Until::Now,
                    Some(Wait::AtMost(ns)) => Until::At(now.after(Nanos(ns))),
                    Some(Wait::Forever) => Until::SomethingComes,
                });
                "dozes"
            }
            State::Dozing(_) => {
                let ended = shard.server.wake().expect("a simulated driver does not fail");
                shard.state = if ended { State::Ended } else { State::Working };
                self.net.borrow_mut().heed_fates();
                "has a turn"
            }
            State::Ended => "has ended",
        }
    }

    /// Tells all shards to finish and end.
    pub fn drain(&mut self) {
        for shard in &self.shards {
            shard.control.give(Order::Drain, &shard.waker);
        }
    }

    pub fn leftovers(&self) -> Vec<Leftovers> {
        self.shards.iter().map(|shard| shard.server.leftovers()).collect()
    }

    pub fn memory_used(&self) -> Vec<usize> {
        self.shards.iter().map(|shard| shard.server.memory_used()).collect()
    }

    /// See [`CacheServer::refuse_memory`].
    pub fn refuse_memory(&self, shard: usize, requests: u32) -> u32 {
        self.shards[shard].server.refuse_memory(requests)
    }

    /// Refusals that have not happened yet.
    pub fn refusals_left(&self, shard: usize) -> u32 {
        let left = self.refuse_memory(shard, 0);
        self.refuse_memory(shard, left);
        left
    }

    /// Requests that had to wait for a parcel.
    pub fn waits_for_parcels(&self) -> u64 {
        self.shards
            .iter()
            .filter_map(|shard| shard.mesh.as_ref())
            .map(|mesh| mesh.waits.get())
            .sum()
    }

    /// Clients that there was no room for.
    pub fn refused_clients(&self) -> u64 {
        let stats = self.shards.iter().map(|shard| &shard.control.loop_stats);
        stats.map(|stats| stats.refused_clients.get()).sum()
    }

    /// How often requests of a pipeline went together as one operation, and how many did.
    pub fn request_runs(&self) -> (u64, u64) {
        let stats = || self.shards.iter().map(|shard| &shard.control.loop_stats);
        let requests = stats().map(|stats| stats.run_requests.get()).sum();
        (stats().map(|stats| stats.runs.get()).sum(), requests)
    }

    /// A count of the proxies; with a label only those that have it.
    pub fn proxy_count(&self, name: &str, label: Option<(&str, &str)>) -> u64 {
        let fits = |labelled| label.is_none_or(|label| labelled == Some(label));
        let found = || PROXY_METRICS.iter().filter(|m| m.name == name && fits(m.label));
        assert!(found().count() > 0, "no metric {name} {label:?}");
        let shards = self.shards.iter().map(|shard| &shard.control.proxy_stats);
        shards.flat_map(|stats| found().map(move |metric| (metric.read)(stats))).sum()
    }

    /// How often each cause came up in the proxies.
    pub fn causes(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let all = self.shards.iter().flat_map(|shard| shard.control.causes.all());
        all.map(|(cause, _, count)| (cause, count)).filter(|(_, count)| *count > 0)
    }

    /// Doorbells rung.
    pub fn doorbells(&self) -> u64 {
        let mesh = self.shards.iter().filter_map(|shard| shard.mesh.as_ref());
        mesh.map(|mesh| mesh.doorbells.get()).sum()
    }

    /// Writes refused and keys evicted for want of memory.
    pub fn short_of_memory(&self) -> u64 {
        let stats = self.shards.iter().map(|shard| &shard.control.shard_stats);
        stats.map(|stats| stats.refused_out_of_memory.get() + stats.evicted_keys.get()).sum()
    }
}
