//! Everything else, on keys of its own: long commands, all databases, modes of replies, errors,
//! other clients' ends. Its replies come in order; what they say is checked elsewhere.

use std::collections::BTreeMap;

use super::super::client::{Desk, Request, Role};
use super::super::resp::{self, Value};

/// What a reply has to look like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Any,
    Ok,
    Int,
    List,
    Error,
    /// SCAN's: where to go on.
    Scan,
}

/// See the module's text.
pub struct Noise {
    client: usize,
    tag: u32,
    asked: BTreeMap<u32, Shape>,
    cursor: String,
    number: usize,
}

impl Noise {
    pub fn new(client: usize) -> Self {
        Self { client, tag: 0, asked: BTreeMap::new(), cursor: "0".into(), number: 0 }
    }

    fn ask(&mut self, words: &str, shape: Shape) -> Request {
        self.tag += 1;
        self.asked.insert(self.tag, shape);
        Request::of(self.tag, words)
    }

    fn key(&self, desk: &mut Desk<'_>) -> String {
        format!("x:{}:{}", self.client, desk.rng.below(40))
    }

    /// Some replies are not wanted.
    fn quietly(&mut self, desk: &mut Desk<'_>) -> Vec<Request> {
        let (one, two) = (self.key(desk), self.key(desk));
        if desk.rng.chance(50) {
            return vec![
                self.ask("CLIENT REPLY SKIP", Shape::Any).silent(),
                self.ask(&format!("SET {one} skipped"), Shape::Any).silent(),
                self.ask(&format!("MGET {one} {two}"), Shape::List),
            ];
        }
        vec![
            self.ask("CLIENT REPLY OFF", Shape::Any).silent(),
            self.ask(&format!("MSET {one} off {two} off"), Shape::Any).silent(),
            self.ask(&format!("GET {one}"), Shape::Any).silent(),
            self.ask("SCAN 0", Shape::Any).silent(),
            self.ask("CLIENT REPLY ON", Shape::Ok),
        ]
    }

    /// In a database that is emptied now and then.
    fn elsewhere(&mut self, desk: &mut Desk<'_>) -> Vec<Request> {
        let (one, two) = (self.key(desk), self.key(desk));
        let amid = match desk.rng.below(7) {
            0 => self.ask("FLUSHDB", Shape::Ok),
            1 => self.ask("DBSIZE", Shape::Int),
            2 => self.ask("RANDOMKEY", Shape::Any),
            3 => self.ask("SWAPDB 3 4", Shape::Ok),
            4 => self.ask(&format!("MOVE {one} 4"), Shape::Any),
            5 => self.ask(&format!("COPY {one} {two} DB 4"), Shape::Any),
            _ => self.ask("KEYS *", Shape::List),
        };
        if desk.rng.chance(30) {
            return self.all_at_once(&one, &two);
        }
        vec![
            self.ask("SELECT 3", Shape::Ok),
            self.ask(&format!("MSET {one} there {two} there"), Shape::Any),
            amid,
            self.ask("SELECT 0", Shape::Ok),
        ]
    }

    /// The same in a transaction, all shards held.
    fn all_at_once(&mut self, one: &str, two: &str) -> Vec<Request> {
        let words = [
            "MULTI".into(),
            "SELECT 4".into(),
            format!("MSET {one} there {two} there"),
            "DBSIZE".into(),
            "SCAN 0 COUNT 3".into(),
            "KEYS *".into(),
            "FLUSHDB".into(),
            "SELECT 0".into(),
            format!("RENAME {one} {two}"),
        ];
        let mut requests: Vec<Request> =
            words.iter().map(|words| self.ask(words, Shape::Any)).collect();
        requests.push(self.ask("EXEC", Shape::Any));
        requests
    }

    /// The end, by the client's own wish, with something behind it that is not done.
    fn part(&mut self, desk: &mut Desk<'_>) -> Vec<Request> {
        let key = self.key(desk);
        if desk.rng.chance(70) {
            return vec![self.ask("RESET", Shape::Any)];
        }
        vec![
            self.ask(&format!("MGET {key} x:other"), Shape::List),
            self.ask("QUIT", Shape::Ok).last(),
            self.ask(&format!("SET {key} never"), Shape::Any),
        ]
    }

    fn kill(&mut self, desk: &mut Desk<'_>) -> Vec<Request> {
        let others: Vec<i64> =
            desk.checks.ids.iter().filter(|(_, c)| **c != desk.client).map(|(id, _)| *id).collect();
        if others.is_empty() || !desk.checks.kills {
            return vec![self.ask("CLIENT LIST", Shape::Any)];
        }
        let id = *desk.rng.pick(&others);
        desk.checks.killed.insert(id);
        desk.checks.kills = false;
        vec![self.ask(&format!("CLIENT KILL ID {id}"), Shape::Int)]
    }

    fn single(&mut self, desk: &mut Desk<'_>) -> Request {
        let (key, other) = (self.key(desk), self.key(desk));
        self.number += 1;
        let number = self.number;
        match desk.rng.below(16) {
            0 => self.ask("DBSIZE", Shape::Int),
            1 => self.ask(&format!("KEYS x:{}:1*", self.client), Shape::List),
            2 | 3 => {
                let words = format!("SCAN {} COUNT {}", self.cursor, 1 + number % 7);
                self.ask(&words, Shape::Scan)
            }
            4 => self.ask("NONSENSE at all", Shape::Error),
            5 => self.ask("GET", Shape::Error),
            6 => self.ask(&format!("RENAME {key} {other}"), Shape::Any),
            7 => self.ask(&format!("MSETNX {key} {number} {other} {number}"), Shape::Any),
            8 => self.ask(&format!("DEL {key} {other} x:none"), Shape::Any),
            9 => self.ask(&format!("EXPIRE {key} {}", number % 3), Shape::Any),
            10 => self.ask(&format!("PTTL {key}"), Shape::Int),
            11 => self.ask(&format!("TOUCH {key} {other}"), Shape::Int),
            12 => self.ask(&format!("SETRANGE {key} {} x", number % 3_000), Shape::Any),
            13 => self.ask("CONFIG SET timeout 0", Shape::Any),
            14 => self.ask(&format!("SET {key} {number} EX 1"), Shape::Any),
            _ => self.ask(&format!("SET {key} {number}"), Shape::Any),
        }
    }
}

impl Role for Noise {
    fn name(&self) -> &'static str {
        "noise"
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> Vec<Request> {
        if desk.checks.kills {
            return self.kill(desk); // one is due
        }
        match desk.rng.below(14) {
            0 => self.quietly(desk),
            1 => self.elsewhere(desk),
            2 => self.kill(desk),
            3 => self.part(desk),
            _ => vec![self.single(desk)],
        }
    }

    fn answered(&mut self, _: &mut Desk<'_>, tag: u32, value: &Value) -> Result<(), String> {
        let Some(shape) = self.asked.remove(&tag) else { return Err(format!("tag {tag}")) };
        let fits = match (shape, value) {
            (Shape::Any, _) => true,
            (Shape::Ok, value) => *value == Value::ok(),
            (Shape::Int, Value::Int(_)) | (Shape::List, Value::Array(_)) => true,
            (Shape::Error, Value::Error(_)) => true,
            (Shape::Scan, Value::Array(items)) if items.len() == 2 => {
                self.cursor = items[0].text();
                true
            }
            _ => false,
        };
        if fits { Ok(()) } else { Err(format!("what is {}?", resp::render(value))) }
    }

    /// The silent ones before it are settled with it.
    fn lost(&mut self, _: &mut Desk<'_>, tag: u32) {
        self.asked.remove(&tag);
        self.cursor = "0".into();
    }
}
