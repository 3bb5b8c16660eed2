//! Requests of one connection at several homes, done in their order as one operation.
//!
//! A pipeline of writes would otherwise wait for one home after the other, since nobody may see
//! a later write and not an earlier one. Under holds nobody sees any of them before all are
//! done, and each home does its own in one go. Owns the order of their replies; each request
//! is admitted, counted and answered by its home as if it had come alone.

#![forbid(unsafe_code)]

use crate::command::{CommandSpec, Host, OwnedArgs, Shard, dispatch};
use crate::ids::{DbId, ShardId};
use crate::reply::{Protocol, Reply};
use crate::session::Session;
use crate::store::{Hint, KeyHash};
use crate::time::Now;

use super::item::Parts;
use super::part::{Part, PartReply, Work, mixed_up};

/// Requests whose memory is asked for together.
const CHUNK: usize = 32;

/// One request of a run. All its keys are at home on one shard.
#[derive(Debug)]
pub struct RunRequest {
    /// The command.
    pub spec: &'static CommandSpec,
    /// Its arguments.
    pub args: OwnedArgs,
    /// Its first key hashed, if that has been done.
    pub first: Option<KeyHash>,
    /// Where its keys are.
    pub home: ShardId,
    /// Whether no reply is wanted (CLIENT REPLY).
    pub silent: bool,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Run {
    parts: Parts,
    /// Of each request: which part does it, and whether it is silent.
    order: Vec<(usize, bool)>,
}

/// Requests of one home.
pub(super) type Requests = Vec<AtHome<OwnedArgs>>;

/// One of them; `A` are its arguments, here or on their way.
#[derive(Debug)]
pub struct AtHome<A> {
    pub(super) spec: &'static CommandSpec,
    pub(super) first: Option<KeyHash>,
    pub(super) args: A,
}

impl<A> AtHome<A> {
    pub(super) fn with<B>(self, convert: impl FnOnce(A) -> B) -> AtHome<B> {
        AtHome { spec: self.spec, first: self.first, args: convert(self.args) }
    }
}

impl Run {
    pub(super) fn new(requests: Vec<RunRequest>, db: DbId, protocol: Protocol) -> Self {
        let mut homes: Vec<(ShardId, Requests)> = Vec::new();
        let mut order = Vec::with_capacity(requests.len());
        for RunRequest { spec, args, first, home, silent } in requests {
            let part = homes.iter().position(|(known, _)| *known == home).unwrap_or_else(|| {
                homes.push((home, Vec::new()));
                homes.len() - 1
            });
            homes[part].1.push(AtHome { spec, first, args });
            order.push((part, silent));
        }
        let part = |(home, requests)| (home, Part { db, protocol, work: Work::Run(requests) });
        Self { parts: homes.into_iter().map(part).collect(), order }
    }

    pub(super) fn start(&mut self) -> Parts {
        std::mem::take(&mut self.parts)
    }

    /// All replies in the order of the requests.
    pub(super) fn merge(&self, answers: Vec<PartReply>, protocol: Protocol) -> Reply {
        let mut homes: Vec<Replies> = answers.into_iter().map(Replies::new).collect();
        let mut whole = Reply::new(protocol);
        for (part, silent) in &self.order {
            homes[*part].next_into((!silent).then_some(&mut whole));
        }
        whole
    }
}

/// What one home has answered.
struct Replies {
    bytes: Vec<u8>,
    blobs: std::iter::Peekable<std::vec::IntoIter<(usize, crate::store::Blob)>>,
    ends: std::vec::IntoIter<usize>,
    start: usize,
}

impl Replies {
    fn new(answer: PartReply) -> Self {
        let (reply, ends) = match answer {
            PartReply::Run(reply, ends) => (reply, ends),
            // Each of its requests is answered by an error then.
            _ => (Reply::default(), Vec::new()),
        };
        let blobs = reply.blobs.into_iter().peekable();
        Self { bytes: reply.bytes, blobs, ends: ends.into_iter(), start: 0 }
    }

    /// Puts the next reply behind what is there, or drops it.
    fn next_into(&mut self, mut whole: Option<&mut Reply>) {
        let Some(end) = self.ends.next() else {
            if let Some(whole) = whole {
                whole.append(mixed_up(whole.protocol));
            }
            return;
        };
        let (start, offset) = (self.start, whole.as_ref().map_or(0, |whole| whole.bytes.len()));
        while let Some((at, blob)) = self.blobs.next_if(|(at, _)| *at < end) {
            if let Some(whole) = &mut whole {
                whole.blobs.push((at - start + offset, blob));
            }
        }
        if let Some(whole) = whole {
            whole.bytes.extend_from_slice(&self.bytes[start..end]);
        }
        self.start = end;
    }
}

/// One home's requests, one after the other.
pub(super) fn carry_out(
    requests: &Requests,
    shard: &mut Shard,
    guest: &mut Session,
    host: &mut dyn Host,
    now: Now,
) -> PartReply {
    let mut reply = Reply::new(guest.protocol);
    let mut ends = Vec::with_capacity(requests.len());
    let mut hints = [Hint::default(); CHUNK];
    for chunk in requests.chunks(CHUNK) {
        ask_for_memory(chunk, shard, guest.db, &mut hints);
        for (AtHome { spec, first, args }, hint) in chunk.iter().zip(&hints) {
            let mut args = args.as_args();
            if let Some(at) = first {
                args = args.with_key(spec.keys.first as u32, *at, *hint);
            }
            // What has keys takes no steps and closes no connection.
            dispatch(shard, guest, host, Some(spec), &args, now, &mut reply);
            ends.push(reply.bytes.len());
        }
    }
    PartReply::Run(reply, ends)
}

/// The memory of all keys is on its way before that of the first is used.
fn ask_for_memory(chunk: &[AtHome<OwnedArgs>], shard: &Shard, db: DbId, hints: &mut [Hint; CHUNK]) {
    let keys = || chunk.iter().map(|request| request.first);
    keys().flatten().for_each(|at| shard.store.prefetch_head(db, at));
    keys().flatten().for_each(|at| shard.store.prefetch_line(db, at));
    for (first, hint) in keys().zip(hints) {
        *hint = first.map_or(Hint::default(), |at| shard.store.prefetch_entry(db, at));
    }
}
