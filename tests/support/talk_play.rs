//! Plays a case: does what it says and holds what comes back against it.
//!
//! Owns what a step means and what must hold at the end; knows neither sockets nor simulators.

use std::collections::{BTreeMap, BTreeSet};

use super::format::{Calls, Case, Deed, Step};
use super::matching::{Found, Names, compare, shown};
use super::text::Piece;

/// Bytes that are not compared again whenever some more have come.
const MANY: usize = 100_000;

/// Number of a connection, of either side.
pub type Conn = usize;

/// Whether more may come on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    Ended,
    Reset,
}

/// Both sides of a proxy, as tests have them.
pub trait Wires {
    fn connect(&mut self) -> Conn;
    /// The next connection that the proxy has made to a server, if there is one.
    fn accept(&mut self, server: char) -> Option<Conn>;
    fn calls(&mut self, server: char, calls: Calls);
    /// Sends; what the proxy does not take now goes on as time passes.
    fn send(&mut self, conn: Conn, bytes: &[u8]);
    /// Bytes that the proxy has not taken.
    fn unsent(&mut self, conn: Conn) -> usize;
    /// Half-closes, closes or resets, or stalls or reads.
    fn act(&mut self, conn: Conn, deed: Deed);
    /// What has come and was not expected yet.
    fn inbox(&mut self, conn: Conn) -> (&mut Vec<u8>, State);
    /// Begins to wait for something.
    fn begin_to_wait(&mut self);
    /// Lets something happen; `false` when it has been waited for long enough.
    fn wait(&mut self) -> bool;
    /// Lets everything happen that is under way.
    fn settle(&mut self);
    fn pass(&mut self, ms: u64);
    /// A metric, as NAME or NAME{LABEL=VALUE}, of all shards together.
    fn metric(&mut self, name: &str) -> u64;
    /// How often each cause came up.
    fn errors(&mut self) -> BTreeMap<String, u64>;
}

/// In which pieces bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Whole,
    ByteByByte,
    /// The n-th message is cut there, and what was sent is let arrive.
    Cut {
        message: usize,
        at: usize,
    },
}

struct Player<'a, W> {
    case: &'a Case,
    wires: &'a mut W,
    delivery: Delivery,
    sent: usize,
    names: Names,
    conns: BTreeMap<String, Conn>,
    /// Connections whose end the case has spoken of.
    over: BTreeSet<Conn>,
    /// Errors that answers and steps have told of so far.
    errors: BTreeMap<String, u64>,
}

/// Plays a case; what was wrong, with its line.
pub fn play<W: Wires>(case: &Case, wires: &mut W, delivery: Delivery) -> Result<(), String> {
    let metrics = case.steps.iter().filter_map(|(_, step)| match step {
        Step::Metric { name, .. } => Some(name.clone()),
        _ => None,
    });
    let before: BTreeMap<String, u64> =
        metrics.map(|name| (name.clone(), wires.metric(&name))).collect();
    let errors_before = wires.errors();
    let mut player = Player {
        case,
        wires,
        delivery,
        sent: 0,
        names: Names::default(),
        conns: BTreeMap::new(),
        over: BTreeSet::new(),
        errors: case.causes.clone(),
    };
    let result = player.run(&before).and_then(|()| player.end(&errors_before));
    player.leave();
    result.map_err(|why| format!("({}, {}) {delivery:?}\n  {why}", case.title, case.source))
}

impl<W: Wires> Player<'_, W> {
    fn run(&mut self, before: &BTreeMap<String, u64>) -> Result<(), String> {
        for (line, step) in &self.case.steps {
            let done = match step {
                Step::Send { who, bytes } => self.send(who, bytes),
                Step::Expect { who, pattern } => self.expect(who, pattern),
                Step::Do { who, deed } => self.act(who, *deed),
                Step::Server { who, calls } => {
                    self.wires.calls(*who, *calls);
                    Ok(())
                }
                Step::Pass { ms } => {
                    self.wires.pass(*ms);
                    Ok(())
                }
                Step::Error { cause, by } => {
                    *self.errors.entry(cause.clone()).or_default() += by;
                    Ok(())
                }
                Step::Metric { name, by } => self.metric(name, before[name] + by),
            };
            done.map_err(|why| format!("line {line}: {why}"))?;
        }
        Ok(())
    }

    /// A connection by its name; a client's is made, a server's is waited for.
    fn conn(&mut self, who: &str) -> Result<Conn, String> {
        if let Some(conn) = self.conns.get(who) {
            return Ok(*conn);
        }
        let conn = match self.case.server_of(who) {
            None => self.wires.connect(),
            Some(server) => {
                let known = self.conns.keys().filter(|name| name.starts_with(server)).count();
                let next = format!("{server}{}", known + 1);
                if who != next {
                    return Err(format!("{who}, and {next} has not been spoken of"));
                }
                self.wires.begin_to_wait();
                loop {
                    if let Some(conn) = self.wires.accept(server) {
                        break conn;
                    }
                    if !self.wires.wait() {
                        return Err(format!("{who} was not connected\n{}", self.all()));
                    }
                }
            }
        };
        self.conns.insert(who.to_owned(), conn);
        Ok(conn)
    }

    fn send(&mut self, who: &str, bytes: &[u8]) -> Result<(), String> {
        let conn = self.conn(who)?;
        self.sent += 1;
        match self.delivery {
            Delivery::ByteByByte => {
                bytes.chunks(1).for_each(|byte| self.wires.send(conn, byte));
            }
            Delivery::Cut { message, at } if message + 1 == self.sent => {
                let (one, two) = bytes.split_at(at.min(bytes.len()));
                self.wires.send(conn, one);
                self.wires.settle();
                self.wires.send(conn, two);
            }
            _ => self.wires.send(conn, bytes),
        }
        Ok(())
    }

    fn expect(&mut self, who: &str, pattern: &[Piece]) -> Result<(), String> {
        let conn = self.conn(who)?;
        let least: usize = pattern
            .iter()
            .map(|piece| match piece {
                Piece::Bytes(bytes) | Piece::Chunks(bytes) => bytes.len(),
                _ => 0,
            })
            .sum();
        let long = if least > MANY { least } else { 0 };
        self.wires.begin_to_wait();
        loop {
            let (inbox, state) = self.wires.inbox(conn);
            // Long ones are compared once, when they may be whole.
            if state == State::Open && inbox.len() < long && self.wires.wait() {
                continue;
            }
            let (inbox, state) = self.wires.inbox(conn);
            match compare(pattern, inbox, &mut self.names) {
                Found::All(n) => {
                    inbox.drain(..n);
                    return Ok(());
                }
                Found::No(at, what) => {
                    let (good, bad) = inbox.split_at(at.min(inbox.len()));
                    let told = (shown(good), shown(bad));
                    return Err(format!(
                        "{who} got\n    {}\n  and then\n    {}\n  instead of\n    {what}",
                        told.0, told.1
                    ));
                }
                Found::More => {
                    let got = shown(inbox);
                    if state != State::Open || !self.wires.wait() {
                        let all = self.all();
                        return Err(format!("{who} ({state:?}) got only\n    {got}\n{all}"));
                    }
                }
            }
        }
    }

    fn act(&mut self, who: &str, deed: Deed) -> Result<(), String> {
        let conn = self.conn(who)?;
        let wanted: &[State] = match deed {
            Deed::Connects | Deed::Accepts => return Ok(()),
            Deed::SeesNothing => {
                self.wires.settle();
                let (inbox, state) = self.wires.inbox(conn);
                let quiet = inbox.is_empty() && state == State::Open;
                let got = shown(inbox);
                return if quiet { Ok(()) } else { Err(format!("{who} ({state:?}) got {got}")) };
            }
            Deed::HeldBack => return self.held_back(who, conn),
            Deed::SeesEnd => &[State::Ended],
            Deed::SeesReset => &[State::Reset],
            Deed::SeesClose => &[State::Ended, State::Reset],
            _ => {
                if matches!(deed, Deed::Closes | Deed::Resets) {
                    self.over.insert(conn);
                }
                self.wires.act(conn, deed);
                return Ok(());
            }
        };
        self.over.insert(conn);
        self.wires.begin_to_wait();
        loop {
            let (inbox, state) = self.wires.inbox(conn);
            if !inbox.is_empty() {
                return Err(format!("{who} got, instead of the end,\n    {}", shown(inbox)));
            }
            if wanted.contains(&state) {
                return Ok(());
            }
            if state != State::Open || !self.wires.wait() {
                return Err(format!("{who} is {state:?}, not {wanted:?}\n{}", self.all()));
            }
        }
    }

    /// Nothing more is taken, and something is left.
    fn held_back(&mut self, who: &str, conn: Conn) -> Result<(), String> {
        let (mut before, mut quiet) = (usize::MAX, 0);
        while quiet < 3 {
            self.wires.settle();
            let left = self.wires.unsent(conn);
            quiet = if left == before { quiet + 1 } else { 0 };
            before = left;
        }
        if before > 0 { Ok(()) } else { Err(format!("all was taken that {who} sent")) }
    }

    fn metric(&mut self, name: &str, wanted: u64) -> Result<(), String> {
        self.wires.begin_to_wait();
        loop {
            let is = self.wires.metric(name);
            if is == wanted {
                return Ok(());
            }
            if is > wanted || !self.wires.wait() {
                return Err(format!("{name} is {is}, not {wanted}"));
            }
        }
    }

    /// Nothing is left that the case has not spoken of.
    fn end(&mut self, errors_before: &BTreeMap<String, u64>) -> Result<(), String> {
        self.wires.settle();
        for (who, conn) in &self.conns {
            let (inbox, state) = self.wires.inbox(*conn);
            if !inbox.is_empty() {
                return Err(format!("at the end {who} has got more:\n    {}", shown(inbox)));
            }
            if state != State::Open && !self.over.contains(conn) {
                return Err(format!("{who} is {state:?}, of which nothing was said"));
            }
        }
        for server in &self.case.servers {
            if self.wires.accept(*server).is_some() {
                return Err(format!("{server} was called once more\n{}", self.all()));
            }
        }
        self.leave();
        self.wires.begin_to_wait();
        loop {
            let now = self.wires.errors();
            let grown: BTreeMap<String, u64> = now
                .into_iter()
                .map(|(cause, n)| {
                    let before = errors_before.get(&cause).copied().unwrap_or(0);
                    (cause, n - before)
                })
                .filter(|(_, n)| *n > 0)
                .collect();
            let open = ["client", "upstream"].map(|side| {
                let name = format!("http_connections{{side={side}}}");
                self.wires.metric(&name)
            });
            let good = grown == self.errors && open == [0, 0];
            if good {
                return Ok(());
            }
            if !self.wires.wait() {
                return Err(format!(
                    "at the end these errors are counted: {grown:?}, not {:?}; connections of \
                     clients and to servers: {open:?}",
                    self.errors
                ));
            }
        }
    }

    /// All connections are closed.
    fn leave(&mut self) {
        for conn in std::mem::take(&mut self.conns).into_values() {
            self.wires.act(conn, Deed::Closes);
        }
    }

    /// What all connections have got, for who looks for the fault.
    fn all(&mut self) -> String {
        let mut told = String::new();
        for (who, conn) in &self.conns {
            let (inbox, state) = self.wires.inbox(*conn);
            told += &format!("  {who} ({state:?}) has\n    {}\n", shown(inbox));
        }
        told
    }
}
