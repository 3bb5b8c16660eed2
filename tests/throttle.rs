//! Rate limits by CL.THROTTLE: exact over any number of shards, each bucket at one home, and no
//! more of them than there is room for.

#![forbid(unsafe_code)]

mod support;

use std::time::{Duration, Instant};

use support::resp::{self, Value};
use support::{Client, Node, Options};

/// Clients that hit one bucket, more than shards.
const CLIENTS: usize = 8;
/// Hits that each has under way.
const DEPTH: usize = 16;
const LASTS: Duration = Duration::from_millis(1_500);

/// Refilled in 430 ms, so that no token is lost while a busy machine lets nobody run.
const BURST: u64 = 300;
const RATE: u64 = 700;

fn start(driver: &str, shards: u16) -> Node {
    Node::start_with(Options::driver(driver).arg("--shards").arg(shards.to_string()))
}

/// What one client has been told.
#[derive(Default)]
struct Told {
    hits: u64,
    admitted: u64,
}

/// Hits a bucket with a full pipeline until the time is over.
fn hammer(mut client: Client, bucket: &str, end: Instant) -> Told {
    let (max_burst, rate) = ((BURST - 1).to_string(), RATE.to_string());
    let one = resp::request(&["CL.THROTTLE", bucket, &max_burst, &rate, "1"]);
    let batch = one.repeat(DEPTH);
    let mut told = Told::default();
    while Instant::now() < end {
        client.send(&batch);
        for reply in client.replies(DEPTH) {
            let numbers: Vec<i64> = reply.items().iter().map(Value::int).collect();
            let [limited, limit, remaining, retry, reset] = numbers[..] else {
                panic!("{numbers:?}")
            };
            assert_eq!(limit, BURST as i64);
            assert!((0..BURST as i64).contains(&remaining) && (0..=1).contains(&reset));
            match limited {
                0 => assert_eq!(retry, -1),
                _ => assert!((0..=1).contains(&retry) && remaining == 0, "{numbers:?}"),
            }
            told.hits += 1;
            told.admitted += u64::from(limited == 0);
        }
    }
    told
}

/// Of the shards together.
fn metric(node: &Node, name: &str) -> u64 {
    node.metric(name) as u64
}

/// Clients of all shards take from one bucket as fast as they can: no more is admitted than the
/// burst and what the time refills, and no less, since somebody is always there to take it.
fn one_bucket_is_one_bucket(driver: &str) {
    for shards in 1..=3 {
        // A machine that lets nobody run for a while lets tokens go by.
        let all_used = (0..3).any(|_| hammered(driver, shards));
        assert!(all_used, "no less than the refill is admitted: {shards} shards");
    }
}

/// Hammers one bucket of a node; whether all was used that the time has refilled.
fn hammered(driver: &str, shards: u16) -> bool {
    let node = start(driver, shards);
    let clients: Vec<Client> = (0..CLIENTS).map(|_| node.client()).collect();
    let begin = Instant::now();
    let told: Vec<Told> = std::thread::scope(|scope| {
        let hammers: Vec<_> = clients
            .into_iter()
            .map(|client| scope.spawn(move || hammer(client, "hot", begin + LASTS)))
            .collect();
        hammers.into_iter().map(|hammer| hammer.join().expect("a hammer")).collect()
    });
    // The node's clock went on by at most this from the first decision to the last.
    let most = begin.elapsed();
    let hits: u64 = told.iter().map(|told| told.hits).sum();
    let admitted: u64 = told.iter().map(|told| told.admitted).sum();
    let bound = BURST + RATE * most.as_nanos() as u64 / 1_000_000_000;
    assert!(admitted <= bound, "{admitted} of {hits}, {bound} at most: {shards} shards");
    assert!(told.iter().all(|told| told.hits > 0), "everybody has had an answer");
    assert_eq!(metric(&node, "corelane_limit_admitted_total"), admitted);
    assert_eq!(metric(&node, "corelane_limit_refused_total"), hits - admitted);
    assert_eq!(metric(&node, "corelane_limit_buckets"), 1, "one home");
    // The burst covers what a busy machine let pass.
    let least = RATE * LASTS.as_nanos() as u64 / 1_000_000_000;
    println!("{driver}, {shards} shards: {admitted} of {hits} admitted, {least} at least");
    admitted >= least
}

/// In the cluster each bucket has the node of its slot, and others say where that is.
fn a_cluster_client_goes_to_the_buckets_home(driver: &str) {
    let node = start(driver, 3);
    let mut admitted = 0;
    for n in 0..30 {
        let call = format!("CL.THROTTLE bucket:{n} 0 1 1000");
        let replies: Vec<Value> =
            (0..3).map(|shard| node.cluster_client(shard).call(&call)).collect();
        for reply in &replies {
            match reply {
                Value::Array(items) => admitted += u64::from(items[0].int() == 0),
                Value::Error(text) => assert!(text.starts_with(b"MOVED "), "{reply:?}"),
                other => panic!("{other:?}"),
            }
        }
        let here = replies.iter().filter(|reply| matches!(reply, Value::Array(_))).count();
        assert_eq!(here, 1, "one home: {replies:?}");
        // The other port reaches the same bucket.
        assert_eq!(node.client().call(&call).items()[0].int(), 1);
    }
    assert_eq!(admitted, 30);
    let mut client = node.cluster_client(0);
    client.call("MULTI");
    let own = (0..)
        .map(|n| format!("CL.THROTTLE x{n} 0 1 9"))
        .find(|call| matches!(node.cluster_client(0).call(&format!("{call} 0")), Value::Array(_)));
    assert_eq!(client.call(&own.expect("a name of shard 0")), Value::Simple(b"QUEUED".to_vec()));
    assert_eq!(client.call("EXEC").items().len(), 1);
}

/// A transaction takes from buckets of several shards at one moment.
fn a_transaction_over_shards_takes_all_at_once(driver: &str) {
    let node = start(driver, 3);
    let mut client = node.client();
    let names: Vec<String> = (0..12).map(|n| format!("CL.THROTTLE of:{n} 1 1 1000")).collect();
    for round in 0..3 {
        client.call("MULTI");
        names.iter().for_each(|call| assert_eq!(client.call(call).text(), "QUEUED"));
        let replies = client.call("EXEC");
        for reply in replies.items() {
            let numbers: Vec<i64> = reply.items().iter().map(Value::int).collect();
            assert_eq!(numbers[0], i64::from(round == 2), "{numbers:?}");
            assert_eq!(numbers[2], [1, 0, 0][round], "{numbers:?}");
        }
    }
    assert_eq!(metric(&node, "corelane_limit_buckets"), 12);
}

/// Who comes when all places owe something is told so, and nobody else notices; what has been
/// paid back makes room.
fn a_full_table_says_so_and_keeps_what_owes(driver: &str) {
    let options = Options::driver(driver).arg("--shards").arg("2");
    let node = Node::start_with(options.arg("--limit-buckets").arg("200"));
    let mut client = node.client();
    assert_eq!(client.call("CONFIG GET limit-buckets").items()[1].text(), "200");
    let (mut taken, mut full) = (Vec::new(), 0);
    for n in 0..1_000 {
        match client.call(&format!("CL.THROTTLE slow:{n} 0 1 1000")) {
            Value::Array(items) => taken.push((n, items[0].int())),
            Value::Error(text) => {
                assert!(text.starts_with(b"ERR no room for another rate limit"));
                full += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((taken.len(), full), (200, 800));
    assert_eq!(metric(&node, "corelane_limit_full_total"), 800);
    assert_eq!(metric(&node, "corelane_limit_buckets"), 200);
    for (n, limited) in taken {
        assert_eq!(limited, 0);
        let again = client.call(&format!("CL.THROTTLE slow:{n} 0 1 1000"));
        assert_eq!(again.items()[0].int(), 1, "slow:{n} is remembered");
    }
    assert_eq!(client.call("SET k v"), Value::ok(), "keys have nothing to do with it");
    // Many that owe something for a moment each go through little room.
    let node = Node::start_with(Options::driver(driver).arg("--limit-buckets").arg("200"));
    let mut client = node.client();
    let mut full = 0;
    for n in 0..20_000 {
        let reply = client.call(&format!("CL.THROTTLE fast:{n} 0 100000 1"));
        full += usize::from(matches!(reply, Value::Error(_)));
    }
    assert_eq!(full, 0);
    assert!(metric(&node, "corelane_limit_buckets") <= 200);
    assert!(metric(&node, "corelane_limit_reclaimed_total") >= 19_800);
}

on_each_driver!(
    one_bucket_is_one_bucket,
    a_cluster_client_goes_to_the_buckets_home,
    a_transaction_over_shards_takes_all_at_once,
    a_full_table_says_so_and_keeps_what_owes,
);
