//! Accounts over all shards whose sum never changes, twins that are always alike, a token that
//! is always in one place: what EXEC, MSET, RENAME and MSETNX promise as a whole.

use std::collections::BTreeMap;

use super::super::client::{Desk, Request, Role};
use super::super::resp::{self, Value};
use super::is_refused;

const ACCOUNTS: usize = 5;
const EACH: i64 = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Anything,
    Sum,
    SumInExec,
    Twins,
    Token,
    Pair,
}

/// See the module's text.
pub struct Bank {
    client: usize,
    tag: u32,
    writes: u64,
    asked: BTreeMap<u32, Asked>,
}

/// What the keys are before anybody asks.
pub fn preface() -> Vec<Request> {
    let mut words = "MSET".to_owned();
    (0..ACCOUNTS).for_each(|n| words += &format!(" b:{n} {EACH}"));
    (0..3).for_each(|n| words += &format!(" t:{n} first"));
    vec![Request::of(0, &words), Request::of(1, "SET tok:0 here")]
}

impl Bank {
    pub fn new(client: usize) -> Self {
        Self { client, tag: 0, writes: 0, asked: BTreeMap::new() }
    }

    fn ask(&mut self, words: &str, asked: Asked) -> Request {
        self.tag += 1;
        self.asked.insert(self.tag, asked);
        Request::of(self.tag, words)
    }

    fn transfer(&mut self, desk: &mut Desk<'_>) -> Vec<Request> {
        let (from, to) = (desk.rng.below(ACCOUNTS), desk.rng.below(ACCOUNTS));
        let amount = desk.rng.between(1, 50);
        vec![
            self.ask("MULTI", Asked::Anything),
            self.ask(&format!("DECRBY b:{from} {amount}"), Asked::Anything),
            self.ask(&format!("INCRBY b:{to} {amount}"), Asked::Anything),
            self.ask("EXEC", Asked::Anything),
        ]
    }

    fn looks(&mut self, desk: &mut Desk<'_>) -> Vec<Request> {
        let accounts: Vec<String> = (0..ACCOUNTS).map(|n| format!("b:{n}")).collect();
        match desk.rng.below(5) {
            0 => vec![self.ask("MGET t:0 t:1 t:2", Asked::Twins)],
            1 => vec![self.ask("EXISTS tok:0 tok:1 tok:2", Asked::Token)],
            2 => vec![self.ask("MGET p:0 p:1", Asked::Pair)],
            3 => {
                let mut requests = vec![self.ask("MULTI", Asked::Anything)];
                for account in &accounts {
                    requests.push(self.ask(&format!("GET {account}"), Asked::Anything));
                }
                requests.push(self.ask("EXEC", Asked::SumInExec));
                requests
            }
            _ => vec![self.ask(&format!("MGET {}", accounts.join(" ")), Asked::Sum)],
        }
    }
}

impl Role for Bank {
    fn name(&self) -> &'static str {
        "bank"
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> Vec<Request> {
        self.writes += 1;
        let value = format!("{}.{}", self.client, self.writes);
        match desk.rng.below(12) {
            0..=3 => self.transfer(desk),
            4 => {
                let words = format!("MSET t:0 {value} t:1 {value} t:2 {value}");
                vec![self.ask(&words, Asked::Anything)]
            }
            5 => {
                let (from, to) = (desk.rng.below(3), desk.rng.below(3));
                let name = *desk.rng.pick(&["RENAME", "RENAMENX"]);
                vec![self.ask(&format!("{name} tok:{from} tok:{to}"), Asked::Anything)]
            }
            6 => vec![self.ask(&format!("MSETNX p:0 {value} p:1 {value}"), Asked::Anything)],
            7 => vec![self.ask("DEL p:0 p:1", Asked::Anything)],
            _ => self.looks(desk),
        }
    }

    fn answered(&mut self, desk: &mut Desk<'_>, tag: u32, value: &Value) -> Result<(), String> {
        let Some(asked) = self.asked.remove(&tag) else { return Err(format!("tag {tag}")) };
        if is_refused(value) || desk.checks.memory_is_refused {
            return Ok(());
        }
        let items = || match value {
            Value::Array(items) => Ok(items.as_slice()),
            other => Err(format!("no array: {}", resp::render(other))),
        };
        let holds = match asked {
            Asked::Anything => true,
            Asked::Sum | Asked::SumInExec => sum(items()?) == Some(EACH * ACCOUNTS as i64),
            Asked::Twins | Asked::Pair => items()?.windows(2).all(|pair| pair[0] == pair[1]),
            Asked::Token => *value == Value::Int(1),
        };
        if holds { Ok(()) } else { Err(format!("seen in part: {}", resp::render(value))) }
    }

    fn lost(&mut self, _: &mut Desk<'_>, tag: u32) {
        self.asked.remove(&tag);
    }
}

fn sum(items: &[Value]) -> Option<i64> {
    let number = |item: &Value| match item {
        Value::Bulk(text) => std::str::from_utf8(text).ok()?.parse::<i64>().ok(),
        _ => None,
    };
    items.iter().map(number).sum()
}
