//! SCAN over several shards: at the home of its cursor, and at the next one when that home has
//! no more and the client asked for more.
//!
//! Owns the way of one cursor. Holds nothing: SCAN promises no moment in time.

#![forbid(unsafe_code)]

use crate::command::{CommandSpec, OwnedArgs};
use crate::ids::{DbId, ShardId};
use crate::number;
use crate::partition::Partition;
use crate::reply::Reply;
use crate::store::ScanCursor;

use super::gather;
use super::item::Parts;
use super::part::{Part, PartReply, Work};
use super::script::Next;

/// Keys that SCAN returns without a COUNT, about.
const DEFAULT_COUNT: i64 = 10;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Scan {
    partition: Partition,
    db: DbId,
    spec: &'static CommandSpec,
    args: OwnedArgs,
    cursor: u64,
    /// Keys that are still asked for.
    wanted: i64,
    found: Vec<Reply>,
}

impl Scan {
    /// None when the cursor is no number.
    pub(super) fn new(
        partition: Partition,
        db: DbId,
        spec: &'static CommandSpec,
        args: OwnedArgs,
    ) -> Option<Self> {
        let words = args.as_args();
        let cursor = number::unsigned(words.at(1))?;
        let is_count = |n: &usize| words.at(*n).eq_ignore_ascii_case(b"count");
        let count = (2..words.len()).step_by(2).rfind(is_count);
        let count = count.and_then(|n| number::integer(words.get(n + 1)?));
        let wanted = count.unwrap_or(DEFAULT_COUNT);
        Some(Self { partition, db, spec, args, cursor, wanted, found: Vec::new() })
    }

    fn home(&self) -> ShardId {
        ScanCursor(self.cursor).slot().map_or(ShardId(0), |slot| self.partition.home(slot))
    }

    /// The call at the home of the cursor.
    pub(super) fn parts(&self) -> Parts {
        let words = self.args.as_args();
        let mut args = OwnedArgs::of(&[words.at(0)]);
        args.push(self.cursor.to_string().as_bytes());
        words.from(2).for_each(|word| args.push(word));
        vec![(self.home(), Part::new(self.db, Work::Command(self.spec, args)))]
    }

    /// A home has answered.
    pub(super) fn resume(&mut self, answers: Vec<PartReply>) -> Next {
        let Some(PartReply::Reply(mut reply)) = answers.into_iter().next() else {
            return Next::Reply(Reply::default());
        };
        let Some((cursor, start)) = cursor_of(&reply.bytes) else {
            return Next::Reply(reply); // an error
        };
        reply.bytes.drain(..start);
        reply.blobs.iter_mut().for_each(|(at, _)| *at -= start);
        let keys = gather::head(&reply.bytes).map_or(0, |(keys, _)| keys);
        let protocol = reply.protocol;
        self.found.push(reply);
        self.wanted -= keys;
        let here = self.home();
        self.cursor = cursor;
        let elsewhere = cursor != 0 && self.home() != here;
        if elsewhere && self.wanted > 0 {
            return Next::Parts(self.parts());
        }
        let mut whole = Reply::new(protocol);
        whole.array(2);
        whole.text(cursor);
        whole.append(gather::arrays(std::mem::take(&mut self.found), protocol));
        Next::Reply(whole)
    }
}

/// The cursor of an answer, and where its keys begin.
fn cursor_of(bytes: &[u8]) -> Option<(u64, usize)> {
    let rest = bytes.strip_prefix(b"*2\r\n")?;
    let (len, start) = gather::head(rest)?;
    let end = start + usize::try_from(len).ok()?;
    let cursor = number::unsigned(rest.get(start..end)?)?;
    Some((cursor, 4 + end + 2))
}
