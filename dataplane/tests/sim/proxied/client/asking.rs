//! What a client asks: one request more, or something that is none.

use super::super::answer::{Dice, chunked, length};
use super::super::book::{Asked, Book};
use super::super::plan::{Event, KEYS, ROUTES};
use super::{Client, Place};
use crate::trace::Trace;

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
    /// One request more.
    pub(super) fn ask(&mut self, book: &mut Book, dice: &mut Dice<'_>, trace: &mut Trace) {
        let route = dice.rng.below(ROUTES.len());
        let method =
            *dice.rng.pick(&["GET", "GET", "HEAD", "PUT", "POST", "POST", "DELETE", "PATCH"]);
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
    fn write_down(&mut self, book: &Book, dice: &mut Dice<'_>, n: usize, asked: &Asked) -> usize {
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
}
