//! Whole shards in one thread under one seed: their mesh, connections and clocks, with faults.
//!
//! A seed decides everything, so that a failure is repeated by its number:
//! `SIM_SEEDS=7 cargo test -p dataplane --test sim seeds -- --nocapture`, `SIM_SEEDS=0..5000`
//! for many. What is looked for is said in the modules of `roles`, in `linear` and in `ending`.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod alone;
mod cases;
mod checks;
mod client;
mod conversations;
mod ending;
mod faults;
mod linear;
mod node;
mod plan;
mod proxied;
mod proxy_conversations;
mod roles;
mod runs;
mod seeds;
mod trace;
mod world;

#[allow(dead_code)] // written for the black-box tests
#[path = "../../../tests/support/format.rs"]
mod format;
#[allow(dead_code)] // written for the black-box tests
#[path = "../../../tests/support/resp.rs"]
mod resp;
#[path = "../../../tests/support/talk_strict.rs"]
mod strict;
#[path = "../../../tests/support/talk.rs"]
mod talk;

use std::ops::Range;

/// Seeds that every test run tries.
const SEEDS: Range<u64> = 0..100;

/// Seeds that once found something, and what.
const ONCE_FAILED: &[(u64, &str)] = &[
    (10, "a WATCH behind UNWATCH in one turn was lost"),
    (48, "a drain closed over received bytes that nobody had looked at"),
    (2_178, "MGET waited for a hold, and a SET behind it did not"),
];

#[test]
fn seeds() {
    let mut sum = runs::Summary::default();
    for seed in seeds::wanted(SEEDS) {
        sum.add(&runs::check(seed));
        if (seed + 1) % 100 == 0 {
            println!("{} seeds, to {seed}", sum.runs);
        }
    }
    println!("{sum}");
    sum.is_plausible();
}

#[test]
fn seeds_that_once_failed() {
    for (seed, what) in ONCE_FAILED {
        println!("{seed}: {what}");
        runs::check(*seed);
    }
}

#[test]
fn a_seed_is_replayed_to_the_byte() {
    for seed in [3, 14, 15, 92] {
        let (one, two) = (runs::check(seed), runs::check(seed));
        assert_eq!((one.hash, one.steps), (two.hash, two.steps), "seed {seed}");
        assert_ne!(one.hash, runs::check(seed + 1_000).hash, "the hash tells runs apart");
    }
}
