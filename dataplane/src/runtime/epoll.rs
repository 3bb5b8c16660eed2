//! The epoll driver: for kernels and containers without io_uring.
//!
//! Level-triggered; one receive per ready connection and turn, sends attempted at once and
//! finished when the socket has room again. Owns what the ring driver owns.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendFlags, Shutdown, SocketFlags, accept_with, recv, send, shutdown, sockopt,
};
use shards::time::Nanos;

use super::payload::MAX_PIECES;
use super::slots::Slots;
use super::waker::EventFd;
use super::{
    ConnKey, Driver, DriverKind, Event, Kept, ListenerId, Loan, Payload, RECEIVE_BUFFER_BYTES,
    RECEIVE_BUFFERS, SEND_CHUNK_BYTES, Socket, Wait, Waker, clock,
};
use crate::net;

/// What is taken from the poll set in one turn; the next begins where it ends. Each may take a
/// receive buffer, which stays: a burst of small requests leaves 1 MiB with each shard, and four
/// with as many events as there are buffers, for the same CPU (0.98, 0.92 to 1.27, over 64
/// connections).
const EVENTS_PER_TURN: usize = 64;
/// Connections accepted per listener and turn.
const ACCEPTS_PER_TURN: usize = 64;
/// Buffers that have been kept and are to serve again.
const MOST_AWAY: usize = RECEIVE_BUFFERS as usize;
/// How long accepting rests after it failed for want of descriptors or memory.
const ACCEPT_REST: Nanos = Nanos(50_000_000);

/// Marks in the upper half of an event's user data; connections carry their generation there,
/// which is below [`super::slots::GENERATIONS`].
const LISTENER: u64 = u32::MAX as u64;
const WAKER: u64 = LISTENER - 1;

struct Conn {
    fd: OwnedFd,
    /// Whether the kernel is still at connecting it.
    connecting: bool,
    receiving: bool,
    /// Whether nothing can come of it any more.
    over: bool,
    sending: Option<Payload>,
    /// What the poll set is told to watch, besides errors and hang-ups; `None` while it is not
    /// in the set, since those would be reported for ever.
    watched: Option<EventFlags>,
}

/// See the module's text.
pub struct Epoll {
    set: OwnedFd,
    ready: Vec<epoll::Event>,
    conns: Slots<Conn>,
    listeners: Vec<Option<Arc<OwnedFd>>>,
    accept_rests: Option<Nanos>,
    /// Receive buffers; the first `lent` of them are on loan.
    buffers: Vec<Rc<Box<[u8]>>>,
    lent: usize,
    /// Buffers that were kept beyond their turn, the longest kept first; they serve again.
    away: VecDeque<Rc<Box<[u8]>>>,
    /// Events made outside `turn`, delivered by the next one.
    pending: Vec<Event>,
    waker: EventFd,
}

impl Epoll {
    /// An empty poll set.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn new() -> io::Result<Self> {
        let set = epoll::create(CreateFlags::CLOEXEC)?;
        let waker = EventFd::new()?;
        epoll::add(&set, waker.fd(), EventData::new_u64(WAKER << 32), EventFlags::IN)?;
        Ok(Self {
            set,
            ready: Vec::with_capacity(EVENTS_PER_TURN),
            conns: Slots::default(),
            listeners: Vec::new(),
            accept_rests: None,
            buffers: Vec::new(),
            lent: 0,
            away: VecDeque::new(),
            pending: Vec::new(),
            waker,
        })
    }

    fn descriptor(&self, key: ConnKey) -> Option<BorrowedFd<'_>> {
        Some(self.conns.get(key)?.fd.as_fd())
    }

    /// Tells the poll set what a connection waits for now.
    fn watch(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::IN, conn.receiving);
        wanted.set(EventFlags::OUT, conn.sending.is_some());
        if conn.connecting {
            wanted = EventFlags::OUT;
        }
        // One that is paused, or whose peer has ended, is watched for a reset.
        let wanted = (!conn.over || !wanted.is_empty()).then_some(wanted);
        let outcome = match (conn.watched, wanted) {
            (before, after) if before == after => return,
            (_, None) => epoll::delete(&self.set, &conn.fd),
            (None, Some(wanted)) => epoll::add(&self.set, &conn.fd, data_of(key), wanted),
            (Some(_), Some(wanted)) => epoll::modify(&self.set, &conn.fd, data_of(key), wanted),
        };
        conn.watched = wanted;
        if let Err(errno) = outcome {
            self.pending.push(Event::Failed(key, errno.into()));
        }
    }

    /// Sends until the payload has left, the socket is full, or a turn's share is spent.
    fn push_out(&mut self, key: ConnKey) -> Option<Payload> {
        let conn = self.conns.get_mut(key)?;
        let payload = conn.sending.as_mut()?;
        let outcome = match payload.plain() {
            Some(bytes) => {
                let part = &bytes[..bytes.len().min(SEND_CHUNK_BYTES)];
                send(&conn.fd, part, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
            }
            None => {
                let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
                let mut n = 0;
                payload.each_piece(SEND_CHUNK_BYTES, |piece| {
                    pieces[n] = IoSlice::new(piece);
                    n += 1;
                });
                let mut control = rustix::net::SendAncillaryBuffer::default();
                let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                rustix::net::sendmsg(&conn.fd, &pieces[..n], &mut control, flags)
            }
        };
        match outcome {
            Ok(n) => payload.advance(n),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => {
                conn.sending = None;
                self.pending.push(Event::Deaf(key, errno.into()));
                self.watch(key);
                return None;
            }
        }
        let done = if payload.left() == 0 { conn.sending.take() } else { None };
        self.watch(key);
        done
    }

    fn accept(&mut self, index: usize, events: &mut Vec<Event>) {
        let Some(Some(listener)) = self.listeners.get(index) else { return };
        for _ in 0..ACCEPTS_PER_TURN {
            match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(fd) => events.push(Event::Accepted(ListenerId(index as u16), fd.into())),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(errno) => {
                    events.push(Event::AcceptFailed(errno.into()));
                    self.accept_rests = Some(clock::monotonic().after(ACCEPT_REST));
                    self.watch_listeners(EventFlags::empty());
                    return;
                }
            }
        }
    }

    fn watch_listeners(&self, flags: EventFlags) {
        for (index, listener) in self.listeners.iter().enumerate() {
            let Some(listener) = listener else { continue };
            let data = EventData::new_u64(LISTENER << 32 | index as u64);
            // Both are ours and in the set, so this cannot fail but for lack of memory,
            // and then accepting rests a little longer.
            let _ = epoll::modify(&self.set, listener, data, flags);
        }
    }

    fn receive(&mut self, key: ConnKey, events: &mut Vec<Event>) {
        if self.lent == self.buffers.len() {
            self.buffers.push(fresh()); // one for each event at the most
        }
        let id = self.lent;
        if Rc::get_mut(&mut self.buffers[id]).is_none() {
            self.put_away(id);
        }
        let Some(buffer) = Rc::get_mut(&mut self.buffers[id]) else { return };
        let Some(conn) = self.conns.get(key).filter(|conn| conn.receiving) else { return };
        match recv(&conn.fd, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => {
                self.pause(key);
                events.push(Event::Ended(key));
            }
            Ok((n, _)) => {
                self.lent += 1;
                events.push(Event::Received(key, Loan { id: id as u16, len: n as u32 }));
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => {
                self.over(key);
                events.push(Event::Failed(key, errno.into()));
            }
        }
    }

    /// Replaces a buffer that somebody has kept, by one that nobody has any more if there is.
    fn put_away(&mut self, id: usize) {
        // One that a slow peer keeps does not hold the others back: it goes to the end.
        let mut back = None;
        for _ in 0..2 {
            match self.away.pop_front() {
                Some(first) if Rc::strong_count(&first) == 1 => {
                    back = Some(first);
                    break;
                }
                Some(busy) => self.away.push_back(busy),
                None => break,
            }
        }
        let kept = std::mem::replace(&mut self.buffers[id], back.unwrap_or_else(fresh));
        if self.away.len() < MOST_AWAY {
            self.away.push_back(kept);
        }
    }

    /// The kernel has ended to connect, well or not.
    fn connected(&mut self, key: ConnKey, events: &mut Vec<Event>) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        match sockopt::socket_error(&conn.fd).and_then(|outcome| outcome) {
            Ok(()) => {
                conn.connecting = false;
                events.push(Event::Connected(key));
            }
            Err(errno) => {
                (conn.receiving, conn.over) = (false, true);
                conn.connecting = false;
                events.push(Event::Failed(key, errno.into()));
            }
        }
        self.watch(key);
    }

    /// Takes a descriptor into the table and the poll set.
    fn admit(&mut self, fd: OwnedFd, connecting: bool) -> io::Result<ConnKey> {
        let key = self.conns.next_key();
        let watched = if connecting { EventFlags::OUT } else { EventFlags::IN };
        epoll::add(&self.set, &fd, data_of(key), watched)?;
        let watched = Some(watched);
        let (receiving, over) = (true, false);
        Ok(self.conns.put(Conn { fd, connecting, receiving, over, sending: None, watched }))
    }

    /// Nothing can come any more.
    fn over(&mut self, key: ConnKey) {
        if let Some(conn) = self.conns.get_mut(key) {
            (conn.receiving, conn.over) = (false, true);
            self.watch(key);
        }
    }

    /// An error or a hang-up of a connection that is paused and sends nothing: it would be
    /// reported for ever.
    fn broken(&mut self, key: ConnKey, flags: EventFlags, events: &mut Vec<Event>) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.over = true;
        if flags.contains(EventFlags::ERR) {
            let error = sockopt::socket_error(&conn.fd).and_then(|outcome| outcome).err();
            events.push(Event::Failed(key, error.unwrap_or(Errno::CONNRESET).into()));
        }
        self.watch(key);
    }

    fn handle(&mut self, data: u64, flags: EventFlags, events: &mut Vec<Event>) {
        match data >> 32 {
            LISTENER => self.accept(data as u32 as usize, events),
            WAKER => {
                self.waker.clear();
                events.push(Event::Woken);
            }
            generation => {
                let key = ConnKey { index: data as u32, generation: generation as u32 };
                let Some(conn) = self.conns.get_mut(key) else { return };
                if conn.connecting {
                    return self.connected(key, events);
                }
                if conn.watched == Some(EventFlags::empty()) {
                    return self.broken(key, flags, events);
                }
                // An error or a hang-up shows itself in the receive or send that follows.
                if flags.contains(EventFlags::OUT)
                    && let Some(payload) = self.push_out(key)
                {
                    events.push(Event::Sent(key, payload));
                }
                // What a failed send says comes before the end that it has caused.
                events.append(&mut self.pending);
                self.receive(key, events);
            }
        }
    }
}

impl Driver for Epoll {
    fn kind(&self) -> DriverKind {
        DriverKind::Epoll
    }

    fn listen(&mut self, fd: Arc<OwnedFd>) -> io::Result<ListenerId> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let id = ListenerId::place(&mut self.listeners, fd.clone());
        let data = EventData::new_u64(LISTENER << 32 | u64::from(id.0));
        if let Err(error) = epoll::add(&self.set, &fd, data, EventFlags::IN) {
            self.listeners[usize::from(id.0)] = None;
            return Err(error.into());
        }
        Ok(id)
    }

    fn stop_listening(&mut self) {
        (0..self.listeners.len()).for_each(|n| self.close_listener(ListenerId(n as u16)));
    }

    fn close_listener(&mut self, listener: ListenerId) {
        let there = self.listeners.get_mut(usize::from(listener.0));
        if let Some(fd) = there.and_then(Option::take) {
            // Both cannot fail: it is ours, in the set, and listens.
            let _ = epoll::delete(&self.set, &fd);
            let _ = shutdown(&fd, Shutdown::Both);
        }
    }

    fn open(&mut self, socket: Socket) -> io::Result<ConnKey> {
        let Socket::Kernel(fd) = socket else { return Err(io::ErrorKind::InvalidInput.into()) };
        self.admit(fd, false)
    }

    fn connect(&mut self, to: SocketAddr) -> io::Result<ConnKey> {
        let fd = net::dialling_socket(to, false)?;
        match rustix::net::connect(&fd, &to) {
            // Reported by the poll set, once connected too.
            Ok(()) | Err(Errno::INPROGRESS) => self.admit(fd, true),
            Err(errno) => Err(errno.into()),
        }
    }

    fn pause(&mut self, key: ConnKey) {
        if let Some(conn) = self.conns.get_mut(key) {
            conn.receiving = false;
            self.watch(key);
        }
    }

    fn resume(&mut self, key: ConnKey) {
        if let Some(conn) = self.conns.get_mut(key) {
            (conn.receiving, conn.over) = (true, false);
            self.watch(key);
        }
    }

    fn send(&mut self, key: ConnKey, payload: Payload) -> Option<Payload> {
        let Some(conn) = self.conns.get_mut(key) else { return Some(payload) };
        assert!(conn.sending.is_none(), "one payload in flight per connection");
        if payload.left() == 0 {
            return Some(payload);
        }
        conn.sending = Some(payload);
        self.push_out(key)
    }

    fn unsent(&self, key: ConnKey) -> usize {
        self.conns.get(key).and_then(|conn| conn.sending.as_ref()).map_or(0, Payload::left)
    }

    fn finish(&mut self, key: ConnKey) {
        if let Some(conn) = self.conns.get_mut(key) {
            // The peer may be gone already, which the receive reports.
            let _ = shutdown(&conn.fd, Shutdown::Write);
        }
    }

    fn release(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.take(key) else { return };
        if conn.watched.is_some() {
            // It is in the set, so that this cannot fail.
            let _ = epoll::delete(&self.set, &conn.fd);
        }
        self.pending.push(Event::Released(key, conn.fd.into()));
    }

    fn reset(&mut self, key: ConnKey) {
        if let Some(conn) = self.conns.get_mut(key) {
            net::reset(&conn.fd);
        }
    }

    fn close(&mut self, key: ConnKey) {
        drop(self.conns.take(key)); // closing takes it out of the set
    }

    fn bytes(&self, loan: Loan) -> &[u8] {
        &self.buffers[usize::from(loan.id)][..loan.len as usize]
    }

    fn keep(&mut self, loan: Loan) -> Option<Kept> {
        // Bounded by what connections may have pending: it is memory like any other.
        Some(Kept::of_heap(self.buffers[usize::from(loan.id)].clone(), loan.len as usize))
    }

    fn submit(&mut self) -> io::Result<()> {
        Ok(()) // sends leave as they are made
    }

    fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        self.lent = 0;
        let mut wait = if self.pending.is_empty() { wait } else { Wait::Poll };
        events.append(&mut self.pending);
        if let Some(until) = self.accept_rests {
            if clock::monotonic() >= until {
                self.accept_rests = None;
                self.watch_listeners(EventFlags::IN);
            } else {
                wait = wait.at_most(ACCEPT_REST.0);
            }
        }
        let timeout = match wait {
            Wait::Poll => Some(rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 }),
            Wait::AtMost(ns) => Some(rustix::time::Timespec {
                tv_sec: (ns / 1_000_000_000) as i64,
                tv_nsec: (ns % 1_000_000_000) as i64,
            }),
            Wait::Forever => None,
        };
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        let waited =
            epoll::wait(&self.set, rustix::buffer::spare_capacity(&mut ready), timeout.as_ref());
        if let Err(errno) = waited
            && errno != Errno::INTR
        {
            return Err(errno.into());
        }
        for event in &ready {
            self.handle(event.data.u64(), event.flags, events);
        }
        self.ready = ready;
        events.append(&mut self.pending);
        Ok(())
    }

    fn starved(&self) -> u64 {
        0 // there is a buffer for each event of a turn
    }

    fn waker(&self) -> Waker {
        self.waker.waker(None)
    }

    fn unreceived(&self, key: ConnKey) -> usize {
        let bytes = self.descriptor(key).and_then(|fd| rustix::io::ioctl_fionread(fd).ok());
        bytes.unwrap_or(0) as usize
    }

    fn number(&self, key: ConnKey) -> Option<i32> {
        self.descriptor(key).map(|fd| fd.as_raw_fd())
    }
}

fn fresh() -> Rc<Box<[u8]>> {
    Rc::new(vec![0; RECEIVE_BUFFER_BYTES].into_boxed_slice())
}

fn data_of(key: ConnKey) -> EventData {
    EventData::new_u64(u64::from(key.generation) << 32 | u64::from(key.index))
}
