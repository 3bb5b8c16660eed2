//! Idle connections to servers, and how many requests each server has under way.
//!
//! Owns the lists, by the endpoint's number on this node. The one that has been idle for the
//! shortest time is used first: it is the least likely to be closed by its server, and the
//! others reach their time-out.

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::served::Shared;
use crate::runtime::ConnKey;

/// Idle connections kept for one endpoint.
const KEPT: usize = 256;

#[derive(Debug, Default)]
struct Entry {
    idle: Vec<ConnKey>,
    under_way: u32,
    /// Of an endpoint that has connections or requests: what all know of it, and which shard this
    /// is. As long as that is held, the endpoint's number means no other.
    held: Option<(Arc<Shared>, usize)>,
}

impl Entry {
    #[inline]
    fn tell(&self) {
        if let Some((shared, me)) = &self.held
            && let Some(idle) = shared.idle.get(*me)
        {
            idle.set(self.idle.len());
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

    /// The one that has been idle for the longest time.
    pub(super) fn oldest(&self, slot: u32) -> Option<ConnKey> {
        self.entries.get(slot as usize)?.idle.first().copied()
    }

    /// Whether any is idle.
    pub(super) fn has(&self, slot: u32) -> bool {
        self.entries.get(slot as usize).is_some_and(|entry| !entry.idle.is_empty())
    }

    /// An endpoint is used by this shard.
    #[inline]
    pub(super) fn hold(&mut self, slot: u32, shared: &Arc<Shared>, me: usize) {
        let entry = self.entry(slot);
        if entry.held.is_none() {
            entry.held = Some((shared.clone(), me));
            entry.tell();
        }
    }

    /// An endpoint has gone: it is let go of when nothing of it is left here.
    pub(super) fn let_go(&mut self, slot: u32) {
        let entry = self.entry(slot);
        if entry.idle.is_empty() && entry.under_way == 0 {
            *entry = Entry::default();
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

    /// Endpoints that are held and of which `is_served` knows nothing.
    pub(super) fn others(&self, is_served: impl Fn(u32) -> bool) -> Vec<u32> {
        let held = self.entries.iter().zip(0..).filter(|(entry, _)| entry.held.is_some());
        held.map(|(_, slot)| slot).filter(|slot| !is_served(*slot)).collect()
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
