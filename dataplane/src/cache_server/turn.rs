//! One turn: what is done in which order, and how long may be slept after it.

#![forbid(unsafe_code)]

use std::io;

use shards::ids::DbId;
use shards::store::NextTick;
use shards::time::Nanos;

use super::across::Across;
use super::{CacheServer, conn};
use crate::runtime::{Driver, Event, Wait};

/// Entries that expiry visits in one turn: about 10 us.
const TICK_BUDGET: usize = 256;

/// Keys evicted in one turn while more is held than may be: about 100 us.
const EXCESS_BUDGET: usize = 128;

impl<D: Driver> CacheServer<D> {
    /// Handles what has happened and says how long may be slept.
    pub(super) fn turn(&mut self) -> io::Result<Wait> {
        let start = self.now.mono;
        self.pick_up_settings();
        self.begin_proxy_turn();
        (self.requests, self.requests_sent) = (0, 0);
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            self.handle(event)?;
        }
        self.events = events;
        self.take_parcels()?;
        self.accept_some();
        self.turn_proxy();
        for key in std::mem::take(&mut self.waiting) {
            self.parse_unread(key)?;
        }
        let parsed = self.stage_end(start);
        self.run_batch(self.now);
        self.step_long(self.now);
        self.go_on_across();
        let executed = self.stage_end(parsed);
        let excess = self.shard.evict_excess(EXCESS_BUDGET, self.now);
        // Before all leaves: what they close may have something to say to other shards.
        self.fire_timers();
        self.flush();
        self.flush_mesh();
        let tick = self.shard.store.tick(self.now, TICK_BUDGET);
        self.shard.limiter.tick(self.now.mono);
        let end = self.driver.monotonic();
        if self.requests > 0 {
            let spent = [
                parsed.since(start),
                executed.since(parsed),
                end.since(executed),
                end.since(start),
            ];
            self.stages.record(spent, self.requests);
        }
        self.stats.turns.add(1);
        self.stats.busy_ns.add(end.since(start).0);
        self.dozed = end;
        self.report();
        Ok(if excess { Wait::Poll } else { self.next_wait(tick) })
    }

    /// The end of a stage that began then, for turns that have commands; no others are recorded.
    fn stage_end(&self, start: Nanos) -> Nanos {
        let any = self.requests > 0 || !self.batch.queued.is_empty();
        if any { self.driver.monotonic() } else { start }
    }

    /// What other shards have led to goes on.
    fn go_on_across(&mut self) {
        if self.across.is_none() {
            return;
        }
        self.pick_up_settings(); // a command of this turn may have changed them
        self.step_tasks();
        // Each may wake others.
        while let Some(across) = &mut self.across
            && !across.awake.is_empty()
        {
            for key in std::mem::take(&mut across.awake) {
                self.run_behind(key, self.now);
            }
            self.pump();
            self.carry_out_kills();
        }
        self.carry_out_kills();
        self.make_room_for_others();
        self.shard.say_memory();
    }

    /// Looks for new settings; others that sleep are woken for them, since some set timers.
    pub(super) fn pick_up_settings(&mut self) {
        if self.settings.refresh() {
            self.shard.settings = self.settings.get().clone();
            if let Some(across) = &self.across {
                across.mesh.wake_all();
            }
        }
    }

    fn next_wait(&self, tick: NextTick) -> Wait {
        let busy = tick == NextTick::Soon
            || !self.waiting.is_empty()
            || !self.arrivals.is_empty()
            || !self.long.is_empty()
            || !self.dirty.is_empty()
            || self.across.as_ref().is_some_and(Across::is_busy)
            || self.proxy.as_ref().is_some_and(|proxy| proxy.is_busy());
        if busy {
            return Wait::Poll;
        }
        let mut wait = Wait::Forever;
        if let NextTick::At(at) = tick {
            wait =
                wait.at_most(at.0.saturating_sub(self.now.unix_ms().0).saturating_mul(1_000_000));
        }
        if let Some(next) = self.wheel.next_deadline() {
            wait = wait.at_most(next.saturating_sub(self.now.mono.0));
        }
        if let Some(next) = self.proxy.as_ref().and_then(|proxy| proxy.next_deadline()) {
            wait = wait.at_most(next.since(self.now.mono).0);
        }
        if self.draining.is_some() {
            wait = wait.at_most(10 * Nanos::MILLISECOND.0);
        }
        wait
    }

    fn handle(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Accepted(listener, socket) => {
                if let Some(service) = self.service_of(listener) {
                    self.arrivals.push_back((socket, service));
                }
            }
            Event::AcceptFailed(error) => self.accept_failed(&error),
            Event::Received(key, _)
            | Event::Ended(key)
            | Event::Failed(key, _)
            | Event::Deaf(key, _)
                if self.is_proxied(key) =>
            {
                self.proxied(event);
            }
            Event::Sent(key, _) if self.is_proxied(key) => self.proxied(event),
            Event::Connected(_) | Event::Released(..) => self.proxied(event),
            Event::Received(key, loan) => self.received(key, loan)?,
            Event::Ended(key) => {
                // What it sent before is executed first.
                self.run_batch(self.now);
                self.peer_ended(key);
            }
            Event::Failed(key, _) | Event::Deaf(key, _) => self.close(key, conn::Reason::Failed),
            Event::Sent(key, payload) => self.sent(key, payload),
            Event::Woken => {}
        }
        Ok(())
    }

    /// Brings the gauges up to date and answers who asks for histograms.
    fn report(&mut self) {
        let stats = &self.stats;
        stats.connections.set(self.clients as u64);
        stats.paused_connections.set(self.paused as u64);
        stats.pooled_buffers.set(self.pool.len() as u64);
        stats.starved_receives.set(self.driver.starved());
        stats.pending_output_bytes.set(self.pending_output as u64);
        let parked = self.across.as_ref().map_or(0, |across| across.parking.len());
        stats.parked_commands.set(parked as u64);
        let stages = &self.stages;
        let (store, counts) = (&self.shard.store, &self.shard.stats);
        let limiter = &self.shard.limiter;
        let proxy = self.proxy.as_deref();
        self.control.stages.answer(|form| {
            form.add(stages);
            if let Some(proxy) = proxy {
                form.add_latency(proxy.latency());
            }
            stats.cpu_ns.set(self.driver.cpu_time().0);
            let all = (0..store.databases()).map(DbId);
            counts.keys.set(all.clone().map(|db| store.len(db) as u64).sum());
            counts.expiring_keys.set(all.map(|db| store.expires(db) as u64).sum());
            counts.memory_used_bytes.set(store.memory_used() as u64);
            limiter.report();
        });
    }
}
