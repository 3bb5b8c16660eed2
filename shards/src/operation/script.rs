//! Commands whose parts depend on each other's answers: RENAME, RENAMENX, COPY, MSETNX, SCAN.
//!
//! Each goes in stages, all of them under the same holds:
//!
//! ```text
//! RENAME     lift from the one home -> put at the other -> remove (no memory: put back)
//! RENAMENX   look at both ----------> as RENAME
//! COPY       look at the other -----> lift a copy -----> put
//! MSETNX     look at all -----------> set all
//! SCAN       at the cursor's home --> at the next, while there is room for more
//! ```
//!
//! What is moved stays at its home until the other has it, so that nothing is lost to want of
//! memory; both slots are held, so that nobody looks at the two.

#![forbid(unsafe_code)]

use crate::command::{CommandError, CommandSpec, OwnedArgs};
use crate::ids::{DbId, ShardId};
use crate::partition::Partition;
use crate::reply::{Protocol, Reply};

use super::gather;
use super::item::Parts;
use super::part::{Part, PartReply, Work};
use super::scan::Scan;

/// A key, its home and its database.
#[derive(Clone, Debug)]
pub(super) struct Place {
    home: ShardId,
    key: Box<[u8]>,
    db: DbId,
}

impl Place {
    fn part(&self, work: impl FnOnce(Box<[u8]>) -> Work) -> (ShardId, Part) {
        (self.home, Part::new(self.db, work(self.key.clone())))
    }
}

/// What comes next.
pub(super) enum Next {
    Parts(Parts),
    Reply(Reply),
    Number(i64),
    Ok,
    Failed(CommandError),
}

/// What one entry's move has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Looking,
    Lifting,
    Putting,
    Removing,
    PuttingBack,
}

/// See the module's text.
#[derive(Debug)]
pub(super) enum Script {
    SetAllIfNone { looks: Parts, sets: Parts },
    Move { from: Place, to: Place, kind: Kind, stage: Stage },
    Scan(Scan),
}

/// Which command moves or copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rename,
    RenameIfFree,
    Copy { replace: bool },
}

impl Script {
    pub(super) fn rename(
        from: (ShardId, Box<[u8]>),
        to: (ShardId, Box<[u8]>),
        db: DbId,
        only_if_free: bool,
    ) -> Self {
        let kind = if only_if_free { Kind::RenameIfFree } else { Kind::Rename };
        let from = Place { home: from.0, key: from.1, db };
        let to = Place { home: to.0, key: to.1, db };
        Self::Move { from, to, kind, stage: Stage::Looking }
    }

    pub(super) fn copy(
        from: (ShardId, Box<[u8]>, DbId),
        to: (ShardId, Box<[u8]>, DbId),
        replace: bool,
    ) -> Self {
        let from = Place { home: from.0, key: from.1, db: from.2 };
        let to = Place { home: to.0, key: to.1, db: to.2 };
        Self::Move { from, to, kind: Kind::Copy { replace }, stage: Stage::Looking }
    }

    /// None when the cursor is none: its own code says so.
    pub(super) fn scan(
        partition: Partition,
        db: DbId,
        spec: &'static CommandSpec,
        args: OwnedArgs,
    ) -> Option<Self> {
        Scan::new(partition, db, spec, args).map(Self::Scan)
    }

    pub(super) fn start(&mut self) -> Parts {
        match self {
            Self::Scan(scan) => scan.parts(),
            Self::SetAllIfNone { looks, .. } => std::mem::take(looks),
            Self::Move { from, to, kind, stage } => {
                let look = |place: &Place| place.part(|key| Work::AnyThere(vec![key]));
                match kind {
                    Kind::RenameIfFree => vec![look(from), look(to)],
                    Kind::Copy { replace: false } => vec![look(to)],
                    Kind::Rename | Kind::Copy { .. } => {
                        *stage = Stage::Lifting;
                        vec![lift(from, *kind)]
                    }
                }
            }
        }
    }

    pub(super) fn resume(&mut self, answers: Vec<PartReply>, protocol: Protocol) -> Next {
        match self {
            Self::Scan(scan) => scan.resume(answers),
            Self::SetAllIfNone { sets, .. } => after_sets_or_looks(sets, answers, protocol),
            Self::Move { from, to, kind, stage } => {
                let (next, then) = after_move(from, to, *kind, *stage, answers);
                *stage = then;
                next
            }
        }
    }
}

fn lift(from: &Place, kind: Kind) -> (ShardId, Part) {
    let take = !matches!(kind, Kind::Copy { .. });
    from.part(|key| Work::Lift { key, take })
}

fn after_sets_or_looks(sets: &mut Parts, answers: Vec<PartReply>, protocol: Protocol) -> Next {
    if answers.iter().any(|answer| matches!(answer, PartReply::Flag(true))) {
        return Next::Number(0);
    }
    if !sets.is_empty() {
        return Next::Parts(std::mem::take(sets));
    }
    let replies = answers.into_iter().map(|answer| answer.into_reply(protocol));
    let reply = gather::all(replies.collect());
    if reply.bytes.first() == Some(&b'-') { Next::Reply(reply) } else { Next::Number(1) }
}

fn after_move(
    from: &Place,
    to: &Place,
    kind: Kind,
    stage: Stage,
    answers: Vec<PartReply>,
) -> (Next, Stage) {
    let then = |(home, part), stage| (Next::Parts(vec![(home, part)]), stage);
    let done = |next| (next, stage);
    let copies = matches!(kind, Kind::Copy { .. });
    let mut answers = answers.into_iter();
    match (stage, answers.next(), answers.next()) {
        (Stage::Looking, Some(PartReply::Flag(there)), None) if there => done(Next::Number(0)),
        (Stage::Looking, Some(PartReply::Flag(false)), Some(_)) => done(missing(kind)),
        (Stage::Looking, Some(_), Some(PartReply::Flag(true))) => done(Next::Number(0)),
        (Stage::Looking, ..) => then(lift(from, kind), Stage::Lifting),
        (Stage::Lifting, Some(PartReply::Lifted(Ok(Some(entry)))), _) => {
            then(to.part(|key| Work::Put { key, entry }), Stage::Putting)
        }
        (Stage::Lifting, Some(PartReply::Lifted(Ok(None))), _) => done(missing(kind)),
        (Stage::Putting, Some(PartReply::Put(Ok(()))), _) if copies => done(Next::Number(1)),
        (Stage::Putting, Some(PartReply::Put(Ok(()))), _) => {
            then(from.part(Work::Remove), Stage::Removing)
        }
        (Stage::Putting, Some(PartReply::Put(Err(entry))), _) if !copies => {
            then(from.part(|key| Work::PutBack { key, entry }), Stage::PuttingBack)
        }
        (Stage::Removing, ..) if kind == Kind::Rename => done(Next::Ok),
        (Stage::Removing, ..) => done(Next::Number(1)),
        // There was no memory for a copy, or at the other home.
        (Stage::Lifting | Stage::Putting | Stage::PuttingBack, ..) => {
            done(Next::Failed(CommandError::System))
        }
    }
}

/// What is answered when there is nothing to move.
fn missing(kind: Kind) -> Next {
    match kind {
        Kind::Copy { .. } => Next::Number(0),
        Kind::Rename | Kind::RenameIfFree => Next::Failed(CommandError::NoSuchKey),
    }
}
