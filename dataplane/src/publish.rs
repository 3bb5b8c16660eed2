//! Publication of an immutable value to all shards.
//!
//! Owns the generations of the value. Never blocks, and never drops a value on a subscriber's
//! thread: publishers do that, who live on the control side.
//!
//! ```text
//!              update                  an epoch passes                no users, collect
//!   current ------------> unlinked --------------------> retired ---------------------> freed
//!                        (deferred)    (on whoever pins)          (in a list: `retired`)
//! ```
//!
//! A subscriber looks at one word a turn. Only when that names another generation than its own
//! does it pin an epoch (crossbeam-epoch), for as long as it takes to count itself as a user of
//! the new one. The epoch answers one question: has everybody who found a node while it was
//! current counted himself by now? From then on the count says when it can go. Crossbeam runs
//! what waits for an epoch on whatever thread pins, a shard's too; so all that is done there is
//! to push the node on a list, which publishers empty.
//!
//! The collector is our own, not crossbeam's global one: nobody else's pins delay us, nobody
//! else runs our deferred work, and what is outstanding at the end is run by the last publisher.
//! A pin registers anew each time, since a registration cannot move between threads and a
//! subscriber can: with news a shard allocates some 4 KiB of crossbeam's bookkeeping, and may
//! free as much for others.

mod place;
mod retired;

use std::error::Error;
use std::fmt;

use crate::mesh::sync::Arc;
use place::{Held, Place};

/// Generations of one value that may exist at a time: the current one, and old ones that a shard
/// still holds. A shard looks for news every turn, so that more than two at once means that one
/// is stuck; eight leave room for that to be noticed before configuration stops.
pub const GENERATIONS: usize = 8;

/// Counts the values published; the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// Why nothing was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateError<E> {
    /// [`GENERATIONS`] exist. A shard is to blame that does not move on; or, for a moment only,
    /// other publishers that are about to publish or to free.
    TooManyLive,
    /// What the change itself said.
    Change(E),
}

/// The control side's end: makes generations and frees them. Clones are equals.
///
/// The last one frees everything but what a subscriber holds at that time. That is leaked: it
/// would be freed on a shard otherwise. So publishers are to outlive their subscribers.
pub struct Publisher<T: Send + Sync + 'static>(Arc<Root<T>>);

/// A shard's end: holds one generation and asks for newer ones.
pub struct Subscriber<T: Send + Sync + 'static> {
    held: Held<T>,
    place: Arc<Place<T>>,
}

/// Publishes the first generation.
#[must_use]
pub fn publication<T: Send + Sync + 'static>(first: T) -> Publisher<T> {
    Publisher(Arc::new(Root(Arc::new(Place::new(first)))))
}

impl<T: Send + Sync + 'static> Publisher<T> {
    /// A subscriber that holds the current generation.
    #[must_use]
    pub fn subscribe(&self) -> Subscriber<T> {
        let place = Arc::clone(self.place());
        Subscriber { held: place.hold(), place }
    }

    /// Publishes what `change` makes of the current value. Other publishers may be at the same:
    /// when one was faster, `change` is called again with what that one has made.
    ///
    /// # Errors
    /// [`UpdateError::TooManyLive`] if there is no room for another generation, or what `change`
    /// answered; either way nothing has been published.
    pub fn update<E>(
        &self,
        mut change: impl FnMut(&T) -> Result<T, E>,
    ) -> Result<Generation, UpdateError<E>> {
        let place = self.place();
        place.collect();
        let room = place.reserve().ok_or(UpdateError::TooManyLive)?;
        loop {
            let old = place.hold();
            let value = change(&old.value).map_err(UpdateError::Change)?;
            let generation = Generation(old.generation.0 + 1);
            if place.replace(&old, value, generation) {
                room.take();
                return Ok(generation);
            }
        }
    }

    /// Frees the generations that are neither current nor held. `update` does so first; called
    /// besides, it gives memory back before the next one.
    pub fn collect(&self) {
        self.place().collect();
    }

    /// How many generations exist, with those that an `update` is about to publish.
    #[must_use]
    pub fn live(&self) -> usize {
        self.place().live()
    }

    fn place(&self) -> &Arc<Place<T>> {
        &self.0.0
    }
}

impl<T: Send + Sync + 'static> Clone for Publisher<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Send + Sync + 'static> Subscriber<T> {
    /// The value of the generation held.
    #[must_use]
    pub fn get(&self) -> &T {
        &self.held.value
    }

    /// Which generation is held.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.held.generation
    }

    /// Moves on to the current generation, and says whether that is another. One load if not.
    pub fn refresh(&mut self) -> bool {
        if self.place.is_current(&self.held) {
            return false;
        }
        self.held = self.place.hold();
        true
    }
}

/// What publishers share among themselves; goes with the last of them.
struct Root<T: Send + Sync + 'static>(Arc<Place<T>>);

impl<T: Send + Sync + 'static> Drop for Root<T> {
    fn drop(&mut self) {
        match Arc::get_mut(&mut self.0) {
            Some(place) => place.clear(),
            None => self.0.collect(),
        }
    }
}

impl<E: fmt::Display> fmt::Display for UpdateError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyLive => write!(
                f,
                "at most {GENERATIONS} generations may exist, and shards still hold the old ones"
            ),
            Self::Change(error) => error.fmt(f),
        }
    }
}

impl<E: Error> Error for UpdateError<E> {}

#[cfg(test)]
#[cfg(all(loom, crossbeam_loom))]
mod models;

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
