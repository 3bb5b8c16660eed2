//! A simulated server behind the proxy: it reads requests and answers, or does worse.
//!
//! Owns its connections. What it may find there is judged by `book`.

mod ending;

use dataplane::runtime::sim::{Net, Read};
use shards::time::Nanos;

use super::super::trace::Trace;
use super::answer::{Answer, Deed, Dice, answer};
use super::book::{Book, UP, content};
use super::plan::Event;
use super::reader::{Kind, Message, Reader};

/// Bytes that each side of a tunnel sends.
pub fn tunnelled(n: usize) -> usize {
    n * 37 % 6_000
}

/// What a server does with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    Taken,
    Refused,
    Unanswered,
}

/// One connection of the proxy's.
pub struct Conn {
    pub server: usize,
    pub link: usize,
    reader: Reader,
    /// The request at hand, and which attempt at it this is.
    at: Option<(usize, usize)>,
    /// The one before it.
    before: Option<(usize, usize)>,
    asked_whole: bool,
    /// Whether the answer comes before the request is whole.
    early: bool,
    answer: Option<Answer>,
    written: usize,
    pub stalled: bool,
    pub gone: bool,
    /// Whether it will do something before the next request.
    idle_deed: bool,
    /// Whether it has said its last word: no request may come any more.
    last: bool,
    /// Whether bytes that are no answer came before: what follows them cannot be one.
    spoiled: bool,
    tunnel: Option<usize>,
    finished: bool,
}

/// See the module's text.
pub struct Server {
    pub calls: Calls,
    /// Calls to be answered, and those that are not.
    pub called: Vec<usize>,
    pub ignored: Vec<usize>,
    pub conns: Vec<Conn>,
}

impl Server {
    pub fn new() -> Self {
        Self { calls: Calls::Taken, called: Vec::new(), ignored: Vec::new(), conns: Vec::new() }
    }

    /// Answers the next call.
    pub fn take_call(&mut self, me: usize, net: &mut Net, book: &mut Book) {
        let link = self.called.remove(0);
        match self.calls {
            Calls::Taken => {
                net.answer(link, true);
                self.conns.push(Conn::new(me, link));
            }
            Calls::Refused => {
                net.answer(link, false);
                book.note(Event::Refuses);
                *book.refused.entry(me).or_default() += 1;
            }
            Calls::Unanswered => {
                self.ignored.push(link);
                book.note(Event::Silent);
                *book.silent.entry(me).or_default() += 1;
            }
        }
    }
}

impl Conn {
    fn new(server: usize, link: usize) -> Self {
        Self {
            server,
            link,
            reader: Reader::default(),
            at: None,
            before: None,
            asked_whole: false,
            early: false,
            answer: None,
            written: 0,
            stalled: false,
            gone: false,
            idle_deed: false,
            last: false,
            spoiled: false,
            tunnel: None,
            finished: false,
        }
    }

    /// Whose request it has.
    pub fn request(&self) -> Option<usize> {
        self.at.map(|(n, _)| n).or(self.tunnel)
    }

    pub fn can_act(&self, net: &Net) -> bool {
        if self.gone || self.stalled {
            return false;
        }
        net.has_news(self.link) || self.idle_deed || self.unwritten() && net.room(self.link) > 0
    }

    /// Bytes up to which it writes before something happens.
    fn limit(&self) -> usize {
        self.answer.as_ref().map_or(0, |a| a.stop.map_or(a.bytes.len(), |(at, _)| at))
    }

    fn unwritten(&self) -> bool {
        self.written < self.limit()
    }

    /// Does what it can.
    pub fn act(
        &mut self,
        net: &mut Net,
        book: &mut Book,
        dice: &mut Dice<'_>,
        trace: &mut Trace,
    ) -> Result<(), String> {
        if std::mem::take(&mut self.idle_deed) && self.at.is_none() {
            self.do_idly(net, book, dice);
            return Ok(());
        }
        if net.has_news(self.link) && !(self.unwritten() && dice.rng.chance(40)) {
            self.read(net, book, dice, trace)?;
        }
        while !self.gone {
            self.write(net, book, dice, trace);
            // Behind the rest of a request that was answered early comes the next one.
            if self.gone || self.at.is_some() || self.tunnel.is_some() || self.reader.is_empty() {
                break;
            }
            let now = net.now().mono;
            self.hear(book, dice, now, trace)?;
            if self.at.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn read(
        &mut self,
        net: &mut Net,
        book: &mut Book,
        dice: &mut Dice<'_>,
        trace: &mut Trace,
    ) -> Result<(), String> {
        let most = if dice.rng.chance(70) { usize::MAX } else { dice.rng.between(1, 3_000) };
        let (state, came) = self.reader.read(net, self.link, most, trace);
        let now = net.now().mono;
        trace.tell(format_args!(
            "server {} link {} reads {} ({state:?})",
            self.server,
            self.link,
            came.len()
        ));
        if let Some(n) = self.tunnel {
            let up = content(n, UP, tunnelled(n));
            if !up.starts_with(self.reader.inbox()) {
                return Err(format!("tunnel {n}: other bytes at the server"));
            }
        } else {
            self.hear(book, dice, now, trace)?;
        }
        if state != Read::Open {
            self.proxy_left(net, book, state);
        }
        Ok(())
    }

    /// Goes through what has come.
    fn hear(
        &mut self,
        book: &mut Book,
        dice: &mut Dice<'_>,
        now: Nanos,
        trace: &mut Trace,
    ) -> Result<(), String> {
        let whole = match self.at {
            Some(_) if self.asked_whole => false,
            _ => self.reader.advance(Kind::Request)?,
        };
        if self.asked_whole {
            return if self.reader.is_empty() {
                Ok(())
            } else {
                Err(format!("bytes behind request {:?}", self.at))
            };
        }
        let Some(message) = &self.reader.message else { return Ok(()) };
        let (n, a) = match self.at {
            Some(at) => at,
            None => {
                let n = number_of(message, book)?;
                if self.last {
                    return Err(format!("{n} came over a connection that is over"));
                }
                let a = book.arrived(n, self.server, self.link, now)?;
                if message.line[0] != book.entries[n].asked.method {
                    return Err(format!("{n}: {:?}", message.line));
                }
                trace.tell(format_args!("server {} has {n}.{a}", self.server));
                self.at = Some((n, a));
                (self.asked_whole, self.early) = (false, dice.falls(Event::Early, 20));
                if !whole && dice.falls(Event::SlowServer, 20) {
                    book.note(Event::SlowServer);
                    self.stalled = true;
                }
                (n, a)
            }
        };
        let expected = book.content_of(n);
        let fits = expected.starts_with(&message.content);
        if !fits || whole && message.content.len() != expected.len() {
            return Err(format!(
                "request {n}: {} bytes of {}, the same: {fits}",
                message.content.len(),
                expected.len()
            ));
        }
        if whole {
            self.reader.take(Kind::Request)?;
            self.asked_whole = true;
            book.entries[n].attempts[a].asked_whole = true;
        }
        let asked = book.entries[n].asked.clone();
        if self.answer.is_none() && (whole || self.early || asked.expects) {
            self.compose(book, dice, n, a);
        }
        Ok(())
    }

    fn compose(&mut self, book: &mut Book, dice: &mut Dice<'_>, n: usize, a: usize) {
        let answer = answer(dice, n, a, &book.entries[n].asked);
        let attempt = &mut book.entries[n].attempts[a];
        (attempt.status, attempt.sound) = (answer.status, answer.sound && !self.spoiled);
        (attempt.content, attempt.interim) = (answer.content.clone(), answer.interim);
        let long = !self.asked_whole && !book.entries[n].asked.expects;
        for (event, is) in [
            (Event::Early, self.early && long),
            (Event::Interim, answer.interim > 0),
            (Event::Gateway, matches!(answer.status, 502..=504)),
            (Event::Garbage, !answer.sound),
            (Event::Excess, answer.excess),
            (Event::LongContent, answer.content.len() > 8_192),
            (Event::UntilClose, answer.stop == Some((answer.bytes.len(), Deed::Close))),
        ] {
            if is {
                book.note(event);
            }
        }
        book.interims.0 += answer.interim as u64;
        if answer.excess || !answer.sound {
            *book.junk.entry(self.server).or_default() += 1;
        }
        (self.answer, self.written) = (Some(answer), 0);
    }

    fn write(&mut self, net: &mut Net, book: &mut Book, dice: &mut Dice<'_>, trace: &mut Trace) {
        let limit = self.limit();
        let Some(answer) = &self.answer else { return };
        if self.written < limit {
            let left = limit - self.written;
            let most = if dice.rng.chance(60) { left } else { dice.rng.between(1, left) };
            let n = net.write(self.link, &answer.bytes[self.written..self.written + most]);
            self.written += n;
            trace.mix(&[n as u64]);
            trace.tell(format_args!(
                "server {} link {} writes {n} of {left} for {:?}{}",
                self.server,
                self.link,
                self.at,
                if answer.excess { ", and more" } else { "" }
            ));
        }
        let all = self.written >= answer.len;
        if let Some((n, a)) = self.at {
            let attempt = &mut book.entries[n].attempts[a];
            (attempt.said, attempt.said_all) = (self.written, all);
        }
        if self.written < limit {
            return;
        }
        match answer.stop {
            Some((_, Deed::Stall)) => {
                book.note(Event::Stalls);
                self.stalled = true;
                if let Some(answer) = &mut self.answer {
                    answer.stop = None; // and then it goes on
                }
            }
            Some((_, deed)) => self.end(net, book, dice, deed, all),
            None => self.answered(net, book, dice),
        }
    }

    /// The answer is written.
    fn answered(&mut self, net: &mut Net, book: &mut Book, dice: &mut Dice<'_>) {
        let Some(answer) = &self.answer else { return };
        if answer.switches {
            if self.tunnel.is_none() {
                self.begin_tunnel(book);
            } else if !self.finished && dice.rng.chance(30) {
                net.finish(self.link);
                self.finished = true;
            }
            return;
        }
        self.last |= answer.closes || !answer.sound && !self.spoiled;
        self.spoiled |= answer.excess;
        if !self.asked_whole {
            return; // the rest of the request is read
        }
        if answer.closes {
            return self.end(net, book, dice, Deed::Close, true);
        }
        self.before = self.at.take();
        (self.answer, self.written) = (None, 0);
        self.asked_whole = false;
        self.idle_deed = dice.falls(Event::IdleEnd, 15);
    }
}

/// Whose a request is.
fn number_of(message: &Message, book: &Book) -> Result<usize, String> {
    let path = message.line.get(1).map_or("", String::as_str);
    let n = path.rsplit('/').next().and_then(|n| n.parse().ok());
    let n = n.filter(|n| *n < book.entries.len());
    n.ok_or_else(|| format!("{path} was never asked for"))
}
