//! Idle connections to servers, and how many requests each server has under way.
//!
//! Owns the lists, by the endpoint's number on this node. The one that has been idle for the
//! shortest time is used first: it is the least likely to be closed by its server, and the
//! others reach their time-out.

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::borrow::Idle;
use crate::runtime::ConnKey;

/// Idle connections kept for one endpoint.
const KEPT: usize = 256;

#[derive(Debug, Default)]
struct Entry {
    idle: Vec<ConnKey>,
    under_way: u32,
    /// How many are idle, for other shards.
    told: Option<(Arc<[Idle]>, usize)>,
}

impl Entry {
    #[inline]
    fn tell(&self) {
        if let Some((idle, me)) = &self.told {
            idle[*me].set(self.idle.len());
        }
    }
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Pool {
    entries: Vec<Entry>,
    idle: usize,
}

impl Pool {
    fn entry(&mut self, slot: u32) -> &mut Entry {
        let index = slot as usize;
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, Entry::default);
        }
        &mut self.entries[index]
    }

    /// Requests under way at an endpoint.
    pub(super) fn load(&self, slot: u32) -> u32 {
        self.entries.get(slot as usize).map_or(0, |entry| entry.under_way)
    }

    /// A request goes to an endpoint.
    pub(super) fn begin(&mut self, slot: u32) {
        self.entry(slot).under_way += 1;
    }

    /// A request at an endpoint has come to its end.
    pub(super) fn end(&mut self, slot: u32) {
        let entry = self.entry(slot);
        debug_assert!(entry.under_way > 0, "what ends has begun");
        entry.under_way = entry.under_way.saturating_sub(1);
    }

    /// An idle connection, which is no longer idle.
    pub(super) fn take(&mut self, slot: u32) -> Option<ConnKey> {
        let entry = self.entries.get_mut(slot as usize)?;
        let key = entry.idle.pop()?;
        entry.tell();
        self.idle -= 1;
        Some(key)
    }

    /// The one that has been idle for the longest time, which no longer is.
    pub(super) fn take_oldest(&mut self, slot: u32) -> Option<ConnKey> {
        let key = *self.entries.get(slot as usize)?.idle.first()?;
        self.forget(slot, key);
        Some(key)
    }

    /// Whether any is idle.
    pub(super) fn has(&self, slot: u32) -> bool {
        self.entries.get(slot as usize).is_some_and(|entry| !entry.idle.is_empty())
    }

    /// Where the number of idle ones is told: the counters of all shards, and which is this one's.
    #[inline]
    pub(super) fn tell_others(&mut self, slot: u32, idle: &Arc<[Idle]>, me: usize) {
        let entry = self.entry(slot);
        if entry.told.is_none() && !idle.is_empty() {
            entry.told = Some((idle.clone(), me));
            entry.tell();
        }
    }

    /// A connection becomes idle; `false` when there are enough.
    pub(super) fn put(&mut self, slot: u32, key: ConnKey) -> bool {
        let entry = self.entry(slot);
        if entry.idle.len() >= KEPT {
            return false;
        }
        entry.idle.push(key);
        entry.tell();
        self.idle += 1;
        true
    }

    /// An idle connection has ended.
    pub(super) fn forget(&mut self, slot: u32, key: ConnKey) {
        let entry = self.entry(slot);
        if let Some(at) = entry.idle.iter().rposition(|idle| *idle == key) {
            entry.idle.remove(at);
            entry.tell();
            self.idle -= 1;
        }
    }

    /// All that are idle at endpoints of which `is_served` knows nothing.
    pub(super) fn of_others(&self, is_served: impl Fn(u32) -> bool) -> Vec<ConnKey> {
        let used = self.entries.iter().zip(0..).filter(|(entry, _)| !entry.idle.is_empty());
        let others = used.filter(|(_, slot)| !is_served(*slot));
        others.flat_map(|(entry, _)| &entry.idle).copied().collect()
    }

    /// One of those that are idle.
    pub(super) fn any(&self) -> Option<ConnKey> {
        self.entries.iter().find_map(|entry| entry.idle.first().copied())
    }

    /// All that are idle.
    pub(super) fn idle(&self) -> usize {
        self.idle
    }
}
