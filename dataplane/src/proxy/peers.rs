//! The two kinds of connections of a proxy, and what one exchange between them has come to.
//!
//! Owns the state; decides nothing.
//!
//! ```text
//! client:   Head --head is whole--> Exchange --answered--> Head ...
//!             |                        |  \--101--> Tunnel
//!             +---- refused, last -----+-----> Closing --peer gone, or its time is up--> gone
//! upstream: Connecting --> Busy <--answered, request--> Idle --lent--> another shard's Idle
//!                            \--101--> Tunnel
//! ```

#![forbid(unsafe_code)]

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use shards::config::{BackendId, RuleId};
use shards::time::Nanos;
use shards::wheel::TimerId;

use super::buffers::Buffers;
use super::cause::Cause;
use super::id::RequestId;
use super::pending::Output;
use crate::http1::write::Address;
use crate::http1::{Body, Framing, Method, Refusal, Scan};
use crate::runtime::ConnKey;

/// Where a client's connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Between requests, or amid a head.
    Head,
    /// A request is being answered.
    Exchange,
    /// Bytes go both ways as they come.
    Tunnel,
    /// The last answer is on its way; what still comes is thrown away.
    Closing,
}

/// A deadline, and the timer that looks at it no later. The timer is left alone when the
/// deadline moves away, so that a steady stream of requests sets none.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    pub(super) deadline: Nanos,
    pub(super) armed: Option<(TimerId, Nanos)>,
}

/// A client's connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) key: ConnKey,
    pub(super) listener: u16,
    pub(super) ip: IpAddr,
    /// The same as it is written.
    pub(super) address: Address,
    pub(super) stage: Stage,
    /// Received and not used, behind the first `skip` bytes: part of a head, or of what follows
    /// the request at hand. Empty when nothing is left.
    pub(super) input: Vec<u8>,
    pub(super) skip: usize,
    /// Whether, while it is being fed, more of its bytes follow the head at hand.
    pub(super) behind: bool,
    pub(super) scan: Scan,
    pub(super) out: Output,
    pub(super) alarm: Alarm,
    /// The request at hand, while `stage` is `Exchange` or `Tunnel`.
    pub(super) exchange: Option<Box<Exchange>>,
    /// Whether receiving is stopped.
    pub(super) paused: bool,
    /// Whether the client will send no more.
    pub(super) ended: bool,
    /// Whether our side is finished and the client's end is awaited.
    pub(super) lingering: bool,
    /// Whether its last answer was cut short, which the end of the connection has to tell.
    pub(super) broken: bool,
    /// Whether its last answer ends with the connection.
    pub(super) by_close: bool,
    /// Whether the clock runs for a head that has begun.
    pub(super) heading: bool,
    /// Whether the client is told, once it has taken all, that no more comes.
    pub(super) finishing: bool,
    /// Whether `input` is to be looked at in this turn.
    pub(super) waiting: bool,
}

/// One request and its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) id: RequestId,
    pub(super) started: Nanos,
    /// Who answers it.
    pub(super) upstream: Option<ConnKey>,
    /// Where it went, for a second try and for the records.
    pub(super) endpoint: Option<Target>,
    pub(super) head: Head,
    /// What is still to come of the request.
    pub(super) request: Body,
    /// Bytes of the request's content so far, and those of them that nobody wanted.
    pub(super) request_bytes: u64,
    pub(super) discarded: u64,
    /// The same when its speed was last looked at.
    pub(super) request_bytes_then: u64,
    /// The answer's status, once its head has come.
    pub(super) status: u16,
    /// Bytes of the answer's content so far.
    pub(super) response_bytes: u64,
    /// How the content is sent to the client.
    pub(super) response: Framing,
    /// When the answer's head came.
    pub(super) answered: Option<Nanos>,
    /// Why it is our own answer, or was broken off.
    pub(super) cause: Option<Cause>,
    /// What was wrong with the answer's head.
    pub(super) refusal: Option<Refusal>,
    pub(super) tries: u8,
    /// Whether it has been sent a second time.
    pub(super) resent: bool,
    /// Whether the server has said that it wants the content.
    pub(super) continued: bool,
    /// Interim answers so far.
    pub(super) interims: u16,
    /// Whether the client takes trailers.
    pub(super) trailers: bool,
    /// Whether the client's connection ends with the answer.
    pub(super) close: bool,
    /// When something last came or went.
    pub(super) progress: Nanos,
    /// How long it may not.
    pub(super) patience: Nanos,
    /// How long one server may take in all, and when that is over for the one at hand. What the
    /// client takes for its part is not counted.
    pub(super) backend: Nanos,
    pub(super) backend_until: Nanos,
    /// When all must be over.
    pub(super) until: Nanos,
    /// The client's own name for it, if that is kept.
    pub(super) given: Vec<u8>,
    /// The record's beginning, if there is an access log.
    pub(super) record: Vec<u8>,
    /// Fields that the limiter adds to the answer.
    pub(super) extra: Vec<u8>,
    /// Which idle connection of another shard is waited for, and whether one has been.
    pub(super) borrowing: Option<u32>,
    pub(super) borrowed: bool,
    /// The head, while another shard decides on a limit, or looks for an idle connection.
    pub(super) held: Vec<u8>,
    /// Limits that have been asked, and the generation of the configuration that has them.
    pub(super) limits: usize,
    pub(super) generation: u64,
    /// Which question is open.
    pub(super) asked: u32,
}

impl Client {
    /// Whether nothing can come behind the request at hand.
    pub(super) fn is_last(&self) -> bool {
        self.ended && self.input.is_empty() && !self.behind
    }

    /// Whether it owes bytes of the request at hand, and nobody holds it back.
    pub(super) fn owes(&self) -> bool {
        !self.paused && self.exchange.as_ref().is_some_and(|exchange| exchange.awaits_content())
    }
}

impl Default for Exchange {
    fn default() -> Self {
        let head = Head {
            is_head: false,
            method: Method::Get,
            idempotent: false,
            old: false,
            upgrade: false,
            expects_continue: false,
        };
        Self {
            id: RequestId::default(),
            started: Nanos(0),
            upstream: None,
            endpoint: None,
            head,
            request: Body::Length(0),
            request_bytes: 0,
            discarded: 0,
            request_bytes_then: 0,
            status: 0,
            response_bytes: 0,
            response: Framing::None,
            answered: None,
            cause: None,
            refusal: None,
            tries: 0,
            resent: false,
            continued: false,
            interims: 0,
            trailers: false,
            close: false,
            progress: Nanos(0),
            patience: Nanos(0),
            backend: Nanos(0),
            backend_until: Nanos(0),
            until: Nanos(0),
            given: Vec::new(),
            record: Vec::new(),
            extra: Vec::new(),
            borrowing: None,
            borrowed: false,
            held: Vec::new(),
            limits: 0,
            generation: 0,
            asked: 0,
        }
    }
}

impl Exchange {
    /// The client's own name for it.
    pub(super) fn given_id(&self) -> Option<&[u8]> {
        (!self.given.is_empty()).then_some(&self.given)
    }

    /// Whether the client owes bytes: not while it waits for a 100.
    pub(super) fn awaits_content(&self) -> bool {
        let waits = self.head.expects_continue && self.request_bytes == 0 && !self.continued;
        !self.request.is_done() && !waits
    }

    /// Whether an answer is under way whose end is the connection's.
    pub(super) fn ends_with_connection(&self) -> bool {
        self.status != 0 && self.response == Framing::UntilClose
    }

    /// Makes it ready for the next request; keeps the memory of short texts.
    pub(super) fn clear(&mut self, buffers: &mut Buffers) {
        buffers.put(&mut self.record);
        buffers.put(&mut self.held);
        let (mut given, mut extra) =
            (std::mem::take(&mut self.given), std::mem::take(&mut self.extra));
        given.clear();
        extra.clear();
        *self = Self { given, extra, ..Self::default() };
    }
}

/// What is remembered of a request's head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// Whether the answer has no content whatever its head says.
    pub(super) is_head: bool,
    pub(super) method: Method,
    /// Whether a second one does what one does (RFC 9110 section 9.2.2).
    pub(super) idempotent: bool,
    /// Whether the client speaks HTTP/1.0.
    pub(super) old: bool,
    /// Whether it wants to speak another protocol.
    pub(super) upgrade: bool,
    /// Whether it waits for a 100 before it sends the content.
    pub(super) expects_continue: bool,
}

/// The endpoint of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// The same as it is written.
    pub(super) text: Written,
    /// The endpoint's number on this node, the same in every generation.
    pub(super) slot: u32,
    /// Its number in this generation, and what led to it.
    pub(super) index: u32,
    pub(super) generation: u64,
    pub(super) rule: RuleId,
    pub(super) backend: BackendId,
}

/// An address with its port as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    text: [u8; Self::LONGEST],
    len: u8,
}

impl Written {
    const LONGEST: usize = 55;

    pub(super) fn of(address: SocketAddr) -> Self {
        let mut text = [0; Self::LONGEST];
        let mut left = &mut text[..];
        // What does not fit, which only a scope can cause, is cut.
        let _ = write!(left, "{address}");
        let len = (Self::LONGEST - left.len()) as u8;
        Self { text, len }
    }

    pub(super) fn get(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }
}

/// Where an upstream connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Connecting,
    Busy,
    Idle,
    Tunnel,
}

/// A connection to a server.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) key: ConnKey,
    pub(super) target: Target,
    pub(super) state: Use,
    /// Whose request it answers.
    pub(super) client: Option<ConnKey>,
    /// Whether any byte has come of the answer at hand.
    pub(super) answering: bool,
    /// Whether it has answered a request before.
    pub(super) reused: bool,
    /// Whether the request at hand may be sent again, and all of it that has been sent.
    pub(super) replayable: bool,
    pub(super) kept: Vec<u8>,
    /// Part of an answer's head.
    pub(super) input: Vec<u8>,
    pub(super) scan: Scan,
    /// What is still to come of the answer, once its head is there.
    pub(super) response: Option<Body>,
    /// Whether the server lets this connection live after the answer.
    pub(super) keep_alive: bool,
    pub(super) out: Output,
    pub(super) alarm: Alarm,
    pub(super) paused: bool,
    /// Since when, where a client's slowness is the reason.
    pub(super) held_since: Option<Nanos>,
    /// Whether it receives long content piece by piece, and is paused after each.
    pub(super) pieces: bool,
    /// Whether the server takes nothing any more.
    pub(super) deaf: bool,
    /// Whether it has reset the connection: what has come of it may still be read, and is not
    /// whole because it ends.
    pub(super) broken: bool,
    /// Whether the server of a tunnel will send no more.
    pub(super) ended: bool,
    /// Whether the server is told, once it has taken all, that no more comes.
    pub(super) finishing: bool,
}
