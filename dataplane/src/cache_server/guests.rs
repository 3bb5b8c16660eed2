//! Requests of other shards' clients, and the replies that come back to ours.
//!
//! Owns what is done with a parcel that has arrived. A request of another shard is executed in
//! the same batches as those of our own connections, so that its memory is asked for beside
//! theirs; its reply is encoded into the parcel, which goes home at the end of the turn.

#![forbid(unsafe_code)]

use shards::command::{Args, Flow, Traffic, dispatch, each_slot};
use shards::holds::OpId;
use shards::ids::{ClientId, ShardId};
use shards::operation::{Packer, Unpacker};
use shards::order::ReplyPart;
use shards::reply::Reply;
use shards::store::{Blob, Hint, KeyHash};
use shards::time::Now;

use super::CacheServer;
use super::across::{Across, Guests};
use super::batch::{Batch, Queued, Source};
use super::host::view;
use super::output::conn_of;
use super::parking::{Parked, Whose};
use crate::mesh::parcel::{End, MOST_REPLIES, Message, Parcel, Ticket};
use crate::runtime::{ConnKey, Driver};

/// Requests of other shards that are taken in one turn: about a millisecond. The others of a
/// node of many can have more under way here.
const MOST_REQUESTS: u64 = 4_096;

/// Marks an origin that is no connection.
const NOBODY: ConnKey = ConnKey { index: u32::MAX, generation: 0 };

impl<D: Driver> CacheServer<D> {
    /// Takes in what other shards have sent, or as much of it as a turn has room for: those
    /// whose parcels go home amid it may send them again at once.
    pub(super) fn take_parcels(&mut self) -> std::io::Result<()> {
        let (requests, mut queued) = (self.requests, 0);
        while queued + (self.requests - requests) < MOST_REQUESTS
            && let Some((from, mut parcel)) =
                self.across.as_mut().and_then(|across| across.mesh.receive())
        {
            for message in std::mem::take(&mut parcel.messages) {
                self.hear(from, message);
            }
            self.let_replies_leave()?;
            if parcel.owner == self.shard.id {
                self.settle(from, parcel);
            } else {
                queued += parcel.heads.len() as u64;
                self.queue_guests(from, parcel)?;
            }
        }
        self.pump();
        Ok(())
    }

    /// Puts another shard's requests into the batch.
    fn queue_guests(&mut self, from: ShardId, parcel: Box<Parcel>) -> std::io::Result<()> {
        let Some(across) = &mut self.across else { return Ok(()) };
        let requests = parcel.heads.len();
        if requests == 0 {
            across.mesh.give_back(from, parcel);
            return Ok(());
        }
        let mut place = across.guests.len();
        // The parcel's own buffer, which keeps its memory from trip to trip.
        let mut parcel = parcel;
        let reply = Reply { bytes: std::mem::take(&mut parcel.replies), ..Reply::default() };
        across.guests.push(Guests { from, parcel, reply });
        let mut origin = self.batch.origin(NOBODY, Source::Guest(place as u32));
        for n in 0..requests {
            if self.batch.is_full() {
                self.run_full_batch()?;
                // Parcels that are done have gone; this one is not.
                let guests = self.across.as_ref().map_or(0, |across| across.guests.len());
                place = guests.saturating_sub(1);
                origin = self.batch.origin(NOBODY, Source::Guest(place as u32));
            }
            let Some(across) = &self.across else { return Ok(()) };
            let head = across.guests[place].parcel.heads[n];
            self.batch.queued.push(Queued {
                spec: Some(head.spec),
                at: head.at.unwrap_or_default(),
                hint: Hint::default(),
                origin,
                first_span: n as u32,
                spans: 0,
                blobs: 0,
                fault: 0,
                key: if head.at.is_some() { head.spec.keys.first as u8 } else { 0 },
                db: head.db,
            });
        }
        Ok(())
    }

    /// Executes one of them.
    pub(super) fn serve_guest(&mut self, place: u32, queued: &Queued, now: Now) {
        let Some(across) = &mut self.across else { return };
        let Across { mesh, lender, home, parking, guests, guest, .. } = across;
        let Guests { from, parcel, reply } = &mut guests[place as usize];
        let n = queued.first_span as usize;
        let head = parcel.heads[n];
        let mut blobs: Vec<(u32, Blob)> = Vec::new();
        if head.long {
            let source = &self.blobs;
            let mine = |(request, ..): &(u32, u32, _)| *request == n as u32;
            let long = parcel.long.extract_if(.., |long| mine(long));
            blobs.extend(long.map(|(_, arg, detached)| (arg, source.adopt(detached))));
        }
        let (bytes, spans) = parcel.args(&head);
        let mut args = Args::new(bytes, spans, &blobs);
        if queued.key != 0 {
            args = args.with_key(queued.key.into(), queued.at, queued.hint);
        }
        guest.stand_in(ClientId(0), head.protocol, head.db, head.no_touch);
        if !home.is_idle() {
            let ticket = parcel.tickets[n];
            let whose = Whose { shard: *from, conn: ticket.conn };
            let mut waits = parking.has(whose);
            each_slot(guest, head.spec, &args, &mut |slot| waits |= home.is_held(slot));
            if waits {
                let parked = Parked::new(ticket, guest, head.spec, &args);
                parcel.ends.push(End { end: reply.bytes.len(), late: true });
                return across.park(whose, parked);
            }
        }
        debug_assert!(!home.is_idle() || parking.len() == 0, "who waits, waits for a hold");
        reply.protocol = head.protocol;
        let (mut apart, ticket) = (None, parcel.tickets[n]);
        let out = match reply.bytes.len() {
            ..MOST_REPLIES => &mut *reply,
            _ => apart.insert(Reply::new(head.protocol)),
        };
        let mut view = view!(self, Traffic::default());
        let flow = dispatch(&mut self.shard, guest, &mut view, Some(head.spec), &args, now, out);
        debug_assert!(!matches!(flow, Flow::Pending(_)), "what has one home takes no steps");
        let late = apart.is_some();
        if let Some(apart) = apart {
            let mut packer = Packer { blobs: &self.blobs, lender };
            mesh.post(*from, Message::Late(ticket, packer.reply(apart)));
            self.stats.replies_apart.add(1);
        }
        parcel.ends.push(End { end: reply.bytes.len(), late });
    }

    /// Sends parcels home all of whose requests are answered.
    pub(super) fn finish_guests(&mut self) {
        let Some(across) = &mut self.across else { return };
        let Across { mesh, guests, lender, .. } = across;
        for Guests { from, mut parcel, reply } in
            guests.extract_if(.., |guests| guests.parcel.ends.len() == guests.parcel.heads.len())
        {
            parcel.replies = reply.bytes;
            let lend = |(at, blob)| (at, lender.lend(blob));
            parcel.lent.extend(reply.blobs.into_iter().map(lend));
            mesh.give_back(from, parcel);
        }
    }

    /// Our own parcel is back: its replies go to their connections.
    fn settle(&mut self, home: ShardId, mut parcel: Box<Parcel>) {
        let Some(across) = &mut self.across else { return };
        let returns = across.returns.clone();
        let mut lent = std::mem::take(&mut parcel.lent).into_iter().peekable();
        let mut start = 0;
        for (ticket, End { end, late }) in parcel.tickets.iter().zip(&parcel.ends) {
            let mut blobs = Vec::new();
            while let Some((at, lent)) = lent.next_if(|(at, _)| at <= end) {
                blobs.push((at - start, Blob::borrowed(lent, &returns)));
            }
            if *late {
                if let Some(conn) = conn_of(&mut self.conns, ticket.conn) {
                    conn.abroad.be_late();
                }
            } else {
                let bytes = &parcel.replies[start..*end];
                self.fill(*ticket, ReplyPart { bytes, blobs });
            }
            start = *end;
        }
        if let Some(across) = &mut self.across {
            across.mesh.recycle(home, parcel);
            if cfg!(corelane_mutant = "thirsty_forgotten") {
                across.thirsty.clear();
            }
            for key in across.thirsty.drain(..) {
                if let Some(conn) = conn_of(&mut self.conns, key) {
                    conn.thirsty = false;
                    conn.awaken(&mut across.awake);
                }
            }
        }
    }

    /// A reply has come for a connection, if it is still there.
    pub(super) fn fill(&mut self, ticket: Ticket, part: ReplyPart<'_>) {
        let Some(conn) = conn_of(&mut self.conns, ticket.conn) else {
            return self.answer_for_proxy(ticket, part.bytes);
        };
        conn.abroad.come_back(ticket.write);
        if conn.reply.bytes.capacity() == 0 {
            conn.reply.bytes = self.pool.take();
        }
        let part = if ticket.silent { ReplyPart::default() } else { part };
        conn.order.fill(ticket.seq, part, &mut conn.reply);
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(ticket.conn);
        }
        if !conn.behind.is_empty()
            && let Some(across) = &mut self.across
        {
            conn.awaken(&mut across.awake);
        }
    }

    /// The same for one that waited for a hold.
    fn fill_late(&mut self, ticket: Ticket, part: ReplyPart<'_>) {
        if let Some(conn) = conn_of(&mut self.conns, ticket.conn) {
            conn.abroad.late_comes();
        }
        self.fill(ticket, part);
    }

    fn hear(&mut self, from: ShardId, message: Message) {
        let Some(across) = &mut self.across else { return };
        let returns = across.returns.clone();
        let unpacker = Unpacker { blobs: &self.blobs, returns: &returns };
        match message {
            Message::Task(task) => {
                let task = unpacker.task(task);
                self.task_arrived(task);
            }
            Message::Answer(op, answers) => {
                let answers = answers.into_iter().map(|answer| unpacker.answer(answer)).collect();
                self.answered(from, op.number, answers);
            }
            Message::Late(ticket, reply) => {
                let reply = unpacker.reply(reply);
                self.fill_late(ticket, ReplyPart { bytes: &reply.bytes, blobs: reply.blobs });
            }
            Message::Farewell(client) => self.shard.store.watches.unwatch(client),
            Message::Connection(handed) => self.take_over(handed),
            Message::Lending(said) => self.hear_lending(from, said),
            Message::MakeRoom(bytes) => across.wanted = across.wanted.max(bytes),
            Message::Settled(id) => across.lender.take_back(id),
        }
    }

    /// It is the turn of a command that waited for a hold: it runs, and what waits behind it
    /// and wants nothing more. The hold is the caller's to release.
    pub(super) fn run_parked(&mut self, op: OpId) {
        let Some(across) = &mut self.across else { return };
        let Some((whose, own)) = across.parking.granted(op) else { return };
        while let Some(across) = &mut self.across
            && let Some(parked) = across.parking.next(&across.home, whose, &own)
        {
            let reply = self.run_one_parked(&parked);
            let Some(across) = &mut self.across else { return };
            if whose.shard == self.shard.id {
                let part = ReplyPart { bytes: &reply.bytes, blobs: reply.blobs };
                self.fill_late(parked.ticket, part);
            } else {
                let mut packer = Packer { blobs: &self.blobs, lender: &mut across.lender };
                let message = Message::Late(parked.ticket, packer.reply(reply));
                across.mesh.post(whose.shard, message);
            }
        }
        if let Some(across) = &mut self.across
            && across.parking.has(whose)
        {
            let op = across.next_op();
            across.parking.ask(&mut across.home, op, whose);
        }
    }

    fn run_one_parked(&mut self, parked: &Parked) -> Reply {
        let Some(across) = &mut self.across else { return Reply::default() };
        let mut reply = Reply::new(parked.protocol);
        across.guest.stand_in(ClientId(0), parked.protocol, parked.db, parked.no_touch);
        across.guest.face = parked.face;
        let mut view = view!(self, Traffic::default());
        let (args, spec) = (parked.args.as_args(), Some(parked.spec));
        let (guest, now) = (&mut across.guest, self.now);
        let flow = dispatch(&mut self.shard, guest, &mut view, spec, &args, now, &mut reply);
        debug_assert!(!matches!(flow, Flow::Pending(_)), "what has one home takes no steps");
        reply
    }

    /// Whether the memory of a request's key is worth asking for here.
    #[inline]
    pub(super) fn is_mine(&self, at: KeyHash) -> bool {
        self.shard.partition.home(at.slot) == self.shard.id
    }

    /// The requests of one parcel that have been put into the batch.
    pub(super) fn serve_from(&mut self, batch: &Batch, queued: &Queued, now: Now) -> bool {
        match batch.origins[queued.origin as usize].source {
            Source::Guest(place) => {
                self.serve_guest(place, queued, now);
                true
            }
            _ => false,
        }
    }
}
