//! Rate limits of routes: which bucket a request takes from, and what the answer says of it.
//!
//! Owns the names of buckets, and the questions to other shards. A bucket is decided at its
//! home: when that is another shard, the request waits for the answer, its head kept meanwhile.
//! A rule's limits are asked in their order; what an earlier one has given is not taken back when
//! a later one refuses.
//!
//! ```text
//! NAME[:VALUE]...   values: an address (with its prefix where that is shorter), a header, the
//!                   path, the route; `:` and `%` in them are written %3A and %25
//! ```

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shards::config::{KeyPart, LimitView, RuleId};
use shards::ids::ShardId;
use shards::limit::{LONGEST_NAME, Limiter, Name, Tokens, Verdict};
use shards::partition::Partition;
use shards::store::{Hasher, KeyHash};
use shards::time::Nanos;

use super::begin::Heard;
use super::cause::Cause;
use super::peers::Client;
use super::said::{Said, ceil_seconds, said_by, say};
use super::{Hands, Proxy};
use crate::http1::Fields;
use crate::http1::write::decimal;
use crate::runtime::{ConnKey, Driver};

/// Bytes of a value that are part of a bucket's name; of a longer one the hash is.
const VALUE: usize = 128;

/// The value of a header that is there more than once.
const SEVERAL: &[u8] = b",";

/// A decision that another shard is to make.
#[derive(Debug)]
pub struct Question {
    /// Whose request.
    pub client: ConnKey,
    /// Which question of it.
    pub number: u32,
    /// Where the bucket is at home.
    pub home: ShardId,
    /// Where that is in the index.
    pub at: KeyHash,
    /// The bucket, and the limit's numbers, as CL.THROTTLE takes them.
    pub args: [Vec<u8>; 5],
}

/// Questions to other shards, and their answers.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: VecDeque<Question>,
    spare: Vec<[Vec<u8>; 5]>,
    answers: Vec<(ConnKey, u32, Option<Said>)>,
    asked: u32,
}

/// Buckets that are at home here, and where others are.
pub(super) struct Buckets<'a> {
    pub(super) limiter: &'a mut Limiter,
    pub(super) hasher: Hasher,
    pub(super) partition: Partition,
    pub(super) me: ShardId,
}

/// How far the limits of a request have come.
pub(super) enum Limits {
    /// It may go on.
    Passed,
    /// Another shard has been asked.
    Asked,
}

impl Proxy {
    /// Asks the limits of a rule, from the first that has not been asked.
    pub(super) fn ask_limits(
        &mut self,
        buckets: Buckets<'_>,
        client: &mut Client,
        rule: RuleId,
        bytes: &[u8],
        path: &[u8],
    ) -> Result<Limits, Cause> {
        let Some(exchange) = client.exchange.as_mut() else { return Ok(Limits::Passed) };
        loop {
            let served = self.served.get();
            let view = served.config.rule(rule);
            let Some(id) = view.limits().nth(exchange.limits) else { return Ok(Limits::Passed) };
            let limit = served.config.limit(id);
            self.scratch.clear();
            self.scratch.extend_from_slice(limit.name().as_bytes());
            for part in limit.keys() {
                let (ip, ip_text) = (client.ip, client.address.text());
                let about = About { ip, ip_text, path, route: view.route(), bytes };
                value(&mut self.scratch, part, &about, &self.fields, buckets.hasher);
            }
            shorten(&mut self.scratch, buckets.hasher);
            let at = buckets.hasher.hash(&self.scratch);
            let home = buckets.partition.home(at.slot);
            let rate = served.rates[id.0 as usize];
            exchange.limits += 1;
            if home != buckets.me {
                exchange.asked = self.questions.ask(client.key, home, at, &self.scratch, limit);
                self.scratch.clear();
                return Ok(Limits::Asked);
            }
            let cost = Tokens(limit.cost());
            let now = self.now.mono;
            let decision = Name::new(&self.scratch, at)
                .map(|name| buckets.limiter.hit(name, &rate, cost, now));
            self.scratch.clear();
            let decision = decision.ok_or(Cause::NoBucket)?;
            let retry_after = match decision.verdict {
                Verdict::NoRoom => return Err(Cause::NoBucket),
                Verdict::Refuse { retry_after } => Some(ceil_seconds(retry_after)),
                Verdict::Admit | Verdict::Never => None,
            };
            let said = Said {
                limited: decision.verdict != Verdict::Admit,
                remaining: decision.remaining().0.into(),
                retry_after,
                reset_after: ceil_seconds(decision.reset_after()),
            };
            say(&mut exchange.extra, &served.constant_fields[id.0 as usize], said);
            if said.limited {
                return Err(Cause::Limited);
            }
        }
    }

    /// The next decision that another shard is to make.
    pub fn question(&mut self) -> Option<Question> {
        self.questions.open.pop_front()
    }

    /// How many there are.
    pub fn questions(&self) -> usize {
        self.questions.open.len()
    }

    /// A question that could not be sent now: it is the last again.
    pub fn ask_later(&mut self, question: Question) {
        self.questions.open.push_back(question);
    }

    /// A question that has been sent: its memory serves again.
    pub fn asked(&mut self, question: Question) {
        self.questions.spare.push(question.args);
    }

    /// Another shard has decided; `reply` is CL.THROTTLE's.
    pub fn decided(&mut self, client: ConnKey, number: u32, reply: &[u8]) {
        self.questions.answers.push((client, number, said_by(reply)));
    }

    /// Requests that waited for a decision go on.
    pub(super) fn hear_limits<D: Driver>(&mut self, hands: &mut Hands<'_, D>) {
        let mut answers = std::mem::take(&mut self.questions.answers);
        for (key, number, said) in answers.drain(..) {
            let Some(mut client) = self.clients.take(key) else { continue };
            let open = |e: &super::peers::Exchange| {
                !e.held.is_empty() && e.borrowing.is_none() && e.asked == number
            };
            if client.exchange.as_deref().is_some_and(open) {
                self.limit_decided(hands, &mut client, said);
            }
            self.clients.put(client);
        }
        self.questions.answers = answers;
    }

    /// The answer for one request.
    fn limit_decided<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        client: &mut Client,
        said: Option<Said>,
    ) {
        let Some(exchange) = client.exchange.as_mut() else { return };
        let held = std::mem::take(&mut exchange.held);
        match said {
            None => {
                let mut held = held;
                self.buffers.put(&mut held);
                self.answer(client, Cause::NoBucket);
            }
            Some(said) => self.go_on(hands, client, held, Heard::Said(said)),
        }
        // What came behind the head waits in the client's input.
        if !client.input.is_empty() {
            self.feed_kept(hands, client);
        }
    }

    /// Another configuration may have come since limits were asked: its own are asked from the
    /// first, and what has been said counts no more.
    pub(super) fn same_limits(
        &self,
        client: &mut Client,
        generation: u64,
        said: Option<Said>,
    ) -> Option<Said> {
        let exchange = client.exchange.as_mut()?;
        if exchange.generation == generation {
            return said;
        }
        (exchange.generation, exchange.limits) = (generation, 0);
        exchange.extra.clear();
        None
    }

    /// Notes what the limit that was asked last has said.
    pub(super) fn note_said(
        &mut self,
        client: &mut Client,
        rule: RuleId,
        said: Said,
    ) -> Result<(), Cause> {
        let Some(exchange) = client.exchange.as_mut() else { return Ok(()) };
        let served = self.served.get();
        let mut limits = served.config.rule(rule).limits();
        let asked = exchange.limits.checked_sub(1).and_then(|n| limits.nth(n));
        if let Some(id) = asked {
            say(&mut exchange.extra, &served.constant_fields[id.0 as usize], said);
        }
        let limited = said.limited && !cfg!(corelane_mutant = "limit_off_elsewhere");
        if limited { Err(Cause::Limited) } else { Ok(()) }
    }
}

impl Questions {
    /// Puts a question, and says which it is.
    fn ask(
        &mut self,
        client: ConnKey,
        home: ShardId,
        at: KeyHash,
        name: &[u8],
        limit: LimitView<'_>,
    ) -> u32 {
        self.asked = self.asked.wrapping_add(1);
        let mut args = self.spare.pop().unwrap_or_default();
        args.iter_mut().for_each(Vec::clear);
        args[0].extend_from_slice(name);
        // A named bucket obeys its policy; the numbers are the policy's as far as they can be.
        let seconds = limit.period().0.div_ceil(Nanos::SECOND.0);
        let numbers = [u64::from(limit.burst()) - 1, limit.tokens(), seconds, limit.cost().into()];
        for (arg, n) in args[1..].iter_mut().zip(numbers) {
            decimal(arg, n);
        }
        self.open.push_back(Question { client, number: self.asked, home, at, args });
        self.asked
    }
}

/// What a value is made of.
struct About<'a> {
    ip: IpAddr,
    /// The same as it is written.
    ip_text: &'a [u8],
    path: &'a [u8],
    route: &'a str,
    bytes: &'a [u8],
}

/// Adds a part of a bucket's name.
fn value(out: &mut Vec<u8>, part: KeyPart<'_>, about: &About<'_>, fields: &Fields, hasher: Hasher) {
    out.push(b':');
    match part {
        KeyPart::ClientAddress { v4, v6 } => match about.ip {
            IpAddr::V4(_) if v4 >= 32 => out.extend_from_slice(about.ip_text),
            ip => address(out, ip, v4, v6),
        },
        KeyPart::Header(name) => {
            // A request without it shares one bucket with all others without it, and so do all
            // with several lines: nobody can tell which of them the server behind takes, so that
            // a bucket for each would be a way past the limit.
            let mut lines = fields.forwarded(about.bytes, name);
            let first = lines.next().map_or(&b""[..], |line| line.of(about.bytes));
            escaped(out, if lines.next().is_some() { SEVERAL } else { first }, hasher);
        }
        KeyPart::Path => escaped(out, about.path, hasher),
        KeyPart::Route => escaped(out, about.route.as_bytes(), hasher),
    }
}

/// The network that an address is in, with its length where that is not a whole address of IPv6.
fn address(out: &mut Vec<u8>, ip: IpAddr, v4: u8, v6: u8) {
    let mut text = [0u8; 64];
    let mut left = &mut text[..];
    // Both fit: 45 bytes for the longest address, 4 for its length.
    let _ = match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(v4.min(32))).unwrap_or(0);
            let network = Ipv4Addr::from_bits(ip.to_bits() & mask);
            write!(left, "{network}/{v4}")
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(v6.min(128))).unwrap_or(0);
            let network = Ipv6Addr::from_bits(ip.to_bits() & mask);
            let whole = v6 >= 128;
            write!(left, "{network}")
                .and_then(|()| if whole { Ok(()) } else { write!(left, "/{v6}") })
        }
    };
    let len = 64 - left.len();
    plain(out, &text[..len]);
}

/// A value from outside: as it is up to a length, and by its hash beyond.
fn escaped(out: &mut Vec<u8>, value: &[u8], hasher: Hasher) {
    if value.len() <= VALUE {
        return plain(out, value);
    }
    let (begin, hash) = (&value[..VALUE / 2], hasher.hash(value));
    plain(out, begin);
    // Writing into memory does not fail.
    let _ = write!(out, "...{:016x}", hash.short());
}

/// Of a name that is too long for a bucket, its hash is the rest. The policy's own name, which
/// is that of a document, stays whole.
fn shorten(name: &mut Vec<u8>, hasher: Hasher) {
    if name.len() > LONGEST_NAME {
        let hash = hasher.hash(name).short();
        name.truncate(LONGEST_NAME / 2);
        // Writing into memory does not fail.
        let _ = write!(name, "...{hash:016x}");
    }
}

fn plain(out: &mut Vec<u8>, value: &[u8]) {
    for part in value.split_inclusive(|byte| matches!(byte, b':' | b'%')) {
        let (last, rest) = match part {
            [rest @ .., b':'] => (&b"%3A"[..], rest),
            [rest @ .., b'%'] => (&b"%25"[..], rest),
            rest => (&b""[..], rest),
        };
        out.extend_from_slice(rest);
        out.extend_from_slice(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(ip: &str, v4: u8, v6: u8) -> String {
        let ip = ip.parse().unwrap();
        let text = crate::http1::write::Address::of(ip);
        let about = About { ip, ip_text: text.text(), path: b"", route: "", bytes: b"" };
        let mut out = Vec::new();
        let part = KeyPart::ClientAddress { v4, v6 };
        value(
            &mut out,
            part,
            &about,
            &Fields::new(&crate::http1::Limits::default()),
            Hasher::new(1),
        );
        String::from_utf8(out).unwrap().split_off(1)
    }

    #[test]
    fn addresses_by_their_network() {
        assert_eq!(named("192.0.2.7", 32, 64), "192.0.2.7");
        assert_eq!(named("192.0.2.7", 24, 64), "192.0.2.0/24");
        assert_eq!(named("192.0.2.7", 0, 64), "0.0.0.0/0");
        assert_eq!(named("2001:db8::1:2:3:4", 32, 64), "2001%3Adb8%3A%3A/64");
        assert_eq!(named("::1", 32, 128), "%3A%3A1");
    }

    #[test]
    fn names_that_are_too_long_differ_still() {
        let named = |last| {
            let mut name = [&b"policy:"[..], &[b'x'; 600], &[last]].concat();
            shorten(&mut name, Hasher::new(1));
            name
        };
        assert!(named(b'a').len() <= LONGEST_NAME && named(b'a').starts_with(b"policy:xxx"));
        assert_ne!(named(b'a'), named(b'b'));
    }

    #[test]
    fn values_cannot_leave_their_place() {
        let mut out = Vec::new();
        escaped(&mut out, b"a:b%3Ac", Hasher::new(1));
        assert_eq!(out, b"a%3Ab%253Ac");
        let long = |last| {
            let mut out = Vec::new();
            escaped(&mut out, &[&[b'x'; 200][..], &[last]].concat(), Hasher::new(1));
            out
        };
        assert_ne!(long(b'a'), long(b'b'), "long ones differ by their hash");
        assert!(long(b'a').len() < VALUE);
    }
}
