//! Connections by their index.
//!
//! Owns the boxes; one that is worked on is out of its table, so that everything else can be
//! reached meanwhile.

#![forbid(unsafe_code)]

use super::peers::{Client, Upstream};
use crate::runtime::{ConnKey, make_room};

/// See the module's text.
#[derive(Debug)]
pub(super) struct Table<T>(Vec<Option<Box<T>>>);

/// Has a key.
pub(super) trait Keyed {
    fn key(&self) -> ConnKey;
}

impl Keyed for Client {
    fn key(&self) -> ConnKey {
        self.key
    }
}

impl Keyed for Upstream {
    fn key(&self) -> ConnKey {
        self.key
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Keyed> Table<T> {
    #[inline]
    pub(super) fn get(&mut self, key: ConnKey) -> Option<&mut T> {
        self.0.get_mut(key.index as usize)?.as_deref_mut().filter(|conn| conn.key() == key)
    }

    #[inline]
    pub(super) fn has(&self, key: ConnKey) -> bool {
        let place = self.0.get(key.index as usize).and_then(Option::as_ref);
        place.is_some_and(|conn| conn.key() == key)
    }

    pub(super) fn put(&mut self, conn: Box<T>) {
        let index = conn.key().index as usize;
        if self.0.len() <= index {
            make_room(&mut self.0, index + 1);
            self.0.resize_with(index + 1, || None);
        }
        let there = self.0[index].replace(conn);
        debug_assert!(there.is_none(), "what was there is taken out before");
    }

    /// Takes it out; whoever does puts it back, unless it is gone.
    #[inline]
    pub(super) fn take(&mut self, key: ConnKey) -> Option<Box<T>> {
        self.0.get_mut(key.index as usize)?.take_if(|conn| conn.key() == key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten().map(|conn| &**conn)
    }
}
