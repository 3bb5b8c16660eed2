//! A bounded queue of boxes from one thread to one other.
//!
//! Owns the slots and what lies in them. Never waits, allocates or counts: who finds the ring
//! full keeps its box, and a receiver that wants to sleep has a doorbell (`bell`).
//!
//! FastForward (Giacomoni, Moseley, Vachharajani, PPoPP 2008): a slot says itself whether it is
//! free, so that there is no shared head or tail, and each side keeps its place to itself.
//!
//! ```text
//!   a slot:   null --push, by the sender only--> box --pop, by the receiver only--> null
//!
//!   slots     [ null | box | box | null | null ]
//!                      ^           ^
//!               receiver.next   sender.next       meet when the ring is empty or full
//! ```
//!
//! What moves between the two cores is therefore the line of the slot and nothing else. Eight
//! slots share a line, and on a nearly empty ring both sides work on the same one: that costs a
//! miss a box, not more than the box's own first line does. A box is meant to be a large batch
//! (all that one shard has for another in a turn), so slots are neither padded nor written in
//! strides, as one would for single words.
//!
//! Unsafe because ownership of a box passes through an atomic pointer: each state of a slot
//! names the one side that may change it.
#![allow(unsafe_code)]

use std::ptr;

use super::sync::{Arc, AtomicPtr, Ordering};

/// A ring of `capacity` boxes, as its two ends.
///
/// # Panics
/// If `capacity` is zero.
pub fn ring<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a ring holds at least one box");
    let slots = (0..capacity).map(|_| AtomicPtr::new(ptr::null_mut())).collect();
    let slots = Arc::new(Slots(slots));
    (Sender { slots: Arc::clone(&slots), next: 0 }, Receiver { slots, next: 0 })
}

/// The end that pushes.
pub struct Sender<T> {
    slots: Arc<Slots<T>>,
    /// The slot that the next box goes to.
    next: usize,
}

/// The end that pops.
pub struct Receiver<T> {
    slots: Arc<Slots<T>>,
    /// The slot that the next box comes from.
    next: usize,
}

/// Non-null pointers in here came from `Box::into_raw` and belong to the slot. `AtomicPtr` may go
/// to another thread whatever it points to; that `T` may, is asked by [`ring`], the only maker.
struct Slots<T>(Box<[AtomicPtr<T>]>);

impl<T> Sender<T> {
    /// Puts a box behind those that are in the ring, or gives it back if the ring is full.
    ///
    /// The receiver sees all that the caller wrote before. It may sleep: see `bell`.
    ///
    /// # Errors
    /// The box itself: the ring is full.
    pub fn push(&mut self, item: Box<T>) -> Result<(), Box<T>> {
        let slot = &self.slots.0[self.next];
        // Relaxed: null is all that is read here, and nothing that the receiver did before it
        // left null is relied on. Only this side changes a null, so it stays one.
        if !slot.load(Ordering::Relaxed).is_null() {
            return Err(item);
        }
        slot.store(Box::into_raw(item), Ordering::Release);
        self.next = self.slots.after(self.next);
        Ok(())
    }

    /// Whether `push` would give its box back.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.slots.0[self.next].load(Ordering::Relaxed).is_null()
    }
}

impl<T> Receiver<T> {
    /// Takes the oldest box.
    pub fn pop(&mut self) -> Option<Box<T>> {
        let slot = &self.slots.0[self.next];
        let item = slot.load(Ordering::Acquire);
        if item.is_null() {
            return None;
        }
        slot.store(ptr::null_mut(), Ordering::Relaxed);
        self.next = self.slots.after(self.next);
        // SAFETY: a non-null pointer in a slot came from Box::into_raw; acquired, so that the
        // content is there; and this side alone takes from slots, so that nobody else has it.
        Some(unsafe { Box::from_raw(item) })
    }

    /// Whether `pop` would find nothing. One load of a slot, which stays in this core's cache
    /// until the sender pushes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.0[self.next].load(Ordering::Relaxed).is_null()
    }
}

impl<T> Slots<T> {
    fn after(&self, place: usize) -> usize {
        if place + 1 == self.0.len() { 0 } else { place + 1 }
    }
}

impl<T> Drop for Slots<T> {
    fn drop(&mut self) {
        for slot in &self.0 {
            let item = slot.load(Ordering::Relaxed);
            if !item.is_null() {
                // SAFETY: came from Box::into_raw, and both ends are gone.
                drop(unsafe { Box::from_raw(item) });
            }
        }
    }
}

#[cfg(test)]
#[cfg(loom)]
mod models;

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn full_gives_the_box_back() {
        let (mut sender, mut receiver) = ring(2);
        assert!(receiver.is_empty());
        sender.push(Box::new(1)).unwrap();
        sender.push(Box::new(2)).unwrap();
        assert_eq!(sender.push(Box::new(3)), Err(Box::new(3)));
        assert_eq!(receiver.pop(), Some(Box::new(1)));
        sender.push(Box::new(3)).unwrap();
        assert_eq!(receiver.pop(), Some(Box::new(2)));
        assert!(!receiver.is_empty());
        assert_eq!(receiver.pop(), Some(Box::new(3)));
        assert_eq!(receiver.pop(), None);
    }

    #[test]
    fn what_is_inside_goes_with_the_last_end() {
        for sender_first in [true, false] {
            let held = std::sync::Arc::new(());
            let (mut sender, mut receiver) = ring(3);
            for _ in 0..4 {
                let _ = sender.push(Box::new(held.clone()));
            }
            drop(receiver.pop());
            assert_eq!(std::sync::Arc::strong_count(&held), 3);
            if sender_first {
                drop(sender);
                assert_eq!(receiver.pop().map(|_| ()), Some(()), "what was sent can be had");
                drop(receiver);
            } else {
                drop(receiver);
                drop(sender);
            }
            assert_eq!(std::sync::Arc::strong_count(&held), 1);
        }
    }

    #[test]
    #[should_panic(expected = "at least one box")]
    fn a_ring_of_nothing_is_refused() {
        let _ = ring::<u8>(0);
    }

    proptest! {
        /// Does what a bounded queue does, whatever the order of calls.
        #[test]
        fn behaves_as_a_bounded_queue(
            capacity in 1..5usize,
            pushes in prop::collection::vec(prop::bool::ANY, 0..60),
        ) {
            let (mut sender, mut receiver) = ring(capacity);
            let mut queue = VecDeque::new();
            for (n, push) in pushes.into_iter().enumerate() {
                if push {
                    let taken = sender.push(Box::new(n)).is_ok();
                    prop_assert_eq!(taken, queue.len() < capacity);
                    if taken {
                        queue.push_back(n);
                    }
                } else {
                    prop_assert_eq!(receiver.pop().map(|item| *item), queue.pop_front());
                }
                prop_assert_eq!(receiver.is_empty(), queue.is_empty());
            }
        }
    }

    #[test]
    fn two_threads_keep_the_order() {
        const ITEMS: u64 = 20_000;
        let (mut sender, mut receiver) = ring(3);
        let sending = std::thread::spawn(move || {
            for n in 0..ITEMS {
                let mut item = Box::new([n, !n]);
                while let Err(back) = sender.push(item) {
                    item = back;
                    std::thread::yield_now();
                }
            }
        });
        for n in 0..ITEMS {
            let item = loop {
                match receiver.pop() {
                    Some(item) => break item,
                    None => std::thread::yield_now(),
                }
            };
            assert_eq!(*item, [n, !n]);
        }
        assert!(receiver.is_empty());
        sending.join().unwrap();
    }
}
