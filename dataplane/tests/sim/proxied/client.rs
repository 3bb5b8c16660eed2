//! A simulated client of the proxy: it sends pipelines of requests, good and bad ones, and reads
//! what comes back, or does worse.
//!
//! Owns its connection and the order of its requests. What an answer may be is judged by `book`.

use std::collections::VecDeque;

use dataplane::runtime::sim::{Net, Read};
use shards::time::Nanos;

use super::super::node::HTTP;
use super::super::trace::{Trace, shown};
use super::answer::{Dice, chunked, length};
use super::book::{Asked, Book, DOWN, Fate, UP, content};
use super::plan::{Event, KEYS, ROUTES};
use super::reader::{Framing, Kind, Message, Reader};
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
    /// When it last took something, and when its connection last did anything.
    took: Nanos,
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

/// No requests, each for a reason of RFC 9112 (sections 2.2, 3.2, 5.1, 5.2, 6.1, 6.3, 7.1).
const BAD: [&str; 10] = [
    "GET $ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET $ HTTP/1.1\r\n\r\n",
    "GET $ HTTP/1.1\nHost: a\n\n",
    "GET $ HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
    "GET $ HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
    "POST $ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST $ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "POST $ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "GET  $ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET $ HTTP/3.1\r\nHost: a\r\n\r\n",
];

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
            && (self.reads_not || self.writes_not || self.hold.is_some_and(|at| at < self.out.len()))
    }

    /// By when the request at hand must have ended, by a time-out of its own if by nothing else.
    pub fn due(&self, book: &Book) -> Option<Nanos> {
        let entry = &book.entries[*self.waiting.front()?];
        let (_, since) = self.at_node?;
        let timed = entry.asked.route == super::plan::TIMED && !self.reads_not && !entry.asked.bad;
        let ms = super::plan::REQUEST_MS + 5;
        timed.then(|| since.after(Nanos(ms * Nanos::MILLISECOND.0)))
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
        self.link.is_some() && !self.waiting.is_empty()
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

    /// One request more.
    fn ask(&mut self, book: &mut Book, dice: &mut Dice<'_>, trace: &mut Trace) {
        let route = dice.rng.below(ROUTES.len());
        let method = *dice.rng.pick(&["GET", "GET", "HEAD", "PUT", "POST", "POST", "DELETE", "PATCH"]);
        let has_content = matches!(method, "PUT" | "POST" | "PATCH");
        let mut asked = Asked {
            client: self.number,
            method,
            route,
            key: dice.rng.below(KEYS),
            len: if has_content { length(dice) } else { 0 },
            bad: dice.falls(Event::BadHead, 4),
            dead: self.last,
            old: dice.falls(Event::Old, 8),
            upgrade: false,
            expects: false,
            closes: dice.rng.chance(3),
        };
        asked.upgrade =
            method == "GET" && !asked.old && !asked.closes && dice.falls(Event::Upgrade, 12);
        asked.expects = asked.len > 0 && !asked.old && dice.falls(Event::Expect, 20);
        let begin = self.out.len();
        let n = book.add(asked.clone());
        let head = self.write_down(book, dice, n, &asked);
        if asked.expects {
            self.hold.get_or_insert(head);
            book.note(Event::Expect);
        }
        for (event, is) in [
            (Event::BadHead, asked.bad),
            (Event::Old, asked.old),
            (Event::LongContent, asked.len > 8_192),
            (Event::Pipeline, !self.waiting.is_empty()),
        ] {
            if is {
                book.note(event);
            }
        }
        trace.tell(format_args!("client {} asks {n}: {asked:?}", self.number));
        self.places.push(Place { n, begin, head, end: self.out.len() });
        self.waiting.push_back(n);
        // What follows these is pipelined for nothing, now and then.
        let last = asked.bad || asked.closes || asked.old;
        self.last |= asked.upgrade || asked.expects || last;
        if last && !asked.upgrade && dice.falls(Event::Pipeline, 40) {
            let dead = Asked { dead: true, bad: false, method: "GET", len: 0, ..asked };
            let n = book.add(Asked { upgrade: false, expects: false, ..dead.clone() });
            let begin = self.out.len();
            let head = self.write_down(book, dice, n, &dead);
            self.places.push(Place { n, begin, head, end: self.out.len() });
            self.waiting.push_back(n);
        }
    }

    /// Writes a request; where its head ends.
    fn write_down(
        &mut self,
        book: &Book,
        dice: &mut Dice<'_>,
        n: usize,
        asked: &Asked,
    ) -> usize {
        let path = format!("/{}/{n}", ROUTES[asked.route]);
        if asked.bad {
            self.out.extend(dice.rng.pick(&BAD).replace('$', &path).bytes());
            return self.out.len();
        }
        let version = if asked.old { "1.0" } else { "1.1" };
        let mut head = format!(
            "{} {path} HTTP/{version}\r\nHost: x.test\r\nX-Key: k{}\r\n",
            asked.method, asked.key
        );
        for (line, is) in [
            ("Connection: close\r\n", asked.closes),
            ("Connection: Upgrade\r\nUpgrade: sim\r\n", asked.upgrade),
            ("Expect: 100-continue\r\n", asked.expects),
        ] {
            head.push_str(if is { line } else { "" });
        }
        let body = book.content_of(n);
        let framed = if asked.len == 0 {
            Vec::new()
        } else if !asked.old && dice.rng.chance(40) {
            head.push_str("Transfer-Encoding: chunked\r\n");
            chunked(&body, dice.rng)
        } else {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
            body
        };
        head.push_str("\r\n");
        self.out.extend(head.bytes());
        let end = self.out.len();
        self.out.extend(framed);
        end
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
        let before = self.reader.inbox().len();
        let state = net.read(link, most, self.reader.inbox());
        let now = net.now().mono;
        let came = &self.reader.inbox()[before..];
        trace.mix_bytes(came);
        trace.tell(format_args!("client {} reads {} ({state:?})", self.number, shown(came)));
        while self.tunnel.is_none() && self.hear(book, now)? {}
        if let Some(n) = self.tunnel {
            let down = content(n, DOWN, tunnelled(n));
            if !down.starts_with(self.reader.inbox()) {
                return Err(format!("tunnel {n}: other bytes at the client"));
            }
            if state == Read::Ended && self.reader.inbox().len() < down.len() && !self.waited(now, 60)
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
        now.since(self.took) >= Nanos(seconds * Nanos::SECOND.0)
    }

    /// The next answer, if it is whole.
    fn hear(&mut self, book: &mut Book, now: Nanos) -> Result<bool, String> {
        let Some(n) = self.waiting.front().copied() else {
            if book.drains {
                self.reader.inbox().clear(); // told at the door, unasked
            }
            return if self.reader.is_empty() { Ok(false) } else { Err("an answer to nothing".into()) };
        };
        let asked = &book.entries[n].asked;
        let kind = Kind::Answer { to_head: asked.method == "HEAD" && !asked.bad };
        if !self.reader.advance(kind)? {
            return Ok(false);
        }
        if self.told {
            return Err(format!("an answer to {n} after the last one"));
        }
        let message = self.reader.take(kind)?;
        let status = message.status();
        if let 100..=199 = status {
            book.interims.1 += 1;
            if book.entries[n].asked.old {
                return Err(format!("{status} to HTTP/1.0"));
            }
            if status == 100 {
                self.hold = None;
            }
            if status == 101 {
                self.waiting.pop_front();
                self.check(book, n, &message)?;
                book.ended(n, Fate::Answered(101), now);
                self.tunnel = Some(n);
                self.out.extend(content(n, UP, tunnelled(n)));
            }
            return Ok(true);
        }
        self.answered(book, now, n, &message)?;
        Ok(true)
    }

    /// A whole answer.
    fn answered(
        &mut self,
        book: &mut Book,
        now: Nanos,
        n: usize,
        message: &Message,
    ) -> Result<(), String> {
        self.waiting.pop_front();
        if message.field("X-Answer").is_some() {
            self.check(book, n, message)?;
            book.ended(n, Fate::Answered(message.status()), now);
        } else {
            self.own(book, now, n, message)?;
            book.ended(n, Fate::Own(message.status()), now);
        }
        let entry = &book.entries[n];
        // A content that nobody has waited for need not be read.
        let whole = entry.attempts.last().is_some_and(|last| last.asked_whole);
        self.early |= entry.asked.len > 0 && !whole;
        let unread = entry.all_at.is_none() || entry.asked.len > 0;
        let until_close = message.framing == Framing::UntilClose;
        if message.closes() || until_close {
            let asked = &entry.asked;
            let why = asked.bad || asked.closes || asked.old || unread || self.finished.is_some();
            let why = why || message.status() == 408;
            if !why && !until_close && !book.drains {
                return Err(format!("answer to {n} closes without a reason"));
            }
            self.told = true;
        }
        self.hold = None;
        self.last &= !entry.asked.expects && !entry.asked.upgrade || self.told;
        self.last |= entry.asked.old || entry.asked.closes;
        Ok(())
    }

    fn check(&self, book: &Book, n: usize, message: &Message) -> Result<(), String> {
        let named = message.field("X-Answer").unwrap_or("none");
        book.answer_holds(n, named, message.status(), &message.content, message.whole)
    }

    fn own(&self, book: &mut Book, now: Nanos, n: usize, message: &Message) -> Result<(), String> {
        let text = String::from_utf8_lossy(&message.content).into_owned();
        let cause = text.split("urn:corelane:").nth(1).and_then(|rest| rest.split('"').next());
        let asked = &book.entries[n].asked;
        let cause = match cause {
            Some(cause) => cause.to_owned(),
            None if asked.method == "HEAD" => {
                *book.causes.entry("head".into()).or_default() += 1;
                return Ok(()); // its status is among the counts
            }
            None => return Err(format!("whose answer is this to {n}? {message:?}")),
        };
        if asked.bad {
            let told = (400..=505).contains(&message.status()) && message.closes();
            *book.causes.entry(cause.clone()).or_default() += 1;
            return if told { Ok(()) } else { Err(format!("{n} is bad: {message:?}")) };
        }
        book.own_answer(n, &cause, now)
    }

    /// The connection has ended, in order or not.
    fn ended(&mut self, net: &mut Net, book: &mut Book, state: Read) -> Result<(), String> {
        let now = net.now().mono;
        if state == Read::Ended && self.tunnel.is_none() {
            while self.hear_end(book, now)? {}
        }
        let partial = self.reader.message.take();
        if let (Some(message), Some(n)) = (&partial, self.waiting.front().copied()) {
            let own = message.field("X-Answer").is_none();
            if message.status() >= 200 {
                if !own {
                    self.check(book, n, message)?;
                }
                self.waiting.pop_front();
                book.ended(n, Fate::Cut(message.status()), now);
                self.may_be_cut(book, n, now, own)?;
                self.told = true;
            }
        }
        if let Some(n) = self.waiting.front().copied()
            && !self.may_be_lost(book, n, now, state)
        {
            let entry = &book.entries[n];
            return Err(format!(
                "closed without an answer to {n} ({state:?}): {:?}, {:?}",
                entry.asked,
                entry.attempts.iter().map(super::book::brief).collect::<Vec<_>>()
            ));
        }
        self.leave(net, book);
        Ok(())
    }

    /// A content that ends with its connection.
    fn hear_end(&mut self, book: &mut Book, now: Nanos) -> Result<bool, String> {
        let whole = self.reader.message.as_ref().is_some_and(|m| m.whole);
        whole.then(|| self.hear(book, now)).unwrap_or(Ok(false))
    }

    /// Whether an answer may have been broken off.
    fn may_be_cut(&self, book: &Book, n: usize, now: Nanos, own: bool) -> Result<(), String> {
        use super::book::End;
        let entry = &book.entries[n];
        let last = entry.attempts.last();
        let server = last.is_some_and(|last| {
            !last.sound || last.end == End::Reset || last.end == End::Closed && !last.said_all
        });
        let timed = entry.asked.route == super::plan::TIMED
            && entry.head_at.is_some_and(|at| now.since(at).0 >= 148 * Nanos::MILLISECOND.0);
        // A part that was not sent is cut off with the rest of its connection.
        let unsent = entry.all_at.is_none() || entry.asked.len > 0;
        if server && !own || timed || self.waited(now, 5) || unsent || self.finished.is_some() {
            return Ok(());
        }
        Err(format!("the answer to {n} broke off: {:?}", last.map(super::book::brief)))
    }

    /// Whether nothing at all may have been answered.
    fn may_be_lost(&self, book: &Book, n: usize, now: Nanos, state: Read) -> bool {
        let entry = &book.entries[n];
        let asked = &entry.asked;
        let unsent = entry.head_at.is_none() || asked.len > 0 && entry.all_at.is_none();
        let ended = self.finished.is_some_and(|at| now.since(at) >= Nanos::SECOND);
        // What ends with its connection is told to be cut by a reset, which takes it along.
        let torn = state == Read::Reset && (asked.old || asked.bad || asked.closes || asked.len > 0);
        // What had come of an answer goes with it when its time is over.
        let timed = asked.route == super::plan::TIMED
            && entry.head_at.is_some_and(|at| now.since(at).0 >= 148 * Nanos::MILLISECOND.0);
        self.told
            || timed
            || self.early
            || asked.dead
            || ended
            || torn
            || self.finished.is_some() && unsent
            || self.waited(now, 5)
            || book.drains
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
