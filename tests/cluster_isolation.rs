//! What clients of a shard as a node of a cluster see of commands over several shards, and do
//! to them: each at one moment, as on one server.

#![forbid(unsafe_code)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shards::ids::SlotId;
use shards::partition::Partition;
use shards::slot::slot_of;
use support::resp::{self, Value};
use support::{Client, Node, Options};

const LASTS: Duration = Duration::from_secs(3);
const SHARDS: u16 = 3;

fn start(driver: &str) -> Node {
    Node::start_with(Options::driver(driver).arg("--shards").arg(SHARDS.to_string()))
}

/// A hash tag whose keys are at home on a shard; the `n`-th of them.
fn tag(shard: u16, n: usize) -> String {
    let partition = Partition::new(SHARDS).expect("shards");
    let home = |slot: SlotId| partition.home(slot).0 == shard;
    let mut tags = (0..).map(|n| format!("tag{n}"));
    tags.by_ref().filter(|tag| home(slot_of(tag.as_bytes()))).nth(n).expect("endless")
}

/// A transaction over all shards that changes one shard's keys in two stages, since a RENAMENX
/// from shard to shard stands between them.
fn in_stages(before: &[&[&str]], after: &[&[&str]], round: u64) -> Vec<u8> {
    let (here, there) = (format!("{{{}}}moving", tag(1, 0)), format!("{{{}}}moving", tag(2, 0)));
    let (from, to) = if round.is_multiple_of(2) { (here, there) } else { (there, here) };
    let mut script = resp::request(&["MULTI"]);
    before.iter().for_each(|words| script.extend(resp::request(words)));
    script.extend(resp::request(&["SET", &from, "v"]));
    script.extend(resp::request(&["RENAMENX", &from, &to]));
    script.extend(resp::request(&["DEL", &to]));
    after.iter().for_each(|words| script.extend(resp::request(words)));
    script.extend(resp::request(&["EXEC"]));
    script
}

/// Plays a script of so many requests; the reply of its EXEC.
fn play(client: &mut Client, script: &[u8], requests: usize) -> Value {
    client.send(script);
    let replies = client.replies(requests);
    replies.into_iter().next_back().expect("one at least")
}

/// Runs all at once for a while; each says how often it came round.
fn together(work: Vec<Box<dyn FnMut(u64) + Send + '_>>) {
    let stop = AtomicBool::new(false);
    let rounds: Vec<AtomicU64> = work.iter().map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        let stop = &stop;
        let rounds = &rounds;
        let run = |n: usize, mut round: Box<dyn FnMut(u64) + Send + '_>| {
            while !stop.load(Ordering::Relaxed) {
                round(rounds[n].load(Ordering::Relaxed));
                rounds[n].fetch_add(1, Ordering::Relaxed);
            }
        };
        let work = work.into_iter().enumerate();
        let workers: Vec<_> = work.map(|(n, work)| scope.spawn(move || run(n, work))).collect();
        // Where the machine gives no more, it takes longer.
        let begun = Instant::now();
        let few = || rounds.iter().any(|rounds| rounds.load(Ordering::Relaxed) <= 20);
        while begun.elapsed() < LASTS
            || few() && begun.elapsed() < 10 * LASTS && !workers.iter().any(|w| w.is_finished())
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().for_each(|worker| worker.join().expect("a worker"));
        let rounds: Vec<u64> = rounds.iter().map(|n| n.load(Ordering::Relaxed)).collect();
        assert!(rounds.iter().all(|rounds| *rounds > 20), "rounds of each: {rounds:?}");
    });
}

/// Takes from one account and gives to another of the same slot, with stages between: nobody
/// sees the sum wanting, neither by MGET nor within a transaction.
fn sums_are_whole(driver: &str) {
    let node = start(driver);
    let (a, b) = (format!("{{{}}}a", tag(0, 0)), format!("{{{}}}b", tag(0, 0)));
    assert_eq!(node.cluster_client(0).command(&["MSET", &a, "100", &b, "100"]), Value::ok());
    let (mut mover, mut reader, mut transactor) =
        (node.client(), node.cluster_client(0), node.cluster_client(0));
    let sum = |values: &[Value]| -> i64 {
        values.iter().map(|value| value.text().parse::<i64>().expect("an amount")).sum()
    };
    together(vec![
        Box::new(|round| {
            let script = in_stages(&[&["DECRBY", &a, "5"]], &[&["INCRBY", &b, "5"]], round);
            assert_eq!(play(&mut mover, &script, 7).items().len(), 5);
        }),
        Box::new(|_| {
            assert_eq!(sum(reader.command(&["MGET", &a, &b]).items()), 200, "MGET");
        }),
        Box::new(|_| {
            let mut script = resp::request(&["MULTI"]);
            script.extend(resp::request(&["GET", &a]));
            script.extend(resp::request(&["GET", &b]));
            script.extend(resp::request(&["EXEC"]));
            assert_eq!(sum(play(&mut transactor, &script, 4).items()), 200, "EXEC");
        }),
    ]);
}

/// DBSIZE and FLUSHALL of a shard find all of a transaction or nothing.
fn whole_shards_wait_their_turn(driver: &str) {
    let node = start(driver);
    let (a, b) = (format!("{{{}}}a", tag(0, 0)), format!("{{{}}}b", tag(0, 1)));
    let mut clients: Vec<Client> = (0..2).map(|_| node.cluster_client(0)).collect();
    let mut writer = node.client();
    let (mut flusher, mut counter) = (clients.remove(0), clients.remove(0));
    together(vec![
        Box::new(|round| {
            let script = in_stages(&[&["SET", &a, "v"]], &[&["SET", &b, "v"]], round);
            play(&mut writer, &script, 7);
        }),
        Box::new(|_| assert_eq!(flusher.call("FLUSHALL"), Value::ok())),
        Box::new(|round| {
            let count = if round.is_multiple_of(2) {
                counter.call("DBSIZE").int()
            } else {
                let mut script = resp::request(&["MULTI"]);
                script.extend(resp::request(&["DBSIZE"]));
                script.extend(resp::request(&["EXEC"]));
                play(&mut counter, &script, 3).items()[0].int()
            };
            assert!(count == 0 || count == 2, "{count} of the two keys");
        }),
    ]);
}

/// Counters kept by WATCH on the cluster's port lose nothing to transactions of several shards.
fn watched_counters_lose_nothing(driver: &str) {
    let node = start(driver);
    let key = format!("{{{}}}counter", tag(0, 0));
    let (mut one, mut two, mut wide) =
        (node.cluster_client(0), node.cluster_client(0), node.client());
    let counts = [const { std::sync::atomic::AtomicU64::new(0) }; 3];
    together(vec![
        Box::new(|_| {
            increment(&mut one, &key);
            counts[0].fetch_add(1, Ordering::Relaxed);
        }),
        Box::new(|_| {
            increment(&mut two, &key);
            counts[1].fetch_add(1, Ordering::Relaxed);
        }),
        Box::new(|round| {
            let script = in_stages(&[&["INCR", &key]], &[&["INCR", &key]], round);
            play(&mut wide, &script, 7);
            counts[2].fetch_add(2, Ordering::Relaxed);
            // Who writes without looking would never let the others through.
            std::thread::sleep(Duration::from_millis(3));
        }),
    ]);
    let expected: u64 = counts.iter().map(|count| count.load(Ordering::Relaxed)).sum();
    let end = node.cluster_client(0).command(&["GET", &key]).text();
    assert_eq!(end, expected.to_string());
}

/// Reads a counter and writes it one higher, until nobody interferes.
fn increment(client: &mut Client, key: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < end, "somebody gets through");
        assert_eq!(client.command(&["WATCH", key]), Value::ok());
        let next = match client.command(&["GET", key]) {
            Value::Bulk(text) => {
                String::from_utf8_lossy(&text).parse::<u64>().expect("a count") + 1
            }
            _ => 1,
        };
        client.call("MULTI");
        client.command(&["SET", key, &next.to_string()]);
        if client.call("EXEC") != Value::NullArray {
            return;
        }
    }
}

/// Replies come in the order of the requests, whichever of them had to wait for a hold.
fn replies_keep_their_order(driver: &str) {
    let node = start(driver);
    let key = format!("{{{}}}k", tag(0, 0));
    let mut wide = node.client();
    let mut script = Vec::new();
    for words in [&["SET", &key, "v"][..], &["DBSIZE"], &["GET", &key], &["WATCH", &key]] {
        script.extend(resp::request(words));
        script.extend(resp::request(&["SET", &key, "v"]));
    }
    script.extend(resp::request(&["UNWATCH"]));
    // Clients of either port; of the standalone one's, some are on the shard of the key.
    let clients = (0..3).map(|_| node.client()).chain([node.cluster_client(0)]);
    let mut work: Vec<Box<dyn FnMut(u64) + Send + '_>> = vec![Box::new(|round| {
        let script = in_stages(&[&["GET", &key]], &[&["SET", &key, "v"]], round);
        play(&mut wide, &script, 7);
    })];
    for mut client in clients {
        let script = &script;
        work.push(Box::new(move |_| {
            client.send(script);
            let replies = client.replies(9);
            let kinds: String = replies.iter().map(kind).collect();
            assert_eq!(kinds, "OOIOVOOOO", "{replies:?}");
        }));
    }
    together(work);
}

/// OK, an integer or a value.
fn kind(reply: &Value) -> char {
    match reply {
        Value::Simple(_) => 'O',
        Value::Int(_) => 'I',
        Value::Bulk(_) => 'V',
        _ => '?',
    }
}

/// Amid transactions of several shards, cluster clients' commands mean what they mean else:
/// database 0 alone, refusals, their own shard.
fn its_own_rules_hold_amid_others(driver: &str) {
    let node = start(driver);
    let key = format!("{{{}}}k", tag(0, 0));
    let copy = format!("{key}2");
    let (mut wide, mut own) = (node.client(), node.cluster_client(0));
    node.client().command(&["SET", &format!("{{{}}}elsewhere", tag(1, 1)), "v"]);
    together(vec![
        Box::new(|round| {
            let script = in_stages(&[&["SET", &key, "v"]], &[&["GET", &key]], round);
            play(&mut wide, &script, 7);
        }),
        Box::new(|_| {
            let range = Value::Error(b"ERR DB index is out of range".to_vec());
            assert_eq!(own.command(&["SET", &key, "v"]), Value::ok());
            assert_eq!(own.command(&["COPY", &key, &copy, "DB", "1"]), range);
            assert_eq!(own.command(&["MOVE", &key, "1"]), range);
            let mut script = resp::request(&["MULTI"]);
            script.extend(resp::request(&["SELECT", "1"]));
            script.extend(resp::request(&["SET", &key, "v"]));
            script.extend(resp::request(&["COPY", &key, &copy, "DB", "1"]));
            script.extend(resp::request(&["DBSIZE"]));
            script.extend(resp::request(&["KEYS", "*"]));
            script.extend(resp::request(&["SCAN", "0", "COUNT", "100"]));
            script.extend(resp::request(&["SWAPDB", "0", "1"]));
            script.extend(resp::request(&["EXEC"]));
            let reply = play(&mut own, &script, 9);
            let items = reply.items();
            assert_eq!((&items[0], &items[2]), (&range, &range));
            assert_eq!((&items[1], items[3].int()), (&Value::ok(), 1));
            assert_eq!(items[4].items(), [Value::Bulk(key.clone().into_bytes())]);
            assert_eq!(items[5].items()[0].text(), "0", "SCAN is at its end");
            assert!(items[6].text().starts_with("ERR SWAPDB"), "{items:?}");
        }),
    ]);
    let mut all = node.client();
    all.call("SELECT 1");
    assert_eq!(all.call("DBSIZE").int(), 0, "nothing came into another database");
}

on_each_driver!(
    sums_are_whole,
    whole_shards_wait_their_turn,
    watched_counters_lose_nothing,
    replies_keep_their_order,
    its_own_rules_hold_amid_others,
);
