//! Whether a shard that got something has to be woken.
//!
//! Owns one flag. Never sleeps, never wakes anybody and counts nothing: the owner sleeps in its
//! driver, and a ringer that is told to ring does so through the owner's `Waker`.
//!
//! ```text
//!   owner (Sleeper)                       ringer (Ringer)
//!   -------------------------------       -------------------------------
//!   parked := true                        push a box
//!   ===== fence =====                     ===== fence =====
//!   look into every ring once more        parked? then swap it to false
//!   nothing there: sleep                  was true: ring the bell
//! ```
//!
//! Each side writes its own word first and reads the other's after a fence. Sequentially
//! consistent fences have one order: if the owner's is first, the ringer finds `parked`; if the
//! ringer's is first, the owner finds the box. With one fence missing both reads may come
//! before both writes, since a store waits in its core's buffer; without the second look a box
//! pushed between the last look and the flag waits for the next wake-up, which may never come.
//!
//! Many may find a sleeper at once: the swap picks one of them, so that a park costs one doorbell
//! however many push. The others may leave since the bell is being rung, and the owner looks into
//! all its rings whoever woke it. A bell rung for an owner that is awake by itself ends its next
//! sleep at once, no more.
//!
//! The flag is changed by swaps only. Stores would do for the owner, but loom does not know that
//! nothing comes between what a swap read and what it wrote, and finds lost wake-ups with them
//! that no machine can show. Beside the system call that a park is, a swap costs nothing.

#![forbid(unsafe_code)]

use super::sync::{Arc, AtomicBool, Ordering, fence};

/// A bell as its two roles; the ringer's is for cloning.
#[must_use]
pub fn bell() -> (Sleeper, Ringer) {
    let bell = Arc::new(Bell { parked: AtomicBool::new(false) });
    (Sleeper(Arc::clone(&bell)), Ringer(bell))
}

/// The owner's side: one per shard.
#[derive(Debug)]
pub struct Sleeper(Arc<Bell>);

/// The side of those who push to the owner.
#[derive(Clone, Debug)]
pub struct Ringer(Arc<Bell>);

/// Alone on its line, and on the neighbour that is fetched along with it: ringers read it after
/// every push, and it is written twice a park only.
#[derive(Debug)]
#[repr(align(128))]
struct Bell {
    parked: AtomicBool,
}

impl Sleeper {
    /// Says that the owner is about to sleep.
    ///
    /// It must look into all its rings once more before it does, and call
    /// [`unpark`](Self::unpark) whether it slept or not.
    pub fn prepare_to_park(&mut self) {
        self.0.parked.swap(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Says that the owner is awake and will look into its rings. True if a ringer was told to
    /// ring since it prepared to park: that bell has rung or will.
    pub fn unpark(&mut self) -> bool {
        !self.0.parked.swap(false, Ordering::Relaxed)
    }
}

impl Ringer {
    /// Whether the caller has to ring, asked after it pushed. True for one caller a park.
    #[must_use]
    pub fn must_ring(&self) -> bool {
        fence(Ordering::SeqCst);
        if cfg!(corelane_mutant = "bell_unrung") {
            return false;
        }
        // Loaded first, so that an owner at work keeps its line shared.
        self.0.parked.load(Ordering::Relaxed) && self.0.parked.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
#[cfg(loom)]
mod models;

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::mesh::ring::ring;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    #[test]
    fn one_ringer_a_park() {
        let (mut sleeper, ringer) = bell();
        let other = ringer.clone();
        assert!(!ringer.must_ring(), "nobody sleeps");
        for _ in 0..2 {
            sleeper.prepare_to_park();
            assert!(ringer.must_ring());
            assert!(!other.must_ring(), "the bell is rung already");
            assert!(sleeper.unpark());
        }
        sleeper.prepare_to_park();
        assert!(!sleeper.unpark());
        assert!(!other.must_ring(), "awake again without a bell");
    }

    /// Three threads push to one that sleeps whenever it finds nothing.
    #[test]
    fn no_box_waits_for_a_sleeper() {
        const BOXES: u64 = 5_000;
        const PATIENCE: Duration = Duration::from_secs(20);
        let (mut sleeper, ringer) = bell();
        let bells = Arc::new(AtomicU64::new(0));
        let owner = std::thread::current();
        let mut receivers = Vec::new();
        let senders: Vec<_> = (0..3)
            .map(|_| {
                let (mut sender, receiver) = ring(2);
                receivers.push(receiver);
                let (ringer, bells, owner) = (ringer.clone(), bells.clone(), owner.clone());
                std::thread::spawn(move || {
                    for n in 0..BOXES {
                        let mut item = Box::new(n);
                        while let Err(back) = sender.push(item) {
                            item = back;
                            std::thread::yield_now();
                        }
                        if ringer.must_ring() {
                            bells.fetch_add(1, Ordering::Relaxed);
                            owner.unpark();
                        }
                    }
                })
            })
            .collect();
        let (mut taken, mut parks) = (0, 0);
        while taken < 3 * BOXES {
            taken += receivers.iter_mut().filter_map(|receiver| receiver.pop()).count() as u64;
            sleeper.prepare_to_park();
            if receivers.iter().all(|receiver| receiver.is_empty()) && taken < 3 * BOXES {
                let since = Instant::now();
                std::thread::park_timeout(PATIENCE);
                assert!(since.elapsed() < PATIENCE, "boxes were to come, and nobody rang");
            }
            parks += 1;
            sleeper.unpark();
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        assert!(bells.load(Ordering::Relaxed) <= parks, "one bell a park at most");
    }
}
