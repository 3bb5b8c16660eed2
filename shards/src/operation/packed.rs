//! Tasks, answers and replies as they travel between threads.
//!
//! Owns the packing: values that are counted by reference at home are handed over for good
//! (arguments, lifted entries) or lent (replies). Changes nothing else about them.

#![forbid(unsafe_code)]

use std::rc::Rc;

use crate::command::{CommandSpec, OwnedArgs, PackedArgs};
use crate::holds::{HoldSet, OpId};
use crate::ids::DbId;
use crate::reply::{Protocol, Reply};
use crate::store::{Blob, BlobSource, Detached, Lender, Lent, OutOfMemory, Returns};
use crate::time::UnixMs;

use super::run::AtHome;
use super::{Caller, Lifted, LiftedValue, Part, PartReply, Task, Work};

/// A task on its way.
#[derive(Debug)]
pub struct PackedTask {
    op: OpId,
    caller: Caller,
    hold: Option<HoldSet>,
    parts: Vec<(DbId, Protocol, PackedWork)>,
    release: bool,
    whole: bool,
    answered: bool,
}

#[derive(Debug)]
enum PackedWork {
    Command(&'static CommandSpec, PackedArgs),
    Run(Vec<AtHome<PackedArgs>>),
    AnyThere(Vec<Box<[u8]>>),
    Lift(Box<[u8]>, bool),
    PutBack(Box<[u8]>, Box<PackedEntry>),
    Remove(Box<[u8]>),
    Put(Box<[u8]>, Box<PackedEntry>),
    Intact,
}

/// A lifted entry on its way.
#[derive(Debug)]
pub struct PackedEntry {
    value: PackedValue,
    expiry: Option<UnixMs>,
    modified: bool,
}

#[derive(Debug)]
enum PackedValue {
    Bytes(Vec<u8>),
    Long(Detached),
}

/// A reply on its way.
#[derive(Debug)]
pub struct PackedReply {
    bytes: Vec<u8>,
    blobs: Vec<(usize, Lent)>,
    protocol: Protocol,
}

/// One part's answer on its way.
#[derive(Debug)]
pub enum PackedAnswer {
    /// See [`PartReply`], whose variants these are.
    Reply(PackedReply),
    /// The same.
    Closing(PackedReply),
    /// The same.
    Run(PackedReply, Vec<usize>),
    /// The same.
    Flag(bool),
    /// The same.
    Lifted(Result<Option<Box<PackedEntry>>, OutOfMemory>),
    /// The same.
    Put(Result<(), Box<PackedEntry>>),
}

/// What packing needs of a shard.
pub struct Packer<'a> {
    /// Makes values of its store.
    pub blobs: &'a BlobSource,
    /// Keeps what it lends.
    pub lender: &'a mut Lender,
}

/// What unpacking needs of a shard.
#[derive(Clone, Copy)]
pub struct Unpacker<'a> {
    /// Takes values into its store.
    pub blobs: &'a BlobSource,
    /// Where borrowed values go when they are read no more.
    pub returns: &'a Rc<Returns>,
}

impl Packer<'_> {
    /// Takes a value out of its store: as it is when nobody else holds it, else a copy.
    fn detach(&self, blob: Blob) -> Detached {
        self.blobs.detach(blob)
    }

    /// Arguments.
    pub fn args(&self, args: OwnedArgs) -> PackedArgs {
        args.pack(|blob| self.detach(blob))
    }

    /// A task.
    pub fn task(&self, task: Task) -> PackedTask {
        let part = |part: Part| {
            let work = match part.work {
                Work::Command(spec, args) => PackedWork::Command(spec, self.args(args)),
                Work::Run(requests) => {
                    let pack = |request: AtHome<_>| request.with(|args| self.args(args));
                    PackedWork::Run(requests.into_iter().map(pack).collect())
                }
                Work::AnyThere(keys) => PackedWork::AnyThere(keys),
                Work::Lift { key, take } => PackedWork::Lift(key, take),
                Work::PutBack { key, entry } => PackedWork::PutBack(key, self.entry(*entry)),
                Work::Remove(key) => PackedWork::Remove(key),
                Work::Put { key, entry } => PackedWork::Put(key, self.entry(*entry)),
                Work::Intact => PackedWork::Intact,
            };
            (part.db, part.protocol, work)
        };
        PackedTask {
            op: task.op,
            caller: task.caller,
            hold: task.hold,
            parts: task.parts.into_iter().map(part).collect(),
            release: task.release,
            whole: task.whole,
            answered: task.answered,
        }
    }

    fn entry(&self, entry: Lifted) -> Box<PackedEntry> {
        let value = match entry.value {
            LiftedValue::Bytes(bytes) => PackedValue::Bytes(bytes),
            LiftedValue::Blob(blob) => PackedValue::Long(self.detach(blob)),
        };
        Box::new(PackedEntry { value, expiry: entry.expiry, modified: entry.modified })
    }

    /// A reply, whose long values stay here and are lent.
    pub fn reply(&mut self, reply: Reply) -> PackedReply {
        let lend = |(at, blob)| (at, self.lender.lend(blob));
        let blobs = reply.blobs.into_iter().map(lend).collect();
        PackedReply { bytes: reply.bytes, blobs, protocol: reply.protocol }
    }

    /// A part's answer.
    pub fn answer(&mut self, answer: PartReply) -> PackedAnswer {
        match answer {
            PartReply::Reply(reply) => PackedAnswer::Reply(self.reply(reply)),
            PartReply::Closing(reply) => PackedAnswer::Closing(self.reply(reply)),
            PartReply::Run(reply, ends) => PackedAnswer::Run(self.reply(reply), ends),
            PartReply::Flag(flag) => PackedAnswer::Flag(flag),
            PartReply::Lifted(lifted) => {
                PackedAnswer::Lifted(lifted.map(|entry| entry.map(|e| self.entry(*e))))
            }
            PartReply::Put(put) => PackedAnswer::Put(put.map_err(|e| self.entry(*e))),
        }
    }
}

impl Unpacker<'_> {
    /// Arguments.
    pub fn args(self, args: PackedArgs) -> OwnedArgs {
        args.unpack(|detached| self.blobs.adopt(detached))
    }

    /// A task.
    pub fn task(self, task: PackedTask) -> Task {
        let part = |(db, protocol, work)| {
            let work = match work {
                PackedWork::Command(spec, args) => Work::Command(spec, self.args(args)),
                PackedWork::Run(requests) => {
                    let unpack = |request: AtHome<_>| request.with(|args| self.args(args));
                    Work::Run(requests.into_iter().map(unpack).collect())
                }
                PackedWork::AnyThere(keys) => Work::AnyThere(keys),
                PackedWork::Lift(key, take) => Work::Lift { key, take },
                PackedWork::PutBack(key, entry) => Work::PutBack { key, entry: self.entry(*entry) },
                PackedWork::Remove(key) => Work::Remove(key),
                PackedWork::Put(key, entry) => Work::Put { key, entry: self.entry(*entry) },
                PackedWork::Intact => Work::Intact,
            };
            Part { db, protocol, work }
        };
        Task {
            op: task.op,
            caller: task.caller,
            hold: task.hold,
            parts: task.parts.into_iter().map(part).collect(),
            release: task.release,
            whole: task.whole,
            answered: task.answered,
        }
    }

    fn entry(self, entry: PackedEntry) -> Box<Lifted> {
        let value = match entry.value {
            PackedValue::Bytes(bytes) => LiftedValue::Bytes(bytes),
            PackedValue::Long(detached) => LiftedValue::Blob(self.blobs.adopt(detached)),
        };
        Box::new(Lifted { value, expiry: entry.expiry, modified: entry.modified })
    }

    /// A reply.
    pub fn reply(self, reply: PackedReply) -> Reply {
        let borrow = |(at, lent)| (at, Blob::borrowed(lent, self.returns));
        let blobs = reply.blobs.into_iter().map(borrow).collect();
        Reply { bytes: reply.bytes, blobs, protocol: reply.protocol }
    }

    /// A part's answer.
    pub fn answer(self, answer: PackedAnswer) -> PartReply {
        match answer {
            PackedAnswer::Reply(reply) => PartReply::Reply(self.reply(reply)),
            PackedAnswer::Closing(reply) => PartReply::Closing(self.reply(reply)),
            PackedAnswer::Run(reply, ends) => PartReply::Run(self.reply(reply), ends),
            PackedAnswer::Flag(flag) => PartReply::Flag(flag),
            PackedAnswer::Lifted(lifted) => {
                PartReply::Lifted(lifted.map(|entry| entry.map(|e| self.entry(*e))))
            }
            PackedAnswer::Put(put) => PartReply::Put(put.map_err(|e| self.entry(*e))),
        }
    }
}

const _: () = {
    const fn travels<T: Send>() {}
    travels::<PackedTask>();
    travels::<PackedAnswer>();
    travels::<PackedReply>();
};
