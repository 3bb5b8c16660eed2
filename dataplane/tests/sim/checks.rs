//! What all clients together must not see: the histories of keys, and who was closed by whom.

use std::collections::{BTreeMap, BTreeSet};

use super::linear::{self, Kind, Op, Seen, Verdict};

/// States that one key's search may look at.
const BUDGET: usize = 200_000;

/// See the module's text.
#[derive(Default)]
pub struct Checks {
    /// Operations by key.
    histories: BTreeMap<Vec<u8>, Vec<Op>>,
    /// Numbers of connections, and the clients that have them.
    pub ids: BTreeMap<i64, usize>,
    /// Those that were told to be closed.
    pub killed: BTreeSet<i64>,
    pub draining: bool,
    /// Whether clients may be refused.
    pub crowded: bool,
    /// Whether the system may refuse memory amid a transaction, which then is done in part.
    pub memory_is_refused: bool,
    /// The highest that the wall clock has been, in microseconds.
    pub wall_max: u64,
    /// Where the wall clock was set back to, and what it showed before.
    lows: Vec<u64>,
    /// Whether keys that expire may be evicted.
    pub evicting: bool,
    /// Whether a client is to be killed.
    pub kills: bool,
    /// Pairs of data and ready that were begun.
    pub pairs: usize,
    /// Numbers that were written under WATCH, by counter.
    counted: BTreeSet<(usize, i64)>,
    pub undecided: usize,
    pub operations: usize,
}

/// Where an operation is noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    pub key: Vec<u8>,
    pub index: usize,
}

impl Checks {
    pub fn new(evicting: bool, memory_is_refused: bool) -> Self {
        Self { evicting, memory_is_refused, ..Self::default() }
    }

    /// An operation is asked for.
    pub fn called(&mut self, key: &[u8], connection: usize, kind: Kind, at: u64) -> Noted {
        let history = self.histories.entry(key.to_vec()).or_default();
        history.push(Op { connection, kind, called: at, done: None });
        self.operations += 1;
        Noted { key: key.to_vec(), index: history.len() - 1 }
    }

    /// It was answered.
    pub fn done(&mut self, noted: &Noted, at: u64, seen: Seen) {
        if let Some(history) = self.histories.get_mut(&noted.key) {
            history[noted.index].done = Some((at, seen));
        }
    }

    /// It was refused: it did nothing, so that it might as well have been a look at the key
    /// that nobody heard of.
    pub fn refused(&mut self, noted: &Noted) {
        if let Some(history) = self.histories.get_mut(&noted.key) {
            history[noted.index].kind = Kind::Get;
        }
    }

    pub fn connected(&mut self, client: usize, id: i64) -> Result<(), String> {
        match self.ids.insert(id, client) {
            None => Ok(()),
            Some(other) => Err(format!("clients {client} and {other} both have number {id}")),
        }
    }

    pub fn departed(&mut self, id: i64) {
        self.ids.remove(&id);
    }

    /// The wall clock has been set to this.
    pub fn set_clock(&mut self, wall_us: u64) {
        self.lows.push(wall_us);
        self.wall_max = self.wall_max.max(wall_us);
    }

    /// A mark from which the lowest wall clock can be told later.
    pub fn start_of_low(&mut self, wall_us: u64) -> u64 {
        self.lows.push(wall_us);
        self.lows.len() as u64 - 1
    }

    /// The lowest that the wall clock has been since a mark.
    pub fn lowest_since(&self, mark: u64) -> u64 {
        self.lows[mark as usize..].iter().copied().min().unwrap_or(u64::MAX)
    }

    /// A pair of keys that nobody has written to.
    pub fn new_pair(&mut self) -> usize {
        self.pairs += 1;
        self.pairs - 1
    }

    /// A number was written under WATCH.
    pub fn counted(&mut self, counter: usize, number: i64) -> Result<(), String> {
        if self.counted.insert((counter, number)) {
            Ok(())
        } else {
            Err(format!("lost update: two clients wrote {number} to counter {counter}"))
        }
    }

    /// Whether every key's history could have been.
    pub fn histories_hold(&mut self) -> Result<(), String> {
        for (key, ops) in std::mem::take(&mut self.histories) {
            match linear::check(ops.clone(), BUDGET) {
                Verdict::Linearizable => {}
                Verdict::Undecided => self.undecided += 1,
                Verdict::Impossible => {
                    let key = String::from_utf8_lossy(&key);
                    let told = linear::explain(&ops, BUDGET);
                    return Err(format!("{key}: no order explains this\n{told}"));
                }
            }
        }
        Ok(())
    }
}
