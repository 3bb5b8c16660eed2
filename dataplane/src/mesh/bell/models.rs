//! Ring and bell under loom: no wake-up is lost, and each part of the bell is needed for that.
//!
//! A lost wake-up is an owner that sleeps while nobody is left to ring. (Loom would find it as a
//! deadlock, too, but aborts then, and a test could not expect it.)

#![forbid(unsafe_code)]

use super::*;
use crate::mesh::ring::ring;
use loom::sync::{Condvar, Mutex};
use loom::thread;

/// What is left out of the protocol.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    Nothing,
    OwnersFence,
    RingersFence,
    SecondLook,
}

/// What the owner sleeps in: an eventfd, whose count outlives the call that raised it. Knows
/// besides whether anybody is left who could ring.
struct Eventfd {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    rung: bool,
    ringers: usize,
}

impl Eventfd {
    fn new(ringers: usize) -> Self {
        Self { state: Mutex::new(State { rung: false, ringers }), changed: Condvar::new() }
    }

    fn ring(&self) {
        self.state.lock().unwrap().rung = true;
        self.changed.notify_one();
    }

    /// A ringer has pushed all it had.
    fn leave(&self) {
        self.state.lock().unwrap().ringers -= 1;
        self.changed.notify_one();
    }

    fn sleep(&self) {
        let mut state = self.state.lock().unwrap();
        while !state.rung {
            assert!(state.ringers > 0, "asleep for ever");
            state = self.changed.wait(state).unwrap();
        }
        state.rung = false;
    }
}

fn prepare_to_park(sleeper: &mut Sleeper, without: Without) {
    match without {
        Without::OwnersFence => {
            sleeper.0.parked.swap(true, Ordering::Relaxed);
        }
        _ => sleeper.prepare_to_park(),
    }
}

fn must_ring(ringer: &Ringer, without: Without) -> bool {
    let parked = &ringer.0.parked;
    match without {
        Without::RingersFence => {
            parked.load(Ordering::Relaxed) && parked.swap(false, Ordering::Relaxed)
        }
        _ => ringer.must_ring(),
    }
}

/// `ringers` threads push `boxes` each to an owner that sleeps whenever it finds nothing. All
/// interleavings, or those with at most so many switches away from a thread that could go on.
fn check(ringers: usize, boxes: usize, switches: Option<usize>, without: Without) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = switches;
    model.check(move || {
        let (mut sleeper, ringer) = bell();
        let eventfd = Arc::new(Eventfd::new(ringers));
        let mut receivers = Vec::new();
        let ringing: Vec<_> = (0..ringers)
            .map(|_| {
                let (mut sender, receiver) = ring(boxes);
                receivers.push(receiver);
                let (ringer, eventfd) = (ringer.clone(), eventfd.clone());
                thread::spawn(move || {
                    for number in 0..boxes {
                        assert!(sender.push(Box::new(number)).is_ok());
                        if must_ring(&ringer, without) {
                            eventfd.ring();
                        }
                    }
                    eventfd.leave();
                })
            })
            .collect();
        let mut missing = ringers * boxes;
        loop {
            for receiver in &mut receivers {
                while receiver.pop().is_some() {
                    missing -= 1;
                }
            }
            if missing == 0 {
                break;
            }
            prepare_to_park(&mut sleeper, without);
            let nothing = receivers.iter().all(|receiver| receiver.is_empty());
            if nothing || without == Without::SecondLook {
                eventfd.sleep();
            }
            sleeper.unpark();
        }
        ringing.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn no_wake_up_is_lost_with_one_ringer() {
    check(1, 2, None, Without::Nothing);
}

#[test]
fn no_wake_up_is_lost_with_two_ringers() {
    check(2, 1, Some(4), Without::Nothing); // 119,268 interleavings; five switches: 662,514
}

#[test]
#[should_panic(expected = "asleep for ever")]
fn without_the_owners_fence_one_is_lost() {
    check(1, 1, None, Without::OwnersFence);
}

#[test]
#[should_panic(expected = "asleep for ever")]
fn without_the_ringers_fence_one_is_lost() {
    check(1, 1, None, Without::RingersFence);
}

#[test]
#[should_panic(expected = "asleep for ever")]
fn without_the_second_look_one_is_lost() {
    check(1, 1, None, Without::SecondLook);
}

#[test]
fn one_ringer_a_park() {
    loom::model(|| {
        let (mut sleeper, ringer) = bell();
        sleeper.prepare_to_park();
        let other = ringer.clone();
        let other = thread::spawn(move || other.must_ring());
        let rings = [ringer.must_ring(), other.join().unwrap()];
        assert_eq!(rings.iter().filter(|ring| **ring).count(), 1);
    });
}
