//! What was asked, who got it, what was answered: one entry for each request of a run.
//!
//! Owns what must not be seen. Contents are drawn from the number of their request, so that no
//! byte of one can be taken for another's.

use std::collections::BTreeMap;

use dataplane::runtime::sim::Rng;
use shards::time::Nanos;

use super::plan::{BACKEND_MS, Event, KEYED, Map, NOWHERE, REQUEST_MS, TIMED, TWICE};

/// Parts of an exchange that have contents of their own.
pub const ASKED: u64 = 1;
pub const UP: u64 = 2;
pub const DOWN: u64 = 3;
/// Answers, by their attempt.
pub const ANSWERED: u64 = 10;

/// Time-outs of the proxy (ARCHITECTURE, Limits).
const CONNECT: Nanos = Nanos(5 * Nanos::SECOND.0);
const HEAD: Nanos = Nanos(10 * Nanos::SECOND.0);
const ANSWER: Nanos = Nanos(60 * Nanos::SECOND.0);
/// Timers fire at the tick of their wheel, which may be a little before.
const TICK: Nanos = Nanos(2 * Nanos::MILLISECOND.0);

/// Bytes that no other part of no other request has.
pub fn content(number: usize, part: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(((number as u64) << 16 | part).wrapping_mul(0x2545_f491_4f6c_dd1d));
    let words = (0..len.div_ceil(8)).flat_map(|_| rng.draw().to_le_bytes());
    words.take(len).collect()
}

/// What a request is.
#[derive(Clone, Debug)]
pub struct Asked {
    pub client: usize,
    pub method: &'static str,
    pub route: usize,
    pub key: usize,
    pub len: usize,
    /// No request at all; or behind one that was the last, so that nobody may look at it.
    pub bad: bool,
    pub dead: bool,
    pub old: bool,
    pub upgrade: bool,
    pub expects: bool,
    pub closes: bool,
}

/// How a server's connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Open,
    /// By the server, in order, or by a reset.
    Closed,
    Reset,
    /// By the proxy.
    Left,
}

/// A request at a server.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub server: usize,
    pub link: usize,
    pub at: Nanos,
    /// Whether the request's content has come whole.
    pub asked_whole: bool,
    pub status: u16,
    pub content: Vec<u8>,
    /// Bytes of the answer that are written, and whether that is all.
    pub said: usize,
    pub said_all: bool,
    /// Whether it is one that the proxy must pass on.
    pub sound: bool,
    pub end: End,
    /// Interim answers.
    pub interim: usize,
}

/// What has become of a request, as its client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Open,
    /// A server's answer, or our own.
    Answered(u16),
    Own(u16),
    /// The head of a server's answer, and not all of its content.
    Cut(u16),
    /// Nothing.
    Lost,
}

pub struct Entry {
    pub asked: Asked,
    /// When the first and the last byte of its head, and the last of all, were written.
    pub first_at: Option<Nanos>,
    pub head_at: Option<Nanos>,
    pub all_at: Option<Nanos>,
    pub attempts: Vec<Attempt>,
    pub fate: Fate,
    pub ended_at: Option<Nanos>,
}

/// A configuration, and when a shard may have used it.
pub struct Generation {
    pub map: Map,
    pub from: Nanos,
    pub until: Option<Nanos>,
}

/// See the module's text.
#[derive(Default)]
pub struct Book {
    pub entries: Vec<Entry>,
    pub generations: Vec<Generation>,
    pub happened: BTreeMap<Event, u64>,
    /// Answers of our own by cause, as clients saw them, and all by class of their status.
    pub causes: BTreeMap<String, u64>,
    pub classes: BTreeMap<u16, u64>,
    /// Calls that were refused, and that were not answered, by server.
    pub refused: BTreeMap<usize, u64>,
    pub silent: BTreeMap<usize, u64>,
    /// Connections that servers have ended or broken with something else than a whole answer.
    pub broken: BTreeMap<usize, u64>,
    /// Bytes that were no part of an answer: they may be taken for the next one's.
    pub junk: BTreeMap<usize, u64>,
    pub interims: (u64, u64),
    pub replays: u64,
    pub truncated: u64,
    pub healed: Option<Nanos>,
    /// Whether the node is ending.
    pub drains: bool,
}

impl Book {
    pub fn note(&mut self, event: Event) {
        *self.happened.entry(event).or_default() += 1;
    }

    pub fn add(&mut self, asked: Asked) -> usize {
        self.entries.push(Entry {
            asked,
            first_at: None,
            head_at: None,
            all_at: None,
            attempts: Vec::new(),
            fate: Fate::Open,
            ended_at: None,
        });
        self.entries.len() - 1
    }

    pub fn content_of(&self, n: usize) -> Vec<u8> {
        content(n, ASKED, self.entries[n].asked.len)
    }

    /// Configurations that may have been in use at some time between.
    fn maps(&self, from: Nanos, to: Nanos) -> impl Iterator<Item = &Map> {
        let used = move |g: &&Generation| g.from <= to && g.until.is_none_or(|until| until >= from);
        self.generations.iter().filter(used).map(|g| &g.map)
    }

    /// Servers that a request may have gone to.
    pub fn servers_of(&self, n: usize, now: Nanos) -> Vec<usize> {
        let entry = &self.entries[n];
        let from = entry.first_at.unwrap_or(now);
        let services = |map: &Map| -> Vec<usize> {
            let to = map.routes.get(entry.asked.route).copied().flatten();
            to.map_or(Vec::new(), |service| map.members[service].clone())
        };
        self.maps(from, now).flat_map(services).collect()
    }

    /// A server has a request's head.
    pub fn arrived(
        &mut self,
        n: usize,
        server: usize,
        link: usize,
        at: Nanos,
    ) -> Result<usize, String> {
        let allowed = self.servers_of(n, at);
        let entry = self.entries.get(n).ok_or("a request that nobody has sent")?;
        let asked = &entry.asked;
        if asked.bad || asked.dead {
            return Err(format!("request {n} must not be looked at: {asked:?}"));
        }
        if entry.head_at.is_none() {
            return Err(format!("request {n} is here before its head was sent"));
        }
        if !allowed.contains(&server) {
            return Err(format!("request {n} is none for server {server}: {allowed:?}"));
        }
        if let Some(last) = entry.attempts.last() {
            may_repeat(n, asked, last, entry.attempts.len())?;
            self.replays += 1;
        }
        let attempts = &mut self.entries[n].attempts;
        attempts.push(Attempt {
            server,
            link,
            at,
            asked_whole: false,
            status: 0,
            content: Vec::new(),
            said: 0,
            said_all: false,
            sound: true,
            end: End::Open,
            interim: 0,
        });
        Ok(attempts.len() - 1)
    }

    /// A request has come to its end for its client.
    pub fn ended(&mut self, n: usize, fate: Fate, at: Nanos) {
        let entry = &mut self.entries[n];
        assert_eq!(entry.fate, Fate::Open, "request {n} ends once");
        (entry.fate, entry.ended_at) = (fate, Some(at));
        if let Fate::Answered(status) | Fate::Own(status) | Fate::Cut(status) = fate {
            *self.classes.entry(status / 100).or_default() += 1;
        }
        self.truncated += u64::from(matches!(fate, Fate::Cut(_)));
    }

    /// Whether an answer of our own with this cause could be.
    pub fn own_answer(&mut self, n: usize, cause: &str, now: Nanos) -> Result<(), String> {
        *self.causes.entry(cause.to_owned()).or_default() += 1;
        let entry = &self.entries[n];
        let (asked, since) = (&entry.asked, entry.head_at.or(entry.first_at).unwrap_or(now));
        let took = Nanos(now.since(since).0 + TICK.0);
        let from = entry.first_at.unwrap_or(now);
        let at_servers = |counts: &BTreeMap<usize, u64>| {
            self.servers_of(n, now).iter().any(|server| counts.contains_key(server))
        };
        let answered = entry
            .attempts
            .last()
            .is_some_and(|last| last.said_all && last.sound && last.end != End::Reset);
        let fails = self.healed.is_none_or(|healed| from < healed) && !answered;
        let ms = |ms: u64| Nanos(ms * Nanos::MILLISECOND.0);
        let timed = asked.route == TIMED;
        let possible = match cause {
            "no_path" => self.leads(n, from, now, |_, to| to.is_none()),
            "no_endpoint" => {
                self.leads(n, from, now, |map, to| to.is_some_and(|s| map.members[s].is_empty()))
            }
            "limited" => matches!(asked.route, KEYED | TWICE),
            "connect_failed" => fails && at_servers(&self.refused),
            "connect_timeout" => took >= CONNECT && at_servers(&self.silent),
            "upstream_closed" | "upstream_reset" => fails && at_servers(&self.broken),
            "bad_response" => {
                at_servers(&self.junk) && self.healed.is_none_or(|healed| from < healed)
                    || fails && entry.attempts.last().is_some_and(|last| !last.sound)
            }
            "response_timeout" => took >= if timed { ms(BACKEND_MS) } else { ANSWER },
            "request_timeout" => timed && took >= ms(REQUEST_MS),
            "draining" => self.drains,
            "slow_head" => entry.first_at.is_some_and(|first| now.since(first) >= HEAD),
            "slow_body" => asked.len > 0 && (took >= HEAD || timed && took >= ms(REQUEST_MS)),
            _ => false,
        };
        if possible && !asked.bad && !asked.dead {
            return Ok(());
        }
        Err(format!("request {n} cannot end so: {cause} after {took:?}; {asked:?}, {:?}", {
            entry.attempts.iter().map(brief).collect::<Vec<_>>()
        }))
    }

    fn leads(
        &self,
        n: usize,
        from: Nanos,
        now: Nanos,
        fits: impl Fn(&Map, Option<usize>) -> bool,
    ) -> bool {
        let route = self.entries[n].asked.route;
        let mut maps = self.maps(from, now);
        maps.any(|map| fits(map, map.routes.get(route).copied().flatten()))
            || route == NOWHERE && fits(&Map::first(), None)
    }

    /// A server's answer, as far as it has come, against what was said.
    pub fn answer_holds(
        &self,
        n: usize,
        named: &str,
        status: u16,
        content: &[u8],
        whole: bool,
    ) -> Result<(), String> {
        let Some((number, attempt)) = named.split_once('.') else {
            return Err(format!("X-Answer: {named}"));
        };
        if number.parse() != Ok(n) {
            let client = self.entries[n].asked.client;
            return Err(format!("client {client} got the answer {named} to request {n}"));
        }
        let attempt = attempt.parse().ok().and_then(|a: usize| self.entries[n].attempts.get(a));
        let said = attempt.ok_or_else(|| format!("nobody has said {named}"))?;
        let asked = &self.entries[n].asked;
        if said.status != status {
            return Err(format!("{named} was {}, and is {status}", said.status));
        }
        let expected: &[u8] = if asked.method == "HEAD" { b"" } else { &said.content };
        if !expected.starts_with(content) {
            return Err(format!("{named}: other bytes among {}", content.len()));
        }
        if whole && (content.len() != expected.len() || !said.said_all || !said.sound) {
            return Err(format!(
                "{named} is taken for whole with {} of {} bytes; {}",
                content.len(),
                expected.len(),
                brief(said)
            ));
        }
        Ok(())
    }
}

/// Whether a request may come to a server once more after this.
fn may_repeat(n: usize, asked: &Asked, last: &Attempt, times: usize) -> Result<(), String> {
    let idempotent = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"].contains(&asked.method);
    // RFC 9112 section 9.3.1: only what died before a byte of the answer. What a reset has
    // taken along may have had some.
    let died = last.end == End::Reset || last.end == End::Closed && last.said == 0;
    if idempotent && died && times < 2 {
        return Ok(());
    }
    Err(format!("request {n} came {} times: {asked:?} after {}", times + 1, brief(last)))
}

/// An attempt without its content.
pub fn brief(attempt: &Attempt) -> String {
    let Attempt { server, link, status, said, said_all, sound, end, asked_whole, .. } = attempt;
    format!(
        "server {server} link {link}: {status}, {said} bytes (all: {said_all}, sound: {sound}), \
         {end:?}, asked whole: {asked_whole}"
    )
}
