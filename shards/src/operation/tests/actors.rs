//! Clients who keep something true that spans shards, and clients who look whether it is.
//!
//! Owns what each says next, and what it has seen that must not be. Knows no node.

use std::collections::VecDeque;

use crate::slot::slot_of;

use super::looks::{self, Check, Look};
use super::seat::{ClientNo, LONG_ARGUMENT};
use super::tree::Tree;

/// What was seen that must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wrong {
    /// Transfers between accounts changed the sum (MULTI, EXEC).
    Sum,
    /// Of two keys that are always set together, one is older (MSET).
    Pair,
    /// The same by two commands: the one read later is older.
    Order,
    /// A key that is renamed had two names, or none (RENAME, EXISTS).
    Names,
    /// The number of keys changed (RENAME, DBSIZE).
    Count,
    /// A counter was written by two who had read the same (WATCH), or not with its copy.
    Update,
    /// A watched key changed before EXEC, which did not mind.
    Watch,
    /// Two had the same lock (MSETNX, DEL).
    Lock,
    /// Two databases were seen at once (SWAPDB).
    Swap,
}

pub(super) const ALL_WRONGS: [Wrong; 9] = [
    Wrong::Sum,
    Wrong::Pair,
    Wrong::Order,
    Wrong::Names,
    Wrong::Count,
    Wrong::Update,
    Wrong::Watch,
    Wrong::Lock,
    Wrong::Swap,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Takes from an account and adds to another.
    Transfers,
    /// Takes from an account in a transaction that is refused.
    Spoils,
    /// Sets two keys to the same number, the next each time.
    Pairs,
    /// Looks at all of it.
    Looks,
    /// Looks at what others set together, one after the other.
    Follows,
    /// Renames a key there and back.
    Renames,
    /// Adds one to a counter, and to its copy on another shard (`true`).
    Counts(bool),
    /// Takes two locks at once, or none.
    Locks,
    /// Swaps two databases with the same keys and other values.
    Swaps,
    /// Looks at one of the two.
    LooksAtSwapped,
}

pub(super) const ROLES: [Role; 17] = [
    Role::Transfers,
    Role::Transfers,
    Role::Spoils,
    Role::Pairs,
    Role::Looks,
    Role::Looks,
    Role::Follows,
    Role::Follows,
    Role::Renames,
    Role::Counts(true),
    Role::Counts(true),
    Role::Counts(false),
    Role::Counts(false),
    Role::Locks,
    Role::Locks,
    Role::Swaps,
    Role::LooksAtSwapped,
];

/// Few, who get much done.
pub(super) const FOLLOWERS: [Role; 4] = [Role::Pairs, Role::Follows, Role::Follows, Role::Follows];

pub(super) const ACCOUNTS: usize = 4;
pub(super) const TOTAL: i64 = 4_000;
/// Accounts, a pair, one key of two names, a counter with its copy and one without.
pub(super) const KEYS: i64 = ACCOUNTS as i64 + 6;

/// A key in one of five equal parts of the slots: those of 0 and of 4 are on different shards
/// of any node that has several.
fn key(stem: &str, part: u32) -> String {
    let fits = |name: &String| (u32::from(slot_of(name.as_bytes()).get()) * 5) >> 14 == part;
    (0..).map(|n| format!("{stem}{n}")).find(fits).expect("every slot has a name")
}

/// All names, made once.
pub(super) struct Names {
    pub(super) accounts: [String; ACCOUNTS],
    pub(super) pair: [String; 2],
    /// Never there; at home where the pair is.
    pub(super) near: [String; 2],
    pub(super) ball: [String; 2],
    pub(super) counter: [String; 2],
    pub(super) solo: String,
    lock: [String; 2],
}

impl Names {
    pub(super) fn new() -> Self {
        let two = |stem| [key(stem, 4), key(stem, 0)];
        Self {
            accounts: [0, 4, 1, 3].map(|part| key("account", part)),
            pair: two("pair"),
            near: two("near"),
            ball: two("ball"),
            counter: two("counter"),
            solo: key("solo", 2),
            lock: two("lock"),
        }
    }

    pub(super) fn setup(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.accounts.iter().map(|name| format!("SET {name} {}", TOTAL / 4)).collect();
        let [a, b] = &self.pair;
        lines.push(format!("MSET {a} 0 {b} 0"));
        lines.push(format!("SET {} {}", self.ball[0], "b".repeat(LONG_ARGUMENT)));
        lines.push(format!("MSET {} 0 {} 0 {} 0", self.counter[0], self.counter[1], self.solo));
        for db in [1, 2] {
            lines.push(format!("SELECT {db}"));
            lines.push(format!("MSET {a} {db} {b} {db}"));
        }
        lines.push("SELECT 0".into());
        lines
    }
}

/// A client who plays a role.
pub(super) struct Actor {
    pub(super) client: ClientNo,
    pub(super) role: Role,
    /// Rounds it has still to play.
    pub(super) left: usize,
    /// Within a round.
    stage: usize,
    /// What it chose or read in this round.
    memo: i64,
    /// Commands of the batch under way that are still to be said, and what came back.
    pub(super) lines: VecDeque<String>,
    pub(super) heard: Vec<Tree>,
    pub(super) waits: bool,
    /// How a look is judged once all replies are there.
    check: Option<Check>,
    /// Updates that succeeded.
    pub(super) updates: i64,
    pub(super) wrongs: Vec<(Wrong, String)>,
}

pub(super) fn exec(lines: &[String]) -> Vec<String> {
    let (first, last) = (["MULTI".to_owned()], ["EXEC".to_owned()]);
    first.iter().chain(lines).chain(&last).cloned().collect()
}

impl Actor {
    pub(super) fn new(client: ClientNo, role: Role, rounds: usize) -> Self {
        Self {
            client,
            role,
            left: rounds,
            stage: 0,
            memo: 0,
            lines: VecDeque::new(),
            heard: Vec::new(),
            waits: false,
            check: None,
            updates: 0,
            wrongs: Vec::new(),
        }
    }

    /// The next command; none when it has played all rounds.
    pub(super) fn next(&mut self, names: &Names, random: usize) -> Option<String> {
        while self.lines.is_empty() && self.left > 0 {
            let batch = match self.role {
                Role::Transfers => self.transfer(names, random),
                Role::Spoils => self.spoil(names, random),
                Role::Pairs => self.pair(names, random),
                Role::Looks => self.look(looks::at_once, names, random),
                Role::Follows => self.look(looks::one_by_one, names, random),
                Role::Renames => self.rename(names),
                Role::Counts(copied) => self.count(names, copied),
                Role::Locks => self.lock(names),
                Role::Swaps => self.once(&["SWAPDB 1 2".into()]),
                Role::LooksAtSwapped => self.look(looks::at_swapped, names, random),
            };
            self.heard.clear();
            self.lines = batch.into();
            if self.lines.is_empty() {
                (self.left, self.stage) = (self.left - 1, 0);
            } else {
                self.stage += 1;
            }
        }
        self.lines.pop_front()
    }

    pub(super) fn expect(&mut self, fine: bool, wrong: Wrong) {
        if !fine {
            self.wrongs.push((wrong, format!("{:?}", self.heard)));
        }
    }

    fn last(&self) -> &Tree {
        self.heard.last().expect("something was said")
    }

    /// A round of one batch, whose replies do not matter.
    fn once(&self, lines: &[String]) -> Vec<String> {
        if self.stage == 0 { lines.to_vec() } else { Vec::new() }
    }

    fn transfer(&mut self, names: &Names, random: usize) -> Vec<String> {
        let (from, amount) = (random % ACCOUNTS, random / 16 % 100);
        let to = (from + 1 + random / 4 % (ACCOUNTS - 1)) % ACCOUNTS;
        let (from, to) = (&names.accounts[from], &names.accounts[to]);
        let lines = [format!("DECRBY {from} {amount}"), format!("INCRBY {to} {amount}")];
        self.once(&exec(&lines))
    }

    fn spoil(&mut self, names: &Names, random: usize) -> Vec<String> {
        if self.stage > 0 {
            self.expect(self.last().is_error(), Wrong::Sum);
        }
        let decrement = format!("DECRBY {} 1", names.accounts[random % ACCOUNTS]);
        self.once(&exec(&[decrement, "NOPE".into()]))
    }

    fn pair(&mut self, names: &Names, random: usize) -> Vec<String> {
        let [a, b] = &names.pair;
        if self.stage > 0 {
            return Vec::new();
        }
        self.memo += 1;
        let n = self.memo;
        match random % 3 {
            0 => vec![format!("MSET {a} {n} {b} {n}")],
            1 => exec(&[format!("SET {b} {n}"), format!("SET {a} {n}")]),
            _ => exec(&[format!("INCR {a}"), format!("MSET {b} {n}")]),
        }
    }

    fn look(
        &mut self,
        look: fn(&Names, usize) -> Look,
        names: &Names,
        random: usize,
    ) -> Vec<String> {
        if let Some(check) = self.check.take() {
            for (fine, wrong) in check(&self.heard) {
                self.expect(fine, wrong);
            }
            return Vec::new();
        }
        let (lines, check) = look(names, random);
        self.check = Some(check);
        lines
    }

    fn rename(&mut self, names: &Names) -> Vec<String> {
        let [a, b] = &names.ball;
        if self.stage > 0 {
            let whole = *self.last() == Tree::Bulk(vec![b'b'; LONG_ARGUMENT]);
            self.expect(whole, Wrong::Names);
        }
        match self.stage {
            0 => vec![format!("RENAME {a} {b}"), format!("GET {b}")],
            1 => vec![format!("RENAMENX {b} {a}"), format!("GET {a}")],
            _ => Vec::new(),
        }
    }

    /// Reads, and writes unless the counter has changed since; tries until it has written.
    fn count(&mut self, names: &Names, copied: bool) -> Vec<String> {
        let [counter, copy] = &names.counter;
        let counter = if copied { counter } else { &names.solo };
        match self.stage {
            1 => {
                self.memo = self.last().number();
                let set = |name| format!("SET {name} {}", self.memo + 1);
                let mut lines = vec![format!("GET {counter}"), set(counter)];
                lines.extend(copied.then(|| set(copy)));
                return exec(&lines);
            }
            2 => {
                if let Tree::List(replies) = self.last().clone() {
                    self.updates += 1;
                    self.expect(replies[0].number() == self.memo, Wrong::Update);
                    return Vec::new();
                }
                self.stage = 0;
            }
            _ => {}
        }
        vec![format!("WATCH {counter}"), format!("GET {counter}")]
    }

    /// Tries until it has both locks, and gives them back.
    fn lock(&mut self, names: &Names) -> Vec<String> {
        let [a, b] = &names.lock;
        let own = self.client.0;
        match self.stage {
            1 if self.last().number() == 1 => {
                return vec![format!("MGET {a} {b}"), format!("DEL {b} {a}")];
            }
            2 => {
                let both = self.heard[0].numbers() == [own as i64; 2];
                self.expect(both && self.heard[1].number() == 2, Wrong::Lock);
                return Vec::new();
            }
            _ => self.stage = 0,
        }
        vec!["SELECT 3".into(), format!("MSETNX {a} {own} {b} {own}")]
    }
}
