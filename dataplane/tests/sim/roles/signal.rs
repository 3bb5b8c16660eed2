//! Who writes data and then says that it is ready, at two shards and without waiting between:
//! whoever sees that it is ready sees the data.

use std::collections::BTreeMap;

use super::super::client::{Desk, Request, Role};
use super::super::resp::{self, Value};
use super::seen;
use crate::linear::Seen;

#[derive(Clone, Copy)]
enum Asked {
    Write,
    /// Whether it is ready, of this pair.
    Ready(usize),
    /// The data, which are at least so new.
    Data(i64),
    /// Both of one moment.
    All,
}

/// Keys that the data of a pair are in, so that some are at home elsewhere than `ready`.
const PARTS: usize = 3;

/// See the module's text.
pub struct Signal {
    tag: u32,
    asked: BTreeMap<u32, Asked>,
    pair: Option<usize>,
    written: i64,
    /// A pair that was ready, and what its data are to be at least.
    found: Option<(usize, i64)>,
}

impl Signal {
    pub fn new(_: usize) -> Self {
        Self { tag: 0, asked: BTreeMap::new(), pair: None, written: 0, found: None }
    }

    fn ask(&mut self, words: &str, asked: Asked) -> Request {
        self.tag += 1;
        self.asked.insert(self.tag, asked);
        Request::of(self.tag, words)
    }

    fn write(&mut self, desk: &mut Desk<'_>) -> Vec<Request> {
        let pair = *self.pair.get_or_insert_with(|| desk.checks.new_pair());
        let mut requests = Vec::new();
        for _ in 0..desk.rng.between(1, 3) {
            self.written += 1;
            let n = self.written;
            for part in 0..PARTS {
                requests.push(self.ask(&format!("SET data{part}:{pair} {n}"), Asked::Write));
            }
            if desk.rng.chance(30) {
                requests.push(self.ask(&format!("GET other:{pair}"), Asked::Write));
            }
            requests.push(self.ask(&format!("SET ready:{pair} {n}"), Asked::Write));
        }
        requests
    }
}

impl Role for Signal {
    fn name(&self) -> &'static str {
        "signal"
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> Vec<Request> {
        if let Some((pair, least)) = self.found.take() {
            let part = desk.rng.below(PARTS);
            return vec![self.ask(&format!("GET data{part}:{pair}"), Asked::Data(least))];
        }
        let pairs = desk.checks.pairs;
        if pairs == 0 || desk.rng.chance(50) {
            return self.write(desk);
        }
        let pair = pairs - 1 - desk.rng.below(pairs.min(3));
        if desk.rng.chance(60) {
            let all = format!("MGET ready:{pair} data0:{pair} data1:{pair} data2:{pair}");
            return vec![self.ask(&all, Asked::All)];
        }
        vec![self.ask(&format!("GET ready:{pair}"), Asked::Ready(pair))]
    }

    fn answered(&mut self, _: &mut Desk<'_>, tag: u32, value: &Value) -> Result<(), String> {
        let number = |value: &Value| match seen(value) {
            Seen::Nil => Some(0),
            Seen::Bytes(text) => std::str::from_utf8(&text).ok()?.parse::<i64>().ok(),
            _ => None,
        };
        let bad = || format!("what is {}?", resp::render(value));
        match self.asked.remove(&tag).ok_or_else(bad)? {
            Asked::Write => {}
            Asked::Ready(pair) => self.found = Some((pair, number(value).ok_or_else(bad)?)),
            Asked::Data(least) => {
                let data = number(value).ok_or_else(bad)?;
                if data < least {
                    return Err(format!("ready said {least}, and the data are of {data}"));
                }
            }
            Asked::All => {
                let Value::Array(items) = value else { return Err(bad()) };
                let all: Option<Vec<i64>> = items.iter().map(number).collect();
                let all = all.ok_or_else(bad)?;
                if all[1..].iter().any(|data| *data < all[0]) {
                    return Err(format!("ready {} beside data {:?}", all[0], &all[1..]));
                }
            }
        }
        Ok(())
    }

    /// What was on its way may come to pass later, so that another pair is used from now on.
    fn lost(&mut self, _: &mut Desk<'_>, tag: u32) {
        self.asked.remove(&tag);
        (self.pair, self.found) = (None, None);
    }
}
