//! One shard's ports to all others: parcels and messages, with credits.
//!
//! Owns the rings' ends. For each other shard a port has so many parcels of its own; a
//! request needs one, and it comes back with the reply. Both rings have room for all parcels
//! of both sides, so that sending never fails and full rings cannot deadlock. Messages ride
//! on whatever parcel goes next, forth or back.
//!
//! ```text
//! spare --first request--> open --end of turn--> away (at its home) --replies--> spare
//! ```

#![forbid(unsafe_code)]

use std::sync::{Arc, OnceLock};

use shards::command::Args;
use shards::ids::ShardId;
use shards::stats::Counter;
use shards::store::{Blob, BlobSource};

use super::bell::{Ringer, Sleeper, bell};
use super::parcel::{Message, NewHead, Parcel, Ticket};
use super::ring::{Receiver, Sender, ring};
use crate::runtime::Waker;

/// Parcels that one shard may have at another at a time.
pub const PARCELS: usize = 32;

/// How another shard is woken.
#[derive(Clone)]
struct Door {
    ringer: Ringer,
    waker: Arc<OnceLock<Waker>>,
}

/// A ring to another shard and one from it, and how it is woken.
struct Pair {
    to: Sender<Parcel>,
    from: Receiver<Parcel>,
    door: Door,
}

struct Port {
    to: Sender<Parcel>,
    from: Receiver<Parcel>,
    door: Door,
    #[expect(clippy::vec_box, reason = "a parcel travels as the box that it is kept in")]
    spare: Vec<Box<Parcel>>,
    open: Option<Open>,
    /// Filled in this turn, and of the other side, answered.
    leaving: Vec<Open>,
    outbox: Vec<Message>,
}

/// A parcel that is being filled.
pub struct Open {
    parcel: Box<Parcel>,
    /// Long arguments: request, argument. Taken out of the store when it leaves, since the
    /// batch that they came with holds them until then.
    long: Vec<(u32, u32, Blob)>,
}

impl Open {
    fn new(parcel: Box<Parcel>) -> Self {
        Self { parcel, long: Vec::new() }
    }

    /// Adds a request of these arguments, without long ones.
    pub fn push_words(&mut self, head: NewHead, words: &[Vec<u8>], ticket: Ticket) {
        self.parcel.push_words(head, words.iter().map(Vec::as_slice), ticket);
    }

    /// Adds a request.
    pub fn push(&mut self, head: NewHead, args: &Args<'_>, ticket: Ticket) {
        let request = self.parcel.push(head, args, ticket);
        for (n, blob) in args.blobs() {
            self.long.push((request, *n, blob.clone()));
        }
    }
}

/// What crossing costs, counted.
#[derive(Debug, Default)]
pub struct MeshStats {
    /// Requests sent to other shards.
    pub requests: Counter,
    /// Messages besides.
    pub messages: Counter,
    /// Parcels sent, there or back.
    pub parcels: Counter,
    /// Doorbells rung.
    pub doorbells: Counter,
    /// Requests that had to wait for a parcel to come back.
    pub waits: Counter,
}

/// See the module's text.
pub struct Mesh {
    me: ShardId,
    /// Of its own, at each other shard.
    parcels: usize,
    /// By shard; none for itself.
    ports: Vec<Option<Port>>,
    sleeper: Sleeper,
    waker: Arc<OnceLock<Waker>>,
    /// Where looking for arrivals goes on, so that none is served last always.
    next: usize,
    /// What it counts.
    pub stats: Arc<MeshStats>,
}

/// One shard's ends of all rings, before it runs on its thread.
pub struct Ends {
    me: ShardId,
    parcels: usize,
    rings: Vec<Option<Pair>>,
    sleeper: Sleeper,
    waker: Arc<OnceLock<Waker>>,
    /// What the shard is to count in.
    pub stats: Arc<MeshStats>,
}

impl std::fmt::Debug for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ends(shard {} of {})", self.me.0, self.rings.len())
    }
}

impl Ends {
    /// The ends of all rings between so many shards, one set each; every shard has so many
    /// parcels at each other one, [`PARCELS`] but in tests.
    pub fn between(shards: u16, parcels: usize) -> Vec<Self> {
        assert!(parcels > 0, "a request needs a parcel");
        let count = usize::from(shards);
        let bells: Vec<_> = (0..count).map(|_| bell()).collect();
        let wakers: Vec<Arc<OnceLock<Waker>>> = (0..count).map(|_| Arc::default()).collect();
        let doors: Vec<Door> = bells
            .iter()
            .zip(&wakers)
            .map(|((_, ringer), waker)| Door { ringer: ringer.clone(), waker: waker.clone() })
            .collect();
        let mut senders: Vec<Vec<Option<Sender<Parcel>>>> = Vec::new();
        let mut receivers: Vec<Vec<Option<Receiver<Parcel>>>> =
            (0..count).map(|_| (0..count).map(|_| None).collect()).collect();
        for from in 0..count {
            senders.push((0..count).map(|_| None).collect());
            for to in (0..count).filter(|to| *to != from) {
                let (sender, receiver) = ring(2 * parcels);
                senders[from][to] = Some(sender);
                receivers[to][from] = Some(receiver);
            }
        }
        bells
            .into_iter()
            .zip(senders)
            .zip(receivers)
            .enumerate()
            .map(|(me, (((sleeper, _), senders), receivers))| {
                let ends = senders.into_iter().zip(receivers).zip(&doors);
                let rings = ends.map(|((to, from), door)| {
                    Some(Pair { to: to?, from: from?, door: door.clone() })
                });
                Self {
                    me: ShardId(me as u16),
                    parcels,
                    rings: rings.collect(),
                    sleeper,
                    waker: wakers[me].clone(),
                    stats: Arc::default(),
                }
            })
            .collect()
    }
}

impl Mesh {
    /// On the shard's thread.
    pub fn new(ends: Ends) -> Self {
        let Ends { me, parcels, rings, sleeper, waker, stats } = ends;
        let ports = rings.into_iter().map(|ring| ring.map(|ends| Port::new(me, parcels, ends)));
        Self { me, parcels, ports: ports.collect(), sleeper, waker, next: 0, stats }
    }

    /// Which shard this is.
    pub fn me(&self) -> ShardId {
        self.me
    }

    /// Tells the others how to wake this shard.
    pub fn wake_by(&self, waker: Waker) {
        // Set once: the driver of a shard is made once.
        let _ = self.waker.set(waker);
    }

    fn port(&mut self, shard: ShardId) -> &mut Port {
        self.ports[usize::from(shard.0)].as_mut().expect("a shard has no port to itself")
    }

    /// The parcel that the next request to a shard goes into; none while all are away.
    #[inline]
    pub fn open(&mut self, shard: ShardId) -> Option<&mut Open> {
        let port = self.ports[usize::from(shard.0)].as_mut()?;
        if port.open.as_ref().is_some_and(|open| open.parcel.is_full()) {
            port.leaving.extend(port.open.take());
        }
        if port.open.is_none() {
            port.open = port.spare.pop().map(Open::new);
            if port.open.is_none() {
                self.stats.waits.add(1);
            }
        }
        port.open.as_mut()
    }

    /// Says something to a shard; leaves at the end of the turn.
    pub fn post(&mut self, shard: ShardId, message: Message) {
        self.stats.messages.add(1);
        self.port(shard).outbox.push(message);
    }

    /// The next parcel that has come: another's with requests, or an own one with replies.
    pub fn receive(&mut self) -> Option<(ShardId, Box<Parcel>)> {
        for _ in 0..self.ports.len() {
            let shard = self.next;
            if let Some(parcel) = self.ports[shard].as_mut().and_then(|port| port.from.pop()) {
                return Some((ShardId(shard as u16), parcel));
            }
            self.next = (self.next + 1) % self.ports.len();
        }
        None
    }

    /// An own parcel, all of whose replies have been taken: it serves again.
    pub fn recycle(&mut self, shard: ShardId, mut parcel: Box<Parcel>) {
        debug_assert_eq!(parcel.owner, self.me, "it is one of ours");
        parcel.reset();
        self.port(shard).spare.push(parcel);
    }

    /// Another's parcel, all of whose requests have been answered: it goes home.
    pub fn give_back(&mut self, shard: ShardId, parcel: Box<Parcel>) {
        debug_assert_eq!(parcel.owner, shard, "it is theirs");
        self.port(shard).leaving.push(Open::new(parcel));
    }

    /// Sends whatever there is, and rings those that sleep. No batch holds arguments any more.
    pub fn flush(&mut self, blobs: &BlobSource, wake: &mut dyn FnMut(&Waker)) {
        let stats = &self.stats;
        for port in self.ports.iter_mut().flatten() {
            if !port.outbox.is_empty() && port.open.is_none() && port.leaving.is_empty() {
                port.open = port.spare.pop().map(Open::new);
            }
            port.leaving.extend(port.open.take());
            let Some(first) = port.leaving.first_mut() else { continue };
            first.parcel.messages.append(&mut port.outbox);
            for Open { mut parcel, long } in port.leaving.drain(..) {
                stats.parcels.add(1);
                if parcel.owner == self.me {
                    stats.requests.add(parcel.heads.len() as u64);
                }
                let detach = |(request, n, blob)| (request, n, blobs.detach(blob));
                parcel.long.extend(long.into_iter().map(detach));
                let sent = port.to.push(parcel);
                assert!(sent.is_ok(), "the ring has room for all parcels of both sides");
            }
            if port.door.ringer.must_ring() {
                stats.doorbells.add(1);
                if let Some(waker) = port.door.waker.get() {
                    wake(waker);
                }
            }
        }
    }

    /// Ends the sleep of all others, for news that are in no ring.
    pub fn wake_all(&self) {
        let doors = self.ports.iter().flatten().map(|port| &port.door);
        doors.filter_map(|door| door.waker.get()).for_each(Waker::wake);
    }

    /// Whether nothing has come.
    pub fn is_quiet(&self) -> bool {
        self.ports.iter().flatten().all(|port| port.from.is_empty())
    }

    /// Says that this shard is about to sleep; `false` when something has come meanwhile, so
    /// that it must not. [`Mesh::unpark`] follows in any case.
    pub fn park(&mut self) -> bool {
        self.sleeper.prepare_to_park();
        cfg!(corelane_mutant = "no_second_look") || self.is_quiet()
    }

    /// Says that this shard is awake.
    pub fn unpark(&mut self) {
        self.sleeper.unpark();
    }

    /// Messages that wait for a parcel.
    pub fn unsaid(&self) -> usize {
        self.ports.iter().flatten().map(|port| port.outbox.len()).sum()
    }

    /// Parcels that are away.
    pub fn away(&self) -> usize {
        let away = |port: &Port| self.parcels - port.spare.len() - usize::from(port.open.is_some());
        self.ports.iter().flatten().map(away).sum()
    }
}

impl Port {
    fn new(me: ShardId, parcels: usize, Pair { to, from, door }: Pair) -> Self {
        Self {
            to,
            from,
            door,
            spare: (0..parcels).map(|_| Box::new(Parcel::new(me))).collect(),
            open: None,
            leaving: Vec::new(),
            outbox: Vec::new(),
        }
    }
}
