//! The open loop: sends each request when it is due, whatever became of the others.
//!
//! One thread on one core, on the data plane's own driver. A connection that waits for a
//! reply takes further requests as well (they are pipelined), since users do not wait for
//! each other either.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use dataplane::runtime::{ConnKey, Driver, Event, Loan, Payload, Wait, clock};
use shards::time::Nanos;

use crate::clients::resp::{Reply, Scanner, request};
use crate::plan::{Op, Plan};
use crate::record::{Record, Sample};

/// How long before a request is due the loop stops sleeping: a kernel sleep overshoots by
/// 14 to 70 us.
const AWAKE_BEFORE: Nanos = Nanos(100_000);
/// How long after the last request its reply is waited for.
const PATIENCE: Nanos = Nanos(10_000_000_000);

struct Link {
    key: ConnKey,
    queued: Vec<u8>,
    sending: bool,
    /// Requests without a reply: when each was due and when it was sent.
    waiting: VecDeque<(Nanos, Nanos)>,
    scanner: Scanner,
}

/// See the module's text.
pub(crate) struct Engine<'a, D> {
    driver: D,
    plan: &'a Plan,
    links: Vec<Link>,
    rng: fastrand::Rng,
    value: Vec<u8>,
    record: Record,
    outstanding: u64,
}

impl<'a, D: Driver> Engine<'a, D> {
    /// Connects.
    pub(crate) fn connect(mut driver: D, plan: &'a Plan) -> io::Result<Self> {
        let mut links = Vec::with_capacity(plan.connections);
        for _ in 0..plan.connections {
            let stream = TcpStream::connect(plan.target)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            links.push(Link {
                key: driver.open(OwnedFd::from(stream).into())?,
                queued: Vec::new(),
                sending: false,
                waiting: VecDeque::new(),
                scanner: Scanner::default(),
            });
        }
        Ok(Self {
            driver,
            plan,
            links,
            rng: fastrand::Rng::with_seed(plan.seed ^ 0x6b65_7973),
            value: vec![b'v'; plan.value_bytes],
            record: Record::default(),
            outstanding: 0,
        })
    }

    /// Sends everything on the schedule, or until `stop`, whose times count from `start`.
    pub(crate) fn run(
        mut self,
        schedule: &[Nanos],
        start: Nanos,
        stop: &AtomicBool,
    ) -> Result<Record, String> {
        self.record.samples.reserve_exact(schedule.len());
        let mut events = Vec::new();
        let mut next = 0;
        let mut all_sent_at = None;
        loop {
            let now = clock::monotonic();
            while let Some(due) = schedule.get(next).map(|at| start.after(*at))
                && due <= now
            {
                self.ask(next % self.plan.connections, due, start);
                next += 1;
            }
            if stop.load(Ordering::Relaxed) {
                next = schedule.len();
            }
            let wait = match schedule.get(next) {
                Some(at) => until(start.after(*at)),
                None => {
                    let since = *all_sent_at.get_or_insert(now);
                    if self.outstanding == 0 || now > since.after(PATIENCE) {
                        self.record.unanswered = self.outstanding;
                        return Ok(self.record);
                    }
                    Wait::AtMost(Nanos::MILLISECOND.0)
                }
            };
            self.driver.turn(wait, &mut events).map_err(|e| format!("the driver failed: {e}"))?;
            let now = clock::monotonic();
            for event in events.drain(..) {
                self.handle(event, now, start)?;
            }
        }
    }

    /// Sends one request.
    fn ask(&mut self, index: usize, due: Nanos, start: Nanos) {
        let op = self.choose();
        let link = &mut self.links[index];
        encode(&mut link.queued, op, &mut self.rng, self.plan.keys, &self.value);
        let sent = clock::monotonic();
        link.waiting.push_back((Nanos(due.since(start).0), sent));
        self.outstanding += 1;
        self.flush(index);
    }

    fn choose(&mut self) -> Op {
        if let [(op, _)] = self.plan.mix[..] {
            return op;
        }
        let total: u32 = self.plan.mix.iter().map(|(_, weight)| weight).sum();
        let mut pick = self.rng.u32(..total);
        for (op, weight) in &self.plan.mix {
            if pick < *weight {
                return *op;
            }
            pick -= weight;
        }
        unreachable!("a pick is below the sum of the weights")
    }

    fn flush(&mut self, index: usize) {
        let link = &mut self.links[index];
        if link.sending || link.queued.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut link.queued);
        match self.driver.send(link.key, Payload::new(bytes, Vec::new())) {
            Some(payload) => link.queued = payload.into_buffer(),
            None => link.sending = true,
        }
    }

    fn handle(&mut self, event: Event, now: Nanos, start: Nanos) -> Result<(), String> {
        match event {
            Event::Sent(key, payload) => {
                if let Some(index) = self.index(key) {
                    let link = &mut self.links[index];
                    link.sending = false;
                    if link.queued.is_empty() {
                        link.queued = payload.into_buffer();
                    }
                    self.flush(index);
                }
                Ok(())
            }
            Event::Received(key, loan) => self.answered(key, loan, now, start),
            Event::Ended(_) | Event::Failed(..) | Event::Deaf(..) => {
                Err("the server closed a connection".into())
            }
            Event::Accepted(..)
            | Event::AcceptFailed(_)
            | Event::Connected(_)
            | Event::Released(..)
            | Event::Woken => Ok(()),
        }
    }

    fn answered(
        &mut self,
        key: ConnKey,
        loan: Loan,
        now: Nanos,
        start: Nanos,
    ) -> Result<(), String> {
        let Some(index) = self.index(key) else { return Ok(()) };
        let Link { waiting, scanner, .. } = &mut self.links[index];
        let (record, outstanding) = (&mut self.record, &mut self.outstanding);
        let mut surplus = false;
        let fed = scanner.feed(self.driver.bytes(loan), |reply| {
            let Some((due, sent)) = waiting.pop_front() else {
                surplus = true;
                return;
            };
            *outstanding -= 1;
            record.errors += u64::from(reply == Reply::Error);
            let due_at = start.after(due);
            let (latency, lateness) = (now.since(due_at), sent.since(due_at));
            record.samples.push(Sample { due, latency, lateness });
        });
        if fed.is_err() || surplus {
            return Err("the server sent what is no answer to a RESP request".into());
        }
        Ok(())
    }

    /// The driver gives indices in order of opening; looked up where that does not hold.
    fn index(&self, key: ConnKey) -> Option<usize> {
        let guess = key.index as usize;
        if self.links.get(guess).is_some_and(|link| link.key == key) {
            return Some(guess);
        }
        self.links.iter().position(|link| link.key == key)
    }
}

/// Sleeps until shortly before a point in time, and polls from then on.
fn until(due: Nanos) -> Wait {
    match due.since(clock::monotonic()).0.checked_sub(AWAKE_BEFORE.0) {
        Some(ns) if ns > 0 => Wait::AtMost(ns),
        _ => Wait::Poll,
    }
}

/// Appends one request. Keys have 16 bytes.
fn encode(out: &mut Vec<u8>, op: Op, rng: &mut fastrand::Rng, keys: u64, value: &[u8]) {
    let mut name = [0; 16];
    let mut key = |prefix: &[u8; 4]| {
        name[..4].copy_from_slice(prefix);
        let mut n = rng.u64(..keys);
        for digit in name[4..].iter_mut().rev() {
            *digit = b'0' + (n % 10) as u8;
            n /= 10;
        }
        name
    };
    match op {
        Op::Get => request(out, &[b"GET", &key(b"key:")]),
        Op::Set => request(out, &[b"SET", &key(b"key:"), value]),
        Op::Incr => request(out, &[b"INCR", &key(b"num:")]),
        Op::Ping => request(out, &[b"PING"]),
    }
}
