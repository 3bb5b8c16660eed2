//! The publication under loom, crossbeam's epochs included, which loom tries when told so twice:
//! `RUSTFLAGS="--cfg loom --cfg crossbeam_loom" cargo test -p dataplane --release --lib models`.
//!
//! Each pin brings some fifty branches along, so that all but the list is tried with one or two
//! forced switches of threads. What a model finds: a value read before it was written, dropped
//! while it can be read, dropped twice, or never.
//!
//! Unsafe because loom's cell is not `Sync`, and because nodes are made by hand for the list.
#![allow(unsafe_code)]

mod quarantine;

use super::retired::{Node, Retired, Unlinked};
use super::*;
use loom::cell::UnsafeCell;
use loom::thread::{Builder, JoinHandle};
use std::ptr::NonNull;

/// Words. Crossbeam moves bags of 2 KiB about; loom's own 32 KiB are overrun.
const STACK: usize = 1 << 15;

struct Value {
    number: u64,
    /// Written by whoever makes or drops the value: loom reports a reader that may come between.
    content: UnsafeCell<()>,
    /// Alive as long as the value is: loom reports a value that was leaked.
    _held: Arc<()>,
}

// SAFETY: the cell is never followed, and loom checks the accesses to it.
unsafe impl Sync for Value {}

impl Value {
    fn new(number: u64) -> Self {
        let value = Self { number, content: UnsafeCell::new(()), _held: Arc::new(()) };
        value.content.with_mut(|_| ());
        value
    }

    fn next(&self) -> Result<Self, ()> {
        self.content.with(|_| ());
        Ok(Self::new(self.number + 1))
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.content.with_mut(|_| ());
    }
}

fn spawn<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().stack_size(STACK).spawn(run).unwrap()
}

fn check(switches: Option<usize>, run: fn()) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = switches;
    model.max_branches = 20_000;
    model.check(move || spawn(run).join().unwrap());
}

/// What a shard does with what it holds.
fn read(subscriber: &Subscriber<Value>) {
    assert_eq!(subscriber.get().number, subscriber.generation().0);
    subscriber.get().content.with(|_| ());
}

/// What `update` does, without collecting first.
fn publish(place: &Place<Value>) {
    loop {
        let old = place.hold();
        let generation = Generation(old.generation.0 + 1);
        if place.replace(&old, old.value.next().unwrap(), generation) {
            return;
        }
    }
}

#[test]
fn a_shard_moves_on_while_a_publisher_updates_and_collects() {
    check(Some(1), || {
        let publisher = publication(Value::new(1));
        let mut subscriber = publisher.subscribe();
        let shard = spawn(move || {
            read(&subscriber);
            subscriber.refresh();
            read(&subscriber);
        });
        assert_eq!(publisher.update(Value::next), Ok(Generation(2)));
        publisher.collect();
        shard.join().unwrap();
    });
}

/// Nobody has counted himself yet: the pin alone keeps it.
#[test]
fn what_is_found_while_current_is_not_freed() {
    check(Some(2), || {
        let publisher = publication(Value::new(1));
        let other = publisher.clone();
        let shard = spawn(move || read(&other.subscribe()));
        publish(publisher.place());
        publisher.collect();
        shard.join().unwrap();
    });
}

#[test]
fn no_change_is_lost() {
    check(Some(1), || {
        let publisher = publication(Value::new(1));
        let other = publisher.clone();
        let other = spawn(move || publish(other.place()));
        publish(publisher.place());
        other.join().unwrap();
        assert_eq!(publisher.subscribe().get().number, 3);
    });
}

#[test]
fn the_list_frees_each_node_once() {
    fn node(number: u64) -> Unlinked<Value> {
        let node = Box::into_raw(Node::new(Value::new(number), Generation(number)));
        // SAFETY: from a box, and nobody else knows it.
        unsafe { Unlinked::new(NonNull::new(node).unwrap()) }
    }
    check(None, || {
        let list = Arc::new(Retired::new());
        let other = list.clone();
        let other = spawn(move || {
            other.push(node(1));
            other.free_unused()
        });
        list.push(node(2));
        let freed = list.free_unused() + other.join().unwrap();
        assert_eq!(freed + list.free_unused(), 2);
    });
}
