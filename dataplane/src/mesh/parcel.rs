//! What travels between two shards: requests out, their replies back in the same box.
//!
//! Owns the layout. A parcel belongs to the shard that fills it; it goes to the home of the
//! keys once, and comes back with the replies, so that whoever sends one has reserved the room
//! of its answer. Buffers stay with it and are used again.
//!
//! ```text
//! head     command (8) | slot and tag (8) | first span (4) | spans (4) | db, protocol, flags (3)
//! span     offset in `bytes` (4) | length (4), one an argument but for the name, which is empty
//! reply    end in `replies` (8) | whether it comes later (1)
//! ```

#![forbid(unsafe_code)]

use shards::command::{Args, CommandSpec, Span};
use shards::holds::OpId;
use shards::ids::{ClientId, DbId, ShardId};
use shards::operation::{PackedAnswer, PackedReply, PackedTask};
use shards::order::Seq;
use shards::reply::Protocol;
use shards::session::Face;
use shards::store::{Detached, KeyHash, Lent, LentId};

use crate::proxy::Lending;
use crate::runtime::{ConnKey, Socket};

/// Requests of one parcel.
const MOST_REQUESTS: usize = 256;
/// Bytes of their arguments; one longer request has a parcel of its own.
const MOST_BYTES: usize = 64 << 10;
/// Bytes of replies after which a parcel takes no more: those that follow travel by themselves.
pub const MOST_REPLIES: usize = 1 << 20;
/// Buffers longer than this are given back to the allocator after a trip.
const KEPT_BYTES: usize = 256 << 10;

/// Which reply a request is for; the sender's own business.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// The connection.
    pub conn: ConnKey,
    /// The hole in its replies.
    pub seq: Seq,
    /// Whether it may change something.
    pub write: bool,
    /// Whether nobody wants the reply.
    pub silent: bool,
}

/// One request; see the module's text.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// What to do.
    pub spec: &'static CommandSpec,
    /// Where its first key is at home, if it has keys.
    pub at: Option<KeyHash>,
    first_span: u32,
    spans: u32,
    /// The selected database.
    pub db: DbId,
    /// How the reply is encoded.
    pub protocol: Protocol,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// Whether it has long arguments.
    pub long: bool,
}

/// Where one reply ends.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// In the bytes.
    pub end: usize,
    /// Whether it comes later, as a message of its own.
    pub late: bool,
}

/// See the module's text.
#[derive(Debug)]
pub struct Parcel {
    /// Who fills it.
    pub owner: ShardId,
    bytes: Vec<u8>,
    spans: Vec<Span>,
    /// The requests.
    pub heads: Vec<Head>,
    /// One a request.
    pub tickets: Vec<Ticket>,
    /// Long arguments: request, argument.
    pub long: Vec<(u32, u32, Detached)>,
    /// Encoded replies.
    pub replies: Vec<u8>,
    /// One a request.
    pub ends: Vec<End>,
    /// Long values and the offsets in `replies` before which they belong.
    pub lent: Vec<(usize, Lent)>,
    /// Whatever else there is to say, in either direction.
    pub messages: Vec<Message>,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The cache, as one server or as a node of a cluster.
    Cache(Face),
    /// The proxy; which of its listeners it came to.
    Proxy(u16),
}

/// A connection on its way to the shard that will serve it.
#[derive(Debug)]
pub struct Handed {
    /// Accepted, and nothing read from it yet.
    pub socket: Socket,
    /// Its number; those of the proxy have none.
    pub client: ClientId,
    /// Who takes it.
    pub service: Service,
}

/// What is said between shards beside plain requests.
#[derive(Debug)]
pub enum Message {
    /// A part of an operation.
    Task(PackedTask),
    /// What came of it.
    Answer(OpId, Vec<PackedAnswer>),
    /// A reply that was not ready when its parcel went back.
    Late(Ticket, PackedReply),
    /// A client watches nothing any more.
    Farewell(ClientId),
    /// A connection to serve.
    Connection(Handed),
    /// So many bytes are wanted for another shard's keys.
    MakeRoom(u64),
    /// What is wanted, or lent, of idle connections to servers.
    Lending(Lending),
    /// A borrowed value is read no more.
    Settled(LentId),
}

impl Parcel {
    /// An empty one.
    pub fn new(owner: ShardId) -> Self {
        Self {
            owner,
            bytes: Vec::new(),
            spans: Vec::new(),
            heads: Vec::new(),
            tickets: Vec::new(),
            long: Vec::new(),
            replies: Vec::new(),
            ends: Vec::new(),
            lent: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty() && self.messages.is_empty()
    }

    /// Whether a request more should wait for the next parcel.
    pub fn is_full(&self) -> bool {
        self.heads.len() >= MOST_REQUESTS || self.bytes.len() >= MOST_BYTES
    }

    /// Adds a request; its long arguments, if any, follow in `long` before it travels.
    pub fn push(&mut self, head: NewHead, args: &Args<'_>, ticket: Ticket) -> u32 {
        let first_span = self.spans.len() as u32;
        let mut long = false;
        self.spans.push(Span { start: 0, len: 0 }); // the name is in the head
        for n in 1..args.len() {
            if args.blob(n).is_some() {
                long = true;
                self.spans.push(Span::ELSEWHERE);
                continue;
            }
            let arg = args.at(n);
            self.spans.push(Span { start: self.bytes.len() as u32, len: arg.len() as u32 });
            self.bytes.extend_from_slice(arg);
        }
        let NewHead { spec, at, db, protocol, no_touch } = head;
        let spans = self.spans.len() as u32 - first_span;
        self.heads.push(Head { spec, at, first_span, spans, db, protocol, no_touch, long });
        self.tickets.push(ticket);
        self.heads.len() as u32 - 1
    }

    /// Adds a request of these arguments, none of which is long.
    pub fn push_words<'a>(
        &mut self,
        head: NewHead,
        words: impl Iterator<Item = &'a [u8]>,
        ticket: Ticket,
    ) {
        let first_span = self.spans.len() as u32;
        self.spans.push(Span { start: 0, len: 0 }); // the name is in the head
        for word in words {
            self.spans.push(Span { start: self.bytes.len() as u32, len: word.len() as u32 });
            self.bytes.extend_from_slice(word);
        }
        let NewHead { spec, at, db, protocol, no_touch } = head;
        let spans = self.spans.len() as u32 - first_span;
        self.heads.push(Head { spec, at, first_span, spans, db, protocol, no_touch, long: false });
        self.tickets.push(ticket);
    }

    /// Bytes and spans of a request's arguments.
    pub fn args(&self, head: &Head) -> (&[u8], &[Span]) {
        (&self.bytes, &self.spans[head.first_span as usize..][..head.spans as usize])
    }

    /// Makes it ready for the next trip; what it holds besides buffers must be gone.
    pub fn reset(&mut self) {
        debug_assert!(self.lent.is_empty() && self.messages.is_empty(), "all was taken out");
        self.bytes.clear();
        self.spans.clear();
        self.heads.clear();
        self.tickets.clear();
        self.long.clear();
        self.replies.clear();
        self.ends.clear();
        for buffer in [&mut self.bytes, &mut self.replies] {
            if buffer.capacity() > KEPT_BYTES {
                *buffer = Vec::new();
            }
        }
    }
}

/// What a request's head says, without where its arguments lie.
#[derive(Clone, Copy, Debug)]
pub struct NewHead {
    /// See [`Head`].
    pub spec: &'static CommandSpec,
    /// See [`Head`].
    pub at: Option<KeyHash>,
    /// See [`Head`].
    pub db: DbId,
    /// See [`Head`].
    pub protocol: Protocol,
    /// See [`Head`].
    pub no_touch: bool,
}

const _: () = {
    const fn travels<T: Send>() {}
    travels::<Parcel>();
};
