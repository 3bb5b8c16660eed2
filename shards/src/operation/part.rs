//! One shard's share of an operation: what is asked of it, and its answer.
//!
//! Owns the work and how it is done at its home. Knows neither the operation it belongs to
//! nor how it came here.

#![forbid(unsafe_code)]

use super::run::{self, AtHome};
use crate::command::{self, CommandError, CommandSpec, Host, LongOp, OwnedArgs, Shard};
use crate::ids::{ClientId, DbId};
use crate::reply::{Protocol, Reply};
use crate::session::{Face, Session};
use crate::store::{Blob, Expiry, Key, NewValue, OutOfMemory, Value};
use crate::time::{Now, UnixMs};

/// What a home has to know of the client whose operation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The client.
    pub client: ClientId,
    /// The protocol it spoke when the operation began.
    pub protocol: Protocol,
    /// Whether its reads leave the last use of a key as it is (CLIENT NO-TOUCH).
    pub no_touch: bool,
    /// As what the node answers it.
    pub face: Face,
}

impl Caller {
    /// Of a session.
    pub fn of(session: &Session) -> Self {
        let Session { id: client, protocol, no_touch, face, .. } = *session;
        Self { client, protocol, no_touch, face }
    }
}

/// Something to do at one home.
#[derive(Debug)]
pub struct Part {
    /// The database that is selected.
    pub db: DbId,
    /// How its reply is encoded; said when it goes out, since HELLO may come before it in a
    /// transaction.
    pub protocol: Protocol,
    /// What to do.
    pub work: Work,
}

/// See [`Part`].
#[derive(Debug)]
pub enum Work {
    /// A command, all of whose keys are at home here.
    Command(&'static CommandSpec, OwnedArgs),
    /// Requests, one after the other, each as if it had come alone.
    Run(Vec<AtHome<OwnedArgs>>),
    /// Whether any of these keys is there.
    AnyThere(Vec<Box<[u8]>>),
    /// What a key holds. The key stays until `Remove`; a long value that is taken leaves it
    /// empty, which nobody sees as its slot is held.
    Lift {
        /// The key.
        key: Box<[u8]>,
        /// Whether a long value is handed over, rather than copied.
        take: bool,
    },
    /// Puts what was lifted from a key back into it; needs no memory.
    PutBack {
        /// The key.
        key: Box<[u8]>,
        /// What it held.
        entry: Box<Lifted>,
    },
    /// Removes a key whose entry is elsewhere now.
    Remove(Box<[u8]>),
    /// Puts under a key what was lifted from another.
    Put {
        /// The key.
        key: Box<[u8]>,
        /// What it is to hold.
        entry: Box<Lifted>,
    },
    /// Whether no key that the client watches here has changed; forgets its watches.
    Intact,
}

/// What a key held: enough to put it elsewhere.
#[derive(Debug)]
pub struct Lifted {
    /// Its value.
    pub value: LiftedValue,
    /// When it expires.
    pub expiry: Option<UnixMs>,
    /// Whether it was written into (OBJECT ENCODING).
    pub modified: bool,
}

/// See [`Lifted`].
#[derive(Debug)]
pub enum LiftedValue {
    /// Copied.
    Bytes(Vec<u8>),
    /// By reference.
    Blob(Blob),
}

/// What a home answers.
#[derive(Debug)]
pub enum PartReply {
    /// A command's reply.
    Reply(Reply),
    /// A command's reply, after which the client's connection is to be closed.
    Closing(Reply),
    /// `Run`: replies one behind the other, and where each ends.
    Run(Reply, Vec<usize>),
    /// `AnyThere`, `Intact`; `PutBack` and `Remove`, done.
    Flag(bool),
    /// `Lift`; `None` when there is no such key, an error when there is no memory for a copy.
    Lifted(Result<Option<Box<Lifted>>, OutOfMemory>),
    /// `Put`; gives it back when there is no memory.
    Put(Result<(), Box<Lifted>>),
}

/// A part that has been begun.
#[derive(Debug)]
pub enum Begun {
    /// And ended.
    Done(PartReply),
    /// It goes on in steps, each of which adds to the reply.
    Long(LongOp, Reply),
}

impl Part {
    /// Work in a database.
    pub fn new(db: DbId, work: Work) -> Self {
        Self { db, protocol: Protocol::default(), work }
    }

    /// Does it. `whole`: in one go, however long it takes, since other shards are held.
    pub fn run(
        self,
        shard: &mut Shard,
        guest: &mut Session,
        host: &mut dyn Host,
        whole: bool,
        now: Now,
    ) -> Begun {
        guest.db = self.db;
        let db = self.db;
        Begun::Done(match self.work {
            Work::Command(spec, args) => {
                return command::run_part(shard, guest, host, spec, &args.as_args(), whole, now);
            }
            Work::Run(requests) => run::carry_out(&requests, shard, guest, host, now),
            Work::AnyThere(keys) => {
                let hasher = *shard.hasher();
                let mut there = |key: &[u8]| shard.store.entry(db, hasher.key(key), now).is_some();
                PartReply::Flag(keys.iter().any(|key| there(key)))
            }
            Work::Lift { key, take } => PartReply::Lifted(lift(shard, db, &key, take, now)),
            Work::Put { key, entry } => PartReply::Put(put(shard, db, &key, entry, now)),
            Work::PutBack { key, entry } => {
                put_back(shard, db, &key, *entry);
                PartReply::Flag(true)
            }
            Work::Remove(key) => {
                let key = shard.hasher().key(&key);
                PartReply::Flag(shard.store.remove(db, key, now))
            }
            Work::Intact => PartReply::Flag(shard.watches_intact(guest.id, now)),
        })
    }
}

/// What is lifted has no other holder, so that it travels as it lies.
fn lift(
    shard: &mut Shard,
    db: DbId,
    key: &[u8],
    take: bool,
    now: Now,
) -> Result<Option<Box<Lifted>>, OutOfMemory> {
    let key = shard.hasher().key(key);
    let Some(info) = shard.store.entry(db, key, now) else { return Ok(None) };
    let value = match shard.store.get(db, key, now, false) {
        None => return Ok(None),
        Some(Value::Inline(bytes)) => LiftedValue::Bytes(bytes.to_vec()),
        Some(Value::Blob(blob)) => {
            // Other keys may share it, and replies that are being sent.
            let copied = (!take || blob.is_shared()).then(|| blob.clone());
            LiftedValue::Blob(match copied {
                Some(blob) => shard.store.blobs().copy(&blob)?,
                None => match shard.store.take_long(db, key) {
                    Some(blob) => blob,
                    None => return Ok(None),
                },
            })
        }
    };
    Ok(Some(Box::new(Lifted { value, expiry: info.expiry, modified: info.modified })))
}

/// A short value has never left.
fn put_back(shard: &mut Shard, db: DbId, key: &[u8], entry: Lifted) {
    if let LiftedValue::Blob(blob) = entry.value {
        let key = shard.hasher().key(key);
        shard.store.put_back_long(db, key, blob);
    }
}

fn put(
    shard: &mut Shard,
    db: DbId,
    key: &[u8],
    entry: Box<Lifted>,
    now: Now,
) -> Result<(), Box<Lifted>> {
    let key = shard.hasher().key(key);
    match set(shard, db, key, &entry, now) {
        Ok(()) => Ok(()),
        Err(OutOfMemory) => Err(entry),
    }
}

fn set(
    shard: &mut Shard,
    db: DbId,
    key: Key<'_>,
    entry: &Lifted,
    now: Now,
) -> Result<(), OutOfMemory> {
    let expiry = entry.expiry.map_or(Expiry::Never, Expiry::At);
    let value = match &entry.value {
        LiftedValue::Bytes(bytes) => NewValue::Bytes(bytes),
        LiftedValue::Blob(blob) => NewValue::Blob(blob.clone()),
    };
    shard.store.set(db, key, value, expiry, now)?;
    if entry.modified {
        shard.store.mark_modified(db, key);
    }
    Ok(())
}

impl PartReply {
    /// A command's reply. Anything else is a mix-up of ours, and an error in its place, since
    /// without one all later replies would be taken for those before them.
    pub(super) fn into_reply(self, protocol: Protocol) -> Reply {
        match self {
            Self::Reply(reply) | Self::Closing(reply) => reply,
            _ => mixed_up(protocol),
        }
    }
}

/// Stands for a reply that is not there though it should.
pub(super) fn mixed_up(protocol: Protocol) -> Reply {
    debug_assert!(false, "a part without a reply");
    refused(&CommandError::Text("ERR internal error: a part without a reply"), protocol)
}

/// The reply of a command that was refused before it began.
pub(super) fn refused(error: &CommandError, protocol: Protocol) -> Reply {
    let mut reply = Reply::new(protocol);
    reply.error(error.text().as_bytes());
    reply
}
