//! Where the current generation is found: how a node gets in, is held, and gets out.
//!
//! Owns the pointer to the current node, the list of the old ones and the number of both. Pins
//! for a few instructions at a time, never while foreign code runs, and frees values in
//! `collect` and `clear` only: its own end frees none, since a subscriber may bring it about.
//!
//! Unsafe because nodes are reached through pointers. What keeps one alive is a pin while it is
//! being found, and a count in its `users` from then on.
#![allow(unsafe_code)]

use std::mem;
use std::ops::Deref;
use std::ptr::{self, NonNull};

use crossbeam_epoch::{self as epoch, Atomic, Collector, Owned, Shared};

use super::retired::{Node, Retired, Unlinked};
use super::{GENERATIONS, Generation};
use crate::mesh::sync::{Arc, AtomicUsize, Ordering};

/// Rounds of a collection. A bag of deferred work can be run two rounds after it was filled; each
/// round runs eight bags, and each subscriber that picked up news leaves one. (A model has one.)
const ROUNDS: usize = if cfg!(crossbeam_loom) { 2 } else { 16 };

/// What publishers and subscribers share. All of it is written only when a generation is made or
/// freed, so it needs no line to itself.
pub(super) struct Place<T> {
    /// Never null before `clear`; from a box.
    current: Atomic<Node<T>>,
    /// Nodes that exist, and room reserved for some.
    live: AtomicUsize,
    retired: Arc<Retired<T>>,
    collector: Collector,
}

/// A count in a node's `users`. Lives no longer than the publisher or subscriber that took it.
pub(super) struct Held<T>(NonNull<Node<T>>);

/// Room for one more generation, given back unless it is taken.
pub(super) struct Room<'a>(&'a AtomicUsize);

impl<T: Send + Sync + 'static> Place<T> {
    pub(super) fn new(first: T) -> Self {
        Self {
            current: Atomic::from(Node::new(first, Generation(1))),
            live: AtomicUsize::new(1),
            retired: Arc::new(Retired::new()),
            collector: Collector::new(),
        }
    }

    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Whether nothing newer has been published. One load.
    pub(super) fn is_current(&self, held: &Held<T>) -> bool {
        // SAFETY: the pointer is compared and not followed.
        let current = self.current.load(Ordering::Relaxed, unsafe { epoch::unprotected() });
        // Equal means the same generation: a node that is held is not freed, so that no other
        // can have its address.
        ptr::eq(current.as_raw(), held.0.as_ptr())
    }

    /// Counts the caller as a user of the current generation.
    pub(super) fn hold(&self) -> Held<T> {
        let participant = self.collector.register();
        let guard = participant.pin();
        let node = self.current.load(Ordering::Acquire, &guard);
        // SAFETY: not null (`clear` takes all to itself), and what was current while we are
        // pinned comes to the list, where it may be freed, when we are not any more.
        let node = unsafe { node.deref() };
        // Relaxed: the end of the pin comes before the node's way to the list, and users are
        // looked at there.
        node.users.fetch_add(1, Ordering::Relaxed);
        Held(NonNull::from(node))
    }

    pub(super) fn reserve(&self) -> Option<Room<'_>> {
        let one_more = |live| (live < GENERATIONS).then_some(live + 1);
        self.live.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Room(&self.live))
    }

    /// Makes `value` current if `old` still is.
    pub(super) fn replace(&self, old: &Held<T>, value: T, generation: Generation) -> bool {
        let new = Owned::from(Node::new(value, generation));
        let participant = self.collector.register();
        let guard = participant.pin();
        // Held, so that its address is not given to another generation meanwhile.
        let expected = Shared::from(old.0.as_ptr().cast_const());
        let (done, lost) = (Ordering::Release, Ordering::Relaxed);
        if self.current.compare_exchange(expected, new, done, lost, &guard).is_err() {
            return false;
        }
        // SAFETY: from a box; we alone took it out, so that we alone pass it on; and when it is
        // pushed, everybody has unpinned who was pinned when it could be found.
        let node = unsafe { Unlinked::new(old.0) };
        let retired = Arc::clone(&self.retired);
        guard.defer(move || retired.push(node));
        true
    }

    /// Runs the deferred work whose epoch has passed, and frees what nobody uses. Not for shards.
    pub(super) fn collect(&self) {
        let participant = self.collector.register();
        for _ in 0..ROUNDS {
            participant.pin().flush();
        }
        let freed = self.retired.free_unused();
        self.live.fetch_sub(freed, Ordering::Relaxed);
    }

    /// Frees everything: nobody else is left. Not for shards.
    pub(super) fn clear(&mut self) {
        // Runs all that is deferred.
        drop(mem::take(&mut self.collector));
        self.retired.free_unused();
        let current = mem::replace(&mut self.current, Atomic::null());
        // SAFETY: from a box. Only `hold` gives this node to others, and they are gone.
        drop(unsafe { current.try_into_owned() });
    }
}

impl<T> Deref for Held<T> {
    type Target = Node<T>;

    fn deref(&self) -> &Node<T> {
        // SAFETY: our count in `users` keeps it from being freed.
        unsafe { self.0.as_ref() }
    }
}

// SAFETY: it is a shared reference to the node (`Sync`).
unsafe impl<T: Send + Sync> Send for Held<T> {}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        // Release: what was read through it was read before.
        self.users.fetch_sub(1, Ordering::Release);
    }
}

impl Room<'_> {
    pub(super) fn take(self) {
        mem::forget(self);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
