//! Faults as they are made: when each is due, whether it can happen now, and how often it has.

use dataplane::runtime::sim::Way;

use super::client::Desk;
use super::plan::Fault;
use super::world::World;

impl World<'_> {
    /// Each planned fault that is made here, a few times over the run.
    pub fn plan_faults(&mut self, from: u64) {
        for fault in self.plan.faults.clone() {
            let made_here = matches!(
                fault,
                Fault::Delay
                    | Fault::Reset
                    | Fault::HalfClose
                    | Fault::Stall
                    | Fault::WallJump
                    | Fault::NoMemory
                    | Fault::Kill
                    | Fault::Spurious
            );
            if made_here {
                for _ in 0..self.rng.between(1, 4) {
                    let at = from + self.rng.between(50, 6 * self.plan.requests) as u64;
                    self.due.entry(at).or_default().push(fault);
                }
            }
        }
    }

    /// Faults that the network and the node count themselves.
    pub fn count_faults(&mut self) {
        let counts = self.node.net.borrow().counts;
        let outstanding: u32 = (0..self.node.len()).map(|n| self.node.refusals_left(n)).sum();
        let seen = [
            (Fault::CutRead, counts.cut_reads),
            (Fault::ShortSend, counts.short_sends),
            (Fault::LateRead, counts.late_reads),
            (Fault::Starved, counts.starved),
            (Fault::FullRings, self.node.waits_for_parcels()),
            (Fault::Crowd, self.node.refused_clients()),
            (Fault::SmallMemory, self.node.short_of_memory()),
            (Fault::Kill, self.checks.killed.len() as u64),
            (Fault::NoMemory, self.refusals - u64::from(outstanding)),
        ];
        for (fault, count) in seen {
            if count > 0 && self.plan.has(fault) {
                self.happened.insert(fault, count);
            }
        }
    }

    /// Lets happen what is due.
    pub fn inject(&mut self) {
        while let Some(entry) = self.due.first_entry() {
            if *entry.key() > self.trace.steps {
                return;
            }
            for fault in entry.remove() {
                self.trace.tell(format_args!("-- {fault:?}"));
                if self.let_happen(fault) {
                    // These two happen when somebody comes to it.
                    if !matches!(fault, Fault::Kill | Fault::NoMemory) {
                        *self.happened.entry(fault).or_default() += 1;
                    }
                } else {
                    // Not now: a little later.
                    self.due.entry(self.trace.steps + 20).or_default().push(fault);
                }
            }
        }
    }

    /// `false` when it cannot happen now.
    fn let_happen(&mut self, fault: Fault) -> bool {
        let until = self.trace.steps + self.rng.between(100, 1_500) as u64;
        let shard = self.rng.below(self.node.len());
        match fault {
            Fault::Delay => {
                let moving: Vec<_> = self.node.net.borrow().moving().collect();
                if moving.is_empty() {
                    return false;
                }
                let (link, way) = *self.rng.pick(&moving);
                self.held.insert((link, way == Way::Up), until);
            }
            Fault::Stall => {
                if !self.node.is_runnable(shard) {
                    return false; // it would notice nothing
                }
                self.stalled.insert(shard, until);
            }
            Fault::WallJump => {
                let by = self.rng.between(1, 60_000) as i64;
                let by = if self.rng.chance(50) { by } else { -by };
                let mut net = self.node.net.borrow_mut();
                net.jump(by);
                self.checks.set_clock(net.now().wall_us);
            }
            Fault::NoMemory => {
                self.refusals += u64::from(1 - self.node.refuse_memory(shard, 1).min(1));
            }
            Fault::Kill => self.checks.kills = true,
            Fault::Spurious => {
                if !self.node.is_dozing(shard) || self.node.is_runnable(shard) {
                    return false;
                }
                self.node.step(shard);
            }
            Fault::Reset | Fault::HalfClose => return self.let_client_go(fault),
            _ => {}
        }
        true
    }

    fn let_client_go(&mut self, fault: Fault) -> bool {
        let Self { clients, node, checks, rng, trace, .. } = self;
        let open: Vec<usize> = clients
            .iter()
            .filter(|client| client.link.is_some() && !client.finished && client.waits())
            .map(|client| client.number)
            .collect();
        if open.is_empty() {
            return false;
        }
        let n = *rng.pick(&open);
        let mut net = node.net.borrow_mut();
        let (at, wall_us) = (trace.steps, net.now().wall_us);
        let mut desk = Desk { rng, checks, client: n, connection: 0, at, wall_us };
        match fault {
            Fault::Reset => clients[n].reset(&mut net, &mut desk),
            _ => clients[n].finish(&mut net),
        }
        trace.tell(format_args!("client {n}: {fault:?}"));
        true
    }
}
