//! Several clients at once see each other's operations whole or not at all.
//!
//! Owns clients who keep something true that spans shards, and clients who look whether it
//! is. The same clients on a node without holds must find it broken, each in its own way, so
//! that those who look are known to see.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::actors::{ALL_WRONGS, Actor, FOLLOWERS, Names, ROLES, Role, TOTAL, Wrong};
use super::node::Node;
use super::seat::ClientNo;
use super::tree::Tree;

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(Vec::from).collect()
}

/// Says something and waits for the reply.
fn say(node: &mut Node, client: ClientNo, line: &str) -> Tree {
    node.ask(client, &words(line));
    loop {
        if let Some(reply) = node.take_reply(client) {
            return Tree::of(&reply);
        }
        assert!(node.step(), "never answered: {line}");
    }
}

/// Rounds that each client of many, or of few, plays.
const ROUNDS: usize = 8;
const ROUNDS_OF_FEW: usize = 24;

/// About how many commands a client says before another gets a word in, if it need not wait.
const EAGER_TURNS: usize = 8;

/// All play their rounds at once; what was seen that must not be.
fn play(shards: u16, seed: u64, roles: &[Role], holds: bool) -> Vec<(Wrong, String)> {
    let (mut node, names) = (Node::new(shards, seed), Names::new());
    let rounds = if roles.len() < ROLES.len() { ROUNDS_OF_FEW } else { ROUNDS };
    node.holds = holds;
    let host = node.connect();
    for line in names.setup() {
        say(&mut node, host, &line);
    }
    let mut actors: Vec<Actor> =
        roles.iter().map(|role| Actor::new(node.connect(), *role, rounds)).collect();
    let mut eager = 0;
    loop {
        let random = node.random();
        let able: Vec<usize> = (0..actors.len()).filter(|i| !actors[*i].waits).collect();
        if able.is_empty() {
            if !node.step() {
                break;
            }
        } else if random % 3 > 0 {
            node.step_without_slow();
        } else {
            if random.is_multiple_of(EAGER_TURNS) || !able.contains(&eager) {
                eager = able[node.random() % able.len()];
            }
            let actor = &mut actors[eager];
            actor.waits = true; // for good, when it has nothing to say any more
            if let Some(line) = actor.next(&names, node.random()) {
                node.ask(actor.client, &words(&line));
            }
        }
        for actor in &mut actors {
            if let Some(reply) = node.take_reply(actor.client) {
                actor.heard.push(Tree::of(&reply));
                actor.waits = false;
            }
        }
    }
    finish(&mut node, host, &names, &mut actors);
    actors.into_iter().flat_map(|actor| actor.wrongs).collect()
}

/// Everybody has come to an end, and so has what they left behind.
fn finish(node: &mut Node, host: ClientNo, names: &Names, actors: &mut [Actor]) {
    for actor in actors.iter() {
        assert_eq!(actor.left, 0, "{:?} waits for ever at {:?}", actor.role, actor.lines);
    }
    node.drain();
    assert_eq!(node.stray_watches(), [], "marks of nobody");
    let mut updates = BTreeMap::new();
    for actor in actors.iter() {
        if let Role::Counts(copied) = actor.role {
            *updates.entry(copied).or_insert(0) += actor.updates;
        }
    }
    for (copied, updates) in updates {
        let name = if copied { &names.counter[0] } else { &names.solo };
        let lost = say(node, host, &format!("GET {name}")).number() != updates;
        actors[0].expect(!lost, Wrong::Update);
    }
    let sum = say(node, host, &format!("MGET {}", names.accounts.join(" ")));
    actors[0].expect(sum.numbers().iter().sum::<i64>() == TOTAL, Wrong::Sum);
    node.drain();
}

proptest! {
    #[test]
    fn operations_of_several_clients_are_isolated_and_all_end(shards in 1..6u16, seed: u64) {
        for roles in [&ROLES[..], &FOLLOWERS] {
            let wrongs = play(shards, seed, roles, true);
            prop_assert!(wrongs.is_empty(), "{wrongs:?}");
        }
    }
}

/// Whoever looks above would see it.
#[test]
fn without_holds_each_check_fails() {
    let mut seen: BTreeMap<Wrong, u64> = BTreeMap::new();
    for seed in 0..SEEDS_WITHOUT_HOLDS {
        for (wrong, _) in play(2 + (seed % 4) as u16, seed, &ROLES, false) {
            *seen.entry(wrong).or_default() += 1;
        }
    }
    for wrong in ALL_WRONGS {
        assert!(seen.contains_key(&wrong), "{wrong:?} is never seen: {seen:?}");
    }
}

/// Enough for each kind, by far.
const SEEDS_WITHOUT_HOLDS: u64 = 64;
