//! The io_uring driver: multishot accept and receive into provided buffers, one entry a turn.
//!
//! Owns the ring, the receive buffers, the descriptors and the payloads in flight.
//! A connection's descriptor is closed only when the kernel holds no request of it:
//!
//! ```text
//! open -> receiving --pause--> cancelling -> quiet --resume--> receiving
//! connect -> connecting -> receiving
//!   any --close--> shut down -> (connect, receive and send reaped) -> gone
//! ```
//!
//! Unsafe because requests name memory: payloads and message headers live boxed in the
//! connection until their completion is reaped; a driver dropped before that leaks them.
#![allow(unsafe_code)]

mod arm;
mod bells;
mod buffers;
mod complete;
mod dial;
mod ring;
mod send;
mod table;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use io_uring::{cqueue, opcode, squeue};
use rustix::net::{Shutdown, shutdown};

use super::slots::Slots;
use super::waker::EventFd;
use super::{
    ConnKey, Driver, DriverKind, Event, Kept, ListenerId, Loan, PIECE_BYTES, PIECES, Payload,
    RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS, Socket, Wait, Waker, clock,
};
use crate::net;
use bells::Bells;
use buffers::BufferRing;
pub(super) use buffers::RingShare;
use complete::Op;
use ring::Ring;
use shards::time::Nanos;
use table::{Conn, Receive};

/// Buffer group of all receives but those of long content.
const GROUP: u16 = 0;
/// Buffer group of those.
const PIECE_GROUP: u16 = 1;
/// Most connections whose sends are made outside the ring. Their completions would be there
/// before the wait that follows, and end it: a client alone takes two turns for an exchange
/// through the proxy instead of four, and 0.94 (0.86 to 0.99) of the CPU, eight pairs. Others
/// share one submission.
const FEW_SENDS: usize = 1;
/// How long accepting rests after it failed for want of descriptors or memory.
const ACCEPT_REST: Nanos = Nanos(50_000_000);

struct Listener {
    fd: Arc<OwnedFd>,
    armed: bool,
    /// Whether it goes once it is armed no more.
    closing: bool,
}

/// See the module's text.
pub struct Uring {
    ring: Ring,
    buffers: BufferRing,
    pieces: BufferRing,
    conns: Slots<Conn>,
    listeners: Vec<Option<Listener>>,
    /// Until when accepting rests after a failure.
    accept_rests: Option<Nanos>,
    loans: Vec<u16>,
    /// Connections that have been released and not been told of.
    released: Vec<(ConnKey, OwnedFd)>,
    /// Connections whose peers have ended, or that are broken: watched from the next turn on, if
    /// they are open and do not receive then.
    watches: Vec<ConnKey>,
    /// Connections whose receive ended for want of buffers; armed anew next turn.
    starved: Vec<ConnKey>,
    starved_count: u64,
    completions: Vec<cqueue::Entry>,
    /// What calls outside the ring have led to.
    pending: Vec<Event>,
    /// Whether sends are so few that they are made outside the ring.
    sends_now: bool,
    waker: EventFd,
    wake_armed: bool,
    bells: Bells,
    in_flight: usize,
}

impl Uring {
    /// A ring with its buffers, on the thread that will use it.
    ///
    /// # Errors
    /// What the kernel answered: forbidden, too old, or too little locked memory.
    pub fn new() -> io::Result<Self> {
        let ring = Ring::new()?;
        let buffers =
            BufferRing::new(&ring.submitter(), GROUP, 0, RECEIVE_BUFFERS, RECEIVE_BUFFER_BYTES)?;
        let pieces =
            BufferRing::new(&ring.submitter(), PIECE_GROUP, RECEIVE_BUFFERS, PIECES, PIECE_BYTES)?;
        Ok(Self {
            ring,
            buffers,
            pieces,
            conns: Slots::default(),
            listeners: Vec::new(),
            accept_rests: None,
            loans: Vec::new(),
            released: Vec::new(),
            watches: Vec::new(),
            starved: Vec::new(),
            starved_count: 0,
            completions: Vec::new(),
            pending: Vec::new(),
            sends_now: false,
            waker: EventFd::new()?,
            wake_armed: false,
            bells: Bells::default(),
            in_flight: 0,
        })
    }

    fn ring_of(&mut self, id: u16) -> &mut BufferRing {
        if id < RECEIVE_BUFFERS { &mut self.buffers } else { &mut self.pieces }
    }

    /// Queues a request whose memory, if any, its connection holds until the completion.
    fn push(&mut self, entry: squeue::Entry, op: Op, key: ConnKey) {
        let entry = entry.user_data(op.token(key));
        // SAFETY: descriptors are closed and payloads and headers freed only after the
        // last completion (`settle`), and leaked if the driver is dropped before (`Drop`).
        // Receive memory belongs to the buffer ring, which outlives the ring.
        let pushed = unsafe { self.ring.push(&entry) };
        if let Err(error) = pushed {
            // The ring itself is broken; the next turn reports it.
            tracing::error!(%error, "io_uring refused to take a request");
        }
    }
}

impl Driver for Uring {
    fn kind(&self) -> DriverKind {
        DriverKind::Uring
    }

    fn listen(&mut self, fd: Arc<OwnedFd>) -> io::Result<ListenerId> {
        let listener = Listener { fd, armed: false, closing: false };
        Ok(ListenerId::place(&mut self.listeners, listener))
    }

    fn stop_listening(&mut self) {
        (0..self.listeners.len()).for_each(|n| self.close_listener(ListenerId(n as u16)));
    }

    fn close_listener(&mut self, listener: ListenerId) {
        let index = usize::from(listener.0);
        if let Some(Some(listener)) = self.listeners.get_mut(index) {
            listener.closing = true;
            let _ = shutdown(&listener.fd, Shutdown::Both); // it listens: this cannot fail
            self.disarm_accept(index);
        }
    }

    fn open(&mut self, socket: Socket) -> io::Result<ConnKey> {
        let Socket::Kernel(fd) = socket else { return Err(io::ErrorKind::InvalidInput.into()) };
        let key = self.admit(fd, None);
        self.arm_receive(key);
        Ok(key)
    }

    fn connect(&mut self, to: SocketAddr) -> io::Result<ConnKey> {
        self.dial(to)
    }

    fn pause(&mut self, key: ConnKey) {
        let Some(conn) = self.conn(key) else { return };
        conn.wanted = false;
        let broken = conn.broken;
        if conn.receive == Receive::Armed {
            conn.receive = Receive::Cancelling;
            let entry = opcode::AsyncCancel::new(Op::Receive.token(key)).build();
            self.push(entry, Op::Cancel, key);
        }
        if broken {
            self.watches.push(key); // it may be resumed before the next turn
        } else {
            self.watch(key);
        }
    }

    fn resume(&mut self, key: ConnKey) {
        if let Some(conn) = self.conn(key) {
            conn.wanted = true;
            self.arm_receive(key);
        }
    }

    fn receive_by_pieces(&mut self, key: ConnKey, on: bool) -> bool {
        let Some(conn) = self.conn(key) else { return true };
        if conn.pieces != on {
            conn.pieces = on;
            if conn.receive == Receive::Armed {
                // Armed anew, the other way, when this has ended.
                conn.receive = Receive::Cancelling;
                let entry = opcode::AsyncCancel::new(Op::Receive.token(key)).build();
                self.push(entry, Op::Cancel, key);
            }
        }
        true
    }

    fn expect_sends(&mut self, connections: usize) {
        self.sends_now = connections <= FEW_SENDS;
    }

    fn send(&mut self, key: ConnKey, payload: Payload) -> Option<Payload> {
        let Some(conn) = self.conn(key) else { return Some(payload) };
        assert!(conn.sending.is_none(), "one payload in flight per connection");
        if conn.closing || payload.left() == 0 {
            return Some(payload);
        }
        let mut payload = payload;
        if self.sends_now {
            if !self.send_now(key, &mut payload) {
                return None;
            }
            if payload.left() == 0 {
                return Some(payload);
            }
        }
        let Some(conn) = self.conn(key) else { return Some(payload) };
        conn.sending = Some(payload);
        self.continue_send(key);
        None
    }

    fn unsent(&self, key: ConnKey) -> usize {
        self.conns.get(key).and_then(|conn| conn.sending.as_ref()).map_or(0, Payload::left)
    }

    fn finish(&mut self, key: ConnKey) {
        if let Some(conn) = self.conn(key) {
            // The peer may be gone already, which the receive reports.
            let _ = shutdown(&conn.fd, Shutdown::Write);
        }
    }

    fn release(&mut self, key: ConnKey) {
        let Some(conn) = self.conn(key) else { return };
        conn.releasing = true;
        self.pause(key); // without watching it
        self.unwatch(key);
        self.settle(key);
    }

    fn reset(&mut self, key: ConnKey) {
        if let Some(conn) = self.conn(key) {
            net::reset(&conn.fd);
        }
    }

    fn close(&mut self, key: ConnKey) {
        let Some(conn) = self.conn(key) else { return };
        if conn.closing {
            return;
        }
        conn.closing = true;
        if conn.dialled.is_some() {
            self.give_up_dialling(key);
        } else if conn.receive != Receive::Quiet || conn.sending.is_some() {
            // Ends both requests; an error means that the peer has ended them already.
            let _ = shutdown(&conn.fd, Shutdown::Both);
        }
        self.unwatch(key);
        self.settle(key);
    }

    fn bytes(&self, loan: Loan) -> &[u8] {
        let ring = if loan.id < RECEIVE_BUFFERS { &self.buffers } else { &self.pieces };
        ring.bytes(loan.id, loan.len as usize)
    }

    fn keep(&mut self, loan: Loan) -> Option<Kept> {
        let share = self.ring_of(loan.id).keep(loan.id)?;
        Some(Kept::of_ring(share, loan.len as usize))
    }

    fn submit(&mut self) -> io::Result<()> {
        self.ring.submit()
    }

    fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        self.prepare();
        let mut wait = if self.pending.is_empty() { wait } else { Wait::Poll };
        events.append(&mut self.pending);
        self.accept_rests = self.accept_rests.filter(|until| clock::monotonic() < *until);
        if self.accept_rests.is_some() {
            wait = wait.at_most(ACCEPT_REST.0);
        } else {
            self.arm_listeners();
        }
        let mut completions = std::mem::take(&mut self.completions);
        self.ring.turn(wait, &mut completions)?;
        for cqe in completions.drain(..) {
            self.complete(&cqe, events);
        }
        self.completions = completions;
        let released = self.released.drain(..);
        events.extend(released.map(|(key, fd)| Event::Released(key, fd.into())));
        Ok(())
    }

    fn starved(&self) -> u64 {
        self.starved_count
    }

    fn waker(&self) -> Waker {
        self.waker.waker(Some(self.ring.number()))
    }

    fn wake(&mut self, waker: &Waker) {
        let token = Op::Rung.token(ConnKey { index: 0, generation: 0 });
        if let Some((entry, number)) = self.bells.ring(waker, token) {
            self.push(entry, Op::Ring, ConnKey { index: number, generation: 0 });
        }
    }

    fn unreceived(&self, key: ConnKey) -> usize {
        let bytes = self.descriptor(key).and_then(|fd| rustix::io::ioctl_fionread(fd).ok());
        bytes.unwrap_or(0) as usize
    }

    fn number(&self, key: ConnKey) -> Option<i32> {
        self.descriptor(key).map(|fd| fd.as_raw_fd())
    }
}

impl Drop for Uring {
    /// Requests may still be under way while the kernel tears the ring down, so what they
    /// name is leaked: a driver ends with its process, or (probing) before its first request.
    fn drop(&mut self) {
        if self.in_flight > 0 {
            std::mem::forget(std::mem::take(&mut self.conns));
            self.buffers.leak();
            self.pieces.leak();
        }
    }
}
