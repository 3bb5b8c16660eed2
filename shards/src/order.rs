//! The replies of one connection, in the order of its requests.
//!
//! A request that is sent to another shard leaves a *hole*; the replies of later requests are
//! kept behind it until it is filled. Owns what is kept and what came before its turn. Never
//! encodes a reply and never knows who owes one. Bounds nothing itself: its user counts
//! [`Order::len`] as output that is pending, and [`Order::holes`] as requests under way.
//!
//! ```text
//! requests:   GET a     GET b      PING      GET c     GET d      PING
//!             here      there      here      there     there      here
//! replies:   `ready` |  hole 0  |  kept   |  hole 1 |  hole 2  |  kept
//!                       ^                              ^ filled early: kept aside
//!                       filled: it and all up to the next hole go to `ready`
//! ```

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::reply::{Protocol, Reply};
use crate::store::Blob;

/// A buffer is moved together when that many of its bytes, and half of them, are dead.
const COMPACT_FROM: usize = 4096;

/// Buffers that an order without holes keeps for the next: those of a thousand requests.
const RETAINED_BYTES: usize = 64 << 10;

/// Which hole of its order; it wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seq(u32);

impl Seq {
    /// The hole of that number, for who numbers answers without an order.
    pub fn numbered(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// A reply that was encoded elsewhere.
#[derive(Debug, Default)]
pub struct ReplyPart<'a> {
    /// What was encoded.
    pub bytes: &'a [u8],
    /// Long values, and the offset in `bytes` before which each belongs, ascending.
    pub blobs: Vec<(usize, Blob)>,
}

impl<'a> From<&'a [u8]> for ReplyPart<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { bytes, blobs: Vec::new() }
    }
}

impl ReplyPart<'_> {
    fn len(&self) -> usize {
        self.bytes.len() + self.blobs.iter().map(|(_, blob)| blob.len()).sum::<usize>()
    }
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Order {
    /// The hole that all others wait for.
    first: u32,
    /// The hole that is opened next; the same when there is none.
    next: u32,
    /// Made with the first hole.
    behind: Option<Box<Behind>>,
}

const _: () = assert!(size_of::<Order>() == 16, "it sits in every idle connection");

impl Order {
    /// Whether there is no hole, so that replies go straight to `ready`.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first == self.next
    }

    /// Replies that are owed still, or came before their turn.
    pub fn holes(&self) -> usize {
        self.next.wrapping_sub(self.first) as usize
    }

    /// Bytes kept behind holes and in those filled early.
    pub fn len(&self) -> usize {
        self.behind.as_ref().map_or(0, |behind| behind.kept.len() + behind.aside.pending)
    }

    /// Leaves a hole for a reply to come.
    pub fn open(&mut self) -> Seq {
        let seq = Seq(self.next);
        self.next = self.next.wrapping_add(1);
        assert!(self.next != self.first, "fewer than 2^32 replies are owed");
        let behind = self.behind.get_or_insert_default();
        behind.holes.push_back(Hole { before: behind.kept.cut(), early: None });
        seq
    }

    /// Where the next reply is to be encoded. It is the client's protocol that it has, and a
    /// change of it (HELLO) reaches `ready`; marks in it are good until the next fill.
    #[inline]
    pub fn out<'a>(&'a mut self, ready: &'a mut Reply) -> &'a mut Reply {
        if self.is_empty() {
            return ready;
        }
        let kept = &mut self.behind.as_mut().expect("there is a hole").kept;
        kept.agree_on_protocol(ready);
        &mut kept.reply
    }

    /// Puts the reply into a hole; whatever is in order by now moves to `ready`. Panics when
    /// there is no such hole or it has been filled.
    pub fn fill(&mut self, seq: Seq, part: ReplyPart<'_>, ready: &mut Reply) {
        let index = seq.0.wrapping_sub(self.first) as usize;
        assert!(index < self.holes(), "a hole is filled once");
        let behind = self.behind.as_mut().expect("there is a hole");
        if index > 0 {
            return behind.fill_early(index, part);
        }
        splice(ready, part.bytes, part.blobs);
        let closed = behind.close_first(ready);
        self.first = self.first.wrapping_add(closed);
        if behind.holes.is_empty() && behind.footprint() > RETAINED_BYTES {
            self.behind = None;
        }
    }

    /// Gives the buffers back that an order without holes has kept, as of a connection that
    /// has become idle.
    pub fn release(&mut self) {
        if self.is_empty() {
            self.behind = None;
        }
    }
}

/// What there is only while there are holes.
#[derive(Debug, Default)]
struct Behind {
    holes: VecDeque<Hole>,
    kept: Kept,
    aside: Aside,
}

#[derive(Debug)]
struct Hole {
    /// What is kept between the hole before it and this one.
    before: Extent,
    /// Its reply, while it is not the first.
    early: Option<Early>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    bytes: usize,
    blobs: usize,
}

/// A reply kept aside.
#[derive(Debug)]
struct Early {
    at: usize,
    len: usize,
    blobs: Vec<(usize, Blob)>,
}

impl Behind {
    fn fill_early(&mut self, index: usize, part: ReplyPart<'_>) {
        let hole = &mut self.holes[index];
        assert!(hole.early.is_none(), "a hole is filled once");
        hole.early = Some(self.aside.put(part));
    }

    /// Removes the first hole and those behind it that were filled early, and moves what is in
    /// order then. Returns how many holes went.
    fn close_first(&mut self, ready: &mut Reply) -> u32 {
        let mut closed = 0;
        loop {
            self.holes.pop_front();
            closed += 1;
            let Some(hole) = self.holes.front_mut() else {
                self.kept.move_all(ready);
                return closed;
            };
            self.kept.move_some(hole.before, ready);
            let Some(early) = hole.early.take() else { return closed };
            self.aside.take(early, ready);
            self.aside.compact(&mut self.holes);
        }
    }

    fn footprint(&self) -> usize {
        self.holes.capacity() * size_of::<Hole>()
            + self.kept.reply.bytes.capacity()
            + self.aside.bytes.capacity()
    }
}

/// What was encoded here behind holes: a queue in one buffer.
#[derive(Debug, Default)]
struct Kept {
    reply: Reply,
    /// Bytes at its start that have moved on.
    gone: usize,
    /// Where the last hole lies.
    cut: Extent,
    /// The protocol when [`Order::out`] last gave it.
    given: Protocol,
}

impl Kept {
    fn len(&self) -> usize {
        self.reply.len() - self.gone
    }

    /// A hole opens here: what has been encoded since the last.
    fn cut(&mut self) -> Extent {
        let last = self.cut;
        self.cut = Extent { bytes: self.reply.bytes.len(), blobs: self.reply.blobs.len() };
        Extent { bytes: self.cut.bytes - last.bytes, blobs: self.cut.blobs - last.blobs }
    }

    fn move_some(&mut self, n: Extent, ready: &mut Reply) {
        let blobs = self.reply.blobs.drain(..n.blobs).map(|(at, blob)| (at - self.gone, blob));
        splice(ready, &self.reply.bytes[self.gone..self.gone + n.bytes], blobs);
        self.gone += n.bytes;
        self.cut.blobs -= n.blobs;
        if self.gone >= COMPACT_FROM && self.gone * 2 >= self.reply.bytes.len() {
            self.reply.bytes.drain(..self.gone);
            self.reply.blobs.iter_mut().for_each(|(at, _)| *at -= self.gone);
            self.cut.bytes -= self.gone;
            self.gone = 0;
        }
    }

    /// The last hole has closed.
    fn move_all(&mut self, ready: &mut Reply) {
        self.agree_on_protocol(ready);
        let blobs = self.reply.blobs.drain(..).map(|(at, blob)| (at - self.gone, blob));
        splice(ready, &self.reply.bytes[self.gone..], blobs);
        self.reply.bytes.clear();
        (self.gone, self.cut) = (0, Extent::default());
    }

    /// Whichever of the two has changed its protocol since it was given is right.
    fn agree_on_protocol(&mut self, ready: &mut Reply) {
        if self.reply.protocol == self.given {
            self.reply.protocol = ready.protocol;
        } else {
            ready.protocol = self.reply.protocol;
        }
        self.given = ready.protocol;
    }
}

/// Replies that came before their turn: taken out in any order, from one buffer.
#[derive(Debug, Default)]
struct Aside {
    bytes: Vec<u8>,
    /// Of which this many belong to a hole still.
    live: usize,
    /// The same with long values.
    pending: usize,
}

impl Aside {
    fn put(&mut self, part: ReplyPart<'_>) -> Early {
        let len = part.bytes.len();
        self.pending += part.len();
        self.live += len;
        // One without bytes lies at 0, where it is in bounds whatever happens to the others.
        let at = if len > 0 { self.bytes.len() } else { 0 };
        self.bytes.extend_from_slice(part.bytes);
        Early { at, len, blobs: part.blobs }
    }

    fn take(&mut self, early: Early, ready: &mut Reply) {
        let part =
            ReplyPart { bytes: &self.bytes[early.at..early.at + early.len], blobs: early.blobs };
        self.pending -= part.len();
        self.live -= early.len;
        splice(ready, part.bytes, part.blobs);
    }

    /// Moves the living together when they are the lesser part.
    fn compact(&mut self, holes: &mut VecDeque<Hole>) {
        let (len, dead) = (self.bytes.len(), self.bytes.len() - self.live);
        if self.live == 0 {
            self.bytes.clear();
        } else if dead >= COMPACT_FROM && dead >= self.live {
            let early = holes.iter_mut().filter_map(|hole| hole.early.as_mut());
            for early in early.filter(|early| early.len > 0) {
                let at = self.bytes.len() - len;
                self.bytes.extend_from_within(early.at..early.at + early.len);
                early.at = at;
            }
            self.bytes.drain(..len);
            debug_assert_eq!(self.bytes.len(), self.live, "every byte belongs to a hole");
        }
    }
}

/// Appends an encoded reply.
fn splice(ready: &mut Reply, bytes: &[u8], blobs: impl IntoIterator<Item = (usize, Blob)>) {
    let offset = ready.bytes.len();
    ready.bytes.extend_from_slice(bytes);
    ready.blobs.extend(blobs.into_iter().map(|(at, blob)| (at + offset, blob)));
}
