//! The event loop's bottom: sockets in, received bytes out, one kernel entry a turn.
//!
//! Three drivers stand behind one interface: `uring`, `epoll`, and `sim` (in tests). A
//! driver owns descriptors, receive buffers and payloads in flight. It knows no protocol,
//! decides nothing about a connection's life except what the kernel forces, and never
//! blocks outside [`Driver::turn`].
//!
//! ```text
//! turn(wait) -> events -> the caller works -> send/pause/resume/close -> turn(wait) ...
//! ```
//!
//! A received buffer is lent until the next `turn`, which takes all of them back.

pub mod choose;
pub mod clock;
pub mod epoll;
mod kept;
mod payload;
pub mod sim;
mod slots;
mod socket;
pub mod uring;
mod waker;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use shards::time::{Nanos, Now};

pub use choose::{Choice, DriverKind};
pub use kept::Kept;
pub use payload::Payload;
pub(crate) use slots::make_room;
pub use socket::Socket;
pub(crate) use waker::EventFd;
pub use waker::Waker;

/// Bytes of one receive buffer. Measured: 4 to 64 KiB halves the CPU of long bodies, and
/// 16 KiB costs small requests nothing.
pub const RECEIVE_BUFFER_BYTES: usize = 16 << 10;

/// Receive buffers of one shard: what all its connections together can have filled
/// between two turns. When they run out, receiving pauses until the next turn.
pub const RECEIVE_BUFFERS: u16 = 256;

/// Bytes of the buffer for a piece of long content, and how many there are. Measured with bodies
/// of 1 MB over 16 connections: see `flamegraphs`.
pub const PIECE_BYTES: usize = 64 << 10;
const PIECES: u16 = 32;

/// Most bytes handed to the kernel in one send, so that one large reply cannot hold up a
/// turn: 256 KiB take about 40 us to copy.
pub const SEND_CHUNK_BYTES: usize = 256 << 10;

/// A connection of this shard. The index is dense and reused; the generation tells the
/// users of one index apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnKey {
    /// Position in tables of connections.
    pub index: u32,
    /// Which use of the position.
    pub generation: u32,
}

/// One of the listeners given to [`Driver::listen`], in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerId(pub u16);

impl ListenerId {
    /// A place in a table of listeners: one that is free, or else a new one.
    fn place<T>(listeners: &mut Vec<Option<T>>, listener: T) -> Self {
        let free = listeners.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            listeners.push(None);
            listeners.len() - 1
        });
        listeners[place] = Some(listener);
        Self(place as u16)
    }
}

/// A received buffer on loan until the next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loan {
    id: u16,
    len: u32,
}

/// What happened since the last turn.
#[derive(Debug)]
pub enum Event {
    /// A client connected; hand it to [`Driver::open`] or drop it.
    Accepted(ListenerId, Socket),
    /// Accepting failed, for want of descriptors mostly; it goes on by itself.
    AcceptFailed(io::Error),
    /// What [`Driver::connect`] began has succeeded; if it has not, `Failed` says so.
    Connected(ConnKey),
    /// Bytes arrived: see [`Driver::bytes`].
    Received(ConnKey, Loan),
    /// The peer will send no more.
    Ended(ConnKey),
    /// The connection broke.
    Failed(ConnKey, io::Error),
    /// The peer takes nothing any more, and what was in flight is lost. What it has sent itself
    /// still comes, and its end after that.
    Deaf(ConnKey, io::Error),
    /// What [`Driver::release`] has asked for: the connection is the caller's, and the key is dead.
    Released(ConnKey, Socket),
    /// A payload has left whole; its memory comes back for reuse.
    Sent(ConnKey, Payload),
    /// Another thread rang the [`Waker`].
    Woken,
}

/// How long a turn may sleep when nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: there is work to do.
    Poll,
    /// At most so many nanoseconds.
    AtMost(u64),
    /// Until something happens.
    Forever,
}

impl Wait {
    /// The shorter of this and `ns`.
    pub fn at_most(self, ns: u64) -> Self {
        match self {
            Self::Poll => Self::Poll,
            Self::AtMost(other) => Self::AtMost(other.min(ns)),
            Self::Forever => Self::AtMost(ns),
        }
    }
}

/// What a shard's loop needs of the kernel.
///
/// Every connection has at most one payload in flight. Calls about a key that is closed
/// already are ignored.
pub trait Driver {
    /// Which driver this is.
    fn kind(&self) -> DriverKind;

    /// Starts accepting; listeners are numbered in the order given. The number of one that has
    /// been closed serves again in a later turn.
    ///
    /// # Errors
    /// When the kernel refuses to watch the descriptor.
    fn listen(&mut self, listener: Arc<OwnedFd>) -> io::Result<ListenerId>;

    /// Closes all listeners, as [`Self::close_listener`] does.
    fn stop_listening(&mut self);

    /// Stops accepting on a listener. Its socket listens no more, whoever else has it open: those
    /// whom the kernel had taken in and nobody has accepted are reset, and others are refused.
    fn close_listener(&mut self, listener: ListenerId);

    /// Takes a connection over and starts receiving.
    ///
    /// # Errors
    /// When the kernel refuses, or the socket is another kind of driver's; it is closed then.
    fn open(&mut self, socket: Socket) -> io::Result<ConnKey>;

    /// Begins to connect to a server. `Connected` follows and receiving starts, or `Failed`;
    /// nothing can be sent before. It may take as long as the kernel tries: who does not
    /// want to wait for that closes.
    ///
    /// # Errors
    /// When the process has no descriptor left for it, or the kernel knows at once that it
    /// cannot.
    fn connect(&mut self, to: SocketAddr) -> io::Result<ConnKey>;

    /// Stops receiving. What has been received already still arrives as events, and so does a
    /// reset by the peer; its end in order does not. After that end, too, a reset is told.
    fn pause(&mut self, conn: ConnKey);

    /// Starts receiving again.
    fn resume(&mut self, conn: ConnKey);

    /// Says whether a connection receives long content: then one large piece at a time, after
    /// which it is paused until [`Driver::resume`]. What is sent on piece by piece is still in
    /// the processor's caches then. Returns whether the driver can do that.
    fn receive_by_pieces(&mut self, conn: ConnKey, on: bool) -> bool {
        let _ = (conn, on);
        false
    }

    /// Says to how many connections is about to be sent before the next turn. Where they are
    /// few, a driver may send at once, which spares the turn that the completions would be.
    fn expect_sends(&mut self, _connections: usize) {}

    /// Sends a payload. Returns it when it left at once; otherwise a `Sent` follows, or a
    /// `Deaf`. Nothing else may be in flight for this connection.
    fn send(&mut self, conn: ConnKey, payload: Payload) -> Option<Payload>;

    /// Bytes of the payload in flight that have not left yet.
    fn unsent(&self, conn: ConnKey) -> usize;

    /// Tells the peer that no more will be sent; receiving goes on.
    fn finish(&mut self, conn: ConnKey);

    /// Gives a connection up that has nothing in flight, so that another driver can open it:
    /// `Released` follows, unless it is closed before. What has been received already still
    /// arrives as events before that; what has not goes with it.
    fn release(&mut self, conn: ConnKey);

    /// Tells the peer that the connection is broken (RFC 9293 section 3.10.5): what has been sent
    /// is not whole. To be closed after it.
    fn reset(&mut self, conn: ConnKey);

    /// Closes, dropping what is in flight. The key is dead from now on; no event names it
    /// that was not made before.
    fn close(&mut self, conn: ConnKey);

    /// The bytes of a loan of this turn.
    fn bytes(&self, loan: Loan) -> &[u8];

    /// Keeps a loan's bytes beyond the turn, to be sent on from where they are; the loan is
    /// over. None when too many are kept already: then they have to be copied.
    fn keep(&mut self, loan: Loan) -> Option<Kept>;

    /// Submits what is queued without waiting, so that replies leave amid a long turn.
    ///
    /// # Errors
    /// When the ring or the poll set itself fails; the shard cannot go on then.
    fn submit(&mut self) -> io::Result<()>;

    /// Takes back all loans, submits everything, waits, and appends what happened.
    ///
    /// # Errors
    /// As for [`Driver::submit`].
    fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()>;

    /// How often receiving was put off because all receive buffers were filled.
    fn starved(&self) -> u64;

    /// A handle by which other threads end this driver's sleep.
    fn waker(&self) -> Waker;

    /// Wakes another driver, at the latest with the next [`Driver::turn`] or
    /// [`Driver::submit`]; cheaper than the waker itself where both are rings.
    fn wake(&mut self, waker: &Waker) {
        waker.wake();
    }

    /// Bytes of a connection that have come and are in no event yet.
    fn unreceived(&self, conn: ConnKey) -> usize;

    /// The number of a connection's descriptor, for who looks at the process from outside.
    fn number(&self, conn: ConnKey) -> Option<i32>;

    /// Both clocks.
    fn now(&self) -> Now {
        clock::now()
    }

    /// The monotonic clock.
    fn monotonic(&self) -> Nanos {
        clock::monotonic()
    }

    /// Processor time of the thread that the driver is on.
    fn cpu_time(&self) -> Nanos {
        clock::of_this_thread()
    }
}
