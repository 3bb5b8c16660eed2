//! One run: from its seed comes who does what next, and what goes wrong.
//!
//! Owns the scheduler. A shard that sleeps is woken by a bell, an event or its deadline and by
//! nothing else, so that one which sleeps over work is found: when nothing can move and a
//! client still waits, the run has failed.

use std::collections::BTreeMap;

use dataplane::proxy::Served;
use dataplane::publish::Publisher;
use dataplane::runtime::sim::{Rng, Way};
use shards::time::Nanos;

use super::checks::Checks;
use super::client::{Client, Desk};
use super::node::Node;
use super::plan::{Fault, Plan};
use super::roles;
use super::trace::Trace;

/// Steps that one phase may take.
const MOST_STEPS: u64 = 400_000;
/// How often the requests are doubled for a fault that has not happened yet.
const EXTENSIONS: usize = 8;

/// See the module's text.
pub struct World<'a> {
    pub plan: Plan,
    pub node: Node,
    pub clients: Vec<Client>,
    pub checks: Checks,
    pub rng: Rng,
    pub trace: &'a mut Trace,
    /// How often each fault has happened.
    pub happened: BTreeMap<Fault, u64>,
    /// Faults that are made by the scheduler, by the step in which they are due.
    pub due: BTreeMap<u64, Vec<Fault>>,
    /// Wires on which nothing moves before a step, and shards that do not run.
    pub held: BTreeMap<(usize, bool), u64>,
    pub stalled: BTreeMap<usize, u64>,
    pub healed: bool,
    /// Whether time passes only when it is told to.
    pub frozen: bool,
    asked: usize,
    /// Requests for memory that were to be refused.
    pub refusals: u64,
}

/// What is done next.
enum Choice {
    Shard(usize),
    Wire(usize, Way),
    Client(usize),
}

impl<'a> World<'a> {
    pub fn new(seed: u64, trace: &'a mut Trace) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::of(&mut rng);
        Self::with(plan, rng, None, trace)
    }

    /// A world of so many shards without faults, in which nobody asks anything by himself.
    pub fn quiet(shards: u16, seed: u64, trace: &'a mut Trace) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::quiet(shards, &mut rng);
        Self::with(plan, rng, None, trace)
    }

    /// The same with a proxy.
    pub fn proxied(
        shards: u16,
        seed: u64,
        served: Publisher<Served>,
        trace: &'a mut Trace,
    ) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::quiet(shards, &mut rng);
        Self::with(plan, rng, Some(served), trace)
    }

    fn with(
        plan: Plan,
        mut rng: Rng,
        served: Option<Publisher<Served>>,
        trace: &'a mut Trace,
    ) -> Self {
        let (shards, parcels, rules) = (plan.shards, plan.parcels, plan.rules);
        let node = Node::new(shards, parcels, plan.settings.clone(), rules, rng.draw(), served);
        let refusing = plan.has(Fault::NoMemory) || plan.has(Fault::SmallMemory);
        let clients = (0..plan.clients).map(|n| {
            let kind = plan.role_of(n, &mut rng);
            let role = roles::choose(kind, n, refusing, &mut rng);
            let mut client = Client::new(n, role, &mut rng);
            if plan.asks_much(n) {
                client.depth = 30;
            }
            client
        });
        let clients = clients.collect();
        let evicting = plan.has(Fault::SmallMemory);
        let memory_is_refused = plan.has(Fault::NoMemory);
        let checks = Checks::new(evicting, memory_is_refused);
        let mut world = Self {
            plan,
            node,
            clients,
            checks,
            rng,
            trace,
            happened: BTreeMap::new(),
            due: BTreeMap::new(),
            held: BTreeMap::new(),
            stalled: BTreeMap::new(),
            healed: false,
            frozen: false,
            asked: 0,
            refusals: 0,
        };
        world.checks.crowded = world.plan.has(Fault::Crowd);
        let start = world.node.net.borrow().now().wall_us;
        world.checks.set_clock(start);
        world
    }

    /// Runs all clients under the planned faults until they have asked enough and each fault
    /// has happened.
    pub fn trouble(&mut self) -> Result<(), String> {
        self.plan_faults(0);
        let mut requests = self.plan.requests;
        for _ in 0..EXTENSIONS {
            // What cannot happen is not waited for for ever.
            let most = 4 * requests;
            while self.asked < requests || !self.due.is_empty() && self.asked < most {
                // By bursts: between them nobody asks, and everybody must get his answers.
                let burst = self.asked + self.rng.between(10, 300);
                self.run(|world| world.asked >= burst, true)?;
                self.run(|world| !world.clients.iter().any(Client::waits), false)?;
            }
            self.count_faults();
            let missing: Vec<Fault> = self
                .plan
                .faults
                .iter()
                .copied()
                .filter(|f| !self.happened.contains_key(f))
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            self.plan_faults(self.trace.steps);
            requests += self.plan.requests;
        }
        let missing = self.plan.faults.iter().filter(|f| !self.happened.contains_key(f));
        Err(format!("planned, and never happened: {:?}", missing.collect::<Vec<_>>()))
    }

    /// Everything is well from now on, and whoever waits must get an answer.
    pub fn heal(&mut self) -> Result<(), String> {
        self.healed = true;
        self.held.clear();
        self.stalled.clear();
        self.due.clear();
        for shard in 0..self.node.len() {
            self.node.refuse_memory(shard, 0);
        }
        let mut net = self.node.net.borrow_mut();
        let rules = &mut net.rules;
        (rules.cut_reads, rules.cut_sends, rules.late_reads, rules.buffers) = (0, 0, 0, 256);
        drop(net);
        self.trace.tell(format_args!("-- healed"));
        self.run(|world| !world.clients.iter().any(Client::waits), false)
    }

    /// Takes steps until `done`; with `asks`, clients go on asking.
    pub fn run(&mut self, done: impl Fn(&Self) -> bool, asks: bool) -> Result<(), String> {
        let end = self.trace.steps + MOST_STEPS;
        while !done(self) {
            if self.trace.steps >= end {
                return Err(format!("no end in sight after {MOST_STEPS} steps"));
            }
            self.trace.steps += 1;
            self.inject();
            let Some(choice) = self.choose(asks) else {
                if self.let_go() {
                    continue;
                }
                if self.clients.iter().any(Client::waits) {
                    return Err(self.stuck());
                }
                if !self.skip_to_deadline() {
                    return Err("nothing can happen any more".into());
                }
                continue;
            };
            self.take(choice, asks)?;
        }
        Ok(())
    }

    /// Lets everything happen that can without time passing.
    pub fn settle(&mut self) {
        while let Some(choice) = self.choose(false) {
            self.take(choice, false).expect("nobody waits for anything");
        }
    }

    /// Something that can be done now, of all that can.
    fn choose(&mut self, asks: bool) -> Option<Choice> {
        let now = self.trace.steps;
        let mut choices: Vec<Choice> = Vec::new();
        for shard in 0..self.node.len() {
            let stalled = self.stalled.get(&shard).is_some_and(|until| *until > now);
            if !stalled && self.node.is_runnable(shard) {
                choices.push(Choice::Shard(shard));
                choices.push(Choice::Shard(shard));
            }
        }
        let net = self.node.net.borrow();
        for (link, way) in net.moving() {
            let held = self.held.get(&(link, way == Way::Up)).is_some_and(|until| *until > now);
            if !held {
                choices.push(Choice::Wire(link, way));
            }
        }
        for (n, client) in self.clients.iter().enumerate() {
            if client.can_act(&net, asks) {
                choices.push(Choice::Client(n));
            }
        }
        drop(net);
        if choices.is_empty() {
            return None;
        }
        let n = self.rng.below(choices.len());
        Some(choices.swap_remove(n))
    }

    fn take(&mut self, choice: Choice, asks: bool) -> Result<(), String> {
        match choice {
            Choice::Shard(shard) => {
                let did = self.node.step(shard);
                self.trace.mix(&[1, shard as u64]);
                self.trace.tell(format_args!("shard {shard} {did}"));
                let span = Nanos(self.rng.between(1_000, 60_000) as u64);
                if !self.frozen {
                    self.node.net.borrow_mut().pass(span);
                }
            }
            Choice::Wire(link, way) => {
                let mut net = self.node.net.borrow_mut();
                let there = net.on_the_wire(link, way);
                let some = !self.healed && there > 1 && self.rng.chance(40);
                let most = if some { self.rng.between(1, there) } else { usize::MAX };
                net.deliver(link, way, most);
                let brought = there - net.on_the_wire(link, way);
                self.trace.mix(&[2, link as u64, brought as u64]);
                self.trace.tell(format_args!("wire {link} {way:?} brings {brought} of {there}"));
            }
            Choice::Client(n) => self.act(n, asks)?,
        }
        let wall = self.node.net.borrow().now().wall_us;
        self.checks.wall_max = self.checks.wall_max.max(wall);
        Ok(())
    }

    fn act(&mut self, n: usize, asks: bool) -> Result<(), String> {
        self.trace.mix(&[3, n as u64]);
        let Self { clients, node, checks, rng, trace, .. } = self;
        let mut net = node.net.borrow_mut();
        let (at, wall_us) = (trace.steps, net.now().wall_us);
        let connection = clients[n].link.unwrap_or(usize::MAX);
        let mut desk = Desk { rng, checks, client: n, connection, at, wall_us };
        let outcome = clients[n].act(&mut net, trace, &mut desk, asks);
        self.asked += 1;
        outcome.map_err(|why| format!("client {n} ({}): {why}", self.clients[n].role.name()))
    }

    /// Nothing can move: what was held back moves on.
    fn let_go(&mut self) -> bool {
        let any = !self.held.is_empty() || !self.stalled.is_empty();
        self.held.clear();
        self.stalled.clear();
        any
    }

    /// Time passes until a shard wakes by itself.
    fn skip_to_deadline(&mut self) -> bool {
        let Some(at) = self.node.next_deadline() else { return false };
        let mut net = self.node.net.borrow_mut();
        let span = at.since(net.now().mono);
        net.pass(Nanos(span.0.max(1)));
        true
    }

    fn stuck(&self) -> String {
        let waiting = self.clients.iter().filter(|client| client.waits());
        let names: Vec<String> =
            waiting.map(|c| format!("{} ({})", c.number, c.role.name())).collect();
        format!(
            "nothing can move, and these clients wait: {}\n{:#?}",
            names.join(", "),
            self.node.leftovers()
        )
    }
}
