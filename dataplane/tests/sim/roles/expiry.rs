//! Keys that expire, each of one client: none is seen after its time, and none goes before it,
//! however the wall clock moves.

use super::super::client::{Desk, Request, Role};
use super::super::resp::{self, Value};
use super::{is_refused, seen};
use crate::linear::Seen;

/// The key as it was last set.
#[derive(Clone, Copy)]
struct Set {
    /// When it expires, in microseconds, at the earliest.
    earliest: u64,
    /// And at the latest, known once the reply is there.
    latest: Option<u64>,
    number: u64,
}

#[derive(Clone, Copy)]
enum Asked {
    Set { ms: u64, number: u64 },
    Get,
}

/// See the module's text.
pub struct Expiry {
    client: usize,
    keys: u64,
    number: u64,
    asked: Option<Asked>,
    set: Option<Set>,
    /// Lowest wall clock since the last request.
    lowest: u64,
}

impl Expiry {
    pub fn new(client: usize) -> Self {
        Self { client, keys: 0, number: 0, asked: None, set: None, lowest: 0 }
    }

    fn key(&self) -> String {
        format!("e:{}:{}", self.client, self.keys)
    }
}

impl Role for Expiry {
    fn name(&self) -> &'static str {
        "expiry"
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> Vec<Request> {
        if self.asked.is_some() {
            return Vec::new();
        }
        if self.set.is_some() && desk.rng.chance(80) {
            self.asked = Some(Asked::Get);
            self.lowest = desk.checks.start_of_low(desk.wall_us);
            return vec![Request::of(1, &format!("GET {}", self.key()))];
        }
        self.number += 1;
        let ms = desk.rng.between(1, 40) as u64;
        self.asked = Some(Asked::Set { ms, number: self.number });
        self.lowest = desk.checks.start_of_low(desk.wall_us);
        vec![Request::of(1, &format!("SET {} {} PX {ms}", self.key(), self.number))]
    }

    fn answered(&mut self, desk: &mut Desk<'_>, _: u32, value: &Value) -> Result<(), String> {
        let highest = desk.checks.wall_max.max(desk.wall_us);
        let lowest = desk.checks.lowest_since(self.lowest).min(desk.wall_us);
        match (self.asked.take(), seen(value)) {
            _ if is_refused(value) => {}
            (Some(Asked::Set { ms, number }), Seen::Ok) => {
                let earliest = (lowest / 1_000 + ms) * 1_000;
                let latest = Some((highest / 1_000 + ms) * 1_000);
                self.set = Some(Set { earliest, latest, number });
            }
            (Some(Asked::Get), Seen::Nil) => {
                // The clock was never so far that it could have gone.
                if let Some(set) = self.set.take()
                    && highest < set.earliest
                    && !desk.checks.evicting
                {
                    return Err(format!("gone at {highest}, before its time {}", set.earliest));
                }
            }
            (Some(Asked::Get), Seen::Bytes(text)) => {
                let set = self.set.ok_or("a value that was never set")?;
                if text != set.number.to_string().into_bytes() {
                    return Err(format!("not what was set: {}", resp::render(value)));
                }
                if set.latest.is_some_and(|latest| lowest >= latest) {
                    return Err(format!("there at {lowest}, after its time {:?}", set.latest));
                }
            }
            _ => return Err(format!("what is {}?", resp::render(value))),
        }
        Ok(())
    }

    /// Whether it was set is not known: another key from now on.
    fn lost(&mut self, _: &mut Desk<'_>, _: u32) {
        (self.asked, self.set) = (None, None);
        self.keys += 1;
    }
}
