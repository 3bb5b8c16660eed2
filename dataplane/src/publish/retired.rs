//! Generations that nobody can find any more, until nobody uses them.
//!
//! Owns the nodes in its list; they are freed in [`Retired::free_unused`] and nowhere else, so
//! that whoever calls that decides on which thread a value is dropped.
//!
//! A stack of the nodes themselves (Treiber 1986). Pushing is lock-free and allocates nothing.
//! Nodes are not popped one by one but all at once, so that the usual trap of this stack (a top
//! that was taken and came back) cannot be stepped into.
//!
//! Unsafe because a node is a box that travels as a pointer: in the list it belongs to the list,
//! while `free_unused` is at it to the one that took the list away.
#![allow(unsafe_code)]

use std::ptr::{self, NonNull};

use super::Generation;
use crate::mesh::sync::{AtomicPtr, AtomicUsize, Ordering};

/// One generation of the value.
pub(super) struct Node<T> {
    pub(super) value: T,
    pub(super) generation: Generation,
    /// Subscribers that hold this generation, and publishers that read it. On a line with the
    /// value, since it changes only when somebody comes or goes.
    pub(super) users: AtomicUsize,
    /// The node below, in the list.
    next: AtomicPtr<Node<T>>,
}

/// A node that new users cannot find: taken out of its place, and all who were finding it there
/// have counted themselves.
pub(super) struct Unlinked<T>(NonNull<Node<T>>);

// SAFETY: it is a box of the node, which travels to be dropped (`Send`) while others may still
// read the value (`Sync`).
unsafe impl<T: Send + Sync> Send for Unlinked<T> {}

pub(super) struct Retired<T> {
    top: AtomicPtr<Node<T>>,
}

impl<T> Node<T> {
    pub(super) fn new(value: T, generation: Generation) -> Box<Self> {
        let users = AtomicUsize::new(0);
        Box::new(Self { value, generation, users, next: AtomicPtr::new(ptr::null_mut()) })
    }
}

impl<T> Unlinked<T> {
    /// # Safety
    /// `node` came from `Box::into_raw`, is passed here once, and by the time the result is
    /// pushed nobody can find it to count itself as a user.
    pub(super) unsafe fn new(node: NonNull<Node<T>>) -> Self {
        Self(node)
    }
}

impl<T> Retired<T> {
    pub(super) fn new() -> Self {
        Self { top: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Puts a node in the list. Any thread, a shard's too.
    pub(super) fn push(&self, node: Unlinked<T>) {
        // SAFETY: `Unlinked` owns the node, and nobody frees it before it is in the list.
        let next = unsafe { &node.0.as_ref().next };
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            next.store(top, Ordering::Relaxed);
            match self.top.compare_exchange_weak(
                top,
                node.0.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(other) => top = other,
            }
        }
    }

    /// Frees what nobody uses, and says how many that were. Runs the values' destructors: not for
    /// a shard.
    pub(super) fn free_unused(&self) -> usize {
        let mut freed = 0;
        let mut top = self.top.swap(ptr::null_mut(), Ordering::Acquire);
        while let Some(node) = NonNull::new(top) {
            // SAFETY: the swap gave the whole list to us; its nodes are alive until freed here.
            let users = unsafe { &node.as_ref().users };
            // SAFETY: as above.
            top = unsafe { &node.as_ref().next }.load(Ordering::Relaxed);
            // Acquire: all that the last user read, it read before the value is dropped.
            if users.load(Ordering::Acquire) == 0 {
                // SAFETY: from Box::into_raw; ours, and without users, who cannot come back.
                drop(unsafe { Box::from_raw(node.as_ptr()) });
                freed += 1;
            } else {
                self.push(Unlinked(node));
            }
        }
        freed
    }
}
