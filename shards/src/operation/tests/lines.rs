//! What clients say in scripts.
//!
//! Owns the lines, what is put into them, and scripts of them at random. Knows no server.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::seat::{DATABASES, LONG_ARGUMENT};

/// Commands; `<k>` stands for a key, `<v>` for a value, `<i>` for an integer, `<d>` for a
/// database and `<p>` for a pattern.
pub(super) const LINES: &[&str] = &[
    // What is divided, and what it works on
    "SET <k> <v>",
    "SET <k> <v> GET EX 1000",
    "MSET <k> <v> <k> <v> <k> <v>",
    "MSETNX <k> <v> <k> <v>",
    "RENAME <k> <k>",
    "RENAMENX <k> <k>",
    "COPY <k> <k>",
    "COPY <k> <k> REPLACE",
    "COPY <k> <k> DB <d> REPLACE",
    "MGET <k> <k> <k> <k>",
    "EXISTS <k> <k> <k> <k>",
    "DEL <k> <k>",
    "EXPIRE <k> 100000",
    "APPEND <k> <v>",
    // Transactions
    "MULTI",
    "MULTI",
    "EXEC",
    "EXEC",
    "WATCH <k> <k>",
    "WATCH <k>",
    "DISCARD",
    "UNWATCH",
    "SELECT <d>",
    // Strings
    "SET <k> <v> XX EX 1000",
    "SET <k> <v> NX",
    "SET <k> <v> IFEQ <v>",
    "SETNX <k> <v>",
    "SETEX <k> 5000 <v>",
    "PSETEX <k> 5000000 <v>",
    "GETSET <k> <v>",
    "GETDEL <k>",
    "GETEX <k> EX 777",
    "GETRANGE <k> <i> <i>",
    "SUBSTR <k> <i> <i>",
    "GET <k>",
    "SETRANGE <k> <i> <v>",
    "OBJECT ENCODING <k>",
    "STRLEN <k>",
    "INCR <k>",
    "DECR <k>",
    "INCRBY <k> <i>",
    "DECRBY <k> <i>",
    "INCRBYFLOAT <k> <v>",
    // Rate limits
    "CL.THROTTLE <k> 2 1 60",
    "CL.THROTTLE <k> <i> 1 60 2",
    "MSETNX <k> <v> <k> <v> <k> <v>",
    // Any key
    "UNLINK <k> <k> <k>",
    "TOUCH <k> <k>",
    "TYPE <k>",
    "COPY <k> <k> DB <d>",
    "MOVE <k> <d>",
    "PERSIST <k>",
    "TTL <k>",
    "PTTL <k>",
    "EXPIRETIME <k>",
    "PEXPIRETIME <k>",
    "EXPIREAT <k> 1800000000 GT",
    "PEXPIRE <k> 99999999 NX",
    "PEXPIREAT <k> 1900000000000 LT",
    "EXPIRE <k> -1",
    "OBJECT REFCOUNT <k>",
    "OBJECT IDLETIME <k>",
    "OBJECT FREQ <k>",
    "KEYS <p>",
    "KEYS *",
    "SCAN 0",
    "SCAN 0 MATCH <p> COUNT 3",
    "SCAN 0 TYPE string COUNT 500",
    "SCAN 0 TYPE list",
    "RANDOMKEY",
    // Whole databases
    "DBSIZE",
    "FLUSHDB",
    "FLUSHALL ASYNC",
    "SWAPDB <d> <d>",
    // What is refused
    "GET <k> <k>",
    "MGET",
    "MSET <k> <v> <k>",
    "MSET <k>",
    "MSETNX <k> <v> <k>",
    "RENAME <k>",
    "COPY <k> <k> DB",
    "COPY <k> <k> DB 99",
    "COPY <k> <k> NOPE",
    "MOVE <k> x",
    "SELECT 99",
    "SWAPDB x <d>",
    "FLUSHDB NOPE",
    "SCAN x",
    "SCAN 0 COUNT 0",
    "SCAN 99999999999999999999",
    "SCAN 18446744073709551615",
    "DBSIZE x",
    "OBJECT NOPE <k>",
    "OBJECT ENCODING",
    "OBJECT HELP",
    "EXEC x",
    "NOPE <k>",
    "EXPIRE <k> 1 NX GT",
];

/// Lines of [`LINES`] that come more often, and those of transactions.
const COMMON: usize = 14;
const TRANSACTION: std::ops::Range<usize> = COMMON..23;

/// One command: whose, which line, and what to put into it.
#[derive(Clone, Debug)]
pub(super) struct Say {
    pub(super) client: usize,
    line: usize,
    picks: [u16; 6],
}

fn say(client: usize, line: impl Strategy<Value = usize>) -> impl Strategy<Value = Say> {
    (line, any::<[u16; 6]>()).prop_map(move |(line, picks)| Say { client, line, picks })
}

fn any_line() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 0..LINES.len(), 3 => 0..COMMON, 2 => TRANSACTION]
}

fn number_of(line: &str) -> usize {
    LINES.iter().position(|other| *other == line).expect("a line")
}

/// MULTI and EXEC with a few commands between.
fn transaction(client: usize) -> impl Strategy<Value = Vec<Say>> {
    let fixed = move |line| say(client, Just(number_of(line)));
    let body = prop::collection::vec(say(client, 0..LINES.len()), 0..6);
    (fixed("MULTI"), body, fixed("EXEC")).prop_map(|(first, mut body, last)| {
        body.insert(0, first);
        body.push(last);
        body
    })
}

/// A transaction that watches keys, and what the other client does to them meanwhile.
fn watched() -> impl Strategy<Value = Vec<Say>> {
    let meanwhile = prop_oneof![say(1, any_line()).prop_map(|say| vec![say]), transaction(1)];
    (say(0, Just(number_of("WATCH <k> <k>"))), meanwhile, transaction(0)).prop_map(
        |(watch, meanwhile, own)| [watch].into_iter().chain(meanwhile).chain(own).collect(),
    )
}

pub(super) fn script() -> impl Strategy<Value = Vec<Say>> {
    let one = |client| say(client, any_line()).prop_map(|say| vec![say]);
    let phrase = prop_oneof![8 => one(0), 2 => one(1), 1 => transaction(0), 1 => watched()];
    prop::collection::vec(phrase, 1..40).prop_map(|phrases| phrases.concat())
}

pub(super) type Words = Vec<Vec<u8>>;

impl Say {
    pub(super) fn words(&self) -> Words {
        let mut picks = self.picks.iter().copied();
        let mut fill = |word: &str| {
            if !word.starts_with('<') {
                return word.into();
            }
            let pick = picks.next().expect("six are enough");
            match word {
                "<k>" => key(pick),
                "<v>" => value(pick),
                "<i>" => ["0", "1", "-1", "5", "-30000", "9223372036854775807", "x", "33000"]
                    [usize::from(pick % 8)]
                .into(),
                "<d>" => (pick % 5).to_string().into(), // 4 is one too many
                "<p>" => ["*", "k*", "?[13]", "{*}*"][usize::from(pick % 4)].into(),
                other => panic!("{other} in a line"),
            }
        };
        LINES[self.line].split(' ').map(&mut fill).collect()
    }
}

/// Few keys, so that they meet: on all shards, some on one slot, one of each size.
fn key(pick: u16) -> Vec<u8> {
    match pick % 32 {
        0 => [b'L'; LONG_ARGUMENT + 1].to_vec(),
        1 | 2 => [b'l'; 5_000].to_vec(),
        n @ 3..8 => format!("{{k1}}{}", n % 2).into(),
        n => format!("k{}", n % 5).into(),
    }
}

/// What the second client asks to see all that a script has left.
pub(super) fn inventory() -> Vec<Words> {
    let keys: BTreeSet<Vec<u8>> = (0..32).map(key).collect();
    let mut lines = vec![vec![b"DISCARD".to_vec()]];
    for db in 0..DATABASES {
        lines.push(vec![b"SELECT".to_vec(), db.to_string().into()]);
        lines.push([b"MGET".to_vec()].into_iter().chain(keys.iter().cloned()).collect());
        for key in &keys {
            lines.push(vec![b"PEXPIRETIME".to_vec(), key.clone()]);
            lines.push(vec![b"OBJECT".to_vec(), b"ENCODING".to_vec(), key.clone()]);
        }
    }
    lines
}

/// Numbers, words, and values of each kind of storage.
fn value(pick: u16) -> Vec<u8> {
    let byte = b'a' + (pick >> 8) as u8 % 26;
    match pick % 16 {
        0 => Vec::new(),
        1 => b"1.5".into(),
        2..6 => (i32::from(pick) - 30_000).to_string().into(),
        6 => vec![byte; 200],
        7 => vec![byte; 20_000],
        8..10 => vec![byte; LONG_ARGUMENT + usize::from(pick >> 8)],
        _ => format!("v{}", pick >> 8).into(),
    }
}
