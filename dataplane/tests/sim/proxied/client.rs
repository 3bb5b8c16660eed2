//! A simulated client of the proxy: it sends pipelines of requests, good and bad ones, and reads
//! what comes back, or does worse.
//!
//! Owns its connection and the order of its requests. What an answer may be is judged by `book`.

mod asking;
mod hearing;

use std::collections::VecDeque;

use dataplane::runtime::sim::{Net, Read};
use shards::time::Nanos;

use super::super::node::HTTP;
use super::super::trace::{Trace, shown};
use super::answer::Dice;
use super::book::{Book, DOWN, Fate, content};
use super::plan::{Event, REQUEST_MS, TIMED};
use super::reader::Reader;
use super::server::tunnelled;

/// The places of a request in all that a connection sends.
#[derive(Clone, Copy, Debug)]
struct Place {
    n: usize,
    begin: usize,
    head: usize,
    end: usize,
}

/// See the module's text.
pub struct Client {
    pub number: usize,
    pub link: Option<usize>,
    out: Vec<u8>,
    written: usize,
    places: Vec<Place>,
    /// Requests without an answer.
    pub waiting: VecDeque<usize>,
    reader: Reader,
    depth: usize,
    appetite: usize,
    /// Up to where it writes before it has heard a 100.
    hold: Option<usize>,
    pub reads_not: bool,
    pub writes_not: bool,
    finished: Option<Nanos>,
    /// When it last took something, and the longest that it has taken nothing.
    took: Nanos,
    gap: Nanos,
    /// Whether nothing behind what it has sent will be looked at, and whether it was told so.
    last: bool,
    told: bool,
    /// Whether an answer came before its request was whole.
    early: bool,
    tunnel: Option<usize>,
    /// The request at hand, and since when all of it is at the node.
    at_node: Option<(usize, Nanos)>,
    pub asks: bool,
}

impl Client {
    pub fn new(number: usize, dice: &mut Dice<'_>) -> Self {
        let depths: &[usize] = if dice.plan.has(Event::Pipeline) { &[1, 3, 8] } else { &[1] };
        Self {
            number,
            link: None,
            out: Vec::new(),
            written: 0,
            places: Vec::new(),
            waiting: VecDeque::new(),
            reader: Reader::default(),
            depth: *dice.rng.pick(depths),
            appetite: *dice.rng.pick(&[5, 50, 90]),
            hold: None,
            reads_not: false,
            writes_not: false,
            finished: None,
            took: Nanos(0),
            gap: Nanos(0),
            last: false,
            told: false,
            early: false,
            tunnel: None,
            at_node: None,
            asks: true,
        }
    }

    /// Whether it waits for an answer, or for a tunnel's end.
    pub fn waits(&self) -> bool {
        self.link.is_some() && (!self.waiting.is_empty() || self.tunnel.is_some())
    }

    /// The request that it waits for.
    pub fn at_hand(&self) -> Option<usize> {
        self.waiting.front().copied().or(self.tunnel)
    }

    /// Whether it is by its own will that nothing goes on.
    pub fn dallies(&self) -> bool {
        self.link.is_some()
            && (self.reads_not
                || self.writes_not
                || self.hold.is_some_and(|at| at < self.out.len()))
    }

    /// By when the request at hand must have ended, by a time-out of its own if by nothing else.
    pub fn due(&self, book: &Book) -> Option<Nanos> {
        let entry = &book.entries[*self.waiting.front()?];
        let (_, since) = self.at_node?;
        let timed = entry.asked.route == TIMED && !self.reads_not && !entry.asked.bad;
        let ms = REQUEST_MS + 5;
        timed.then(|| since.after(Nanos(ms * Nanos::MILLISECOND.0)))
    }

    /// Whether it has ended amid the request at hand: what comes of that takes a second.
    pub fn has_broken_off(&self, book: &Book) -> bool {
        let unsent = |n: &usize| book.entries[*n].all_at.is_none();
        self.finished.is_some() && self.waiting.front().is_some_and(unsent)
    }

    /// Nothing is on any wire.
    pub fn rest(&mut self, book: &Book, now: Nanos) {
        let first = self.waiting.front().filter(|n| book.entries[**n].all_at.is_some()).copied();
        if self.at_node.map(|(n, _)| n) != first {
            self.at_node = first.map(|n| (n, now));
        }
    }

    /// Whether it waits for an answer, not for the end of a tunnel.
    pub fn waits_for_answer(&self) -> bool {
        self.link.is_some() && !self.reads_not && !self.waiting.is_empty()
    }

    /// It does so no longer.
    pub fn go_on(&mut self) {
        (self.reads_not, self.writes_not, self.hold) = (false, false, None);
    }

    pub fn can_act(&self, net: &Net, asks: bool) -> bool {
        let Some(link) = self.link else { return asks && self.asks };
        let reads = !self.reads_not && net.has_news(link);
        reads || self.can_write(net, link) || asks && self.may_ask() || self.may_end()
    }

    /// Whether it has nothing more to say in a tunnel.
    fn may_end(&self) -> bool {
        self.tunnel.is_some() && self.finished.is_none() && self.written == self.out.len()
    }

    fn can_write(&self, net: &Net, link: usize) -> bool {
        let open = self.finished.is_none() && !self.writes_not;
        open && self.written < self.limit() && net.room(link) > 0
    }

    fn limit(&self) -> usize {
        self.hold.unwrap_or(self.out.len()).min(self.out.len())
    }

    fn may_ask(&self) -> bool {
        let able = self.asks && !self.last && self.tunnel.is_none() && self.finished.is_none();
        able && self.waiting.len() < self.depth
    }

    pub fn connect(&mut self, net: &mut Net) {
        let (number, depth, appetite, asks) = (self.number, self.depth, self.appetite, self.asks);
        *self = Self {
            number,
            depth,
            appetite,
            asks,
            link: net.connect_to(HTTP),
            took: net.now().mono,
            gap: Nanos(0),
            out: Vec::new(),
            written: 0,
            places: Vec::new(),
            waiting: VecDeque::new(),
            reader: Reader::default(),
            hold: None,
            reads_not: false,
            writes_not: false,
            finished: None,
            last: false,
            told: false,
            early: false,
            tunnel: None,
            at_node: None,
        };
    }

    /// Does one thing of those that it can; whether it has asked.
    pub fn act(
        &mut self,
        net: &mut Net,
        book: &mut Book,
        dice: &mut Dice<'_>,
        trace: &mut Trace,
        asks: bool,
    ) -> Result<bool, String> {
        let Some(link) = self.link else {
            self.connect(net);
            trace.tell(format_args!("client {} connects: {:?}", self.number, self.link));
            return Ok(false);
        };
        self.misbehave(net, book, dice, trace);
        if self.link.is_none() {
            return Ok(false);
        }
        let (reads, writes) = (!self.reads_not && net.has_news(link), self.can_write(net, link));
        let may_ask = asks && self.may_ask();
        if reads && (dice.rng.chance(self.appetite) || !writes && !may_ask) {
            self.read(net, book, dice, trace)?;
        } else if may_ask && (!writes || dice.rng.chance(50)) {
            self.ask(book, dice, trace);
            return Ok(true);
        } else if self.may_end() {
            net.finish(link);
            self.finished = Some(net.now().mono);
        } else if writes {
            self.write(net, book, dice, trace);
        }
        Ok(false)
    }

    fn misbehave(
        &mut self,
        net: &mut Net,
        book: &mut Book,
        dice: &mut Dice<'_>,
        trace: &mut Trace,
    ) {
        let Some(link) = self.link else { return };
        if !self.waits() {
            return;
        }
        if !self.reads_not && dice.falls(Event::SlowReader, 2) {
            self.reads_not = true;
            book.note(Event::SlowReader);
        }
        if !self.writes_not && self.written < self.out.len() && dice.falls(Event::SlowSender, 3) {
            self.writes_not = true;
            book.note(Event::SlowSender);
        }
        if self.finished.is_none() && dice.falls(Event::HalfClose, 2) {
            net.finish(link);
            self.finished = Some(net.now().mono);
            (self.hold, self.writes_not) = (None, false);
            book.note(Event::HalfClose);
            trace.tell(format_args!("client {} half-closes", self.number));
        }
        if dice.falls(Event::ClientReset, 2) {
            book.note(Event::ClientReset);
            trace.tell(format_args!("client {} resets", self.number));
            let lose = dice.rng.chance(50);
            net.reset(link, lose);
            self.leave(net, book);
        }
    }

    fn write(&mut self, net: &mut Net, book: &mut Book, dice: &mut Dice<'_>, trace: &mut Trace) {
        let Some(link) = self.link else { return };
        let left = self.limit() - self.written;
        let most = if dice.rng.chance(60) { left } else { dice.rng.between(1, left) };
        let n = net.write(link, &self.out[self.written..self.written + most]);
        self.written += n;
        let now = net.now().mono;
        for place in self.places.iter().rev() {
            let entry = &mut book.entries[place.n];
            let reached = |at: usize| (self.written >= at).then_some(now);
            entry.first_at = entry.first_at.or(reached(place.begin + 1));
            entry.head_at = entry.head_at.or(reached(place.head));
            entry.all_at = entry.all_at.or(reached(place.end));
        }
        trace.mix(&[n as u64]);
        trace.tell(format_args!("client {} writes {n} of {left}", self.number));
    }

    fn read(
        &mut self,
        net: &mut Net,
        book: &mut Book,
        dice: &mut Dice<'_>,
        trace: &mut Trace,
    ) -> Result<(), String> {
        let Some(link) = self.link else { return Ok(()) };
        let most = if dice.rng.chance(70) { usize::MAX } else { dice.rng.between(1, 4_000) };
        self.gap = self.gap.max(net.now().mono.since(self.took));
        let (state, came) = self.reader.read(net, link, most, trace);
        let now = net.now().mono;
        trace.tell(format_args!("client {} reads {} ({state:?})", self.number, shown(came)));
        while self.tunnel.is_none() && self.hear(book, now)? {}
        if let Some(n) = self.tunnel {
            let down = content(n, DOWN, tunnelled(n));
            if !down.starts_with(self.reader.inbox()) {
                return Err(format!("tunnel {n}: other bytes at the client"));
            }
            if state == Read::Ended
                && self.reader.inbox().len() < down.len()
                && !self.waited(now, 60)
            {
                return Err(format!("tunnel {n}: cut, and taken for whole"));
            }
        }
        if state == Read::Open {
            self.took = now;
            return Ok(());
        }
        if state == Read::Ended {
            self.reader.end();
        }
        self.ended(net, book, state)
    }

    /// Whether so many seconds have passed since it last took or ended something.
    fn waited(&self, now: Nanos, seconds: u64) -> bool {
        self.gap.max(now.since(self.took)) >= Nanos(seconds * Nanos::SECOND.0)
    }

    /// Lets go of the connection.
    pub fn leave(&mut self, net: &mut Net, book: &mut Book) {
        let Some(link) = self.link.take() else { return };
        net.finish(link);
        let now = net.now().mono;
        for n in std::mem::take(&mut self.waiting) {
            book.ended(n, Fate::Lost, now);
        }
        self.tunnel = None;
    }

    /// Says that no more comes.
    pub fn finish(&mut self, net: &mut Net) {
        if let Some(link) = self.link
            && self.finished.is_none()
        {
            net.finish(link);
            self.finished = Some(net.now().mono);
        }
    }
}
