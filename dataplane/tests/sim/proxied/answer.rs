//! How a simulated server answers a request: bytes, where it stops, and what it does there.

use dataplane::runtime::sim::Rng;

use super::book::{ANSWERED, Asked, content};
use super::plan::{Event, Plan};

/// What a server does amid an answer, or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Close,
    Reset,
    Stall,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Answer {
    pub bytes: Vec<u8>,
    pub status: u16,
    pub content: Vec<u8>,
    /// Whether the proxy has to take it for an answer.
    pub sound: bool,
    /// Bytes that are no part of it follow, behind so many that are.
    pub excess: bool,
    pub len: usize,
    /// After how many bytes something happens.
    pub stop: Option<(usize, Deed)>,
    /// Whether the connection ends after it, in order.
    pub closes: bool,
    pub interim: usize,
    /// Whether another protocol follows.
    pub switches: bool,
}

/// Draws what is part of a run; nothing once all is to be well.
pub struct Dice<'a> {
    pub rng: &'a mut Rng,
    pub plan: &'a Plan,
    pub healed: bool,
}

impl Dice<'_> {
    /// Whether an event happens here, in so many of a hundred cases.
    pub fn falls(&mut self, event: Event, percent: usize) -> bool {
        !self.healed && self.plan.has(event) && self.rng.chance(percent)
    }
}

/// Bytes of a content: mostly few.
pub fn length(dice: &mut Dice<'_>) -> usize {
    if dice.falls(Event::LongContent, 8) {
        return *dice.rng.pick(&[9_000, 40_000, 70_000, 300_000, 600_000]);
    }
    *dice.rng.pick(&[0, 1, 10, 100, 900, 3_000])
}

/// A content in chunks of any size, with extensions and trailers now and then.
pub fn chunked(content: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = content;
    while !rest.is_empty() {
        let n = rng.between(1, rest.len().min(20_000));
        let extension = if rng.chance(5) { ";a=b" } else { "" };
        out.extend(format!("{n:x}{extension}\r\n").bytes());
        out.extend(&rest[..n]);
        out.extend(b"\r\n");
        rest = &rest[n..];
    }
    out.extend(if rng.chance(20) { &b"0\r\nX-Last: 1\r\n\r\n"[..] } else { b"0\r\n\r\n" });
    out
}

const GARBAGE: [&str; 5] = [
    "SSH-2.0-dropbear\r\n\r\n",
    "HTTP/1.1 2x0 OK\r\n\r\n",
    "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
];

/// The answer to a request, by its number and attempt.
pub fn answer(dice: &mut Dice<'_>, n: usize, attempt: usize, asked: &Asked) -> Answer {
    if dice.falls(Event::Garbage, 4) {
        let bytes = dice.rng.pick(&GARBAGE).as_bytes().to_vec();
        return Answer { sound: false, ..plain(bytes, 0, Vec::new()) };
    }
    let named = format!("X-Answer: {n}.{attempt}\r\n");
    let mut interim = Vec::new();
    let mut interims = 0;
    if asked.expects {
        interim.extend(b"HTTP/1.1 100 Continue\r\n\r\n");
        interims += 1;
    }
    while interims < 3 && dice.falls(Event::Interim, 15) {
        interim.extend(format!("HTTP/1.1 103 Early Hints\r\n{named}\r\n").bytes());
        interims += 1;
    }
    let switches = asked.upgrade && !dice.rng.chance(20);
    let mut answer = if switches {
        let head =
            format!("HTTP/1.1 101 Switching\r\n{named}Connection: Upgrade\r\nUpgrade: sim\r\n\r\n");
        Answer { switches, ..plain(head.into_bytes(), 101, Vec::new()) }
    } else {
        with_content(dice, n, attempt, asked, &named)
    };
    if let Some((at, _)) = &mut answer.stop {
        *at += interim.len();
    }
    answer.bytes.splice(..0, interim);
    answer.interim = interims;
    answer.len = answer.bytes.len();
    if answer.sound && !switches {
        stops(dice, &mut answer);
    }
    answer
}

fn plain(bytes: Vec<u8>, status: u16, content: Vec<u8>) -> Answer {
    Answer {
        bytes,
        status,
        content,
        sound: true,
        excess: false,
        len: 0,
        stop: None,
        closes: false,
        interim: 0,
        switches: false,
    }
}

fn with_content(
    dice: &mut Dice<'_>,
    n: usize,
    attempt: usize,
    asked: &Asked,
    named: &str,
) -> Answer {
    let mut status = *dice.rng.pick(&[200, 200, 200, 200, 201, 204, 302, 304, 404, 500]);
    if dice.falls(Event::Gateway, 8) {
        status = *dice.rng.pick(&[502, 503, 504]);
    }
    let bare = matches!(status, 204 | 304);
    let len = if bare { 0 } else { length(dice) };
    let body = content(n, ANSWERED + attempt as u64, len);
    let mut head = format!("HTTP/1.1 {status} As asked\r\n{named}").into_bytes();
    let closes = dice.falls(Event::Closes, 10);
    if closes {
        head.extend(b"Connection: close\r\n");
    }
    let (head_only, shape) = (asked.method == "HEAD", dice.rng.below(2));
    let mut out = head;
    let until_close = !bare && !head_only && dice.falls(Event::UntilClose, 15);
    let mut framed = Vec::new();
    match shape {
        _ if bare => {}
        _ if until_close => framed.clone_from(&body),
        0 => {
            out.extend(format!("Content-Length: {len}\r\n").bytes());
            framed.clone_from(&body);
        }
        _ => {
            out.extend(b"Transfer-Encoding: chunked\r\n");
            framed = chunked(&body, dice.rng);
        }
    }
    out.extend(b"\r\n");
    if !head_only {
        out.extend(framed);
    }
    if !bare && !head_only && shape == 1 && !until_close && dice.falls(Event::Garbage, 5) {
        // No chunk in a place where one has to be.
        let last = out.len() - out.iter().rev().take_while(|b| b"0\r\n".contains(b)).count();
        out.truncate(last.max(out.len() - 5));
        out.extend(b"\r\nno chunk\r\n");
        return Answer { sound: false, ..plain(out, status, body) };
    }
    let mut answer = plain(out, status, body);
    if until_close {
        answer.stop = Some((answer.bytes.len(), Deed::Close));
    }
    answer.closes = closes;
    answer
}

/// Where something happens to an answer.
fn stops(dice: &mut Dice<'_>, answer: &mut Answer) {
    let len = answer.bytes.len();
    let at = if dice.rng.chance(40) { 0 } else { dice.rng.below(len) };
    let ends_with_it = answer.stop.is_some();
    if dice.falls(Event::Resets, 8) {
        answer.stop = Some((at, Deed::Reset));
    } else if dice.falls(Event::Closes, 8) && !ends_with_it {
        answer.stop = Some((at, Deed::Close));
    } else if dice.falls(Event::Stalls, 8) && !ends_with_it {
        answer.stop = Some((at, Deed::Stall));
    } else if dice.falls(Event::Excess, 5) && !ends_with_it && !answer.closes {
        (answer.excess, answer.len) = (true, len);
        answer.bytes.extend(b"and more");
    }
}
