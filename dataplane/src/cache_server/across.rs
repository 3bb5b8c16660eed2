//! What a shard needs to answer together with others: its ports, what is held of it, what waits.
//!
//! Owns no socket. A node of one shard has none of this and pays one test a request.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use shards::command::{CommandSpec, OwnedArgs};
use shards::holds::OpId;
use shards::ids::{ClientId, DbId, ShardId};
use shards::operation::{Home, Operation, PartReply, Running, Step, Task};
use shards::order::Seq;
use shards::reply::Reply;
use shards::session::Session;
use shards::store::{KeyHash, Lender, LentId, Returns};
use shards::time::Now;

use super::batch::Fault;
use super::parking::{Parked, Parking, Whose};
use crate::mesh::parcel::{Parcel, Ticket};
use crate::mesh::port::Mesh;
use crate::runtime::ConnKey;

/// See the module's text.
pub(super) struct Across {
    pub(super) mesh: Mesh,
    /// What operations hold of this shard.
    pub(super) home: Home,
    /// Single commands that wait for holds to end.
    pub(super) parking: Parking,
    /// Operations that began here.
    pub(super) operations: BTreeMap<u64, Begun>,
    pub(super) next_operation: u64,
    /// What operations have come to, not yet looked at.
    pub(super) steps: VecDeque<(u64, Step)>,
    /// Tasks of own operations for this shard.
    pub(super) own_tasks: VecDeque<Task>,
    /// Tasks for others; they leave once no batch holds their arguments.
    pub(super) departing: Vec<(ShardId, Task)>,
    /// Answers to own operations from this shard.
    pub(super) own_answers: VecDeque<(u64, Vec<PartReply>)>,
    /// Tasks that take many steps.
    pub(super) running: VecDeque<Running>,
    /// Parcels of others with requests that have not all been answered.
    pub(super) guests: Vec<Guests>,
    /// Stands for clients of other shards.
    pub(super) guest: Session,
    pub(super) lender: Lender,
    pub(super) returns: Rc<Returns>,
    pub(super) settled: Vec<LentId>,
    /// Bytes that others want this shard to give up.
    pub(super) wanted: u64,
    /// Connections that may go on with what waits behind their replies.
    pub(super) awake: Vec<ConnKey>,
    /// Connections that wait for a parcel to come back.
    pub(super) thirsty: Vec<ConnKey>,
}

impl Across {
    pub(super) fn new(mesh: Mesh, now: Now) -> Self {
        let lender = Lender::new(mesh.me());
        Self {
            mesh,
            home: Home::default(),
            parking: Parking::default(),
            operations: BTreeMap::new(),
            next_operation: 1,
            steps: VecDeque::new(),
            own_tasks: VecDeque::new(),
            departing: Vec::new(),
            own_answers: VecDeque::new(),
            running: VecDeque::new(),
            guests: Vec::new(),
            guest: Session::guest(now),
            lender,
            returns: Rc::default(),
            settled: Vec::new(),
            wanted: 0,
            awake: Vec::new(),
            thirsty: Vec::new(),
        }
    }

    /// Whether there is work that does not wait for others.
    pub(super) fn is_busy(&self) -> bool {
        self.wanted > 0 || !self.running.is_empty() || !self.awake.is_empty()
    }

    /// A command waits until its slots are free.
    pub(super) fn park(&mut self, whose: Whose, parked: Parked) {
        let op = self.next_op();
        self.parking.park(&mut self.home, op, whose, parked);
    }

    /// The number of an operation, or of a command that asks for its slots like one.
    pub(super) fn next_op(&mut self) -> OpId {
        let op = OpId { shard: self.mesh.me(), number: self.next_operation };
        self.next_operation += 1;
        op
    }
}

/// An operation that began here.
pub(super) struct Begun {
    pub(super) operation: Operation,
    pub(super) client: ClientId,
    pub(super) conn: ConnKey,
    /// Whether its client wants no reply (CLIENT REPLY).
    pub(super) silent: bool,
    /// What it counts as.
    pub(super) specs: Vec<&'static CommandSpec>,
    /// Keys that are watched once it is done.
    pub(super) watch: Vec<(DbId, Box<[u8]>)>,
}

/// A parcel of another shard, and the replies so far.
pub(super) struct Guests {
    pub(super) from: ShardId,
    pub(super) parcel: Box<Parcel>,
    pub(super) reply: Reply,
}

/// Requests of a connection that may wait for holds before all others wait behind them. Those
/// that have left meanwhile come on top: what its parcels take.
const MOST_LATE: i32 = 64;

/// Replies that a connection is owed by other shards.
///
/// Reads may be under way at several homes at once. A write waits until nothing is under way
/// elsewhere, and while one is under way everything for other homes waits, so that who sees
/// a client's later write sees its earlier ones too. Everything waits while too many wait for
/// holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Abroad {
    count: u32,
    writes: u32,
    /// Of them, known to wait for a hold, here or elsewhere; below 0 while a reply has overtaken
    /// the parcel that says so.
    late: i32,
    at: u16,
    mixed: bool,
}

impl Abroad {
    pub(super) fn is_empty(self) -> bool {
        self.count == 0
    }

    /// Whether a command for `home` may go now.
    pub(super) fn lets(self, home: ShardId, write: bool) -> bool {
        let all_there = !self.mixed && self.at == home.0;
        let few = self.late < MOST_LATE;
        let free = self.count == 0 || few && (all_there || !write && self.writes == 0);
        free || cfg!(corelane_mutant = "lets_all")
    }

    /// One has gone.
    pub(super) fn leave(&mut self, home: ShardId, write: bool) {
        if self.count == 0 {
            (self.at, self.mixed) = (home.0, false);
        }
        self.mixed |= self.at != home.0;
        self.count += 1;
        self.writes += u32::from(write);
    }

    /// One of those that have gone waits for a hold.
    pub(super) fn be_late(&mut self) {
        self.late += 1;
    }

    /// One that waited for a hold is about to come back.
    pub(super) fn late_comes(&mut self) {
        self.late -= 1;
    }

    /// Whether any are known to wait for a hold.
    pub(super) fn is_late(self) -> bool {
        self.late > 0
    }

    /// One has come back.
    pub(super) fn come_back(&mut self, write: bool) {
        self.count -= 1;
        self.writes -= u32::from(write);
    }
}

/// A request that waits its turn behind its connection's earlier ones.
pub(super) enum Delayed {
    Request { spec: Option<&'static CommandSpec>, args: OwnedArgs, first: Option<KeyHash> },
    Fault(Fault),
}

/// The hole that a parked or foreign request leaves.
pub(super) fn ticket(conn: ConnKey, seq: Seq, spec: &CommandSpec, silent: bool) -> Ticket {
    let write = spec.flags.has(shards::command::Flags::WRITE);
    Ticket { conn, seq, write, silent }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_keep_their_order_and_reads_overlap() {
        let (a, b) = (ShardId(1), ShardId(2));
        let mut abroad = Abroad::default();
        assert!(abroad.lets(a, true) && abroad.lets(b, false));
        abroad.leave(a, false);
        assert!(abroad.lets(b, false), "reads overlap");
        assert!(!abroad.lets(b, true), "a write waits for reads elsewhere");
        assert!(abroad.lets(a, true), "one home keeps the order itself");
        abroad.leave(a, true);
        assert!(!abroad.lets(b, false), "after a write, others wait");
        assert!(abroad.lets(a, false));
        abroad.come_back(false);
        abroad.come_back(true);
        assert!(abroad.is_empty() && abroad.lets(b, true));
        abroad.leave(a, false);
        abroad.leave(b, false);
        assert!(!abroad.lets(a, true) && !abroad.lets(b, true), "under way at both");
        assert!(abroad.lets(a, false));
    }

    #[test]
    fn few_wait_for_holds() {
        let (a, b) = (ShardId(1), ShardId(2));
        let mut abroad = Abroad::default();
        for _ in 0..MOST_LATE {
            assert!(abroad.lets(a, false) && abroad.lets(b, false));
            abroad.leave(a, false);
            abroad.be_late();
        }
        assert!(!abroad.lets(a, false) && !abroad.lets(b, false), "enough of them wait");
        abroad.late_comes();
        abroad.come_back(false);
        assert!(abroad.lets(a, false) && abroad.lets(b, false));
    }
}
