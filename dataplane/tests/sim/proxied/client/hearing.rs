//! What comes back to a client: answers in their order, or the end of its connection.

use dataplane::runtime::sim::{Net, Read};
use shards::time::Nanos;

use super::super::book::{Book, End, Fate, UP, brief, content};
use super::super::plan::TIMED;
use super::super::reader::{Framing, Kind, Message};
use super::super::server::tunnelled;
use super::Client;

impl Client {
    /// The next answer, if it is whole.
    pub(super) fn hear(&mut self, book: &mut Book, now: Nanos) -> Result<bool, String> {
        let Some(n) = self.waiting.front().copied() else {
            if book.drains {
                self.reader.inbox().clear(); // told at the door, unasked
            }
            return if self.reader.is_empty() {
                Ok(false)
            } else {
                Err("an answer to nothing".into())
            };
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
    pub(super) fn ended(
        &mut self,
        net: &mut Net,
        book: &mut Book,
        state: Read,
    ) -> Result<(), String> {
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
                entry.attempts.iter().map(brief).collect::<Vec<_>>()
            ));
        }
        self.leave(net, book);
        Ok(())
    }

    /// A content that ends with its connection.
    fn hear_end(&mut self, book: &mut Book, now: Nanos) -> Result<bool, String> {
        let whole = self.reader.message.as_ref().is_some_and(|m| m.whole);
        if whole { self.hear(book, now) } else { Ok(false) }
    }

    /// Whether an answer may have been broken off.
    fn may_be_cut(&self, book: &Book, n: usize, now: Nanos, own: bool) -> Result<(), String> {
        let entry = &book.entries[n];
        let last = entry.attempts.last();
        let server = last.is_some_and(|last| {
            !last.sound || last.end == End::Reset || last.end == End::Closed && !last.said_all
        });
        let timed = entry.asked.route == TIMED
            && entry.head_at.is_some_and(|at| now.since(at).0 >= 148 * Nanos::MILLISECOND.0);
        // A part that was not sent is cut off with the rest of its connection.
        let unsent = entry.all_at.is_none() || entry.asked.len > 0;
        if server && !own || timed || self.waited(now, 5) || unsent || self.finished.is_some() {
            return Ok(());
        }
        Err(format!("the answer to {n} broke off: {:?}", last.map(brief)))
    }

    /// Whether nothing at all may have been answered.
    fn may_be_lost(&self, book: &Book, n: usize, now: Nanos, state: Read) -> bool {
        let entry = &book.entries[n];
        let asked = &entry.asked;
        let unsent = entry.head_at.is_none() || asked.len > 0 && entry.all_at.is_none();
        let ended = self.finished.is_some_and(|at| now.since(at) >= Nanos::SECOND);
        // What ends with its connection is told to be cut by a reset, which takes it along.
        let torn =
            state == Read::Reset && (asked.old || asked.bad || asked.closes || asked.len > 0);
        // What had come of an answer goes with it when its time is over.
        let timed = asked.route == TIMED
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
}
