//! One client that is alone cannot tell how many shards answer: the same script, in pipelines
//! and with the clock told, gets from several shards what it gets from one.

use std::ops::Range;

use dataplane::runtime::sim::Rng;
use shards::time::Nanos;

use super::cases::{say, silent};
use super::seeds::wanted;
use super::trace::Trace;
use super::world::World;

/// Scripts that are tried unless others are wanted, each with two, three and four shards.
const SCRIPTS: Range<u64> = 0..60;
/// When a script begins: connecting takes as long as it takes.
const START: Nanos = Nanos(10_000_000_000);
/// Keys of each database.
const KEYS: usize = 12;
/// Pipelines of a script.
const PIPELINES: usize = 40;

/// What is asked in silence, and beside it.
const QUIET: &[&str] = &[
    "SET k v",
    "SET k v",
    "SET k v",
    "SET k V",
    "INCR k",
    "APPEND k v",
    "GET k",
    "DEL k",
    "GETDEL k",
    "MSET k v k v",
    "RENAME k k",
    "SETRANGE k i v",
];

/// `k` a key, `v` a value, `i` a number, `t` a span of time, `d` a database, `V` a long value.
const SHAPES: &[&str] = &[
    "GET k",
    "GET k",
    "SET k v",
    "SET k v",
    "SET k v NX GET",
    "SET k v XX KEEPTTL",
    "SET k v PX t",
    "SET k V",
    "GET k",
    "SETNX k v",
    "GETSET k v",
    "GETDEL k",
    "GETEX k PX t",
    "APPEND k v",
    "APPEND k V",
    "STRLEN k",
    "SETRANGE k i v",
    "GETRANGE k i -2",
    "MGET k k k",
    "MSET k v k v k v",
    "MSET k V k v",
    "MSETNX k v k v",
    "INCR k",
    "DECRBY k i",
    "INCRBYFLOAT k i",
    "CL.THROTTLE k 3 1 1",
    "CL.THROTTLE k 3 7 1 2",
    "CL.THROTTLE k 1 1 1 i",
    "SETEX k t v",
    "PSETEX k t v",
    "DEL k",
    "DEL k k k",
    "UNLINK k k",
    "EXISTS k k k",
    "TOUCH k k",
    "TYPE k",
    "RENAME k k",
    "RENAME k k",
    "RENAMENX k k",
    "COPY k k",
    "COPY k k REPLACE",
    "COPY k k DB d",
    "MOVE k d",
    "DBSIZE",
    "SWAPDB d d",
    "FLUSHDB",
    "FLUSHALL",
    "EXPIRE k t",
    "PEXPIRE k t NX",
    "PEXPIREAT k 1700000009100",
    "PTTL k",
    "TTL k",
    "PERSIST k",
    "EXPIRETIME k",
    "KEYS *",
    "KEYS k1*",
    "SCAN 0 COUNT 1000",
    "SELECT d",
    "SELECT 0",
    "ECHO v",
    "PING",
    "WATCH k k",
    "WATCH k",
    "UNWATCH",
    "MULTI",
    "MULTI",
    "EXEC",
    "EXEC",
    "EXEC",
    "DISCARD",
    "NONSENSE v",
    "GET",
    "MSET k v k",
    "OBJECT ENCODING k",
    "CLIENT SETNAME v",
    "CLIENT GETNAME",
    "HELLO 3",
    "HELLO 2",
];

fn word(shape: &str, rng: &mut Rng) -> String {
    match shape {
        "k" => format!("k{}", rng.below(KEYS)),
        "v" => (*rng.pick(&["1", "10", "value", "1.5", "abc"])).to_owned(),
        "i" => rng.below(40).to_string(),
        "t" => rng.between(1, 30).to_string(),
        "d" => rng.below(3).to_string(),
        "V" => "V".repeat(*rng.pick(&[1_000, 20_000, 33_000, 40_000])),
        other => other.to_owned(),
    }
}

fn fill(shape: &str, rng: &mut Rng) -> String {
    let words: Vec<String> = shape.split(' ').map(|part| word(part, rng)).collect();
    words.join(" ")
}

fn pick(shapes: &[&str], rng: &mut Rng) -> String {
    let shape = *rng.pick(shapes);
    fill(shape, rng)
}

/// A pipeline of writes of which some want no answer; its last request does.
fn quiet(rng: &mut Rng) -> Vec<String> {
    // What silences must not be queued.
    let mut requests = vec!["DISCARD".to_owned()];
    for _ in 0..rng.between(1, 4) {
        let switch = *rng.pick(&["SKIP", "SKIP", "OFF", "ON"]);
        let before = rng.between(0, 4);
        requests.extend((0..before).map(|_| pick(QUIET, rng)));
        requests.push(format!("CLIENT REPLY {switch}"));
        let behind = rng.between(1, 8);
        requests.extend((0..behind).map(|_| pick(QUIET, rng)));
    }
    requests.push("CLIENT REPLY ON".to_owned());
    requests
}

/// Pipelines, and the milliseconds that pass before each.
fn script(seed: u64) -> Vec<(u64, Vec<String>)> {
    let mut rng = Rng::new(seed);
    let mut pipelines = Vec::new();
    for _ in 0..PIPELINES {
        let wait = if rng.chance(30) { rng.between(1, 20) as u64 } else { 0 };
        if rng.chance(20) {
            pipelines.push((wait, quiet(&mut rng)));
            continue;
        }
        let mut requests = Vec::new();
        for _ in 0..rng.between(1, 12) {
            let shape = *rng.pick(SHAPES);
            if shape == "DBSIZE" {
                // It counts expired keys, too, until something meets them.
                requests.push((0..KEYS).fold("TOUCH".into(), |words, n| format!("{words} k{n}")));
            }
            requests.push(fill(shape, &mut rng));
        }
        pipelines.push((wait, requests));
    }
    pipelines
}

/// What the script is answered; lists whose order nobody promises are sorted.
fn play(script: &[(u64, Vec<String>)], shards: u16, seed: u64) -> Vec<String> {
    let mut trace = Trace::new(false);
    let mut world = World::quiet(shards, seed, &mut trace);
    // Clients are dealt to the shards in turn, so that this one is served by any of them.
    let others = seed as usize % 4;
    (0..others).for_each(|n| assert_eq!(say(&mut world, n, &["PING"]), ["+PONG"]));
    assert_eq!(say(&mut world, others, &["PING"]), ["+PONG"]);
    world.frozen = true;
    let now = world.node.net.borrow().now().mono;
    world.node.net.borrow_mut().pass(START.since(now));
    let mut answers = Vec::new();
    for (wait, requests) in script {
        world.node.net.borrow_mut().pass(Nanos(wait * Nanos::MILLISECOND.0));
        world.settle();
        let words: Vec<&str> = requests.iter().map(String::as_str).collect();
        for (request, answer) in loud(&words).into_iter().zip(say(&mut world, others, &words)) {
            let sorted = request.starts_with("KEYS") || request.starts_with("SCAN");
            answers.push(if sorted { sort(&answer) } else { answer });
        }
    }
    answers
}

/// Those requests that are answered.
fn loud<'a>(requests: &[&'a str]) -> Vec<&'a str> {
    let both = requests.iter().zip(silent(requests));
    both.filter(|(_, silent)| !silent).map(|(words, _)| *words).collect()
}

fn sort(list: &str) -> String {
    let mut words: Vec<&str> = list.split([' ', '[', ']']).collect();
    words.sort_unstable();
    words.join(" ")
}

/// The requests before one, with what several shards answered.
fn told(script: &[(u64, Vec<String>)], answers: &[String], last: usize) -> String {
    let waits = script.iter().flat_map(|(wait, all)| {
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        loud(&all).into_iter().map(move |words| (wait, words))
    });
    let lines = waits.zip(answers).enumerate().take(last + 1).skip(last.saturating_sub(25));
    let line = |(n, ((wait, words), answer)): (usize, ((&u64, &str), &String))| {
        format!("{n} (+{wait} ms) {words:.60} -> {answer:.80}")
    };
    lines.map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn several_shards_answer_as_one() {
    let (mut nils, mut errors, mut all) = (0, 0, 0);
    for seed in wanted(SCRIPTS) {
        let script = script(seed);
        let expected = play(&script, 1, seed);
        for shards in 2..=4 {
            let answers = play(&script, shards, seed);
            for (n, (answer, expected)) in answers.iter().zip(&expected).enumerate() {
                let told = || told(&script, &answers, n);
                assert_eq!(answer, expected, "script {seed}, {shards} shards:\n{}", told());
            }
            assert_eq!(answers.len(), expected.len());
        }
        nils +=
            expected.iter().filter(|answer| ["$-1", "*-1", "_"].contains(&answer.as_str())).count();
        errors += expected.iter().filter(|answer| answer.starts_with('-')).count();
        all += expected.len();
    }
    assert!(
        all > 5_000 && nils * 3 < all && errors * 3 < all,
        "{all}: {nils} nil, {errors} errors"
    );
}
