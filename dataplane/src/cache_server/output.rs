//! Replies on their way out, and clients that do not take them.

#![forbid(unsafe_code)]

use shards::time::Nanos;

use super::CacheServer;
use super::conn::{Conn, Reason};
use super::timers::Timer;
use crate::runtime::{ConnKey, Driver, Payload};

/// Pending output of all clients together from which on each gets little credit.
const CROWDED_BYTES: usize = 128 << 20;
/// Credit of a client then.
const CROWDED_SOFT: usize = 256 << 10;
/// How long the peer may take to close after our last reply.
const LINGER: Nanos = Nanos(1_000_000_000);

impl<D: Driver> CacheServer<D> {
    /// Hands all new replies to the kernel: one send per connection.
    pub(super) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        self.driver.expect_sends(dirty.len());
        for key in dirty.drain(..) {
            let Some(conn) = conn_of(&mut self.conns, key) else { continue };
            conn.dirty = false;
            if conn.reply.is_empty() {
                // Silenced replies leave a buffer behind.
                self.pool.put(std::mem::take(&mut conn.reply.bytes));
            } else if !conn.sending {
                self.send(key);
            }
            self.after_output(key);
        }
        if self.dirty.is_empty() {
            self.dirty = dirty; // keeps its memory
        }
    }

    fn send(&mut self, key: ConnKey) {
        let Some(conn) = conn_of(&mut self.conns, key) else { return };
        let bytes = std::mem::take(&mut conn.reply.bytes);
        let blobs = std::mem::take(&mut conn.reply.blobs);
        let payload = Payload::new(bytes, blobs);
        conn.in_flight = payload.left();
        conn.sent += payload.left() as u64;
        conn.sending = true;
        self.stats.sends.add(1);
        self.stats.sent_bytes.add(payload.left() as u64);
        if let Some(payload) = self.driver.send(key, payload) {
            self.sent(key, payload);
        }
    }

    /// A payload has left; its buffer serves again.
    pub(super) fn sent(&mut self, key: ConnKey, payload: Payload) {
        self.pool.put(payload.into_buffer());
        let Some(conn) = conn_of(&mut self.conns, key) else { return };
        conn.in_flight = 0;
        conn.sending = false;
        conn.session.last_seen = self.now; // it takes what it is sent, so it is not idle
        if !conn.reply.is_empty() && !conn.dirty {
            conn.dirty = true;
            self.dirty.push(key);
        } else {
            self.after_output(key);
        }
    }

    /// Brings the sum of pending output up to date with one connection's.
    fn charge(&mut self, key: ConnKey) {
        if let Some(conn) = conn_of(&mut self.conns, key) {
            let pending = conn.pending_output();
            self.pending_output = self.pending_output + pending - conn.charged;
            conn.charged = pending;
        }
    }

    fn soft_limit(&self) -> usize {
        let set = self.shard.settings.output_limit.soft as usize;
        let soft = if set == 0 { usize::MAX } else { set };
        if self.pending_output > CROWDED_BYTES { soft.min(CROWDED_SOFT) } else { soft }
    }

    /// Closes what is done, stops who takes nothing, lets go on who has caught up.
    fn after_output(&mut self, key: ConnKey) {
        self.charge(key);
        let soft = self.soft_limit();
        let hard = self.shard.settings.output_limit.hard as usize;
        let Some(conn) = conn_of(&mut self.conns, key) else { return };
        let pending = conn.pending_output();
        if conn.closing.is_some() {
            if !conn.sending && conn.reply.is_empty() && conn.order.is_empty() {
                self.linger(key);
            }
            return;
        }
        if hard != 0 && pending > hard {
            return self.close(key, Reason::Output);
        }
        if !conn.full && pending > soft {
            conn.full = true;
            self.pause(key);
            self.watch_output(key);
        } else if conn.full && pending <= soft / 2 {
            self.caught_up(key);
        }
    }

    /// A client has taken enough of its replies: it may go on.
    fn caught_up(&mut self, key: ConnKey) {
        let Some(conn) = conn_of(&mut self.conns, key) else { return };
        conn.full = false;
        if let Some(timer) = conn.timer.take() {
            self.wheel.cancel(timer);
        }
        if let Some(across) = &mut self.across
            && !conn.behind.is_empty()
        {
            conn.awaken(&mut across.awake);
        }
        self.resume(key);
    }

    /// Looks again after the time that a client may take nothing.
    pub(super) fn watch_output(&mut self, key: ConnKey) {
        let seconds = self.shard.settings.output_limit.soft_seconds;
        let unsent = self.driver.unsent(key);
        let Some(conn) = conn_of(&mut self.conns, key) else { return };
        conn.unsent_then = unsent;
        if seconds > 0 {
            let at = self.now.mono.after(Nanos(u64::from(seconds) * 1_000_000_000));
            conn.timer = Some(self.wheel.insert(at.0, Timer::Output(key)));
        }
    }

    pub(super) fn pause(&mut self, key: ConnKey) {
        let Some(conn) = conn_of(&mut self.conns, key) else { return };
        if !conn.paused {
            conn.paused = true;
            self.paused += 1;
            self.stats.pauses.add(1);
            self.driver.pause(key);
        }
    }

    pub(super) fn resume(&mut self, key: ConnKey) {
        let Some(place) = self.conns.get_mut(key.index as usize) else { return };
        let Some(mut conn) = place.take_if(|conn| conn.key == key) else { return };
        if std::mem::take(&mut conn.paused) {
            self.paused -= 1;
            if !conn.ended {
                self.driver.resume(key);
            }
        }
        self.parse_later(&mut conn);
        self.conns[key.index as usize] = Some(conn);
    }

    /// The last reply is out: says so to the peer and waits a moment for its end, since
    /// closing over unread bytes would take the reply back (RFC 9293 section 3.6.1).
    fn linger(&mut self, key: ConnKey) {
        let Some(conn) = conn_of(&mut self.conns, key) else { return };
        if conn.lingering {
            return;
        }
        if conn.ended {
            let reason = conn.closing.unwrap_or(Reason::Peer);
            return self.close(key, reason);
        }
        conn.lingering = true;
        let at = self.now.mono.after(LINGER);
        if let Some(old) = conn.timer.replace(self.wheel.insert(at.0, Timer::Linger(key))) {
            self.wheel.cancel(old);
        }
        self.driver.finish(key);
        if let Some(conn) = conn_of(&mut self.conns, key)
            && conn.paused
        {
            self.resume(key);
        }
    }
}

/// The connection of a key, if it is still that one.
pub(super) fn conn_of(conns: &mut [Option<Box<Conn>>], key: ConnKey) -> Option<&mut Conn> {
    conns.get_mut(key.index as usize)?.as_deref_mut().filter(|conn| conn.key == key)
}
