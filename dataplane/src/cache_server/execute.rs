//! Executes a batch: phases of prefetching, then each command in the order of arrival.

#![forbid(unsafe_code)]

use shards::command::{CommandSpec, Flow, Group, LONG_STEP, Traffic, dispatch};
use shards::time::Now;

use super::CacheServer;
use super::across::Delayed;
use super::batch::{Batch, CHUNK, Fault, Queued};
use super::conn::{Conn, Gate, Reason};
use super::host::{traffic, view};
use crate::runtime::{ConnKey, Driver};

fn chunk_of(queue: &mut [Queued], n: usize) -> &mut [Queued] {
    let end = queue.len().min((n + 1) * CHUNK);
    &mut queue[n * CHUNK..end]
}

/// Long operations that go on in one turn: about 200 us.
const LONG_STEPS: usize = 8;

impl<D: Driver> CacheServer<D> {
    /// Executes what has been parsed and forgets it.
    pub(super) fn run_batch(&mut self, now: Now) {
        if self.batch.queued.is_empty() && self.batch.from_unread.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        let mut queue = std::mem::take(&mut batch.queued);
        // Chunk by chunk in three stages: while one is executed, the entries of the next and the
        // index lines of the one after it are on their way.
        let chunks = queue.len().div_ceil(CHUNK);
        for n in 0..chunks + 2 {
            if n < chunks {
                self.ask_for_lines(chunk_of(&mut queue, n));
            }
            if (1..=chunks).contains(&n) {
                self.ask_for_entries(chunk_of(&mut queue, n - 1));
            }
            if n >= 2 {
                let start = (n - 2) * CHUNK;
                for at in start..queue.len().min(start + CHUNK) {
                    self.execute(&batch, &queue[at], queue.get(at + 1), now);
                }
            }
        }
        batch.queued = queue;
        for key in &batch.from_unread {
            self.forget_executed(*key);
        }
        self.requests += batch.queued.len() as u64;
        self.stats.batches.add(1);
        batch.clear();
        self.batch = batch;
        self.carry_out_kills();
        self.pump();
    }

    fn ask_for_lines(&self, chunk: &[Queued]) {
        let alone = self.across.is_none();
        for queued in chunk.iter().filter(|q| q.key != 0 && (alone || self.is_mine(q.at))) {
            if self.is_limit(queued) {
                self.shard.limiter.prefetch_entry(queued.at);
            } else {
                self.shard.store.prefetch_line(queued.db, queued.at);
            }
        }
    }

    fn ask_for_entries(&self, chunk: &mut [Queued]) {
        let alone = self.across.is_none();
        for queued in chunk.iter_mut().filter(|q| q.key != 0 && (alone || self.is_mine(q.at))) {
            if self.is_limit(queued) {
                self.shard.limiter.prefetch_bucket(queued.at);
            } else {
                queued.hint = self.shard.store.prefetch_entry(queued.db, queued.at);
            }
        }
    }

    /// Whether a request is for a bucket, not for a key.
    #[inline]
    fn is_limit(&self, queued: &Queued) -> bool {
        match (queued.spec, self.throttle) {
            (Some(spec), Some(throttle)) => std::ptr::eq(spec, throttle),
            _ => false,
        }
    }

    /// Drops the unread bytes whose requests have been executed.
    fn forget_executed(&mut self, key: ConnKey) {
        let Some(conn) = self.conn(key) else { return };
        let consumed = std::mem::take(&mut conn.consumed);
        conn.input.compact(consumed);
        if conn.input.unread.is_empty() {
            let buffer = std::mem::take(&mut conn.input.unread);
            self.pool.put(buffer);
        }
    }

    fn execute(&mut self, batch: &Batch, queued: &Queued, next: Option<&Queued>, now: Now) {
        if self.across.is_some() && self.serve_from(batch, queued, now) {
            return;
        }
        let key = batch.origins[queued.origin as usize].conn;
        let Some(place) = self.conns.get_mut(key.index as usize) else { return };
        let alive = |conn: &mut Box<Conn>| conn.key == key && conn.closing.is_none();
        let Some(mut conn) = place.take_if(alive) else { return };
        if !self.kills.is_empty() && self.kills.contains(&conn.session.id) {
            self.conns[key.index as usize] = Some(conn);
            return;
        }
        if conn.reply.bytes.capacity() == 0 {
            conn.reply.bytes = self.pool.take();
        }
        if queued.fault != 0 {
            let fault = &batch.faults[queued.fault as usize - 1];
            if conn.is_blocked() || !conn.abroad.is_empty() {
                conn.behind.push_back(Delayed::Fault(fault.clone()));
            } else {
                self.fault(&mut conn, fault);
            }
        } else if self.across.is_some() {
            let routed = self.route(&mut conn, batch, queued, next, now);
            self.after_route(&mut conn, queued.spec, routed);
        } else {
            let flow = self.command(&mut conn, batch, queued, now);
            self.follow(&mut conn, queued.spec, flow);
        }
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(key);
        }
        self.conns[key.index as usize] = Some(conn);
    }

    /// Ends a connection in place of a request.
    pub(super) fn fault(&mut self, conn: &mut Conn, fault: &Fault) {
        conn.reply.error(fault.text().as_bytes());
        conn.closing = Some(fault.reason());
    }

    #[inline]
    fn command(&mut self, conn: &mut Conn, batch: &Batch, queued: &Queued, now: Now) -> Flow {
        let spec = queued.spec;
        // Only these commands look at the node around the shard.
        let looks =
            spec.is_some_and(|spec| matches!(spec.group, Group::Server | Group::Connection));
        let own = if looks { traffic(conn, &self.driver) } else { Traffic::default() };
        let args = batch.args(queued, &self.driver, &conn.input.unread);
        let mut view = view!(self, own);
        dispatch(&mut self.shard, &mut conn.session, &mut view, spec, &args, now, &mut conn.reply)
    }

    /// Does to a connection what a command asked for.
    pub(super) fn follow(
        &mut self,
        conn: &mut Conn,
        spec: Option<&'static CommandSpec>,
        flow: Flow,
    ) {
        let was_barrier = matches!(conn.gate, Gate::Barrier);
        match flow {
            Flow::Done if was_barrier => {
                conn.gate = Gate::Open;
                self.parse_later(conn);
            }
            Flow::Done => {}
            Flow::Close => {
                let quits = spec.is_some_and(|spec| spec.name == "quit");
                conn.closing = Some(if quits { Reason::Quit } else { Reason::Killed });
            }
            Flow::Pending(op) => {
                conn.gate = Gate::Long(Box::new(op));
                self.long.push_back(conn.key);
            }
        }
    }

    /// Puts a connection with unread bytes in line for parsing.
    pub(super) fn parse_later(&mut self, conn: &mut Conn) {
        if !conn.waiting && (!conn.input.unread.is_empty() || conn.ended || conn.paused) {
            conn.waiting = true;
            self.waiting.push(conn.key);
        }
    }

    /// One step of some long operations, in turn.
    pub(super) fn step_long(&mut self, now: Now) {
        for _ in 0..self.long.len().min(LONG_STEPS) {
            let Some(key) = self.long.pop_front() else { return };
            let Some(place) = self.conns.get_mut(key.index as usize) else { continue };
            let Some(mut conn) = place.take_if(|conn| conn.key == key) else { continue };
            if conn.closing.is_none()
                && let Gate::Long(op) = &mut conn.gate
            {
                let out = conn.order.out(&mut conn.reply);
                if op.step(&self.shard, now, LONG_STEP, out) {
                    self.reopen(&mut conn);
                    if !conn.dirty {
                        conn.dirty = true;
                        self.dirty.push(key);
                    }
                } else {
                    self.long.push_back(key);
                }
            }
            self.conns[key.index as usize] = Some(conn);
        }
    }

    pub(super) fn carry_out_kills(&mut self) {
        if self.kills.is_empty() {
            return;
        }
        let kills = std::mem::take(&mut self.kills);
        let doomed = self.conns.iter().flatten().filter(|conn| kills.contains(&conn.session.id));
        for key in doomed.map(|conn| conn.key).collect::<Vec<_>>() {
            self.close(key, Reason::Killed);
        }
    }
}
