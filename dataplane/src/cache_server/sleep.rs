//! Between two turns: whether a shard may sleep, for how long, and waking up.
//!
//! Owns the order of the steps that keep a wake-up from getting lost (`mesh::bell`): say that
//! this shard sleeps, look once more, sleep, say that it is awake.
//!
//! ```text
//! doze: look a while (spin) -> parked -> second look -> how long
//! wake: the driver's turn  -> unpark -> orders -> the server's turn -> who may go (draining)
//! ```

#![forbid(unsafe_code)]

use std::io;

use shards::time::Nanos;

use super::CacheServer;
use crate::runtime::{Driver, Wait};

impl<D: Driver> CacheServer<D> {
    /// Serves until told to end.
    ///
    /// # Errors
    /// When the driver fails as a whole.
    pub fn run(&mut self) -> io::Result<()> {
        loop {
            self.doze()?;
            if self.wake()? {
                return Ok(());
            }
        }
    }

    /// Gets ready to sleep and says for how long it may, `None` for not at all, since what has
    /// happened is known already. Other shards know from here on that this one sleeps;
    /// [`wake`](Self::wake) follows.
    ///
    /// # Errors
    /// When the driver fails as a whole.
    pub fn doze(&mut self) -> io::Result<Option<Wait>> {
        self.nap = if self.wait == Wait::Poll {
            Some(Wait::Poll)
        } else if self.look_a_while()? {
            None
        } else if self.must_not_park() {
            Some(Wait::Poll)
        } else {
            Some(self.wait)
        };
        Ok(self.nap)
    }

    /// Sleeps as [`doze`](Self::doze) has said, and handles what has happened; `true` when the
    /// server has ended.
    ///
    /// # Errors
    /// When the driver fails as a whole.
    pub fn wake(&mut self) -> io::Result<bool> {
        let nap = self.nap.take();
        if let Some(wait) = nap {
            self.driver.turn(wait, &mut self.events)?;
        }
        if let Some(across) = &mut self.across {
            across.mesh.unpark();
        }
        self.now = self.driver.now();
        if nap.is_some_and(|wait| wait != Wait::Poll) {
            self.spin.note(self.now.mono.since(self.dozed));
        }
        self.stats.wait_ns.add(self.now.mono.since(self.dozed).0);
        let drains = self.draining.is_some();
        if self.obey() {
            return Ok(true);
        }
        self.wait = self.turn()?;
        // Last, since until now the driver had taken bytes in that nobody had looked at.
        Ok(drains && self.drain())
    }

    /// Looks for work for a while, where that pays; `true` when some has come.
    fn look_a_while(&mut self) -> io::Result<bool> {
        let Some(span) = self.spin.worth() else { return Ok(false) };
        let until: Nanos = self.dozed.after(span);
        loop {
            self.driver.turn(Wait::Poll, &mut self.events)?;
            let now = self.driver.monotonic();
            if !self.events.is_empty() || self.has_parcels() {
                self.spin.note(now.since(self.dozed));
                return Ok(true);
            }
            if now >= until {
                return Ok(false);
            }
            std::hint::spin_loop();
        }
    }

    fn has_parcels(&self) -> bool {
        self.across.as_ref().is_some_and(|across| !across.mesh.is_quiet())
    }

    /// Says that this shard is about to sleep; `true` when something has come meanwhile.
    fn must_not_park(&mut self) -> bool {
        self.across.as_mut().is_some_and(|across| !across.mesh.park())
    }
}
