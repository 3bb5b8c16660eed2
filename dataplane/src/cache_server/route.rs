//! Where each request of a connection goes on a node of several shards: done here, sent to its
//! key's home, begun as an operation over several, or kept until earlier ones are answered.
//!
//! Owns the order of one connection's requests. The rule of places is `shards::command::place`.

#![forbid(unsafe_code)]

use shards::command::{
    self, Args, CommandSpec, Flow, Group, Place, Shard, Traffic, dispatch, each_slot,
    needs_whole_shard, place,
};
use shards::ids::{DbId, ShardId};
use shards::operation::{Operation, Start};
use shards::order::Order;
use shards::reply::Reply;
use shards::session::{Face, ReplyMode, Session};
use shards::store::KeyHash;
use shards::time::Now;

use super::CacheServer;
use super::across::{Abroad, Across, Begun, Delayed, ticket};
use super::batch::{Batch, Queued};
use super::conn::{Conn, Gate};
use super::host::{View, traffic, view};
use super::parking::{Parked, Whose};
use super::runs::Ahead;
use crate::mesh::parcel::NewHead;
use crate::runtime::{ConnKey, Driver};

/// What became of a request.
pub(super) enum Routed {
    /// It was executed here.
    Done(Flow),
    /// Its reply comes later; others may follow.
    Away,
    /// It is an operation now; the connection waits for it.
    Operation,
    /// It has to wait for earlier ones.
    Waits,
}

/// A request, wherever its bytes lie.
pub(super) struct Request<'a> {
    pub(super) spec: Option<&'static CommandSpec>,
    pub(super) args: Args<'a>,
    /// Where its first key is at home.
    pub(super) first: Option<KeyHash>,
}

impl Request<'_> {
    fn delayed(&self) -> Delayed {
        Delayed::Request { spec: self.spec, args: self.args.to_owned(), first: self.first }
    }
}

/// All that carrying a request out touches, but for the bytes it lies in.
struct Desk<'a, D> {
    shard: &'a mut Shard,
    across: &'a mut Across,
    view: View<'a, D>,
    key: ConnKey,
    session: &'a mut Session,
    order: &'a mut Order,
    abroad: &'a mut Abroad,
    reply: &'a mut Reply,
    thirsty: &'a mut bool,
    noise: u64,
}

/// The desk for a connection that is taken out of its table: only these fields are borrowed.
macro_rules! desk {
    ($server:ident, $across:ident, $conn:ident, $own:ident, $noise:ident) => {
        Desk {
            shard: &mut $server.shard,
            across: $across,
            view: view!($server, $own),
            key: $conn.key,
            session: &mut $conn.session,
            order: &mut $conn.order,
            abroad: &mut $conn.abroad,
            reply: &mut $conn.reply,
            thirsty: &mut $conn.thirsty,
            noise: $noise,
        }
    };
}

impl<D: Driver> CacheServer<D> {
    /// Routes a request of the batch; what has to wait is kept with the connection.
    pub(super) fn route(
        &mut self,
        conn: &mut Conn,
        batch: &Batch,
        queued: &Queued,
        next: Option<&Queued>,
        now: Now,
    ) -> Routed {
        let own = own_traffic(queued.spec, conn, &self.driver);
        let noise = self.noise();
        let args = batch.args(queued, &self.driver, &conn.input.unread);
        let first = (queued.key != 0).then_some(queued.at);
        let request = Request { spec: queued.spec, args, first };
        if conn.is_blocked() {
            conn.behind.push_back(request.delayed());
            return Routed::Waits;
        }
        let starts_run = self.starts_run(conn, batch, &request, next);
        let Some(across) = &mut self.across else { return Routed::Waits };
        if starts_run {
            conn.behind.push_back(request.delayed());
            conn.awaken(&mut across.awake);
            return Routed::Waits;
        }
        let routed = desk!(self, across, conn, own, noise).carry_out(&request, now);
        if let Routed::Waits = routed {
            conn.behind.push_back(request.delayed());
        }
        routed
    }

    /// Routes a request that had to wait.
    fn route_delayed(&mut self, conn: &mut Conn, request: &Request<'_>, now: Now) -> Routed {
        let own = own_traffic(request.spec, conn, &self.driver);
        let noise = self.noise();
        let Some(across) = &mut self.across else { return Routed::Waits };
        desk!(self, across, conn, own, noise).carry_out(request, now)
    }

    /// Does to a connection what routing has led to.
    pub(super) fn after_route(
        &mut self,
        conn: &mut Conn,
        spec: Option<&'static CommandSpec>,
        routed: Routed,
    ) {
        match routed {
            Routed::Done(flow) => self.follow(conn, spec, flow),
            Routed::Away => self.follow(conn, spec, Flow::Done),
            Routed::Operation => conn.gate = Gate::Wide,
            Routed::Waits => {
                if matches!(conn.gate, Gate::Open | Gate::Barrier) {
                    conn.gate = Gate::Behind;
                }
            }
        }
    }

    /// Goes on with what waited behind a connection's replies.
    pub(super) fn run_behind(&mut self, key: ConnKey, now: Now) {
        let Some(place) = self.conns.get_mut(key.index as usize) else { return };
        let alive = |conn: &mut Box<Conn>| conn.key == key && conn.closing.is_none();
        let Some(mut conn) = place.take_if(alive) else { return };
        conn.awake = false;
        let mut looked_at = 0;
        while !matches!(conn.gate, Gate::Wide | Gate::Long(_)) && conn.may_go_on() {
            if looked_at == 0 {
                match self.look_ahead(&conn) {
                    Ahead::Run(homes) => {
                        self.begin_run(&mut conn, homes);
                        break;
                    }
                    Ahead::Single(count) => looked_at = count.max(1),
                }
            }
            looked_at -= 1;
            let Some(next) = conn.behind.pop_front() else {
                if matches!(conn.gate, Gate::Behind) {
                    conn.gate = Gate::Open;
                    self.parse_later(&mut conn);
                }
                break;
            };
            if conn.reply.bytes.capacity() == 0 {
                conn.reply.bytes = self.pool.take();
            }
            match next {
                Delayed::Fault(fault) if conn.abroad.is_empty() => self.fault(&mut conn, &fault),
                Delayed::Fault(fault) => {
                    conn.behind.push_front(Delayed::Fault(fault));
                    break;
                }
                Delayed::Request { spec, args, first } => {
                    let request = Request { spec, args: args.as_args(), first };
                    let routed = self.route_delayed(&mut conn, &request, now);
                    if let Routed::Waits = routed {
                        conn.behind.push_front(Delayed::Request { spec, args, first });
                        break;
                    }
                    let before = std::mem::replace(&mut conn.gate, Gate::Open);
                    self.after_route(&mut conn, spec, routed);
                    if conn.gate.is_open() {
                        conn.gate = before;
                    }
                }
            }
        }
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(key);
        }
        self.conns[key.index as usize] = Some(conn);
    }

    /// Something that held a connection up is over.
    pub(super) fn reopen(&mut self, conn: &mut Conn) {
        if conn.behind.is_empty() {
            conn.gate = Gate::Open;
            self.parse_later(conn);
        } else {
            conn.gate = Gate::Behind;
            if let Some(across) = &mut self.across {
                conn.awaken(&mut across.awake);
            }
        }
    }

    /// Something random, for what needs no more than to differ.
    pub(super) fn noise(&mut self) -> u64 {
        self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.noise ^ self.noise >> 32
    }
}

fn own_traffic<D: Driver>(spec: Option<&'static CommandSpec>, conn: &Conn, driver: &D) -> Traffic {
    // Only these commands look at the node around the shard.
    let looks = spec.is_some_and(|spec| matches!(spec.group, Group::Server | Group::Connection));
    if looks { traffic(conn, driver) } else { Traffic::default() }
}

impl<D: Driver> Desk<'_, D> {
    fn carry_out(&mut self, request: &Request<'_>, now: Now) -> Routed {
        let Some(spec) = request.spec else { return self.here(request, now) };
        let me = self.shard.id;
        let first = request.first.map(|at| at.slot);
        match place(self.shard, self.session, spec, &request.args, first) {
            // What is no key's is done after all that went before.
            Place::Connection if !self.abroad.is_empty() => Routed::Waits,
            Place::Connection => self.here(request, now),
            Place::At(home) if !self.abroad.lets(home, is_write(spec)) => Routed::Waits,
            Place::At(home) if home != me => self.send(home, spec, request),
            Place::At(_) if self.across.home.is_idle() => self.here(request, now),
            Place::At(_) => self.here_unless_held(spec, request, now),
            Place::Wide if !self.abroad.is_empty() => Routed::Waits,
            Place::Wide => self.begin(spec, &request.args, now),
        }
    }

    fn here(&mut self, request: &Request<'_>, now: Now) -> Routed {
        let out = self.order.out(self.reply);
        let Self { shard, session, view, .. } = self;
        Routed::Done(dispatch(shard, session, view, request.spec, &request.args, now, out))
    }

    /// Amid operations: what one of them holds has to wait for it.
    fn here_unless_held(
        &mut self,
        spec: &'static CommandSpec,
        request: &Request<'_>,
        now: Now,
    ) -> Routed {
        let whole = needs_whole_shard(self.session, spec, &request.args);
        let whose = Whose { shard: self.shard.id, conn: self.key };
        let overtakes = self.abroad.is_late() && self.across.parking.has(whose);
        let (mut held, home) = (false, &self.across.home);
        each_slot(self.session, spec, &request.args, &mut |slot| held |= home.is_held(slot));
        if !whole && !overtakes && !held {
            return self.here(request, now);
        }
        // These get their turn among operations, or need the session.
        if whole || matches!(spec.name, "exec" | "watch") {
            // The reply of an operation is for the place behind all that went before.
            let first = !overtakes && self.abroad.is_empty();
            return if first { self.begin(spec, &request.args, now) } else { Routed::Waits };
        }
        let silent = self.takes_no_reply(spec, &request.args);
        let ticket = ticket(self.key, self.order.open(), spec, silent);
        self.abroad.leave(self.shard.id, ticket.write);
        self.abroad.be_late();
        self.across.park(whose, Parked::new(ticket, self.session, spec, &request.args));
        Routed::Away
    }

    /// Sends a request to its key's home.
    fn send(&mut self, home: ShardId, spec: &'static CommandSpec, request: &Request<'_>) -> Routed {
        let Some(open) = self.across.mesh.open(home) else {
            if cfg!(corelane_mutant = "drops_when_full") {
                return Routed::Done(Flow::Done);
            }
            if !std::mem::replace(self.thirsty, true) {
                self.across.thirsty.push(self.key);
            }
            return Routed::Waits;
        };
        let session = &mut *self.session;
        let silent = takes_no_reply(session);
        note_command(session, spec, &request.args);
        let head = NewHead {
            spec,
            at: request.first,
            db: session.db,
            protocol: session.protocol,
            no_touch: session.no_touch,
        };
        let ticket = ticket(self.key, self.order.open(), spec, silent);
        self.abroad.leave(home, ticket.write);
        open.push(head, &request.args, ticket);
        Routed::Away
    }

    fn takes_no_reply(&mut self, spec: &'static CommandSpec, args: &Args<'_>) -> bool {
        note_command(self.session, spec, args);
        takes_no_reply(self.session)
    }

    /// Begins an operation over several shards.
    fn begin(&mut self, spec: &'static CommandSpec, args: &Args<'_>, now: Now) -> Routed {
        let silent = self.takes_no_reply(spec, args);
        let start = Start {
            id: self.across.next_op(),
            partition: self.shard.partition,
            databases: command::databases(self.shard, self.session),
            noise: self.noise,
            only: (self.session.face == Face::Cluster).then_some(self.shard.id),
        };
        let mark = self.reply.mark();
        if !command::admit(self.shard, spec, now, self.reply) {
            if silent {
                self.reply.rewind(mark);
            }
            return Routed::Done(Flow::Done);
        }
        let (operation, step, mut specs) = if spec.name == "exec" {
            let refused = command::refuse_exec(self.shard, self.session, now);
            let (operation, step) = Operation::of_exec(start, self.session, refused);
            (operation, step, vec![spec])
        } else {
            let (operation, step) = Operation::of_command(start, self.session, spec, args);
            (operation, step, Vec::new())
        };
        specs.extend(operation.commands());
        let watches = specs.iter().any(|spec| spec.name == "watch");
        let keys = spec.keys.positions(args.len()).filter(|_| watches);
        let db = self.session.db;
        let watch: Vec<(DbId, Box<[u8]>)> = keys.map(|n| (db, args.at(n).into())).collect();
        let number = start.id.number;
        let client = self.session.id;
        let begun = Begun { operation, client, conn: self.key, silent, specs, watch };
        self.across.operations.insert(number, begun);
        self.across.steps.push_back((number, step));
        Routed::Operation
    }
}

/// What CLIENT LIST shows of a command that is not dispatched here.
pub(super) fn note_command(session: &mut Session, spec: &'static CommandSpec, args: &Args<'_>) {
    session.last_command = Some(command::resolve(spec, args));
    session.commands += 1;
}

pub(super) fn is_write(spec: &CommandSpec) -> bool {
    spec.flags.has(command::Flags::WRITE)
}

/// Whether the next command's reply is not wanted (CLIENT REPLY), which a skip is used up by.
pub(super) fn takes_no_reply(session: &mut Session) -> bool {
    match session.replies {
        ReplyMode::On => false,
        ReplyMode::Off => true,
        ReplyMode::SkipNext | ReplyMode::Skip => {
            session.replies = ReplyMode::On;
            true
        }
    }
}
