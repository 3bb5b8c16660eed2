//! Counters that are read under WATCH and written by EXEC: no two that succeed write the same
//! number, whatever is asked around it.

use std::collections::BTreeMap;

use super::super::client::{Desk, Request, Role};
use super::super::resp::{self, Value};
use super::{is_refused, seen};
use crate::linear::Seen;

const COUNTERS: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Step,
    Read,
    Exec,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Reading,
    Writing,
}

/// See the module's text.
pub struct Watcher {
    tag: u32,
    asked: BTreeMap<u32, Asked>,
    phase: Phase,
    counter: usize,
    read: Option<i64>,
}

impl Watcher {
    pub fn new(_: usize) -> Self {
        let asked = BTreeMap::new();
        Self { tag: 0, asked, phase: Phase::Idle, counter: 0, read: None }
    }

    fn ask(&mut self, words: &str, asked: Asked) -> Request {
        self.tag += 1;
        self.asked.insert(self.tag, asked);
        Request::of(self.tag, words)
    }

    /// What is watched at first, if anything, and given up at once.
    fn start(&mut self, desk: &mut Desk<'_>) -> Vec<Request> {
        self.counter = desk.rng.below(COUNTERS);
        let mut requests = Vec::new();
        match desk.rng.below(4) {
            0 => requests.push(self.ask("UNWATCH", Asked::Step)),
            1 => {
                requests.push(self.ask("WATCH w:0 w:1 w:2", Asked::Step));
                requests.push(self.ask("UNWATCH", Asked::Step));
            }
            2 => {
                requests.push(self.ask("WATCH w:1 w:2", Asked::Step));
                requests.push(self.ask("MULTI", Asked::Step));
                requests.push(self.ask("DISCARD", Asked::Step));
            }
            _ => {}
        }
        let both = if desk.rng.chance(30) { " w:other" } else { "" };
        requests.push(self.ask(&format!("WATCH w:{}{both}", self.counter), Asked::Step));
        requests.push(self.ask(&format!("GET w:{}", self.counter), Asked::Read));
        self.phase = Phase::Reading;
        requests
    }
}

impl Role for Watcher {
    fn name(&self) -> &'static str {
        "watcher"
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> Vec<Request> {
        match (self.phase, self.read) {
            (Phase::Idle, _) => self.start(desk),
            (Phase::Reading, Some(read)) => {
                self.phase = Phase::Writing;
                let set = format!("SET w:{} {}", self.counter, read + 1);
                vec![
                    self.ask("MULTI", Asked::Step),
                    self.ask(&set, Asked::Step),
                    self.ask("EXEC", Asked::Exec),
                ]
            }
            _ => Vec::new(),
        }
    }

    fn answered(&mut self, desk: &mut Desk<'_>, tag: u32, value: &Value) -> Result<(), String> {
        let Some(asked) = self.asked.remove(&tag) else { return Err(format!("tag {tag}")) };
        match (asked, seen(value)) {
            (Asked::Step, _) => {}
            (Asked::Read, Seen::Nil) => self.read = Some(0),
            (Asked::Read, Seen::Bytes(text)) => {
                self.read = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
            }
            (Asked::Read, _) => return Err(format!("GET: {}", resp::render(value))),
            (Asked::Exec, seen) => {
                let wrote = self.read.take().unwrap_or(0) + 1;
                self.phase = Phase::Idle;
                match (value, seen) {
                    (_, Seen::Nil) => {} // somebody was faster
                    (value, _) if is_refused(value) => {}
                    (Value::Array(items), _) if items == &[Value::ok()] => {
                        desk.checks.counted(self.counter, wrote)?;
                    }
                    _ => return Err(format!("EXEC: {}", resp::render(value))),
                }
            }
        }
        Ok(())
    }

    fn lost(&mut self, _: &mut Desk<'_>, tag: u32) {
        self.asked.remove(&tag);
    }

    fn departed(&mut self) {
        (self.phase, self.read) = (Phase::Idle, None);
    }
}
