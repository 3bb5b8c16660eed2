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
mod route;
mod runs;
mod sleep;
mod spin;
mod tenant;
mod timers;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use shards::budget::Budget;
use shards::command::{CommandSpec, NodeFacts, Shard, lookup};
use shards::ids::{ClientId, DbId};
use shards::partition::Partition;
use shards::settings::Settings;
use shards::store::{BlobSource, NextTick};
use shards::time::{Nanos, Now};
use shards::wheel::Wheel;

pub use control::{Control, Order};
pub use leftovers::Leftovers;

use crate::mesh::parcel::Service;
use crate::mesh::port::{Ends, Mesh};
use crate::proxy::{self, Proxy};
use crate::publish::{Publisher, Subscriber};
use crate::runtime::{ConnKey, Driver, Event, ListenerId, Loan, Socket, Wait};
use crate::telemetry::{LoopStats, Stages};
use across::Across;
use batch::{Batch, Fault, Source};
use conn::Conn;
use intake::{Intake, Parsed};
use output::conn_of;
use placing::Given;
use pool::Pool;
use spin::Spin;
use timers::Timer;

/// Entries that expiry visits in one turn: about 10 us.
const TICK_BUDGET: usize = 256;

/// Keys evicted in one turn while more is held than may be: about 100 us.
const EXCESS_BUDGET: usize = 128;

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
    /// Where those of the proxy do, the first of them.
    http: Option<ListenerId>,
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
            driver.listen(listener)?;
        }
        let cluster = setup.cluster.map(|listener| driver.listen(listener)).transpose()?;
        let (mut http, mut proxy) = (None, None);
        if let Some(mut setup) = setup.proxy {
            http = setup.first_listener;
            for listener in std::mem::take(&mut setup.listeners) {
                let id = driver.listen(listener)?;
                http.get_or_insert(id);
            }
            proxy = Some(Box::new(Proxy::new(setup, driver.now())));
        }
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
        Ok(Self {
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
            http,
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
        })
    }

    /// Handles what has happened and says how long may be slept.
    fn turn(&mut self) -> io::Result<Wait> {
        let start = self.now.mono;
        self.pick_up_settings();
        self.begin_proxy_turn();
        (self.requests, self.requests_sent) = (0, 0);
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            self.handle(event)?;
        }
        self.events = events;
        self.take_parcels()?;
        self.accept_some();
        self.turn_proxy();
        for key in std::mem::take(&mut self.waiting) {
            self.parse_unread(key)?;
        }
        let parsed = self.stage_end(start);
        self.run_batch(self.now);
        self.step_long(self.now);
        self.go_on_across();
        let executed = self.stage_end(parsed);
        let excess = self.shard.evict_excess(EXCESS_BUDGET, self.now);
        // Before all leaves: what they close may have something to say to other shards.
        self.fire_timers();
        self.flush();
        self.flush_mesh();
        let tick = self.shard.store.tick(self.now, TICK_BUDGET);
        self.shard.limiter.tick(self.now.mono);
        let end = self.driver.monotonic();
        if self.requests > 0 {
            let spent = [
                parsed.since(start),
                executed.since(parsed),
                end.since(executed),
                end.since(start),
            ];
            self.stages.record(spent, self.requests);
        }
        self.stats.turns.add(1);
        self.stats.busy_ns.add(end.since(start).0);
        self.dozed = end;
        self.report();
        Ok(if excess { Wait::Poll } else { self.next_wait(tick) })
    }

    /// The end of a stage that began then, for turns that have commands; no others are recorded.
    fn stage_end(&self, start: Nanos) -> Nanos {
        let any = self.requests > 0 || !self.batch.queued.is_empty();
        if any { self.driver.monotonic() } else { start }
    }

    /// What other shards have led to goes on.
    fn go_on_across(&mut self) {
        if self.across.is_none() {
            return;
        }
        self.pick_up_settings(); // a command of this turn may have changed them
        self.step_tasks();
        // Each may wake others.
        while let Some(across) = &mut self.across
            && !across.awake.is_empty()
        {
            for key in std::mem::take(&mut across.awake) {
                self.run_behind(key, self.now);
            }
            self.pump();
            self.carry_out_kills();
        }
        self.carry_out_kills();
        self.make_room_for_others();
        self.shard.say_memory();
    }

    /// Looks for new settings; others that sleep are woken for them, since some set timers.
    fn pick_up_settings(&mut self) {
        if self.settings.refresh() {
            self.shard.settings = self.settings.get().clone();
            if let Some(across) = &self.across {
                across.mesh.wake_all();
            }
        }
    }

    fn next_wait(&self, tick: NextTick) -> Wait {
        let busy = tick == NextTick::Soon
            || !self.waiting.is_empty()
            || !self.arrivals.is_empty()
            || !self.long.is_empty()
            || !self.dirty.is_empty()
            || self.across.as_ref().is_some_and(Across::is_busy)
            || self.proxy.as_ref().is_some_and(|proxy| proxy.is_busy());
        if busy {
            return Wait::Poll;
        }
        let mut wait = Wait::Forever;
        if let NextTick::At(at) = tick {
            wait =
                wait.at_most(at.0.saturating_sub(self.now.unix_ms().0).saturating_mul(1_000_000));
        }
        if let Some(next) = self.wheel.next_deadline() {
            wait = wait.at_most(next.saturating_sub(self.now.mono.0));
        }
        if let Some(next) = self.proxy.as_ref().and_then(|proxy| proxy.next_deadline()) {
            wait = wait.at_most(next.since(self.now.mono).0);
        }
        if self.draining.is_some() {
            wait = wait.at_most(10 * Nanos::MILLISECOND.0);
        }
        wait
    }

    fn handle(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Accepted(listener, socket) => {
                self.arrivals.push_back((socket, self.service_of(listener)));
            }
            Event::AcceptFailed(error) => self.accept_failed(&error),
            Event::Received(key, _)
            | Event::Ended(key)
            | Event::Failed(key, _)
            | Event::Deaf(key, _)
                if self.is_proxied(key) =>
            {
                self.proxied(event);
            }
            Event::Sent(key, _) if self.is_proxied(key) => self.proxied(event),
            Event::Connected(_) | Event::Released(..) => self.proxied(event),
            Event::Received(key, loan) => self.received(key, loan)?,
            Event::Ended(key) => {
                // What it sent before is executed first.
                self.run_batch(self.now);
                self.peer_ended(key);
            }
            Event::Failed(key, _) | Event::Deaf(key, _) => self.close(key, conn::Reason::Failed),
            Event::Sent(key, payload) => self.sent(key, payload),
            Event::Woken => {}
        }
        Ok(())
    }

    fn received(&mut self, key: ConnKey, loan: Loan) -> io::Result<()> {
        let bytes = self.driver.bytes(loan).len();
        self.stats.receives.add(1);
        self.stats.received_bytes.add(bytes as u64);
        loop {
            let Some(conn) = conn_of(&mut self.conns, key) else { return Ok(()) };
            if conn.closing.is_some() {
                return Ok(()); // nothing more is executed
            }
            conn.session.last_seen = self.now;
            let bytes = self.driver.bytes(loan);
            let fresh = conn.input.is_empty();
            if conn.input.parser.position() == 0 || !fresh {
                conn.received += bytes.len() as u64;
            }
            // Amid a buffer that filled the batch, what is left of it is kept by `fresh`.
            let amid = conn.input.parser.position() > 0;
            if !fresh || !conn.is_open() && !amid {
                return self.more_unread(key, loan);
            }
            let mut intake = Intake {
                batch: &mut self.batch,
                hasher: self.shard.hasher(),
                store: &self.shard.store,
                blobs: &self.blobs,
                pool: &mut self.pool,
                settings: &self.shard.settings,
            };
            if intake.fresh(conn, bytes, Source::Loan(loan)) == Parsed::All {
                return self.shut_if_asked(key);
            }
            self.run_full_batch()?;
        }
    }

    /// Executes a full batch, and lets replies leave now and then amid a long turn.
    fn run_full_batch(&mut self) -> io::Result<()> {
        self.run_batch(self.now);
        self.let_replies_leave()
    }

    /// Hands replies to the kernel amid a turn, after so many requests.
    fn let_replies_leave(&mut self) -> io::Result<()> {
        if self.requests - self.requests_sent >= batch::BEFORE_SENDING {
            self.requests_sent = self.requests;
            self.flush();
            self.flush_mesh();
            self.driver.submit()?;
        }
        Ok(())
    }

    /// Adds received bytes to those unread and parses on, if that may be.
    fn more_unread(&mut self, key: ConnKey, loan: Loan) -> io::Result<()> {
        let Some(conn) = conn_of(&mut self.conns, key) else { return Ok(()) };
        let mut bytes = self.driver.bytes(loan);
        if let Some(large) = &mut conn.input.large {
            bytes = large.take(bytes);
            if !large.is_whole() {
                return Ok(());
            }
            conn.input.large_done();
        }
        conn.input.keep(&mut self.pool, bytes);
        if conn.is_open() && conn.input.held() > QUERY_LIMIT {
            self.batch.refuse(conn, Fault::TooLong);
            return self.shut_if_asked(key);
        }
        if conn.is_open() {
            return self.parse_unread(key);
        }
        // Blocked: the client has to stop sending once it has used up its credit.
        if conn.input.unread.len() > UNREAD_CREDIT {
            self.pause(key);
        }
        Ok(())
    }

    fn parse_unread(&mut self, key: ConnKey) -> io::Result<()> {
        loop {
            let Some(conn) = conn_of(&mut self.conns, key) else { return Ok(()) };
            conn.waiting = false;
            if conn.closing.is_some() {
                return Ok(());
            }
            let mut intake = Intake {
                batch: &mut self.batch,
                hasher: self.shard.hasher(),
                store: &self.shard.store,
                blobs: &self.blobs,
                pool: &mut self.pool,
                settings: &self.shard.settings,
            };
            let parsed = intake.unread(conn);
            // With the gate open, the rest is an unfinished request: its other bytes must be
            // able to come, or, when the peer has ended, never will.
            let unfinished = conn.is_open() && (conn.paused || conn.ended);
            if parsed == Parsed::All {
                if unfinished {
                    self.run_batch(self.now);
                    self.resume_receiving(key);
                    self.end_if_done(key);
                }
                return self.shut_if_asked(key);
            }
            self.run_full_batch()?;
        }
    }

    fn resume_receiving(&mut self, key: ConnKey) {
        let Some(conn) = conn_of(&mut self.conns, key) else { return };
        if conn.paused && conn.is_open() && !conn.waiting {
            conn.paused = false;
            self.paused -= 1;
            if !conn.ended {
                self.driver.resume(key);
            }
        }
    }

    /// A connection that parsing has condemned goes after its earlier requests are done.
    fn shut_if_asked(&mut self, key: ConnKey) -> io::Result<()> {
        let Some(conn) = conn_of(&mut self.conns, key) else { return Ok(()) };
        let Some(reason) = conn.closing.take() else { return Ok(()) };
        self.run_batch(self.now);
        if let Some(conn) = conn_of(&mut self.conns, key) {
            conn.closing = Some(reason);
            if !conn.dirty {
                conn.dirty = true;
                self.dirty.push(key);
            }
        }
        if reason == conn::Reason::Http {
            self.flush();
            self.close(key, reason);
        }
        Ok(())
    }

    /// Brings the gauges up to date and answers who asks for histograms.
    fn report(&mut self) {
        let stats = &self.stats;
        stats.connections.set(self.clients as u64);
        stats.paused_connections.set(self.paused as u64);
        stats.pooled_buffers.set(self.pool.len() as u64);
        stats.starved_receives.set(self.driver.starved());
        stats.pending_output_bytes.set(self.pending_output as u64);
        let parked = self.across.as_ref().map_or(0, |across| across.parking.len());
        stats.parked_commands.set(parked as u64);
        let stages = &self.stages;
        let (store, counts) = (&self.shard.store, &self.shard.stats);
        let limiter = &self.shard.limiter;
        let proxy = self.proxy.as_deref();
        self.control.stages.answer(|form| {
            form.add(stages);
            if let Some(proxy) = proxy {
                form.add_latency(proxy.latency());
            }
            stats.cpu_ns.set(self.driver.cpu_time().0);
            let all = (0..store.databases()).map(DbId);
            counts.keys.set(all.clone().map(|db| store.len(db) as u64).sum());
            counts.expiring_keys.set(all.map(|db| store.expires(db) as u64).sum());
            counts.memory_used_bytes.set(store.memory_used() as u64);
            limiter.report();
        });
    }
}

/// Bytes that a client may have unread while it is blocked.
const UNREAD_CREDIT: usize = 64 << 10;
/// Bytes of one request under way, and of what lies behind it (`client-query-buffer-limit`).
const QUERY_LIMIT: usize = 1 << 30;
