//! Runs of seeds: what one comes to, how it is told when it has failed, and many in sum.

use std::collections::BTreeMap;
use std::fmt;

use super::client::Client;
use super::ending;
use super::plan::{FAULTS, Fault};
use super::resp::Value;
use super::roles;
use super::seeds;
use super::trace::Trace;
use super::world::World;

/// A run that held.
pub struct Run {
    pub hash: u64,
    pub steps: u64,
    pub operations: usize,
    pub undecided: usize,
    pub doorbells: u64,
    /// Pipelined requests that went together, how often and how many.
    pub request_runs: (u64, u64),
    pub shards: u16,
    pub happened: BTreeMap<Fault, u64>,
}

/// Runs a seed, or says how it is repeated.
pub fn check(seed: u64) -> Run {
    seeds::check(seed, "seeds", run)
}

fn run(seed: u64, trace: &mut Trace) -> Result<Run, String> {
    let mut world = World::new(seed, trace);
    let said = ending::converse(&mut world, roles::preface())?;
    if said != [Value::ok(), Value::ok()] {
        return Err(format!("the preface: {said:?}, {:?} bytes", world.node.memory_used()));
    }
    world.trouble()?;
    world.heal()?;
    world.checks.histories_hold()?;
    ending::leave_nothing(&mut world)?;
    ending::drain(&mut world)?;
    let hash_of_faults: Vec<u64> = world.happened.values().copied().collect();
    world.trace.mix(&hash_of_faults);
    debug_assert!(!world.clients.iter().any(Client::waits), "all were answered");
    Ok(Run {
        hash: world.trace.hash(),
        steps: world.trace.steps,
        operations: world.checks.operations,
        undecided: world.checks.undecided,
        doorbells: world.node.doorbells(),
        request_runs: world.node.request_runs(),
        shards: world.plan.shards,
        happened: world.happened,
    })
}

/// Many runs.
#[derive(Default)]
pub struct Summary {
    pub runs: u64,
    steps: u64,
    operations: usize,
    undecided: usize,
    doorbells: u64,
    request_runs: (u64, u64),
    by_shards: BTreeMap<u16, u64>,
    /// Runs in which a fault happened, and how often it did.
    faults: BTreeMap<Fault, (u64, u64)>,
}

impl Summary {
    pub fn add(&mut self, run: &Run) {
        self.runs += 1;
        self.steps += run.steps;
        self.operations += run.operations;
        self.undecided += run.undecided;
        self.doorbells += run.doorbells;
        self.request_runs.0 += run.request_runs.0;
        self.request_runs.1 += run.request_runs.1;
        *self.by_shards.entry(run.shards).or_default() += 1;
        for (fault, times) in &run.happened {
            let sum = self.faults.entry(*fault).or_default();
            *sum = (sum.0 + 1, sum.1 + times);
        }
    }

    /// What many runs must have come across, or they prove little.
    pub fn is_plausible(&self) {
        assert!(self.undecided * 50 <= self.runs as usize * 6, "{} undecided", self.undecided);
        if self.runs >= 100 {
            for fault in FAULTS {
                assert!(self.faults.contains_key(&fault), "{fault:?} never happened");
            }
            let (times, requests) = self.request_runs;
            assert!(
                times > self.runs && requests >= 2 * times,
                "all seeds failed: {requests} pipelined requests went together {times} times"
            );
            assert!(self.doorbells > 0 && self.operations > 0 && self.by_shards.len() == 4);
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} runs, {} steps, by shards {:?}", self.runs, self.steps, self.by_shards)?;
        writeln!(
            f,
            "{} operations in histories, {} of keys undecided, {} doorbells",
            self.operations, self.undecided, self.doorbells
        )?;
        let (times, requests) = self.request_runs;
        writeln!(f, "{requests} pipelined requests went together {times} times")?;
        for (fault, (runs, times)) in &self.faults {
            writeln!(f, "  {:<12} {times} times in {runs} runs", format!("{fault:?}"))?;
        }
        Ok(())
    }
}
