//! Who watches which keys, and whose watch has been broken (WATCH, MULTI, EXEC).
//!
//! Owns the marks only; queues of commands are the session's. A key is known by its
//! database, slot and tag: a write to another key of the same three breaks a watch in
//! vain, which costs a retry once in 2^39 writes and never misses a change. Its tables are
//! ordered ones: they need no randomness of their own, and no client can make them slow.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ClientId, DbId};
use crate::store::{Key, KeyHash};

/// Database, slot and tag, and the key itself.
type WatchedKey = (DbId, u64, Box<[u8]>);

/// See the module's text.
#[derive(Debug, Default)]
pub struct WatchTable {
    watchers: BTreeMap<(DbId, u64), BTreeSet<ClientId>>,
    watched: BTreeMap<ClientId, BTreeSet<WatchedKey>>,
    broken: BTreeSet<ClientId>,
}

impl WatchTable {
    /// Starts watching a key; `false` when the client watches it already.
    pub fn watch(&mut self, client: ClientId, db: DbId, key: Key<'_>) -> bool {
        let short = key.at.short();
        let fresh = self.watched.entry(client).or_default().insert((db, short, key.bytes.into()));
        if fresh {
            self.watchers.entry((db, short)).or_default().insert(client);
        }
        fresh
    }

    /// Forgets all watches of a client, broken or not.
    pub fn unwatch(&mut self, client: ClientId) {
        self.broken.remove(&client);
        for (db, short, _) in self.watched.remove(&client).unwrap_or_default() {
            let key = (db, short);
            if let Some(watchers) = self.watchers.get_mut(&key) {
                watchers.remove(&client);
                if watchers.is_empty() {
                    self.watchers.remove(&key);
                }
            }
        }
    }

    /// Whether nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.watched.is_empty() && self.watchers.is_empty() && self.broken.is_empty()
    }

    /// The keys that a client watches, with their databases.
    pub fn of(&self, client: ClientId) -> Vec<(DbId, Box<[u8]>)> {
        let keys = self.watched.get(&client).into_iter().flatten();
        keys.map(|(db, _, key)| (*db, key.clone())).collect()
    }

    /// Whether a key that the client watches has changed.
    pub fn is_broken(&self, client: ClientId) -> bool {
        self.broken.contains(&client)
    }

    /// A key has changed. One test when nobody watches anything.
    pub fn touch(&mut self, db: DbId, at: KeyHash) {
        if !self.watchers.is_empty()
            && let Some(watchers) = self.watchers.get(&(db, at.short()))
        {
            self.broken.extend(watchers);
        }
    }

    /// A whole database has changed, as by FLUSHDB or SWAPDB: breaks the watches of those
    /// keys for which `changed` holds.
    pub fn touch_db(&mut self, db: DbId, changed: impl Fn(&[u8]) -> bool) {
        for (client, keys) in &self.watched {
            if keys.iter().any(|(watched, _, key)| *watched == db && changed(key)) {
                self.broken.insert(*client);
            }
        }
    }
}
