//! The RESP server of one shard: its event loop, from completions to replies.
//!
//! Owns the driver, the shard and the connections, all touched by one thread. A turn:
//!
//! ```text
//! wait -> events -> parse all received -> execute in batches -> one send per connection
//!      -> steps of long work (KEYS, expiry, release of memory) -> timers -> wait
//! ```
//!
//! Never blocks but in the driver's turn, and never lets one client's work hold up the
//! others for longer than a step.

mod across;
mod batch;
mod conn;
mod control;
mod execute;
mod guests;
mod host;
mod input;
mod intake;
mod leftovers;
mod lifecycle;
mod operate;
mod output;
mod parking;
mod placing;
mod pool;
mod receive;
mod route;
mod runs;
mod sleep;
mod spin;
mod tenant;
mod timers;
mod turn;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use shards::budget::Budget;
use shards::command::{CommandSpec, NodeFacts, Shard, lookup};
use shards::ids::ClientId;
use shards::partition::Partition;
use shards::settings::Settings;
use shards::store::BlobSource;
use shards::time::{Nanos, Now};
use shards::wheel::Wheel;

pub use control::{Control, Order};
pub use leftovers::Leftovers;

use crate::mesh::parcel::Service;
use crate::mesh::port::{Ends, Mesh};
use crate::proxy::{self, Proxy};
use crate::publish::{Publisher, Subscriber};
use crate::runtime::{ConnKey, Driver, Event, ListenerId, Socket, Wait};
use crate::telemetry::{LoopStats, Stages};
use across::Across;
use batch::Batch;
use conn::Conn;
use placing::Given;
use pool::Pool;
use spin::Spin;
use timers::Timer;

/// What a server needs to start.
pub struct Setup {
    /// Bound and listening; only the first shard of a node has it.
    pub listener: Option<OwnedFd>,
    /// The same for clients of a cluster, to which this shard is a node.
    pub cluster: Option<OwnedFd>,
    /// The proxy, where this node has one.
    pub proxy: Option<proxy::Setup>,
    /// The ports to the other shards of the node, if there are any.
    pub mesh: Option<Ends>,
    /// What the shards of the node hold.
    pub budget: Arc<Budget>,
    /// The handles of all shards, in their order.
    pub node: Arc<[Arc<Control>]>,
    /// Settings of the node.
    pub settings: Publisher<Settings>,
    /// Seed of hashes and sampling.
    pub seed: u64,
    /// Facts for INFO.
    pub facts: NodeFacts,
    /// The handle shared with the control side.
    pub control: Arc<Control>,
    /// How long to look for work before sleeping; 0 for not at all.
    pub spin: Nanos,
}

/// See the module's text.
pub struct CacheServer<D> {
    driver: D,
    shard: Shard,
    blobs: BlobSource,
    facts: NodeFacts,
    control: Arc<Control>,
    stats: Arc<LoopStats>,
    stages: Stages,
    conns: Vec<Option<Box<Conn>>>,
    clients: usize,
    batch: Batch,
    events: Vec<Event>,
    /// Accepted, and not yet taken over.
    arrivals: VecDeque<(Socket, Service)>,
    /// Where clients of a cluster connect.
    cluster: Option<ListenerId>,
    /// Where those of the proxy do, by the numbers of configurations; none where that is closed.
    http: Vec<Option<ListenerId>>,
    proxy: Option<Box<Proxy>>,
    /// CL.THROTTLE, by which buckets of other shards are asked.
    throttle: Option<&'static CommandSpec>,
    /// Connections with something to send.
    dirty: Vec<ConnKey>,
    /// Connections with unread bytes that may be parsed.
    waiting: Vec<ConnKey>,
    /// Connections with a long operation.
    long: VecDeque<ConnKey>,
    /// Clients to be closed when the batch is done; nothing of them runs any more.
    kills: BTreeSet<ClientId>,
    pool: Pool,
    pending_output: usize,
    paused: usize,
    wheel: Wheel<Timer>,
    sweeping: bool,
    draining: Option<Nanos>,
    /// What a node of several shards needs besides.
    across: Option<Across>,
    node: Arc<[Arc<Control>]>,
    publisher: Publisher<Settings>,
    settings: Subscriber<Settings>,
    /// Connections given to each shard so far.
    handed: Vec<Given>,
    noise: u64,
    complained: Nanos,
    spin: Spin,
    /// How long the work at hand lets it sleep.
    wait: Wait,
    /// How the next turn of the driver is entered; none when what has happened is known.
    nap: Option<Wait>,
    dozed: Nanos,
    now: Now,
    /// Requests executed in this turn.
    requests: u64,
    /// Of them, those whose replies have been handed to the kernel.
    requests_sent: u64,
}

impl<D: Driver> CacheServer<D> {
    /// A server on a driver, on the thread that will run it.
    ///
    /// # Errors
    /// When the driver cannot watch a listener.
    pub fn new(mut driver: D, setup: Setup) -> io::Result<Self> {
        if let Some(listener) = setup.listener {
            driver.listen(Arc::new(listener))?;
        }
        let cluster = setup.cluster.map(|fd| driver.listen(Arc::new(fd))).transpose()?;
        let http = setup.proxy.as_ref().and_then(|setup| setup.listener);
        let proxy = setup.proxy.map(|setup| Box::new(Proxy::new(setup, driver.now())));
        let control = setup.control;
        let settings = setup.settings.subscribe();
        let stats = control.shard_stats.clone();
        let mut shard = Shard::new(settings.get().clone(), setup.seed, stats);
        let now = driver.now();
        let mesh = setup.mesh.map(Mesh::new);
        if let Some(mesh) = &mesh {
            let partition = Partition::new(setup.node.len() as u16);
            shard = shard.in_node(mesh.me(), partition.ok_or(io::ErrorKind::InvalidInput)?);
            shard = shard.within(setup.budget);
            mesh.wake_by(driver.waker());
        }
        let mut server = Self {
            driver,
            blobs: shard.store.blobs(),
            shard,
            facts: setup.facts,
            stats: control.loop_stats.clone(),
            control,
            stages: Stages::default(),
            conns: Vec::new(),
            clients: 0,
            batch: Batch::default(),
            events: Vec::new(),
            arrivals: VecDeque::new(),
            cluster,
            http: http.map(|id| vec![Some(id)]).unwrap_or_default(),
            proxy,
            throttle: lookup(b"cl.throttle"),
            dirty: Vec::new(),
            waiting: Vec::new(),
            long: VecDeque::new(),
            kills: BTreeSet::new(),
            pool: Pool::default(),
            pending_output: 0,
            paused: 0,
            wheel: Wheel::new(now.mono.0),
            sweeping: false,
            draining: None,
            across: mesh.map(|mesh| Across::new(mesh, now)),
            handed: vec![Given::default(); setup.node.len()],
            node: setup.node,
            publisher: setup.settings,
            settings,
            noise: setup.seed | 1,
            complained: Nanos(0),
            spin: Spin::new(setup.spin),
            wait: Wait::Poll,
            nap: None,
            dozed: now.mono,
            now,
            requests: 0,
            requests_sent: 0,
        };
        server.heed_listeners()?;
        Ok(server)
    }
}
