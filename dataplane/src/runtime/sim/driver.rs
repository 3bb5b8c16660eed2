//! A shard's view of the simulated network, behind the same interface as the kernel's drivers.
//!
//! Owns the receive buffers. Does what the ring and epoll may do, whichever the rules say, and
//! never more: see `Driver` for what is promised.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;
use shards::time::{Nanos, Now};

use super::link::{End, Server};
use super::net::{Conn, Net, Receive};
use super::socket::SimSocket;
use crate::runtime::{
    ConnKey, Driver, DriverKind, Event, Kept, ListenerId, Loan, Payload, RECEIVE_BUFFER_BYTES,
    SEND_CHUNK_BYTES, Socket, Wait, Waker,
};

/// See the module's text.
pub struct SimDriver {
    net: Rc<RefCell<Net>>,
    me: usize,
    buffers: Vec<Vec<u8>>,
    /// Buffers on loan: the first so many.
    lent: usize,
}

impl SimDriver {
    /// The driver of one of the shards that a network was made for.
    pub fn new(net: Rc<RefCell<Net>>, me: usize) -> Self {
        Self { net, me, buffers: Vec::new(), lent: 0 }
    }

    /// Receives for one connection what a turn brings.
    fn receive(&mut self, key: ConnKey, events: &mut Vec<Event>) {
        let mut net = self.net.borrow_mut();
        let net = &mut *net;
        let rules = net.rules;
        let Some(conn) = net.ports[self.me].conns.get_mut(key) else { return };
        if matches!(conn.receive, Receive::Off | Receive::Over) {
            // Only a reset is heard of, once.
            if conn.receive == Receive::Off && net.links[conn.link].cut {
                conn.receive = Receive::Over;
                events.push(Event::Failed(key, Errno::CONNRESET.into()));
            }
            return;
        }
        let (number, stopping) = (conn.link, conn.receive == Receive::Stopping);
        if stopping {
            conn.receive = Receive::Off;
            if !net.rng.chance(rules.late_reads) {
                return;
            }
        }
        loop {
            let link = &mut net.links[number];
            let there = link.up.arrived.len();
            if there == 0 {
                let event = match (link.cut, link.up.end) {
                    (true, _) => Event::Failed(key, Errno::CONNRESET.into()),
                    (false, End::Arrived) => Event::Ended(key),
                    _ => return,
                };
                net.counts.late_reads += u64::from(stopping);
                let over = matches!(event, Event::Failed(..));
                events.push(event);
                if let Some(conn) = net.slot_mut(self.me, key) {
                    conn.receive = if over { Receive::Over } else { Receive::Off };
                }
                return;
            }
            if self.lent == usize::from(rules.buffers) {
                net.ports[self.me].starved += 1;
                net.counts.starved += 1;
                return; // it is still there in the next turn
            }
            let mut n = there.min(RECEIVE_BUFFER_BYTES);
            if net.rng.chance(rules.cut_reads) {
                n = net.rng.between(1, n);
            }
            net.counts.cut_reads += u64::from(n < there);
            net.counts.late_reads += u64::from(stopping);
            if self.lent == self.buffers.len() {
                self.buffers.push(Vec::with_capacity(RECEIVE_BUFFER_BYTES));
            }
            let buffer = &mut self.buffers[self.lent];
            buffer.clear();
            buffer.extend(link.up.arrived.drain(..n));
            events.push(Event::Received(key, Loan { id: self.lent as u16, len: n as u32 }));
            self.lent += 1;
            // The ring may bring several in one turn, epoll brings one.
            if rules.sends_at_once || stopping || net.rng.chance(50) {
                return;
            }
        }
    }

    /// Sends what there is room for; the payload when it has left whole.
    fn push_out(net: &mut Net, me: usize, key: ConnKey) -> Option<Payload> {
        let (rules, cut) = (net.rules, net.rng.chance(net.rules.cut_sends));
        let conn = net.ports[me].conns.get_mut(key)?;
        let payload = conn.sending.as_mut()?;
        let link = &mut net.links[conn.link];
        if link.cut || link.down.end != End::Open {
            conn.sending = None;
            net.ports[me].pending.push(Event::Deaf(key, Errno::PIPE.into()));
            return None;
        }
        let fits = payload.left().min(SEND_CHUNK_BYTES);
        let mut n = fits.min(link.down.room(rules.window));
        if cut && n > 0 {
            n = net.rng.between(1, n);
        }
        net.counts.short_sends += u64::from(n < fits);
        let mut took = 0;
        payload.each_piece(n, |piece| {
            link.down.wire.extend(piece);
            took += piece.len();
        });
        payload.advance(took);
        if payload.left() == 0 { conn.sending.take() } else { None }
    }

    fn send_all(&mut self) {
        let mut net = self.net.borrow_mut();
        for key in keys(&net, self.me) {
            if let Some(payload) = Self::push_out(&mut net, self.me, key) {
                net.ports[self.me].pending.push(Event::Sent(key, payload));
            }
        }
    }

    fn accept(&mut self, events: &mut Vec<Event>) {
        let port = &mut self.net.borrow_mut().ports[self.me];
        if !port.deaf {
            let accepted = port.backlog.drain(..);
            events.extend(accepted.map(|(to, s)| Event::Accepted(to, Socket::Simulated(s))));
        }
    }
}

/// All connections of a driver.
fn keys(net: &Net, me: usize) -> Vec<ConnKey> {
    net.ports[me].conns.iter().map(|(key, _)| key).collect()
}

impl Driver for SimDriver {
    fn kind(&self) -> DriverKind {
        DriverKind::Sim
    }

    /// The simulated network has no descriptors; its first driver listens from the start.
    fn listen(&mut self, _: Arc<OwnedFd>) -> io::Result<ListenerId> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn stop_listening(&mut self) {
        let port = &mut self.net.borrow_mut().ports[self.me];
        port.deaf = true;
        port.backlog.clear(); // closes them
    }

    /// The listener of a simulated network stays.
    fn close_listener(&mut self, _: ListenerId) {}

    fn open(&mut self, socket: Socket) -> io::Result<ConnKey> {
        let Socket::Simulated(socket) = socket else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut net = self.net.borrow_mut();
        let link = socket.number() as usize;
        let conn = Conn { link, receive: Receive::On, sending: None };
        let key = net.ports[self.me].conns.put(conn);
        let link = &mut net.links[link];
        link.server = Server::Open(self.me, key);
        link.fate = None; // from here on the driver closes it
        Ok(key)
    }

    /// Whoever plays the network finds the call in [`Net::dialled`].
    fn connect(&mut self, to: SocketAddr) -> io::Result<ConnKey> {
        let (socket, link) = self.net.borrow_mut().dial(to);
        let key = self.open(Socket::Simulated(socket))?;
        if let Some(conn) = self.net.borrow_mut().slot_mut(self.me, key) {
            debug_assert_eq!(conn.link, link);
            conn.receive = Receive::Over; // until it is answered
        }
        Ok(key)
    }

    fn pause(&mut self, key: ConnKey) {
        if let Some(conn) = self.net.borrow_mut().slot_mut(self.me, key)
            && conn.receive == Receive::On
        {
            conn.receive = Receive::Stopping;
        }
    }

    fn resume(&mut self, key: ConnKey) {
        if let Some(conn) = self.net.borrow_mut().slot_mut(self.me, key) {
            conn.receive = Receive::On;
        }
    }

    fn send(&mut self, key: ConnKey, payload: Payload) -> Option<Payload> {
        let mut net = self.net.borrow_mut();
        let at_once = net.rules.sends_at_once;
        let Some(conn) = net.slot_mut(self.me, key) else { return Some(payload) };
        assert!(conn.sending.is_none(), "one payload in flight per connection");
        if payload.left() == 0 {
            return Some(payload);
        }
        conn.sending = Some(payload);
        if at_once { Self::push_out(&mut net, self.me, key) } else { None }
    }

    fn unsent(&self, key: ConnKey) -> usize {
        let net = self.net.borrow();
        net.slot(self.me, key).and_then(|conn| conn.sending.as_ref()).map_or(0, Payload::left)
    }

    fn finish(&mut self, key: ConnKey) {
        let mut net = self.net.borrow_mut();
        if let Some(link) = net.slot(self.me, key).map(|conn| conn.link) {
            net.links[link].down.finish();
        }
    }

    fn release(&mut self, key: ConnKey) {
        let mut net = self.net.borrow_mut();
        let Some(number) = net.slot(self.me, key).map(|conn| conn.link) else { return };
        let (socket, fate) = SimSocket::new(number as u32);
        let link = &mut net.links[number];
        (link.server, link.fate) = (Server::Travelling, Some(fate));
        let port = &mut net.ports[self.me];
        port.conns.take(key);
        port.pending.push(Event::Released(key, Socket::Simulated(socket)));
    }

    fn reset(&mut self, key: ConnKey) {
        let mut net = self.net.borrow_mut();
        if let Some(link) = net.slot(self.me, key).map(|conn| conn.link) {
            net.links[link].break_off();
        }
    }

    fn close(&mut self, key: ConnKey) {
        let mut net = self.net.borrow_mut();
        let Some(link) = net.slot(self.me, key).map(|conn| conn.link) else { return };
        net.links[link].close();
        net.ports[self.me].conns.take(key);
    }

    fn bytes(&self, loan: Loan) -> &[u8] {
        assert!(usize::from(loan.id) < self.lent, "a loan ends with its turn");
        &self.buffers[usize::from(loan.id)][..loan.len as usize]
    }

    fn keep(&mut self, loan: Loan) -> Option<Kept> {
        if self.net.borrow_mut().rng.chance(20) {
            return None; // as when many are kept
        }
        let bytes = self.bytes(loan).to_vec().into_boxed_slice();
        Some(Kept::of_heap(Rc::new(bytes), loan.len as usize))
    }

    fn submit(&mut self) -> io::Result<()> {
        self.send_all();
        Ok(())
    }

    fn turn(&mut self, _: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        self.lent = 0;
        self.send_all();
        let (mut keys, bell) = {
            let mut net = self.net.borrow_mut();
            let port = &mut net.ports[self.me];
            events.append(&mut port.pending);
            let bell = port.bell.swap(false, Ordering::AcqRel);
            let mut keys = keys(&net, self.me);
            if !keys.is_empty() {
                let first = net.rng.below(keys.len());
                keys.rotate_left(first);
            }
            (keys, bell)
        };
        if bell {
            events.push(Event::Woken);
        }
        self.accept(events);
        keys.drain(..).for_each(|key| self.receive(key, events));
        Ok(())
    }

    fn starved(&self) -> u64 {
        self.net.borrow().ports[self.me].starved
    }

    fn waker(&self) -> Waker {
        Waker::simulated(self.net.borrow().ports[self.me].bell.clone())
    }

    fn unreceived(&self, key: ConnKey) -> usize {
        let net = self.net.borrow();
        net.slot(self.me, key).map_or(0, |conn| net.links[conn.link].up.arrived.len())
    }

    fn number(&self, key: ConnKey) -> Option<i32> {
        self.net.borrow().slot(self.me, key).map(|conn| conn.link as i32)
    }

    fn now(&self) -> Now {
        self.net.borrow().now()
    }

    fn monotonic(&self) -> Nanos {
        self.net.borrow().now().mono
    }

    fn cpu_time(&self) -> Nanos {
        self.monotonic()
    }
}
