//! Single keys that many clients read and write, alone, several at once, and in transactions:
//! every key's history must be linearizable.

use std::collections::BTreeMap;

use super::super::checks::Noted;
use super::super::client::{Desk, Request, Role};
use super::super::linear::Kind;
use super::super::resp::{self, Value};
use super::{is_refused, seen};

/// Few, so that clients meet.
const KEYS: usize = 6;

/// What became of one request.
enum Asked {
    /// One operation; the reply is its own.
    One(Noted),
    /// MSET: one reply for all.
    Together(Vec<Noted>),
    /// MGET or EXEC: a reply for each.
    Each(Vec<Noted>),
    /// MULTI or a queued command.
    Step(&'static [u8]),
}

/// See the module's text.
pub struct Registers {
    client: usize,
    writes: u64,
    tag: u32,
    asked: BTreeMap<u32, Asked>,
}

impl Registers {
    pub fn new(client: usize) -> Self {
        Self { client, writes: 0, tag: 0, asked: BTreeMap::new() }
    }

    fn value(&mut self, desk: &mut Desk<'_>) -> Vec<u8> {
        self.writes += 1;
        let mut value = format!("{}.{}", self.client, self.writes).into_bytes();
        if desk.rng.chance(10) {
            value.resize(desk.rng.between(100, 5_000), b'v');
        }
        value
    }

    /// A key and something to do with it.
    fn choose(&mut self, desk: &mut Desk<'_>) -> (Vec<u8>, Kind, Vec<Vec<u8>>) {
        let counts = desk.rng.chance(20);
        let n = desk.rng.below(KEYS);
        let key = if counts { format!("n:{n}") } else { format!("h:{n}") }.into_bytes();
        let value = self.value(desk);
        let more = vec![b'a' + (self.client % 26) as u8; desk.rng.between(1, 3)];
        let (kind, words): (Kind, Vec<&[u8]>) = match desk.rng.below(14) {
            _ if counts && desk.rng.chance(60) => (Kind::Incr, vec![b"INCR", &key]),
            0..=3 => (Kind::Get, vec![b"GET", &key]),
            4 if counts => (Kind::Len, vec![b"STRLEN", &key]),
            4..=6 if !counts => (Kind::Set(value.clone()), vec![b"SET", &key, &value]),
            7 if !counts => (Kind::SetIfNone(value.clone()), vec![b"SET", &key, &value, b"NX"]),
            8 if !counts => (Kind::GetSet(value.clone()), vec![b"GETSET", &key, &value]),
            9 if !counts => (Kind::Append(more.clone()), vec![b"APPEND", &key, &more]),
            10 => (Kind::GetDel, vec![b"GETDEL", &key]),
            11 => (Kind::Del, vec![b"DEL", &key]),
            12 => (Kind::Len, vec![b"STRLEN", &key]),
            _ => (Kind::Get, vec![b"GET", &key]),
        };
        let words = words.into_iter().map(<[u8]>::to_vec).collect();
        (key, kind, words)
    }

    fn ask(&mut self, args: Vec<Vec<u8>>, asked: Asked) -> Request {
        self.tag += 1;
        self.asked.insert(self.tag, asked);
        Request { args, tag: self.tag, silent: false, last: false }
    }

    fn many(&mut self, desk: &mut Desk<'_>) -> Request {
        let mut keys: Vec<usize> = (0..KEYS).collect();
        keys.rotate_left(desk.rng.below(KEYS));
        keys.truncate(desk.rng.between(2, 4));
        let reads = desk.rng.chance(50);
        let mut args = vec![if reads { b"MGET".to_vec() } else { b"MSET".to_vec() }];
        let mut noted = Vec::new();
        for n in keys {
            let key = format!("h:{n}").into_bytes();
            args.push(key.clone());
            let kind = if reads {
                Kind::Get
            } else {
                args.push(self.value(desk));
                Kind::Set(args.last().cloned().unwrap_or_default())
            };
            noted.push(desk.checks.called(&key, desk.connection, kind, desk.at));
        }
        let asked = if reads { Asked::Each(noted) } else { Asked::Together(noted) };
        self.ask(args, asked)
    }

    fn transaction(&mut self, desk: &mut Desk<'_>) -> Vec<Request> {
        let mut requests = vec![self.ask(vec![b"MULTI".to_vec()], Asked::Step(b"OK"))];
        let mut noted = Vec::new();
        for _ in 0..desk.rng.between(1, 4) {
            let (key, kind, words) = self.choose(desk);
            noted.push(desk.checks.called(&key, desk.connection, kind, desk.at));
            requests.push(self.ask(words, Asked::Step(b"QUEUED")));
        }
        requests.push(self.ask(vec![b"EXEC".to_vec()], Asked::Each(noted)));
        requests
    }
}

impl Role for Registers {
    fn name(&self) -> &'static str {
        "registers"
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> Vec<Request> {
        match desk.rng.below(10) {
            0 => vec![self.many(desk)],
            1 => self.transaction(desk),
            _ => {
                let (key, kind, words) = self.choose(desk);
                let noted = desk.checks.called(&key, desk.connection, kind, desk.at);
                vec![self.ask(words, Asked::One(noted))]
            }
        }
    }

    fn answered(&mut self, desk: &mut Desk<'_>, tag: u32, value: &Value) -> Result<(), String> {
        let Some(asked) = self.asked.remove(&tag) else { return Err(format!("tag {tag}")) };
        let in_part = desk.checks.memory_is_refused;
        let mut settle = |noted: &Noted, value: &Value| {
            if is_refused(value) {
                desk.checks.refused(noted);
            } else {
                desk.checks.done(noted, desk.at, seen(value));
            }
        };
        match asked {
            Asked::One(noted) => settle(&noted, value),
            Asked::Step(expected) => match value {
                Value::Simple(text) if text == expected => {}
                value if is_refused(value) => {}
                other => return Err(format!("in a transaction: {}", resp::render(other))),
            },
            // Where the system refuses memory, some keys may be written and some not.
            Asked::Together(_) if is_refused(value) && in_part => {}
            Asked::Together(noted) => noted.iter().for_each(|noted| settle(noted, value)),
            Asked::Each(noted) => match value {
                Value::Array(items) if items.len() == noted.len() => {
                    noted.iter().zip(items).for_each(|(noted, item)| settle(noted, item));
                }
                value if is_refused(value) => noted.iter().for_each(|n| settle(n, value)),
                other => return Err(format!("for {}: {}", noted.len(), resp::render(other))),
            },
        }
        Ok(())
    }

    fn lost(&mut self, _: &mut Desk<'_>, tag: u32) {
        self.asked.remove(&tag);
    }
}
