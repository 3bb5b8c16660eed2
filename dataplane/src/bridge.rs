//! The one bridge from the shards to the threads of control and storage.
//!
//! Shards touch rings only; those threads have channels (`flume`, which locks inside). Owns a
//! ring from every shard and the thread that empties them into one channel. A shard never waits:
//! what finds its ring full is dropped and counted, and so is what finds the channel full.
//!
//! ```text
//! shard 0 --ring--+
//! shard 1 --ring--+--> bridge's thread --flume--> whoever reads
//!     \--doorbell, only while the bridge sleeps
//! ```

#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::mesh::bell::{Ringer, Sleeper, bell};
use crate::mesh::ring::{Receiver, Sender, ring};
use crate::runtime::EventFd;

/// Notes of one shard that may wait.
const NOTES: usize = 256;

/// One shard's end. Belongs to its thread.
pub struct Dock<T> {
    ring: Sender<T>,
    ringer: Ringer,
    shared: Arc<Shared>,
}

/// What all ends have in common.
struct Shared {
    eventfd: EventFd,
    dropped: AtomicU64,
    closed: AtomicBool,
}

impl<T> std::fmt::Debug for Dock<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dock")
    }
}

impl<T: Send> Dock<T> {
    /// Sends something over, or drops and counts it when too much waits already.
    pub fn send(&mut self, note: T) {
        if self.ring.push(Box::new(note)).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if self.ringer.must_ring() {
            self.shared.eventfd.ring();
        }
    }
}

/// Tells the bridge to end once all has been taken over.
#[derive(Clone)]
pub struct Closer(Arc<Shared>);

impl Closer {
    /// The shards have ended.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.eventfd.ring();
    }
}

/// The other end; belongs to a thread of its own.
pub struct Bridge<T> {
    rings: Vec<Receiver<T>>,
    sleeper: Sleeper,
    shared: Arc<Shared>,
}

/// A bridge from so many shards: their ends, the other one, and what closes it.
///
/// # Errors
/// When the kernel has no eventfd for us.
pub fn bridge<T: Send>(shards: usize) -> io::Result<(Vec<Dock<T>>, Bridge<T>, Closer)> {
    let (sleeper, ringer) = bell();
    let shared = Arc::new(Shared {
        eventfd: EventFd::new()?,
        dropped: AtomicU64::new(0),
        closed: AtomicBool::new(false),
    });
    let (docks, rings) = (0..shards)
        .map(|_| {
            let (to, from) = ring(NOTES);
            (Dock { ring: to, ringer: ringer.clone(), shared: shared.clone() }, from)
        })
        .unzip();
    Ok((docks, Bridge { rings, sleeper, shared: shared.clone() }, Closer(shared)))
}

impl<T: Send> Bridge<T> {
    /// Passes notes on until it is closed. `dropped` makes a note of how many were lost.
    pub fn run(mut self, to: &flume::Sender<T>, dropped: impl Fn(u64) -> T) {
        loop {
            // Read first: what was sent before the closing is in a ring by then.
            let closed = self.shared.closed.load(Ordering::Acquire);
            self.pass_on(to);
            let lost = self.shared.dropped.swap(0, Ordering::Relaxed);
            if lost > 0 && to.try_send(dropped(lost)).is_err() {
                self.shared.dropped.fetch_add(lost, Ordering::Relaxed);
            }
            if closed {
                return;
            }
            self.sleeper.prepare_to_park();
            let quiet = self.rings.iter().all(Receiver::is_empty);
            if quiet && !self.shared.closed.load(Ordering::Acquire) {
                self.shared.eventfd.wait();
            }
            self.sleeper.unpark();
            self.shared.eventfd.clear();
        }
    }

    fn pass_on(&mut self, to: &flume::Sender<T>) {
        for ring in &mut self.rings {
            while let Some(note) = ring.pop() {
                if to.try_send(*note).is_err() {
                    self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Two shards' notes come over whole, each shard's in its order, whether the bridge slept
    /// or not.
    #[test]
    fn all_comes_over_in_order() {
        const NOTES_EACH: u64 = 20_000;
        let (docks, bridge, closer) = bridge(2).unwrap();
        let (to, from) = flume::unbounded();
        let passing = std::thread::spawn(move || bridge.run(&to, |lost| (u64::MAX, lost)));
        let shards: Vec<_> = docks
            .into_iter()
            .zip(0..)
            .map(|(mut dock, shard)| {
                std::thread::spawn(move || {
                    for n in 0..NOTES_EACH {
                        dock.send((shard, n));
                        if n % 64 == 0 {
                            std::thread::sleep(Duration::from_micros(50)); // the bridge sleeps
                        }
                    }
                })
            })
            .collect();
        shards.into_iter().for_each(|shard| shard.join().unwrap());
        closer.close();
        passing.join().unwrap();
        let (mut next, mut came, mut lost) = ([0; 2], 0, 0);
        for (shard, n) in from.drain() {
            if shard == u64::MAX {
                lost += n;
                continue;
            }
            assert!(n >= next[shard as usize], "in order");
            next[shard as usize] = n + 1;
            came += 1;
        }
        assert_eq!(came + lost, 2 * NOTES_EACH, "what did not come is counted");
        assert!(came >= NOTES as u64, "a ring full at least: {came}");
    }

    #[test]
    fn what_is_too_much_is_counted_and_the_rest_comes() {
        let (mut docks, bridge, closer) = bridge(1).unwrap();
        let (to, from) = flume::bounded(NOTES + 1);
        for n in 0..NOTES as u64 + 10 {
            docks[0].send(n);
        }
        closer.close();
        bridge.run(&to, |lost| 1_000 + lost);
        let mut expected: Vec<u64> = (0..NOTES as u64).collect();
        expected.push(1_010);
        assert_eq!(from.drain().collect::<Vec<_>>(), expected);
    }
}
