//! Small scenes in which something once went wrong, told request by request.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use shards::ids::ShardId;
use shards::partition::Partition;
use shards::slot::slot_of;

use super::client::{Client, Request};
use super::ending;
use super::resp::{self, Value};
use super::roles::Script;
use super::trace::Trace;
use super::world::World;

/// Lets a client ask, on a connection by its number, without waiting for the answers.
fn ask(world: &mut World<'_>, client: usize, requests: &[&str]) -> Rc<RefCell<Vec<Value>>> {
    let mut asked = Vec::new();
    for (words, silent) in requests.iter().zip(silent(requests)) {
        let request = Request::of(asked.len() as u32, words);
        asked.push(if silent { request.silent() } else { request });
    }
    let script = Script::new(asked);
    let answers = script.answers.clone();
    let role = Box::new(script);
    match world.clients.get_mut(client) {
        Some(known) => known.role = role,
        None => {
            let mut fresh = Client::new(client, role, &mut world.rng);
            fresh.resp3 = false; // until it asks for it
            fresh.connect(&mut world.node.net.borrow_mut());
            world.clients.push(fresh);
        }
    }
    ending::ask_all(world, client);
    answers
}

/// Which of some requests get no answer, as they were silenced by others before them (CLIENT
/// REPLY, <https://valkey.io/commands/client-reply/>). Outside of transactions.
pub fn silent(requests: &[&str]) -> Vec<bool> {
    let (mut off, mut skip) = (false, false);
    let one = |words: &&str| match *words {
        "CLIENT REPLY ON" => {
            (off, skip) = (false, false);
            false
        }
        "CLIENT REPLY OFF" => {
            off = true;
            true
        }
        "CLIENT REPLY SKIP" => {
            skip = true;
            true
        }
        _ => std::mem::take(&mut skip) || off,
    };
    requests.iter().map(one).collect()
}

/// Sends requests at once and says what was answered.
pub fn say(world: &mut World<'_>, client: usize, requests: &[&str]) -> Vec<String> {
    let answers = ask(world, client, requests);
    let loud = silent(requests).into_iter().filter(|silent| !silent).count();
    world.run(|_| answers.borrow().len() == loud, false).unwrap();
    answers.borrow().iter().map(resp::render).collect()
}

/// A key of each shard's, several times.
fn keys_of(shard: u16, shards: u16, count: usize) -> Vec<String> {
    let partition = Partition::new(shards).unwrap();
    let all = (0..).map(|n| format!("key:{n}"));
    let own = all.filter(|key| partition.home(slot_of(key.as_bytes())) == ShardId(shard));
    own.take(count).collect()
}

/// A command that waits for a hold, and one behind it whose keys nobody holds: the second once
/// went first, so that a MGET read what its own client wrote later.
#[test]
fn what_waits_for_a_hold_is_not_overtaken() {
    for seed in 0..20 {
        let mut trace = Trace::new(false);
        let mut world = World::quiet(2, seed, &mut trace);
        // The first client is served by the first shard, the second by the other.
        say(&mut world, 0, &["PING"]);
        say(&mut world, 1, &["PING"]);
        let (here, there) = (keys_of(0, 2, 2), keys_of(1, 2, 1));
        for n in 1..30 {
            let holds = format!("MSET {} x {} y", here[1], there[0]);
            let held = ask(&mut world, 1, &[holds.as_str(); 4]);
            let gap = world.rng.below(60);
            let end = world.trace.steps + gap as u64;
            world.run(|world| world.trace.steps >= end || held.borrow().len() == 4, false).unwrap();
            let (get, set) =
                (format!("MGET {} {}", here[0], here[1]), format!("SET {} {n}", here[0]));
            let answers = say(&mut world, 0, &[&get, &set]);
            let before = if n == 1 { "[$-1".into() } else { format!("[\"{}\"", n - 1) };
            assert!(answers[0].starts_with(&before), "seed {seed}, round {n}: {answers:?}");
            world.run(|_| held.borrow().len() == 4, false).unwrap();
        }
    }
}

/// A read of a slot that somebody holds at any time, since others stand in line for it without
/// end: it once had no place in that line, and waited for ever.
#[test]
fn what_waits_for_a_hold_has_its_turn() {
    const HOLDERS: usize = 5;
    const EACH: usize = 200;
    /// Answers to holders while one read waits: those before it in line, those that came while
    /// it was on its way, and what a shard may have answered before it was heard of.
    const MOST: usize = 20 * HOLDERS;
    for seed in 0..20 {
        let mut trace = Trace::new(false);
        let mut world = World::quiet(2, seed, &mut trace);
        let hot = keys_of(seed as u16 % 2, 2, 1).remove(0);
        let hold = format!("MSET {hot} x {} y", keys_of(1 - seed as u16 % 2, 2, 1)[0]);
        for reader in [0, 1] {
            say(&mut world, reader, &["PING"]);
        }
        let held: Vec<_> =
            (2..2 + HOLDERS).map(|n| ask(&mut world, n, &[hold.as_str(); EACH])).collect();
        let done = || held.iter().map(|answers| answers.borrow().len()).sum::<usize>();
        world.run(|_| done() >= 2 * HOLDERS, false).unwrap();
        // One reader is at home with the slot, the other is not.
        for n in 0..10 {
            let before = done();
            assert_eq!(say(&mut world, n % 2, &[&format!("GET {hot}")]), ["\"x\""]);
            let took = done() - before;
            assert!(took <= MOST, "seed {seed}, read {n}: {took} operations went before it");
            assert!(done() < HOLDERS * (EACH - 1), "seed {seed}: the slot was held all along");
        }
        world.run(|_| done() == HOLDERS * EACH, false).unwrap();
    }
}

/// One client that asks for two held slots without end, in turn: a part of it waits there, the
/// rest with its connection, and all is answered in order.
#[test]
fn few_commands_of_a_client_wait_for_a_hold() {
    const WAIT: usize = 64;
    // The first client is served where the slots are at home, the second is not.
    let most = [0, 1].map(|client| {
        let parked = (0..10).map(|seed| {
            let mut trace = Trace::new(false);
            let mut world = World::quiet(2, seed, &mut trace);
            let carried = if client == 1 { 256 * world.plan.parcels } else { 0 };
            let parked = ask_for_held_slots(&mut world, client);
            assert!(parked <= WAIT + carried, "client {client}, seed {seed}: {parked} wait");
            parked
        });
        parked.max().expect("some seeds")
    });
    assert!(most[0] == WAIT && most[1] >= WAIT, "they have come to their bound: {most:?}");
}

/// How many commands have waited at once.
fn ask_for_held_slots(world: &mut World<'_>, client: usize) -> usize {
    const ASKED: usize = 1_500;
    const HOLDERS: usize = 4;
    const HOLDS: usize = 100;
    let (hot, cold) = (keys_of(0, 2, 2), keys_of(1, 2, 2));
    (0..2).for_each(|n| drop(say(world, n, &["PING"])));
    let holds = [0, 1].map(|n| format!("MSET {} {n} {} {n}", hot[n], cold[n]));
    let held: Vec<_> =
        (0..HOLDERS).map(|n| ask(world, n + 2, &vec![holds[n % 2].as_str(); HOLDS])).collect();
    world.run(|_| held.iter().all(|answers| !answers.borrow().is_empty()), false).unwrap();
    let gets = [0, 1].map(|n| format!("GET {}", hot[n]));
    let asked: Vec<&str> = (0..ASKED).map(|n| gets[n % 2].as_str()).collect();
    let answers = ask(world, client, &asked);
    let most = Cell::new(0);
    let done = |world: &World<'_>| {
        let parked = world.node.leftovers().iter().map(|left| left.parked).sum();
        most.set(most.get().max(parked));
        answers.borrow().len() == ASKED
    };
    world.run(done, false).unwrap();
    for (n, answer) in answers.borrow().iter().enumerate() {
        assert_eq!(resp::render(answer), format!("\"{}\"", n % 2), "answer {n}");
    }
    world.run(|_| held.iter().all(|answers| answers.borrow().len() == HOLDS), false).unwrap();
    assert!(world.node.leftovers().iter().all(|left| left.parked == 0));
    most.get()
}

/// UNWATCH, or DISCARD, and WATCH behind it in one turn: the farewell to the key's home once
/// overtook the new WATCH and ended it.
#[test]
fn watches_that_are_given_up_and_set_anew() {
    for key in 0..8 {
        let mut trace = Trace::new(false);
        let mut world = World::quiet(2, key, &mut trace);
        let key = format!("key:{key}");
        let watch = format!("WATCH {key}");
        let set = format!("SET {key} mine");
        assert_eq!(say(&mut world, 0, &[&watch]), ["+OK"]);
        for give_up in [&["UNWATCH"][..], &["MULTI", "DISCARD"]] {
            let requests: Vec<&str> = give_up.iter().copied().chain([watch.as_str()]).collect();
            say(&mut world, 0, &requests);
            say(&mut world, 1, &[&format!("SET {key} theirs")]);
            let answers = say(&mut world, 0, &["MULTI", &set, "EXEC", &watch]);
            let refused = ["*-1", "_"].contains(&answers[2].as_str());
            assert!(refused, "{key}: {answers:?}");
        }
    }
}

/// Two writes for two other shards go together where they arrive together, from the first one
/// on; two for one shard never do.
#[test]
fn pipelined_writes_for_several_shards_go_together() {
    let mut together = 0;
    for seed in 0..20 {
        let mut trace = Trace::new(false);
        let mut world = World::quiet(3, seed, &mut trace);
        say(&mut world, 0, &["PING"]);
        let (second, third) = (keys_of(1, 3, 2), keys_of(2, 3, 1));
        let set = |key: &str| format!("SET {key} v");
        let (a, b, c) = (set(&second[0]), set(&second[1]), set(&third[0]));
        assert_eq!(say(&mut world, 0, &[&a, &b]), ["+OK"; 2]);
        assert_eq!(world.node.request_runs(), (0, 0), "one home");
        assert_eq!(say(&mut world, 0, &[&a, &c]), ["+OK"; 2]);
        let (times, requests) = world.node.request_runs();
        assert_eq!(requests, 2 * times, "both or none");
        together += times;
    }
    assert!((5..=20).contains(&together), "{together} times");
}
