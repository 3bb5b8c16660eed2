//! One run: from its seed comes who does what next, and what goes wrong.
//!
//! Owns the scheduler. When nothing can move and a client waits, somebody must be the reason who
//! dallies by his own will; otherwise a wake-up was lost, and the run has failed.

mod rest;

use std::collections::BTreeMap;

use dataplane::proxy::{Endpoints, Served};
use dataplane::publish::{Publisher, publication};
use dataplane::runtime::sim::{Rng, Way};
use shards::settings::Settings;
use shards::time::Nanos;

use super::super::node::Node;
use super::super::trace::Trace;
use super::answer::Dice;
use super::book::{Book, Generation};
use super::client::Client;
use super::plan::{Event, Map, Plan, SERVERS, address};
use super::server::{Calls, Server};

/// Steps that one phase may take.
const MOST_STEPS: u64 = 400_000;

/// See the module's text.
pub struct Town<'a> {
    pub plan: Plan,
    pub node: Node,
    pub clients: Vec<Client>,
    pub servers: Vec<Server>,
    pub book: Book,
    pub rng: Rng,
    pub trace: &'a mut Trace,
    served: Publisher<Served>,
    endpoints: Endpoints,
    /// The generation that each shard has been seen to use.
    used: Vec<usize>,
    /// Wires on which nothing moves before a step, and shards that do not run.
    held: BTreeMap<(usize, bool), u64>,
    stalled: BTreeMap<usize, u64>,
    /// When a client, a server or a wire last did anything.
    quiet_since: Nanos,
    pub asked: usize,
    pub asks: bool,
}

enum Choice {
    Shard(usize),
    Wire(usize, Way),
    Client(usize),
    Call(usize),
    Server(usize, usize),
}

fn serve(endpoints: &mut Endpoints, map: &Map, generation: u64) -> Served {
    let text = map.manifests();
    let loaded = controlplane::load_text("sim", &text, generation).unwrap_or_else(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        panic!("{faults:?}\n{text}")
    });
    endpoints.serve(loaded.snapshot, &[None]).expect("it is served")
}

impl<'a> Town<'a> {
    pub fn new(seed: u64, trace: &'a mut Trace) -> Self {
        let mut rng = Rng::new(seed ^ 0x7072_6f78);
        let plan = Plan::of(&mut rng);
        let (mut endpoints, map) = (Endpoints::new(3), Map::first());
        let served = publication(serve(&mut endpoints, &map, 1));
        let settings = Settings::default();
        let node = Node::new(
            plan.shards,
            plan.parcels,
            settings,
            plan.rules,
            rng.draw(),
            Some(served.clone()),
        );
        let book = Book {
            generations: vec![Generation { map, from: Nanos(0), until: None }],
            ..Book::default()
        };
        let used = vec![0; usize::from(plan.shards)];
        let mut dice = Dice { rng: &mut rng, plan: &plan, healed: false };
        let clients = (0..plan.clients).map(|n| Client::new(n, &mut dice)).collect();
        Self {
            plan,
            node,
            clients,
            servers: (0..SERVERS).map(|_| Server::new()).collect(),
            book,
            rng,
            trace,
            served,
            endpoints,
            used,
            held: BTreeMap::new(),
            stalled: BTreeMap::new(),
            quiet_since: Nanos(0),
            asked: 0,
            asks: true,
        }
    }

    pub fn now(&self) -> Nanos {
        self.node.net.borrow().now().mono
    }

    pub fn waits(&self) -> bool {
        self.clients.iter().any(Client::waits)
    }

    /// Takes steps until `done`.
    pub fn run(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        let end = self.trace.steps + MOST_STEPS;
        while !done(self) {
            if self.trace.steps >= end {
                return Err(format!("no end in sight after {MOST_STEPS} steps"));
            }
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        self.trace.steps += 1;
        self.disturb();
        self.hear_calls();
        match self.choose() {
            Some(choice) => self.take(choice),
            None => self.rest(),
        }
    }

    /// Lets everything happen that can without time passing.
    pub fn settle(&mut self) -> Result<(), String> {
        loop {
            self.hear_calls();
            let Some(choice) = self.choose() else { return Ok(()) };
            self.take(choice)?;
        }
    }

    /// What happens to the node from outside, now and then.
    fn disturb(&mut self) {
        if self.book.healed.is_some() {
            return;
        }
        let until = self.trace.steps + self.rng.between(50, 800) as u64;
        let draw = self.rng.below(600);
        let has = |event| self.plan.has(event);
        match draw {
            0 | 1 if has(Event::Published) => self.publish(),
            2 | 3 if has(Event::Delay) => {
                let moving: Vec<_> = self.node.net.borrow().moving().collect();
                if !moving.is_empty() {
                    let (link, way) = *self.rng.pick(&moving);
                    self.held.insert((link, way == Way::Up), until);
                    self.book.note(Event::Delay);
                }
            }
            4 | 5 if has(Event::ShardStall) => {
                self.stalled.insert(self.rng.below(self.node.len()), until);
                self.book.note(Event::ShardStall);
            }
            6..=9 if has(Event::Time) => {
                let ms = if self.rng.chance(5) { 300 } else { self.rng.between(1, 10) as u64 };
                self.node.net.borrow_mut().pass(Nanos(ms * Nanos::MILLISECOND.0));
                self.book.note(Event::Time);
            }
            10..=15 => {
                let server = self.rng.below(SERVERS);
                self.servers[server].calls = match draw {
                    10 | 11 if has(Event::Refuses) => Calls::Refused,
                    12 if has(Event::Silent) => Calls::Unanswered,
                    _ => Calls::Taken,
                };
            }
            _ => {}
        }
    }

    fn publish(&mut self) {
        let map = Map::changed(&mut self.rng);
        let generation = self.book.generations.len() as u64 + 1;
        let mut next = Some(serve(&mut self.endpoints, &map, generation));
        let done = self.served.update(|_| next.take().ok_or(()));
        if done.is_err() {
            return; // a shard that stands still has old ones
        }
        self.book.note(Event::Published);
        self.trace.tell(format_args!("-- {map:?}"));
        let from = self.now();
        self.book.generations.push(Generation { map, from, until: None });
    }

    /// Calls find their servers.
    fn hear_calls(&mut self) {
        let mut net = self.node.net.borrow_mut();
        while let Some((link, to)) = net.dialled() {
            let server = (0..SERVERS).find(|n| address(*n) == to);
            let server = server.unwrap_or_else(|| panic!("{to} was called, who is nobody"));
            self.servers[server].called.push(link);
        }
    }

    /// Something that can be done now, of all that can.
    fn choose(&mut self) -> Option<Choice> {
        let now = self.trace.steps;
        let mut choices: Vec<Choice> = Vec::new();
        for shard in 0..self.node.len() {
            let stalled = self.stalled.get(&shard).is_some_and(|until| *until > now);
            if !stalled && self.node.is_runnable(shard) {
                choices.extend([Choice::Shard(shard), Choice::Shard(shard)]);
            }
        }
        let net = self.node.net.borrow();
        for (link, way) in net.moving() {
            let held = self.held.get(&(link, way == Way::Up)).is_some_and(|until| *until > now);
            if !held {
                choices.push(Choice::Wire(link, way));
            }
        }
        let clients = self.clients.iter().enumerate();
        let able = clients.filter(|(_, client)| client.can_act(&net, self.asks));
        choices.extend(able.map(|(n, _)| Choice::Client(n)));
        for (n, server) in self.servers.iter().enumerate() {
            choices.extend(server.called.first().map(|_| Choice::Call(n)));
            let conns = server.conns.iter().enumerate().filter(|(_, conn)| conn.can_act(&net));
            choices.extend(conns.map(|(m, _)| Choice::Server(n, m)));
        }
        drop(net);
        if choices.is_empty() {
            return None;
        }
        let n = self.rng.below(choices.len());
        Some(choices.swap_remove(n))
    }

    fn take(&mut self, choice: Choice) -> Result<(), String> {
        let healed = self.book.healed.is_some();
        let Self { plan, node, clients, servers, book, rng, trace, asks, .. } = self;
        let mut dice = Dice { rng, plan, healed };
        if !matches!(choice, Choice::Shard(_)) {
            self.quiet_since = node.net.borrow().now().mono;
        }
        match choice {
            Choice::Shard(shard) => self.take_shard(shard),
            Choice::Wire(link, way) => {
                let mut net = node.net.borrow_mut();
                let there = net.on_the_wire(link, way);
                let some = !healed && there > 1 && dice.rng.chance(40);
                let most = if some { dice.rng.between(1, there) } else { usize::MAX };
                net.deliver(link, way, most);
                trace.mix(&[2, link as u64, most as u64]);
                trace.tell(format_args!("wire {link} {way:?} brings {most} of {there}"));
            }
            Choice::Client(n) => {
                trace.mix(&[3, n as u64]);
                let mut net = node.net.borrow_mut();
                let outcome = clients[n].act(&mut net, book, &mut dice, trace, *asks);
                self.asked += usize::from(outcome.map_err(|why| format!("client {n}: {why}"))?);
            }
            Choice::Call(n) => {
                trace.mix(&[4, n as u64]);
                trace.tell(format_args!("server {n} is called: {:?}", servers[n].calls));
                servers[n].take_call(n, &mut node.net.borrow_mut(), book);
            }
            Choice::Server(n, m) => {
                trace.mix(&[5, n as u64, m as u64]);
                let mut net = node.net.borrow_mut();
                let conns = &mut servers[n].conns;
                let outcome = conns[m].act(&mut net, book, &mut dice, trace);
                outcome.map_err(|why| format!("server {n} link {}: {why}", conns[m].link))?;
                conns.retain(|conn| !conn.gone);
            }
        }
        Ok(())
    }

    fn take_shard(&mut self, shard: usize) {
        let did = self.node.step(shard);
        self.trace.mix(&[1, shard as u64]);
        self.trace.tell(format_args!("shard {shard} {did}"));
        if did == "has a turn" {
            self.used[shard] = self.book.generations.len() - 1;
        }
        let span = Nanos(self.rng.between(1_000, 60_000) as u64);
        self.node.net.borrow_mut().pass(span);
        let (now, oldest) = (self.now(), self.used.iter().copied().min().unwrap_or(0));
        for generation in &mut self.book.generations[..oldest] {
            generation.until.get_or_insert(now);
        }
    }

    /// Everything is well from now on.
    pub fn heal(&mut self) -> Result<(), String> {
        self.trace.tell(format_args!("-- healed"));
        self.asks = false;
        self.held.clear();
        self.stalled.clear();
        self.count_network();
        let rules = &mut self.node.net.borrow_mut().rules;
        (rules.cut_reads, rules.cut_sends, rules.late_reads, rules.buffers) = (0, 0, 0, 256);
        // What is asked from here on is served by all.
        self.book.healed = Some(Nanos(u64::MAX));
        for server in &mut self.servers {
            server.calls = Calls::Taken;
        }
        Ok(())
    }

    fn count_network(&mut self) {
        let counts = self.node.net.borrow().counts;
        for (event, count) in [
            (Event::CutRead, counts.cut_reads),
            (Event::ShortSend, counts.short_sends),
            (Event::Starved, counts.starved),
            (Event::LateRead, counts.late_reads),
        ] {
            if count > 0 {
                self.book.happened.insert(event, count);
            }
        }
    }
}
