//! The HTTP/1.1 proxy of one shard: clients on one side, servers on the other.
//!
//! Owns both kinds of connections, the idle ones to servers, and what an exchange between two of
//! them has come to. Lives in the shard's loop, which hands it events and the driver. Decides
//! nothing by itself about routes (`shards::route`), endpoints (`shards::balance`) and grammar
//! (`http1`). A turn:
//!
//! ```text
//! what servers do, as it comes -> clients' bytes -> pipelined requests -> timers -> one send each
//! ```
//!
//! Servers come first, so that a connection whose server has closed it is not given a request.
//! Every message is written anew. Allocates nothing for a request over connections that are
//! warm. Waits for nothing.

#![forbid(unsafe_code)]

mod access;
mod answers;
mod attach;
mod begin;
mod borrow;
mod buffers;
mod cause;
mod clients;
mod date;
mod finish;
mod id;
mod limits;
mod lines;
mod output;
mod peers;
mod pending;
mod pool;
mod pump;
mod said;
mod served;
mod servers;
mod table;
mod timers;
mod tunnel;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use shards::ids::ShardId;
use shards::limit::Limiter;
use shards::partition::Partition;
use shards::store::Hasher;
use shards::time::{Nanos, Now};
use shards::wheel::Wheel;

pub use borrow::Lending;
pub use cause::{Cause, CauseCounts};
pub use lines::{Desk, Pen, Writer, access_log};
pub use served::{Endpoints, Served};

use crate::http1::{Fields, Limits};
use crate::publish::{Publisher, Subscriber};
use crate::runtime::{ConnKey, Driver, Event, ListenerId, Loan, Socket};
use crate::telemetry::{Latency, ProxyStats};
use access::AccessLog;
use borrow::Loans;
use buffers::Buffers;
use date::Date;
use id::Random;
pub use limits::Question;
use limits::Questions;
use peers::{Client, Exchange, Stage, Upstream};
use pool::Pool;
use table::Table;

/// Bytes that one side of an exchange may have sent and the other not taken: beyond it the
/// sender's connection stops receiving, and goes on at half of it.
const CREDIT: usize = 256 << 10;
/// The same while all connections of a shard together have more in flight than [`PLENTY`].
const SMALL_CREDIT: usize = 32 << 10;
/// Bytes of all connections of a shard that are on their way to who takes them slowly: beyond
/// them each gets less.
const PLENTY: usize = 64 << 20;

/// Bytes of buffers after whose end memory is given back to the system.
const BURST: usize = 16 << 20;
/// A burst's buffers are let go when it has ebbed to an eighth, an eighth of that, and so on to
/// [`LOW`]: each time some are still in use, and come back later.
const EBB: usize = 8;
const LOW: usize = 32 << 10;
const _: () = assert!(BURST / EBB / EBB / EBB == LOW, "2 MiB, 256 and 32 KiB, as the metric says");
/// How long a client that has been answered may take for its next request while the node ends.
const LAST_CALL: Nanos = Nanos(100 * Nanos::MILLISECOND.0);
/// Connections to endpoints that have gone that are closed in a turn: each takes about 10 us.
const CLOSED_PER_TURN: usize = 16;
/// Clients that the proxies of a node take.
const MOST_CLIENTS: u64 = 100_000;

/// What the proxy may use of its shard during a turn.
pub struct Hands<'a, D> {
    /// The event loop's bottom.
    pub driver: &'a mut D,
    /// The buckets that are at home here.
    pub limiter: &'a mut Limiter,
    /// How names of buckets are hashed.
    pub hasher: Hasher,
    /// Where they are at home.
    pub partition: Partition,
    /// Which shard this is.
    pub me: ShardId,
}

/// What a proxy needs to start.
pub struct Setup {
    /// The first listener, where the driver has it from the start (simulated).
    pub listener: Option<ListenerId>,
    /// The configuration.
    pub served: Publisher<Served>,
    /// Where it counts.
    pub stats: Arc<ProxyStats>,
    /// Where it counts answers of its own.
    pub causes: Arc<CauseCounts>,
    /// Who writes the access log, if there is one.
    pub log: Option<Pen>,
    /// Descriptors of the node for connections of all kinds.
    pub descriptors: u64,
    /// Seed of request ids and of choices.
    pub seed: u64,
}

/// See the module's text.
pub struct Proxy {
    clients: Table<Client>,
    upstreams: Table<Upstream>,
    pool: Pool,
    buffers: Buffers,
    /// Bytes and ends of clients, which wait until all has been seen that servers have done.
    arrivals: Vec<(ConnKey, Option<Loan>)>,
    /// Connections with something to send.
    dirty: Vec<ConnKey>,
    /// Clients whose input is to be looked at again.
    waiting: Vec<ConnKey>,
    latency: Latency,
    /// Endpoints, by their numbers on this node, that no route knows any more.
    leaving: Vec<u32>,
    wheel: Wheel<ConnKey>,
    due: Vec<ConnKey>,
    fields: Fields,
    limits: Limits,
    served: Subscriber<Served>,
    /// Choices of each backend so far, for those that take turns.
    turns: Vec<u64>,
    random: Random,
    date: Date,
    /// The path that a request is routed by, where it is not as received.
    path: Vec<u8>,
    scratch: Vec<u8>,
    /// Exchanges that are over; they serve again.
    #[expect(clippy::vec_box, reason = "an exchange stays in the box that a client has it in")]
    spare: Vec<Box<Exchange>>,
    stats: Arc<ProxyStats>,
    causes: Arc<CauseCounts>,
    log: AccessLog,
    now: Now,
    draining: bool,
    descriptors: u64,
    /// Clients that have gone in this turn.
    gone: u64,
    /// Bytes of all outputs that have not left, and below how many a burst has ebbed away further;
    /// 0 without one.
    pending: usize,
    ebb: usize,
    questions: Questions,
    loans: Loans,
    /// Whether there is a configuration that has not been looked at.
    new: bool,
}

impl Proxy {
    /// A proxy without connections, on the shard's thread.
    pub fn new(setup: Setup, now: Now) -> Self {
        let limits = Limits::default();
        Self {
            clients: Table::default(),
            upstreams: Table::default(),
            pool: Pool::default(),
            buffers: Buffers::default(),
            arrivals: Vec::new(),
            dirty: Vec::new(),
            waiting: Vec::new(),
            wheel: Wheel::new(now.mono.0),
            latency: Latency::default(),
            leaving: Vec::new(),
            due: Vec::new(),
            fields: Fields::new(&limits),
            limits,
            served: setup.served.subscribe(),
            turns: Vec::new(),
            random: Random::new(setup.seed),
            date: Date::default(),
            path: Vec::new(),
            scratch: Vec::new(),
            spare: Vec::new(),
            stats: setup.stats,
            causes: setup.causes,
            log: AccessLog::new(setup.log),
            now,
            draining: false,
            descriptors: setup.descriptors,
            gone: 0,
            pending: 0,
            ebb: 0,
            questions: Questions::default(),
            loans: Loans::default(),
            new: true,
        }
    }

    /// Clients that the node takes while so many others have a descriptor each. Some are left
    /// for servers; when there are too few, connections that nobody uses are closed.
    pub fn most_clients(&self, others: u64) -> u64 {
        (self.descriptors - self.descriptors / 16).saturating_sub(others).min(MOST_CLIENTS)
    }

    /// Descriptors of the node for connections of all kinds.
    pub fn descriptors(&self) -> u64 {
        self.descriptors
    }

    /// A turn begins; whether with another configuration than the last one.
    pub fn begin_turn(&mut self, limiter: &mut Limiter, now: Now) -> bool {
        self.now = now;
        if self.served.refresh() || self.new {
            self.new = true;
            self.turns.clear();
            limiter.set_policies(self.served.get().policies.clone());
        }
        self.new
    }

    /// The sockets that it is reached by in this configuration, by number.
    pub fn sockets(&self) -> &[Option<Arc<OwnedFd>>] {
        self.served.get().sockets()
    }

    /// Handles an event of a connection that is one of the proxy's, if it still is one.
    #[inline]
    pub fn event<D: Driver>(&mut self, hands: &mut Hands<'_, D>, event: Event) {
        match event {
            Event::Received(key, loan) if self.clients.has(key) => {
                self.arrivals.push((key, Some(loan)));
            }
            Event::Ended(key) if self.clients.has(key) => self.arrivals.push((key, None)),
            Event::Received(key, loan) => self.server_received(hands, key, loan),
            Event::Ended(key) => self.server_ended(hands, key, Cause::UpstreamClosed),
            Event::Connected(key) => self.server_connected(key),
            Event::Released(key, socket) => self.released(key, socket),
            Event::Failed(key, _) | Event::Deaf(key, _) if self.clients.has(key) => {
                self.close_client(hands, key);
            }
            Event::Failed(key, _) => self.server_failed(hands, key),
            Event::Deaf(key, error) => self.server_deaf(hands, key, &error),
            Event::Sent(key, payload) if self.clients.has(key) => {
                self.sent_to_client(hands, key, payload);
            }
            Event::Sent(key, payload) => self.sent_to_server(hands, key, payload),
            Event::Accepted(..) | Event::AcceptFailed(_) | Event::Woken => {}
        }
    }

    /// Handles what is left to do, and says how many clients have gone in this turn.
    pub fn turn<D: Driver>(&mut self, hands: &mut Hands<'_, D>) -> u64 {
        if std::mem::take(&mut self.new) {
            let served = self.served.get();
            self.leaving = self.pool.others(|slot| served.has(slot));
        }
        self.leave_some(hands);
        self.hear_limits(hands);
        let mut arrivals = std::mem::take(&mut self.arrivals);
        for (key, loan) in arrivals.drain(..) {
            match loan {
                Some(loan) => self.client_received(hands, key, loan),
                None => self.client_ended(hands, key),
            }
        }
        self.arrivals = arrivals;
        self.look_again(hands);
        self.fire_timers(hands);
        self.flush(hands);
        self.stats.lost_lines.add(self.log.pass_on(self.now.mono));
        self.stats.failed_lines.set(self.log.failed());
        self.note_bursts();
        std::mem::take(&mut self.gone)
    }

    /// Counts how bursts ebb, and lets their buffers go.
    fn note_bursts(&mut self) {
        self.stats.pending.set(self.pending as u64);
        if self.pending > BURST {
            self.ebb = BURST / EBB;
        }
        if self.buffers.take_dropped(BURST) {
            self.stats.bursts.add(1);
        }
        if self.pending < self.ebb {
            self.ebb = if self.ebb > LOW { self.ebb / EBB } else { 0 };
            self.buffers.let_go();
            self.stats.bursts.add(1);
        }
    }

    /// Connections to servers that no route knows any more are closed, some in a turn.
    fn leave_some<D: Driver>(&mut self, hands: &mut Hands<'_, D>) {
        for _ in 0..CLOSED_PER_TURN {
            let Some(slot) = self.leaving.last() else { return };
            match self.pool.oldest(*slot) {
                Some(key) => self.close_idle(hands, key),
                None => {
                    self.pool.let_go(*slot);
                    self.leaving.pop();
                }
            }
        }
    }

    /// See [`CREDIT`].
    #[inline]
    fn credit(&self) -> usize {
        if self.pending > PLENTY { SMALL_CREDIT } else { CREDIT }
    }

    /// Whether there is work that waits for nobody.
    pub fn is_busy(&self) -> bool {
        !self.dirty.is_empty() || !self.waiting.is_empty() || !self.leaving.is_empty()
    }

    /// How long requests have taken.
    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    /// When it has to be looked at again at the latest.
    pub fn next_deadline(&self) -> Option<Nanos> {
        let timer = self.wheel.next_deadline().map(Nanos);
        timer.into_iter().chain(self.log.due()).min()
    }

    /// Takes a client over; `false` when it is gone already.
    pub fn adopt<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        socket: Socket,
        listener: u16,
        now: Now,
    ) -> bool {
        self.now = now;
        self.stats.accepted.add(1);
        let (peer, _) = socket.addresses();
        let opened = peer.and_then(|peer| Some((peer, hands.driver.open(socket).ok()?)));
        let Some((peer, key)) = opened else {
            self.stats.departed.add(1);
            return false;
        };
        let mut client = Box::new(Client::new(key, listener, peer.ip().to_canonical()));
        self.rest(&mut client);
        self.clients.put(client);
        self.stats.connections.set(self.stats.connections.get() + 1);
        true
    }

    /// Tells a client that it is not served.
    pub fn refuse(&self, socket: Socket, cause: Cause) {
        self.causes.add(cause);
        socket.refuse(answers::at_the_door(cause));
    }

    /// Lets go of all clients with nothing under way, and of others after their answer, which
    /// tells them so: those that have just had one are likely to ask for another. Says how many
    /// have gone.
    pub fn drain<D: Driver>(&mut self, hands: &mut Hands<'_, D>) -> u64 {
        self.draining = true;
        let now = self.now.mono;
        let idle = |client: &&Client| {
            let quiet = client.input.is_empty() && client.out.pending() == 0;
            client.stage == Stage::Head && quiet && client.rests_since().after(LAST_CALL) <= now
        };
        let keys: Vec<ConnKey> = self.clients.iter().filter(idle).map(|c| c.key).collect();
        for key in keys {
            if hands.driver.unreceived(key) == 0 {
                self.close_client(hands, key);
            }
        }
        std::mem::take(&mut self.gone)
    }
}
