//! What happens to connections by the clock: lingering ends, stuck output, idle clients.

#![forbid(unsafe_code)]

use shards::time::Nanos;

use super::CacheServer;
use super::conn::Reason;
use super::output::conn_of;
use crate::runtime::{ConnKey, Driver};

/// Timers fired in one turn.
const PER_TURN: usize = 256;
/// How often idle clients are looked for while `timeout` is set.
const SWEEP: Nanos = Nanos(1_000_000_000);

/// What a timer is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    /// The peer had time to close.
    Linger(ConnKey),
    /// A client that took nothing is looked at again.
    Output(ConnKey),
    /// Idle clients are looked for.
    Idle,
}

impl<D: Driver> CacheServer<D> {
    /// Fires what is due.
    pub(super) fn fire_timers(&mut self) {
        self.watch_for_idle();
        if self.wheel.next_deadline().is_none_or(|next| next > self.now.mono.0) {
            return;
        }
        let mut due = Vec::new();
        self.wheel.expire(self.now.mono.0, PER_TURN, |timer| due.push(timer));
        for timer in due {
            match timer {
                Timer::Linger(key) => {
                    if let Some(conn) = conn_of(&mut self.conns, key) {
                        conn.timer = None;
                        let reason = conn.closing.unwrap_or(Reason::Peer);
                        self.close(key, reason);
                    }
                }
                Timer::Output(key) => self.look_at_output(key),
                Timer::Idle => self.close_idle(),
            }
        }
    }

    /// While `timeout` is set, idle clients are looked for again and again.
    fn watch_for_idle(&mut self) {
        if self.shard.settings.timeout > 0 && !self.sweeping {
            self.sweeping = true;
            self.wheel.insert(self.now.mono.after(SWEEP).0, Timer::Idle);
        }
    }

    fn look_at_output(&mut self, key: ConnKey) {
        let unsent = self.driver.unsent(key);
        let Some(conn) = conn_of(&mut self.conns, key) else { return };
        conn.timer = None;
        if !conn.full {
            return;
        }
        if unsent == conn.unsent_then {
            self.close(key, Reason::Output);
        } else {
            self.watch_output(key);
        }
    }

    fn close_idle(&mut self) {
        self.sweeping = false;
        let timeout = u64::from(self.shard.settings.timeout) * 1_000_000_000;
        if timeout == 0 {
            return;
        }
        let now = self.now;
        let mut idle: Vec<ConnKey> = Vec::new();
        for conn in self.conns.iter_mut().flatten() {
            // Who takes a long reply is busy although no payload has left whole.
            let unsent = self.driver.unsent(conn.key);
            if std::mem::replace(&mut conn.unsent_at_sweep, unsent) != unsent {
                conn.session.last_seen = now;
            }
            let silent = now.mono.since(conn.session.last_seen.mono).0 >= timeout;
            if conn.closing.is_none() && silent {
                idle.push(conn.key);
            }
        }
        for key in idle {
            self.close(key, Reason::Idle);
        }
        self.watch_for_idle();
    }
}
