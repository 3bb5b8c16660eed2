//! One client's connection: session, input, output, and what it waits for.
//!
//! A value without references to the loop, so that it can move to another shard.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use shards::command::LongOp;
use shards::order::Order;
use shards::reply::Reply;
use shards::session::Session;
use shards::wheel::TimerId;

use super::across::{Abroad, Delayed};
use super::input::Input;
use crate::runtime::ConnKey;

/// Whether further requests of a connection may be parsed.
#[derive(Debug)]
pub(super) enum Gate {
    /// Yes.
    Open,
    /// After the request last parsed has been executed: it may change how the rest is
    /// read, or take long.
    Barrier,
    /// After this operation.
    Long(Box<LongOp>),
    /// After earlier requests have been answered by other shards.
    Behind,
    /// After this client's operation over several shards.
    Wide,
    /// Never again.
    Shut,
}

impl Gate {
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }
}

/// Why a connection ends; each has its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Peer,
    Failed,
    Quit,
    Protocol,
    Query,
    Http,
    Output,
    Idle,
    Killed,
    Memory,
    Drained,
}

/// See the module's text.
pub(super) struct Conn {
    pub(super) key: ConnKey,
    pub(super) session: Session,
    pub(super) input: Input,
    pub(super) reply: Reply,
    pub(super) gate: Gate,
    /// Replies owed by other shards, and those behind them.
    pub(super) order: Order,
    pub(super) abroad: Abroad,
    /// Requests that wait for them.
    pub(super) behind: VecDeque<Delayed>,
    /// Bytes of `input.unread` that requests in the batch refer to or that are executed.
    pub(super) consumed: usize,
    /// Bytes of the payload in flight.
    pub(super) in_flight: usize,
    /// Its pending output as the server's sum has it.
    pub(super) charged: usize,
    /// Whether it has to take some of its replies before anything more is done for it.
    pub(super) full: bool,
    pub(super) sending: bool,
    /// Whether it is in the list of connections with something to send.
    pub(super) dirty: bool,
    /// Whether it is in the list of connections with something to parse.
    pub(super) waiting: bool,
    /// Whether it is in the list of those that may go on with what waits behind their replies.
    pub(super) awake: bool,
    /// Whether it is in the list of those that wait for a parcel.
    pub(super) thirsty: bool,
    /// Whether the peer has said that it will send no more.
    pub(super) ended: bool,
    /// Whether the driver has been told not to receive.
    pub(super) paused: bool,
    /// Set once no more is executed: it goes when its output is out.
    pub(super) closing: Option<Reason>,
    /// Whether the output is out and the peer's end is awaited.
    pub(super) lingering: bool,
    pub(super) timer: Option<TimerId>,
    /// What was unsent when the timer was set.
    pub(super) unsent_then: usize,
    /// What was unsent when idle clients were last looked for.
    pub(super) unsent_at_sweep: usize,
    pub(super) received: u64,
    pub(super) sent: u64,
}

impl Conn {
    pub(super) fn new(key: ConnKey, session: Session) -> Self {
        Self {
            key,
            session,
            input: Input::default(),
            reply: Reply::default(),
            gate: Gate::Open,
            order: Order::default(),
            abroad: Abroad::default(),
            behind: VecDeque::new(),
            consumed: 0,
            in_flight: 0,
            charged: 0,
            full: false,
            sending: false,
            dirty: false,
            waiting: false,
            awake: false,
            thirsty: false,
            ended: false,
            paused: false,
            closing: None,
            lingering: false,
            timer: None,
            unsent_then: 0,
            unsent_at_sweep: 0,
            received: 0,
            sent: 0,
        }
    }

    /// Bytes of its replies that it has not taken. Long values count whole: the reply may be
    /// all that still holds them.
    pub(super) fn pending_output(&self) -> usize {
        self.in_flight + self.reply.len() + self.order.len()
    }

    /// Whether further requests may be parsed.
    pub(super) fn is_open(&self) -> bool {
        self.gate.is_open() && !self.full
    }

    /// Whether requests that wait may be carried out.
    pub(super) fn may_go_on(&self) -> bool {
        self.closing.is_none() && !self.full
    }

    /// It may go on with what waits behind its replies; `list` has it once.
    pub(super) fn awaken(&mut self, list: &mut Vec<ConnKey>) {
        if !std::mem::replace(&mut self.awake, true) {
            list.push(self.key);
        }
    }

    /// Whether a request has to wait for earlier ones of this connection.
    pub(super) fn is_blocked(&self) -> bool {
        !self.behind.is_empty() || matches!(self.gate, Gate::Wide | Gate::Long(_))
    }

    /// Whether nothing at all is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.is_open()
            && self.input.is_empty()
            && !self.sending
            && self.reply.is_empty()
            && self.order.is_empty()
            && self.session.transaction.is_none()
    }
}
