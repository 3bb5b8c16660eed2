//! The conversations through the proxy, played in process on one and two shards.
//!
//! The same files as the black-box tests play, by the same player; only the wires are simulated.
//! Here time costs nothing, so that long time-outs are waited for and every message is cut at
//! every place.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::Path;

use dataplane::proxy::Endpoints;
use dataplane::publish::publication;
use dataplane::runtime::sim::Read;
use shards::time::Nanos;

use super::node::HTTP;
use super::seeds::wanted;
use super::talk::format::{Calls, Deed, Step};
use super::talk::manifests::manifests;
use super::talk::play::{Conn, State, Wires};
use super::talk::{Case, Delivery, File, parse, play};
use super::trace::Trace;
use super::world::World;

/// How long anything may take, as on sockets.
const PATIENCE: Nanos = Nanos(5 * Nanos::SECOND.0);
/// The same in cases for the simulator only: they say themselves how time passes.
const NONE: Nanos = Nanos(10 * Nanos::MILLISECOND.0);
/// More than a connection's credit and the network's windows.
const LONG: usize = 2_000_000;
/// Cases with more bytes than these are not cut at each.
const CUT: usize = 2_000;

struct Talker {
    link: usize,
    inbox: Vec<u8>,
    outbox: VecDeque<u8>,
    state: State,
    stalled: bool,
    /// Closed by us: what still comes is answered by a reset.
    gone: bool,
}

struct Server {
    name: char,
    at: SocketAddr,
    calls: Calls,
    /// Connections that no step has spoken of yet.
    made: VecDeque<usize>,
}

struct Wired<'a> {
    world: World<'a>,
    servers: Vec<Server>,
    talkers: Vec<Talker>,
    patience: Nanos,
    /// What is left of it with what is awaited.
    left: Nanos,
}

impl Wired<'_> {
    /// Lets everything happen that can without time passing; whether anything did.
    fn turn(&mut self) -> bool {
        let before = self.world.trace.steps;
        let mut any = false;
        loop {
            let mut moved = self.take_calls();
            for talker in &mut self.talkers {
                moved |= talker.turn(&self.world);
            }
            self.world.settle();
            if !moved {
                return any || self.world.trace.steps != before;
            }
            any = true;
        }
    }

    fn take_calls(&mut self) -> bool {
        let mut net = self.world.node.net.borrow_mut();
        let mut any = false;
        while let Some((link, to)) = net.dialled() {
            any = true;
            let server = self.servers.iter_mut().find(|server| server.at == to);
            let server = server.unwrap_or_else(|| panic!("{to} was called, who is nobody"));
            match server.calls {
                Calls::Taken => {
                    net.answer(link, true);
                    server.made.push_back(link);
                }
                Calls::Refused => net.answer(link, false),
                Calls::Unanswered => {}
            }
        }
        any
    }

    fn talk_over(&mut self, link: usize) -> Conn {
        self.talkers.push(Talker {
            link,
            inbox: Vec::new(),
            outbox: VecDeque::new(),
            state: State::Open,
            stalled: false,
            gone: false,
        });
        self.talkers.len() - 1
    }
}

impl Talker {
    /// Whether a byte has moved, or an end.
    fn turn(&mut self, world: &World<'_>) -> bool {
        let mut net = world.node.net.borrow_mut();
        let mut moved = false;
        if !self.outbox.is_empty() {
            let n = net.write(self.link, self.outbox.make_contiguous());
            self.outbox.drain(..n);
            moved |= n > 0;
        }
        if self.gone {
            let news = self.state == State::Open && net.has_news(self.link);
            if news {
                let mut lost = Vec::new();
                self.state = match net.read(self.link, usize::MAX, &mut lost) {
                    Read::Open => State::Open,
                    _ => State::Ended,
                };
                if !lost.is_empty() {
                    net.reset(self.link, false);
                    self.state = State::Reset;
                }
            }
            return moved || news;
        }
        if self.state == State::Open && !self.stalled {
            let before = self.inbox.len();
            let state = net.read(self.link, usize::MAX, &mut self.inbox);
            self.state = match state {
                Read::Open => State::Open,
                Read::Ended => State::Ended,
                Read::Reset => State::Reset,
            };
            moved |= self.inbox.len() > before || self.state != State::Open;
        }
        moved
    }
}

impl Wires for Wired<'_> {
    fn connect(&mut self) -> Conn {
        let link = self.world.node.net.borrow_mut().connect_to(HTTP).expect("the node listens");
        self.talk_over(link)
    }

    fn accept(&mut self, server: char) -> Option<Conn> {
        let server = self.servers.iter_mut().find(|other| other.name == server)?;
        let link = server.made.pop_front()?;
        Some(self.talk_over(link))
    }

    fn calls(&mut self, server: char, calls: Calls) {
        let server = self.servers.iter_mut().find(|other| other.name == server);
        server.expect("a server of the case").calls = calls;
    }

    fn send(&mut self, conn: Conn, bytes: &[u8]) {
        self.talkers[conn].outbox.extend(bytes);
        self.turn();
    }

    fn unsent(&mut self, conn: Conn) -> usize {
        self.talkers[conn].outbox.len()
    }

    fn act(&mut self, conn: Conn, deed: Deed) {
        self.turn();
        let talker = &mut self.talkers[conn];
        let mut net = self.world.node.net.borrow_mut();
        match deed {
            Deed::HalfCloses => net.finish(talker.link),
            Deed::Closes => {
                net.finish(talker.link);
                talker.gone = true;
            }
            Deed::Resets => {
                net.reset(talker.link, false);
                (talker.gone, talker.state) = (true, State::Reset);
            }
            Deed::Stalls => talker.stalled = true,
            Deed::Reads => talker.stalled = false,
            other => panic!("{other:?} is nothing to do"),
        }
        drop(net);
        self.turn();
    }

    fn inbox(&mut self, conn: Conn) -> (&mut Vec<u8>, State) {
        let talker = &mut self.talkers[conn];
        (&mut talker.inbox, talker.state)
    }

    fn begin_to_wait(&mut self) {
        self.left = self.patience;
        self.turn();
    }

    fn wait(&mut self) -> bool {
        if self.turn() {
            return true;
        }
        let now = self.world.node.net.borrow().now().mono;
        let Some(span) = self.world.node.next_deadline().map(|at| at.since(now)) else {
            return false;
        };
        let span = Nanos(span.0.max(1));
        if span > self.left {
            return false;
        }
        self.left = Nanos(self.left.0 - span.0);
        self.world.node.net.borrow_mut().pass(span);
        self.turn();
        true
    }

    fn settle(&mut self) {
        self.turn();
    }

    /// Step by step, as clocks go, so that timers fire in their order.
    fn pass(&mut self, ms: u64) {
        self.turn();
        let end = self.world.node.net.borrow().now().mono.after(Nanos(ms * Nanos::MILLISECOND.0));
        loop {
            let now = self.world.node.net.borrow().now().mono;
            if now >= end {
                return;
            }
            let next = self.world.node.next_deadline().unwrap_or(end).min(end);
            let span = Nanos(next.since(now).0.max(1));
            self.world.node.net.borrow_mut().pass(span);
            self.turn();
        }
    }

    fn metric(&mut self, name: &str) -> u64 {
        let (name, label) = name.split_once('{').unwrap_or((name, ""));
        self.world.node.proxy_count(name, label.trim_end_matches('}').split_once('='))
    }

    fn errors(&mut self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (cause, count) in self.world.node.causes() {
            *all.entry(cause.to_owned()).or_default() += count;
        }
        all
    }
}

/// How a case is played.
#[derive(Clone, Copy, Debug)]
struct Way {
    shards: u16,
    seed: u64,
    delivery: Delivery,
    /// What is on a wire arrives in pieces of any size.
    crumbled: bool,
}

fn hold(file: &File, case: &Case, way: Way) -> Result<(), String> {
    let servers: Vec<Server> = case
        .servers
        .iter()
        .zip(1u8..)
        .map(|(name, n)| Server {
            name: *name,
            at: SocketAddr::from(([127, 0, 1, n], 9_000)),
            calls: Calls::Taken,
            made: VecDeque::new(),
        })
        .collect();
    let addresses: Vec<_> = servers.iter().map(|server| (server.name, server.at)).collect();
    let text = manifests(file, case, &addresses);
    let loaded = controlplane::load_text("case", &text, 1).unwrap_or_else(|faults| {
        panic!(
            "{}: {:?}\n{text}",
            case.title,
            faults.iter().map(ToString::to_string).collect::<Vec<_>>()
        )
    });
    let served =
        Endpoints::new(way.shards.into()).serve(loaded.snapshot, &[None]).expect("it is served");
    let mut trace = Trace::new(false);
    let mut world = World::proxied(way.shards, way.seed, publication(served), &mut trace);
    (world.frozen, world.healed) = (true, !way.crumbled);
    let patience = if case.is_for("sockets", 1) { PATIENCE } else { NONE };
    let mut wired = Wired { world, servers, talkers: Vec::new(), patience, left: patience };
    let held = play(case, &mut wired, way.delivery);
    held.map_err(|why| format!("{} shards, seed {}, {why}", way.shards, way.seed))
}

/// All cases for the simulator, by their files.
fn files() -> Vec<(String, File)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/proxy_conversations");
    let listed = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, parse(&std::fs::read_to_string(path).unwrap(), LONG))
    };
    paths.iter().map(read).collect()
}

/// Plays every case in the ways that are wanted of it; `CORELANE_TALK` are words of titles.
fn all_hold(ways: impl Fn(&Case) -> Vec<Way>) -> usize {
    let words = std::env::var("CORELANE_TALK").unwrap_or_default();
    let (mut wrong, mut played) = (Vec::new(), 0);
    for (name, file) in files() {
        for case in file.cases.iter().filter(|case| case.title.contains(&words)) {
            for way in ways(case).into_iter().filter(|way| case.is_for("sim", way.shards)) {
                played += 1;
                if let Err(why) = hold(&file, case, way) {
                    wrong.push(format!("{name}, {why}"));
                    break; // the other ways say the same
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} do not hold:\n{}", wrong.len(), wrong.join("\n"));
    played
}

fn ways(seed: u64, delivery: Delivery, crumbled: bool) -> [Way; 2] {
    [1, 2].map(|shards| Way { shards, seed, delivery, crumbled })
}

#[test]
fn proxy_conversations_hold_in_process() {
    all_hold(|_| ways(1, Delivery::Whole, false).to_vec());
}

#[test]
fn they_hold_byte_by_byte() {
    all_hold(|case| {
        let all = ways(2, Delivery::ByteByByte, false).to_vec();
        if case.may_be_cut() { all } else { Vec::new() }
    });
}

#[test]
fn they_hold_in_crumbs() {
    all_hold(|case| {
        let all = wanted(0..8).flat_map(|seed| ways(seed, Delivery::Whole, true));
        if case.may_be_cut() { all.collect() } else { Vec::new() }
    });
}

/// The shards take turns, which is seldom what matters here.
#[test]
fn they_hold_wherever_a_message_is_cut() {
    let played = all_hold(|case| {
        let messages = case.steps.iter().filter_map(|(_, step)| match step {
            Step::Send { bytes, .. } => Some(bytes.len()),
            _ => None,
        });
        let messages: Vec<usize> = messages.collect();
        if !case.may_be_cut() || messages.iter().sum::<usize>() > CUT {
            return Vec::new();
        }
        let cuts = messages.iter().enumerate();
        let cuts = cuts.flat_map(|(message, len)| (1..*len).map(move |at| (message, at)));
        let way = |(message, at): (usize, usize)| Way {
            shards: if case.is_for("sim", 2) { 1 + (at % 2) as u16 } else { 1 },
            seed: at as u64,
            delivery: Delivery::Cut { message, at },
            crumbled: false,
        };
        cuts.map(way).collect()
    });
    println!("{played} cuts");
}
