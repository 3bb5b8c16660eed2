//! A shard of the simulated node, its clients, and what passes between shards.
//!
//! Owns what a shard's thread would own. Delivers nothing.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::command::{CommandSpec, LongOp, OwnedArgs, PackedArgs, Shard, each_slot};
use crate::holds::OpId;
use crate::ids::{ClientId, DbId, ShardId};
use crate::partition::Partition;
use crate::reply::Reply;
use crate::session::Session;
use crate::settings::Settings;
use crate::store::{BlobSource, Lender, LentId, Returns};
use crate::time::{Nanos, Now};

use super::super::*;

/// Arguments from here on come as long values of their own.
pub(super) const LONG_ARGUMENT: usize = 32 << 10;

/// Logical databases of every node.
pub(super) const DATABASES: u8 = 4;

pub(super) const NOW: Now = Now { mono: Nanos(5_000_000_000), wall_us: 1_700_000_000_000_000 };

/// Of all nodes, so that they hash alike.
const HASH_SEED: u64 = 42;

pub(super) fn shard() -> Shard {
    let settings = Settings { databases: DATABASES, ..Settings::default() };
    Shard::new(settings, HASH_SEED, Arc::default())
}

/// Arguments as a shard receives them.
pub(super) fn arguments(blobs: &BlobSource, words: &[Vec<u8>]) -> OwnedArgs {
    let mut args = OwnedArgs::of(&[]);
    for word in words {
        if word.len() < LONG_ARGUMENT {
            args.push(word);
        } else {
            let mut builder = blobs.builder(word.len()).unwrap();
            builder.extend(word);
            args.push_blob(builder.freeze());
        }
    }
    args
}

/// The bytes that a client receives.
pub(super) fn flat(reply: &Reply) -> Vec<u8> {
    let (mut whole, mut from) = (Vec::new(), 0);
    for (at, blob) in &reply.blobs {
        whole.extend_from_slice(&reply.bytes[from..*at]);
        whole.extend_from_slice(blob.bytes());
        from = *at;
    }
    whole.extend_from_slice(&reply.bytes[from..]);
    whole
}

/// Which client of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientNo(pub(super) usize);

pub(super) struct Client {
    pub(super) seat: ShardId,
    pub(super) session: Session,
    pub(super) reply: Option<Vec<u8>>,
    /// Whether its connection has ended.
    pub(super) is_gone: bool,
}

/// An operation under way.
pub(super) struct Begun {
    pub(super) client: ClientNo,
    pub(super) operation: Operation,
    /// Keys that are watched by it.
    pub(super) watch: Vec<(DbId, Box<[u8]>)>,
}

/// A command of one shard, at its home.
pub(super) struct Single<A> {
    pub(super) client: ClientNo,
    pub(super) caller: Caller,
    pub(super) db: DbId,
    pub(super) spec: &'static CommandSpec,
    pub(super) args: A,
}

impl<A> Single<A> {
    pub(super) fn with<B>(self, convert: impl FnOnce(A) -> B) -> Single<B> {
        let Self { client, caller, db, spec, args } = self;
        Single { client, caller, db, spec, args: convert(args) }
    }
}

/// What is on its way.
pub(super) enum Message {
    Task(PackedTask),
    Answer(OpId, Vec<PackedAnswer>),
    Single(Box<Single<PackedArgs>>),
    Reply(ClientNo, PackedReply),
    Unwatch(ClientId),
    Back(LentId),
}

/// A shard and what its thread would own beside it.
pub(super) struct Seat {
    pub(super) shard: Shard,
    pub(super) home: Home,
    pub(super) guest: Session,
    pub(super) blobs: BlobSource,
    pub(super) lender: Lender,
    pub(super) returns: Rc<Returns>,
    pub(super) operations: HashMap<u64, Begun>,
    pub(super) begun: u64,
    /// Commands that wait for a hold to end, in order.
    pub(super) parked: Vec<Single<OwnedArgs>>,
    /// Tasks amid a step of many.
    pub(super) running: Vec<Running>,
    /// Commands amid a step of many.
    pub(super) long: Vec<(ClientNo, LongOp, Reply)>,
}

impl Seat {
    pub(super) fn new(id: ShardId, partition: Partition) -> Self {
        let shard = shard().in_node(id, partition);
        Self {
            blobs: shard.store.blobs(),
            shard,
            home: Home::default(),
            guest: Session::guest(NOW),
            lender: Lender::new(id),
            returns: Rc::default(),
            operations: HashMap::new(),
            begun: 0,
            parked: Vec::new(),
            running: Vec::new(),
            long: Vec::new(),
        }
    }

    pub(super) fn packer(&mut self) -> Packer<'_> {
        Packer { blobs: &self.blobs, lender: &mut self.lender }
    }

    pub(super) fn unpacker(&self) -> Unpacker<'_> {
        Unpacker { blobs: &self.blobs, returns: &self.returns }
    }

    /// Whether a command has to wait since one of its slots is held.
    pub(super) fn blocks(&self, client: &Client, single: &Single<OwnedArgs>) -> bool {
        if self.home.is_idle() {
            return false;
        }
        let own = client.seat == self.shard.id;
        let session = if own { &client.session } else { &self.guest };
        let mut blocked = false;
        let mut visit = |slot| blocked |= self.home.is_held(slot);
        each_slot(session, single.spec, &single.args.as_args(), &mut visit);
        blocked
    }
}
