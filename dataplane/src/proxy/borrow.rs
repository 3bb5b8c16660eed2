//! Idle connections to servers that travel between the shards of a node.
//!
//! A shard that has none to an endpoint asks another one that has, before it dials. Owns what has
//! been asked and what is being given away. Whose connection is idle is read from counters that
//! each shard writes for itself, and may be out of date: then the answer is none, and the asker
//! dials.
//!
//! ```text
//! asker: head kept --Wanted--> lender: idle --release--> Lent(socket) --> asker: idle, head again
//!                                           \--gone------> Lent(none) ---> dialled
//! ```

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use shards::ids::ShardId;
use shards::time::Nanos;

use super::begin::Heard;
use super::peers::{Alarm, Client, Target, Upstream, Use};
use super::pending::Output;
use super::{Hands, Proxy, timers};
use crate::http1::Scan;
use crate::runtime::{ConnKey, Driver, Socket};

/// How long a request waits for a connection of another shard, which may be busy.
const LOAN: Nanos = Nanos(2 * Nanos::MILLISECOND.0);

/// A shard wants an idle connection.
#[derive(Debug)]
pub struct Wanted {
    /// The endpoint's number on this node.
    pub(super) slot: u32,
    /// Its address: the number may be another's by now.
    address: SocketAddr,
    /// Which question of the asker's.
    pub(super) number: u32,
}

/// The answer.
#[derive(Debug)]
pub struct Lent {
    number: u32,
    /// The connection, unless there was none any more.
    socket: Option<Socket>,
}

/// What one shard says to another of it.
#[derive(Debug)]
pub enum Lending {
    /// See [`Wanted`].
    Wanted(Wanted),
    /// See [`Lent`].
    Lent(Lent),
}

/// How many idle connections to one endpoint a shard has. Each has a cache line for itself, since
/// it is written with every request.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Idle(AtomicU32);

impl Idle {
    pub(super) fn set(&self, count: usize) {
        // An estimate for others: nothing else hangs on it.
        self.0.store(count as u32, Ordering::Relaxed);
    }

    fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// What is open with other shards.
#[derive(Debug, Default)]
pub(super) struct Loans {
    /// Own questions: their numbers, who waits, and for what.
    asked: Vec<(u32, ConnKey, Target)>,
    /// Connections that are being let go: to whom, and for which question.
    leaving: Vec<(ConnKey, ShardId, u32)>,
    /// What is to be said.
    out: Vec<(ShardId, Lending)>,
    number: u32,
}

impl Proxy {
    /// A shard that has an idle connection to an endpoint, if this one has none.
    pub(super) fn lender(&self, target: &Target, me: ShardId) -> Option<ShardId> {
        if self.draining || self.pool.has(target.slot) {
            return None;
        }
        let endpoint = self.served.get().endpoints.get(target.index as usize)?;
        let others = endpoint.shared.idle.iter().zip(0..).filter(|(_, n)| *n != me.0);
        others.filter(|(idle, _)| idle.any()).map(|(_, n)| ShardId(n)).next()
    }

    /// Asks for it; the client's head is kept meanwhile.
    pub(super) fn borrow(&mut self, client: &mut Client, target: Target, from: ShardId) {
        let loans = &mut self.loans;
        loans.number = loans.number.wrapping_add(1);
        loans.asked.push((loans.number, client.key, target));
        let wanted = Wanted { slot: target.slot, address: target.address, number: loans.number };
        loans.out.push((from, Lending::Wanted(wanted)));
        if let Some(exchange) = client.exchange.as_mut() {
            (exchange.borrowing, exchange.borrowed) = (Some(loans.number), true);
        }
    }

    /// How long a request waits for another shard.
    pub(super) fn await_loan(&mut self, client: &mut Client) {
        self.alarm_client(client, LOAN);
    }

    /// The next thing to be said to another shard.
    pub fn lending(&mut self) -> Option<(ShardId, Lending)> {
        self.loans.out.pop()
    }

    /// Another shard has said something.
    pub fn hear_lending<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        from: ShardId,
        said: Lending,
    ) {
        match said {
            Lending::Wanted(wanted) => self.lend(hands, from, &wanted),
            Lending::Lent(lent) => self.lent(hands, lent),
        }
    }

    /// Lets the connection go that has been idle for the longest time.
    fn lend<D: Driver>(&mut self, hands: &mut Hands<'_, D>, to: ShardId, wanted: &Wanted) {
        let wants = |one: &&mut Upstream| one.target.address == wanted.address;
        let key = self.pool.oldest(wanted.slot);
        let key = key.filter(|key| self.upstreams.get(*key).as_ref().is_some_and(wants));
        let Some(mut upstream) = key.and_then(|key| self.upstreams.take(key)) else {
            return self.no_loan(to, wanted.number);
        };
        self.pool.forget(wanted.slot, upstream.key);
        // Out of the table: its place there may serve again before the driver has answered.
        self.disarm(&mut upstream.alarm);
        self.loans.leaving.push((upstream.key, to, wanted.number));
        self.stats.upstreams.set(self.stats.upstreams.get() - 1);
        self.stats.idle_upstreams.set(self.pool.idle() as u64);
        hands.driver.release(upstream.key);
    }

    fn no_loan(&mut self, to: ShardId, number: u32) {
        self.loans.out.push((to, Lending::Lent(Lent { number, socket: None })));
    }

    /// The driver has let a connection go.
    pub(super) fn released(&mut self, key: ConnKey, socket: Socket) {
        if let Some((to, number)) = self.loan_of(key) {
            self.stats.lent.add(1);
            self.loans.out.push((to, Lending::Lent(Lent { number, socket: Some(socket) })));
        }
    }

    fn loan_of(&mut self, key: ConnKey) -> Option<(ShardId, u32)> {
        let at = self.loans.leaving.iter().position(|(leaving, ..)| *leaving == key)?;
        let (_, to, number) = self.loans.leaving.swap_remove(at);
        Some((to, number))
    }

    /// Something has happened to a connection that is none of ours: if it was to be let go, it
    /// has come to its end before.
    pub(super) fn loan_fails<D: Driver>(&mut self, hands: &mut Hands<'_, D>, key: ConnKey) {
        if let Some((to, number)) = self.loan_of(key) {
            hands.driver.close(key);
            self.no_loan(to, number);
        }
    }

    /// The answer to an own question: the client's request goes on, over what has come or not.
    fn lent<D: Driver>(&mut self, hands: &mut Hands<'_, D>, lent: Lent) {
        let asked = &mut self.loans.asked;
        let Some(at) = asked.iter().position(|(number, ..)| *number == lent.number) else { return };
        let (number, client, target) = asked.swap_remove(at);
        if let Some(socket) = lent.socket {
            self.take_in(hands, socket, target);
        }
        let Some(mut client) = self.clients.take(client) else { return };
        if let Some(exchange) = client.exchange.as_mut()
            && exchange.borrowing == Some(number)
            && !exchange.held.is_empty()
        {
            self.wait_no_more(hands, &mut client, target);
        }
        self.clients.put(client);
    }

    /// A request goes on, over what has come meanwhile or else over a connection of its own.
    fn wait_no_more<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        client: &mut Client,
        target: Target,
    ) {
        let Some(exchange) = client.exchange.as_mut() else { return };
        exchange.borrowing = None;
        let held = std::mem::take(&mut exchange.held);
        self.go_on(hands, client, held, Heard::Target(target));
        // What came behind the head waits in the client's input.
        if !client.input.is_empty() {
            self.feed_kept(hands, client);
        }
    }

    /// The other shard takes too long; what it still sends will be idle here.
    pub(super) fn borrows_too_long<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        client: &mut Client,
    ) -> bool {
        let waits = client.exchange.as_ref().filter(|exchange| !exchange.held.is_empty());
        let Some(number) = waits.and_then(|exchange| exchange.borrowing) else { return false };
        let asked = self.loans.asked.iter().find(|(asked, ..)| *asked == number);
        let Some((.., target)) = asked else { return false };
        self.stats.late_loans.add(1);
        self.wait_no_more(hands, client, *target);
        true
    }

    /// A connection that another shard has had.
    fn take_in<D: Driver>(&mut self, hands: &mut Hands<'_, D>, socket: Socket, target: Target) {
        let Ok(key) = hands.driver.open(socket) else { return };
        self.stats.borrowed.add(1);
        self.stats.upstreams.set(self.stats.upstreams.get() + 1);
        let mut upstream = Box::new(Upstream::new(key, target, Use::Idle));
        let endpoint = self.served.get().find(&target);
        let kept = endpoint.is_some_and(|endpoint| {
            self.pool.hold(target.slot, &endpoint.shared, hands.me.0.into());
            self.pool.put(target.slot, key)
        });
        if self.draining || !kept {
            return self.close_server(hands, upstream);
        }
        self.alarm_upstream(&mut upstream, timers::SERVER_IDLE);
        self.stats.idle_upstreams.set(self.pool.idle() as u64);
        self.upstreams.put(upstream);
    }
}

impl Upstream {
    /// A connection without a request.
    pub(super) fn new(key: ConnKey, target: Target, state: Use) -> Self {
        Self {
            key,
            target,
            state,
            client: None,
            answering: false,
            reused: false,
            replayable: false,
            kept: Vec::new(),
            input: Vec::new(),
            scan: Scan::default(),
            response: None,
            keep_alive: false,
            out: Output::default(),
            alarm: Alarm::default(),
            paused: false,
            held_since: None,
            pieces: false,
            deaf: false,
            broken: false,
            ended: false,
            finishing: false,
        }
    }
}
