//! One simulated connection: a queue of bytes each way, with ends that close or break.
//!
//! Owns what TCP promises (RFC 9293): bytes in order, the end after them, a window that stops
//! the sender, a reset that ends both ways. Never moves a byte by itself.
//!
//! ```text
//! sent -> on the wire --deliver--> arrived -> read          window = both together
//! end:  open -> sent  --deliver, behind all bytes--> arrived
//! ```

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::socket::Fate;
use crate::runtime::ConnKey;

/// One of the two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What a client finds when it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Bytes, or nothing yet.
    Open,
    /// The server will send no more, and all it has sent is read.
    Ended,
    /// The connection was reset; what had arrived is read.
    Reset,
}

/// How far the end of a direction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Open,
    Sent,
    Arrived,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) wire: VecDeque<u8>,
    pub(super) arrived: VecDeque<u8>,
    pub(super) end: End,
}

/// Who has the server's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// Nobody yet: it waits to be accepted, or travels between shards.
    Travelling,
    /// A driver's connection.
    Open(usize, ConnKey),
    /// It is closed.
    Closed,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    pub(super) server: Server,
    /// What becomes of the end that nobody has opened.
    pub(super) fate: Option<Arc<Fate>>,
    /// Whether the client has reset it.
    pub(super) cut: bool,
    /// Whether the server has.
    pub(super) broken: bool,
}

impl Pipe {
    fn new() -> Self {
        Self { wire: VecDeque::new(), arrived: VecDeque::new(), end: End::Open }
    }

    /// Bytes that may be sent.
    pub(super) fn room(&self, window: usize) -> usize {
        let open = self.end == End::Open;
        if open { window.saturating_sub(self.wire.len() + self.arrived.len()) } else { 0 }
    }

    /// Whether something is on its way.
    pub(super) fn is_moving(&self) -> bool {
        !self.wire.is_empty() || self.end == End::Sent
    }

    fn deliver(&mut self, most: usize) {
        let n = most.min(self.wire.len());
        self.arrived.extend(self.wire.drain(..n));
        if self.wire.is_empty() && self.end == End::Sent {
            self.end = End::Arrived;
        }
    }

    pub(super) fn finish(&mut self) {
        if self.end == End::Open {
            self.end = End::Sent;
        }
    }

    fn lose_wire(&mut self) {
        self.wire.clear();
        if self.end == End::Open {
            self.end = End::Sent;
        }
    }
}

impl Link {
    pub(super) fn new(fate: Arc<Fate>) -> Self {
        Self {
            up: Pipe::new(),
            down: Pipe::new(),
            server: Server::Travelling,
            fate: Some(fate),
            cut: false,
            broken: false,
        }
    }

    pub(super) fn pipe(&mut self, way: Way) -> &mut Pipe {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    /// Lets up to `most` bytes arrive, and the end if it is next.
    pub(super) fn deliver(&mut self, way: Way, most: usize) {
        if way == Way::Up && self.server == Server::Closed {
            // Nobody is there to read it: the peer is told by a reset.
            let bytes = !self.up.wire.is_empty();
            self.up.lose_wire();
            self.up.deliver(0);
            if bytes {
                self.break_off();
            }
            return;
        }
        self.pipe(way).deliver(most);
    }

    /// Whether the server's end can be read: bytes, the end, or a reset.
    pub(super) fn is_readable(&self) -> bool {
        !self.up.arrived.is_empty() || self.up.end == End::Arrived || self.cut
    }

    /// The server resets: what has not arrived at the client is lost.
    pub(super) fn break_off(&mut self) {
        self.broken = true;
        self.down.lose_wire();
    }

    /// The client resets. What had arrived at the server may be read first, unless it is lost.
    pub(super) fn cut(&mut self, lose_arrived: bool) {
        self.cut = true;
        self.up.lose_wire();
        self.down.lose_wire();
        self.down.arrived.clear();
        if lose_arrived {
            self.up.arrived.clear();
        }
    }

    /// The server closes: in order when it has read all that came, else by a reset (RFC 9293
    /// section 3.6.1).
    pub(super) fn close(&mut self) {
        self.server = Server::Closed;
        if self.up.arrived.is_empty() {
            self.down.finish();
        } else {
            self.up.arrived.clear();
            self.break_off();
        }
    }

    /// Looks whether the end that nobody has opened was dropped.
    pub(super) fn heed_fate(&mut self) {
        let Some(fate) = self.fate.take_if(|fate| fate.dropped.load(Ordering::Acquire)) else {
            return;
        };
        if let Some(text) = fate.told.get() {
            self.down.wire.extend(*text);
        }
        self.close();
    }
}
