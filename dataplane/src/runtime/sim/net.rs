//! The simulated network, its clocks, and what each driver knows of its connections.
//!
//! Owns all links and the drivers' tables, so that whoever schedules can see who has a reason
//! to run. Never decides when something happens; see `mod`.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use shards::time::{Nanos, Now};

use super::link::{End, Link, Read, Server, Way};
use super::rng::Rng;
use super::socket::SimSocket;
use crate::runtime::slots::Slots;
use crate::runtime::{ConnKey, Event, ListenerId, Payload};

/// What a kernel may do, and how often it does; chances are of a hundred.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Bytes of one direction that may be on the wire or unread.
    pub window: usize,
    /// Receive buffers of a driver.
    pub buffers: u16,
    /// That a receive brings only some of what has arrived.
    pub cut_reads: usize,
    /// That a send takes only some of what there is room for.
    pub cut_sends: usize,
    /// That bytes arrive after a pause.
    pub late_reads: usize,
    /// Whether sends leave as they are made (epoll), or with the next turn (the ring).
    pub sends_at_once: bool,
}

/// How often it did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Receives that were cut short.
    pub cut_reads: u64,
    /// Sends that were cut short, for want of room too.
    pub short_sends: u64,
    /// Receives after a pause.
    pub late_reads: u64,
    /// Receives put off for want of buffers.
    pub starved: u64,
}

/// See the module's text.
pub struct Net {
    mono: Nanos,
    wall_us: u64,
    pub(super) links: Vec<Link>,
    pub(super) ports: Vec<Port>,
    /// See [`Rules`].
    pub rules: Rules,
    /// See [`Counts`].
    pub counts: Counts,
    pub(super) rng: Rng,
    /// Servers that drivers want to connect to, and the connections that would be.
    calls: VecDeque<(usize, SocketAddr)>,
}

/// One driver's side.
#[derive(Default)]
pub(super) struct Port {
    pub(super) conns: Slots<Conn>,
    pub(super) backlog: VecDeque<(ListenerId, SimSocket)>,
    pub(super) deaf: bool,
    /// Events made outside of a turn.
    pub(super) pending: Vec<Event>,
    pub(super) bell: Arc<AtomicBool>,
    pub(super) starved: u64,
}

/// Whether a connection receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receive {
    On,
    /// Told to stop; the next turn may still bring something.
    Stopping,
    Off,
    /// A reset has been said.
    Over,
}

pub(super) struct Conn {
    pub(super) link: usize,
    pub(super) receive: Receive,
    pub(super) sending: Option<Payload>,
}

impl Net {
    /// A network without connections, for so many drivers.
    pub fn new(drivers: usize, rules: Rules, seed: u64) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            mono: Nanos::SECOND,
            wall_us: 1_700_000_000_000_000,
            links: Vec::new(),
            ports: (0..drivers).map(|_| Port::default()).collect(),
            rules,
            counts: Counts::default(),
            rng: Rng::new(seed),
            calls: VecDeque::new(),
        }))
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        Now { mono: self.mono, wall_us: self.wall_us }
    }

    /// Time passes, on both clocks.
    pub fn pass(&mut self, span: Nanos) {
        let before = self.mono.0 / 1_000;
        self.mono = self.mono.after(span);
        self.wall_us += self.mono.0 / 1_000 - before;
    }

    /// The wall clock is set by so many microseconds.
    pub fn jump(&mut self, by_us: i64) {
        self.wall_us = self.wall_us.saturating_add_signed(by_us);
    }

    /// A client connects to the first driver's first listener; `None` when nobody listens.
    pub fn connect(&mut self) -> Option<usize> {
        self.connect_to(ListenerId(0))
    }

    /// The same for another listener; the simulated network has all there may be.
    pub fn connect_to(&mut self, listener: ListenerId) -> Option<usize> {
        if self.ports[0].deaf {
            return None;
        }
        let number = self.links.len();
        let (socket, fate) = SimSocket::new(number as u32);
        self.links.push(Link::new(fate));
        self.ports[0].backlog.push_back((listener, socket));
        Some(number)
    }

    /// A driver calls a server.
    pub(super) fn dial(&mut self, to: SocketAddr) -> (SimSocket, usize) {
        let number = self.links.len();
        let (socket, fate) = SimSocket::new(number as u32);
        self.links.push(Link::new(fate));
        self.calls.push_back((number, to));
        (socket, number)
    }

    /// The next call of a driver that nobody has answered: the connection that would be, and
    /// the server that is called. On that connection the server has the part of a client: it
    /// [`write`](Self::write)s, [`read`](Self::read)s and so on.
    pub fn dialled(&mut self) -> Option<(usize, SocketAddr)> {
        self.calls.pop_front()
    }

    /// Answers a call: the server accepts, or refuses as nobody listens.
    pub fn answer(&mut self, link: usize, accepts: bool) {
        let Server::Open(driver, key) = self.links[link].server else { return };
        if let Some(conn) = self.slot_mut(driver, key)
            && accepts
        {
            conn.receive = Receive::On;
        }
        let event = if accepts {
            Event::Connected(key)
        } else {
            self.links[link].cut(true);
            Event::Failed(key, Errno::CONNREFUSED.into())
        };
        self.ports[driver].pending.push(event);
    }

    /// A client sends; how many bytes there was room for.
    pub fn write(&mut self, link: usize, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.room(link));
        self.links[link].up.wire.extend(&bytes[..n]);
        n
    }

    /// A client reads up to `most` bytes.
    pub fn read(&mut self, link: usize, most: usize, into: &mut Vec<u8>) -> Read {
        let link = &mut self.links[link];
        let n = most.min(link.down.arrived.len());
        into.extend(link.down.arrived.drain(..n));
        match (link.down.arrived.is_empty(), link.broken, link.down.end) {
            (true, true, _) => Read::Reset,
            (true, false, End::Arrived) => Read::Ended,
            _ => Read::Open,
        }
    }

    /// Bytes that a client may send now.
    pub fn room(&self, link: usize) -> usize {
        let link = &self.links[link];
        if link.cut || link.broken { 0 } else { link.up.room(self.rules.window) }
    }

    /// Whether a client's read would find anything.
    pub fn has_news(&self, link: usize) -> bool {
        let link = &self.links[link];
        !link.down.arrived.is_empty() || link.broken || link.down.end == End::Arrived
    }

    /// A client says that it will send no more.
    pub fn finish(&mut self, link: usize) {
        self.links[link].up.finish();
    }

    /// A client resets; what had arrived may be lost with it.
    pub fn reset(&mut self, link: usize, lose_arrived: bool) {
        self.links[link].cut(lose_arrived);
    }

    /// Directions in which something is on its way, in order.
    pub fn moving(&self) -> impl Iterator<Item = (usize, Way)> + '_ {
        self.links.iter().enumerate().flat_map(|(n, link)| {
            let up = link.up.is_moving().then_some((n, Way::Up));
            let down = link.down.is_moving().then_some((n, Way::Down));
            up.into_iter().chain(down)
        })
    }

    /// Bytes on the wire.
    pub fn on_the_wire(&self, link: usize, way: Way) -> usize {
        let link = &self.links[link];
        if way == Way::Up { link.up.wire.len() } else { link.down.wire.len() }
    }

    /// Lets up to `most` bytes arrive, and the end behind them.
    pub fn deliver(&mut self, link: usize, way: Way, most: usize) {
        self.links[link].deliver(way, most);
    }

    /// Ends that were dropped before a driver had them close their connections.
    pub fn heed_fates(&mut self) {
        self.links.iter_mut().for_each(Link::heed_fate);
    }

    /// Whether a driver that sleeps would wake now.
    pub fn is_ready(&self, driver: usize) -> bool {
        let port = &self.ports[driver];
        port.bell.load(Ordering::Acquire)
            || !port.pending.is_empty()
            || !port.deaf && !port.backlog.is_empty()
            || port.conns.iter().any(|(_, conn)| {
                let link = &self.links[conn.link];
                let reads = match conn.receive {
                    Receive::On | Receive::Stopping => link.is_readable(),
                    Receive::Off => link.cut,
                    Receive::Over => false,
                };
                let sends = link.cut || link.down.room(self.rules.window) > 0;
                reads || conn.sending.is_some() && sends
            })
    }

    /// Connections whose server's end is not closed.
    pub fn served(&self) -> usize {
        self.links.iter().filter(|link| link.server != Server::Closed).count()
    }

    pub(super) fn slot(&self, driver: usize, key: ConnKey) -> Option<&Conn> {
        self.ports[driver].conns.get(key)
    }

    pub(super) fn slot_mut(&mut self, driver: usize, key: ConnKey) -> Option<&mut Conn> {
        self.ports[driver].conns.get_mut(key)
    }
}
