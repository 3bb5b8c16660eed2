//! The proxy in seeded runs: clients with pipelines on one side, servers on the other, faults at
//! both and in between.
//!
//! `SIM_SEEDS=7 cargo test -p dataplane --test sim proxy_seeds -- --exact --nocapture` repeats a
//! seed. What must not be seen is said in `book`, `limits` and `ending`.

mod answer;
mod book;
mod client;
mod ending;
mod limits;
mod plan;
mod reader;
mod server;
mod town;

use std::collections::BTreeMap;
use std::ops::Range;

use super::seeds::{self, wanted};
use super::trace::Trace;
use plan::{EVENTS, Event};
use town::Town;

/// Seeds that every test run tries.
const SEEDS: Range<u64> = 0..80;

/// A run that held.
#[derive(Default)]
struct Run {
    hash: u64,
    steps: u64,
    shards: u16,
    asked: usize,
    admitted: usize,
    refused: usize,
    replays: u64,
    truncated: u64,
    doorbells: u64,
    happened: BTreeMap<Event, u64>,
    causes: BTreeMap<String, u64>,
}

fn run(seed: u64, trace: &mut Trace) -> Result<Run, String> {
    let mut town = Town::new(seed, trace);
    let enough = town.plan.requests;
    town.run(|town| town.asked >= enough)?;
    ending::recover(&mut town)?;
    let end = town.now();
    let (admitted, refused) = limits::hold(&town.book, end)?;
    ending::leave_nothing(&mut town)?;
    ending::drain(&mut town)?;
    let book = &town.book;
    Ok(Run {
        hash: town.trace.hash(),
        steps: town.trace.steps,
        shards: town.plan.shards,
        asked: book.entries.len(),
        admitted,
        refused,
        replays: book.replays,
        truncated: book.truncated,
        doorbells: town.node.doorbells(),
        happened: book.happened.clone(),
        causes: book.causes.clone(),
    })
}

fn check(seed: u64) -> Run {
    seeds::check(seed, "proxied::proxy_seeds", run)
}

/// Own answers that many runs must have come across.
const CAUSES: [&str; 9] = [
    "no_path",
    "no_endpoint",
    "limited",
    "connect_failed",
    "response_timeout",
    "request_timeout",
    "upstream_closed",
    "upstream_reset",
    "bad_response",
];

#[test]
fn proxy_seeds() {
    let (mut sum, mut runs) = (Run::default(), 0);
    for seed in wanted(SEEDS) {
        let run = check(seed);
        runs += 1;
        sum.steps += run.steps;
        sum.asked += run.asked;
        sum.admitted += run.admitted;
        sum.refused += run.refused;
        sum.replays += run.replays;
        sum.truncated += run.truncated;
        sum.doorbells += run.doorbells;
        sum.shards |= 1 << run.shards;
        run.happened.iter().for_each(|(e, n)| *sum.happened.entry(*e).or_default() += n);
        run.causes.iter().for_each(|(c, n)| *sum.causes.entry(c.clone()).or_default() += n);
        if runs % 100 == 0 {
            println!("{runs} seeds, to {seed}");
        }
    }
    println!(
        "{runs} runs, {} steps, {} requests, {} admitted, {} refused, {} replayed, {} cut, \
         {} doorbells\n{:?}\n{:?}",
        sum.steps,
        sum.asked,
        sum.admitted,
        sum.refused,
        sum.replays,
        sum.truncated,
        sum.doorbells,
        sum.happened,
        sum.causes
    );
    if runs >= 60 {
        for event in EVENTS {
            assert!(sum.happened.contains_key(&event), "all seeds failed: no {event:?}");
        }
        for cause in CAUSES {
            assert!(sum.causes.contains_key(cause), "all seeds failed: nobody was told {cause}");
        }
        let all = sum.refused > 0 && sum.replays > 0 && sum.truncated > 0 && sum.doorbells > 0;
        assert!(all && sum.shards == 0b1110, "all seeds failed: nothing of a kind happened");
    }
}

#[test]
fn a_proxy_seed_is_replayed_to_the_byte() {
    for seed in [3, 14, 15] {
        let (one, two) = (check(seed), check(seed));
        assert_eq!((one.hash, one.steps), (two.hash, two.steps), "seed {seed}");
        assert_ne!(one.hash, check(seed + 1_000).hash, "the hash tells runs apart");
    }
}
