//! Rate limits of routes: exact for the node whatever shard a client is on, the same bucket by
//! every face, bounded in number and never forgotten.

#![forbid(unsafe_code)]

mod support;

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType};
use support::resp;
use support::web::{Answer, Web};
use support::web_node::{Folder, configured, counter, errors, manifests};
use support::web_server::Upstream;
use support::{Node, Options, Value};

/// A node of so many shards whose only route has these limits.
fn limited(driver: &str, shards: u16, upstream: &Upstream, limits: &str) -> (Node, Folder) {
    let policy = format!(
        "apiVersion: corelane.dev/v1\nkind: RateLimitPolicy\nmetadata: {{name: all}}\nspec:\n  \
         targetRefs: [{{kind: HTTPRoute, name: test}}]\n  limits:\n{limits}"
    );
    let folder = Folder::new();
    let file = folder.write("config.yaml", &manifests(&[upstream.addr], "", &policy));
    let options = Options::driver(driver).arg("--shards").arg(shards.to_string());
    (Node::start_with(configured(options, &file)), folder)
}

/// When a request that was admitted was sent, and when its answer was there, in nanoseconds.
type Admitted = (u64, u64);

const BURST: u64 = 300;
const RATE: u64 = 700;

/// Asks as fast as it can; when it was admitted, and how often it was not.
fn hammer(addr: SocketAddr, begin: Instant, lasts: Duration) -> (Vec<Admitted>, u64) {
    let mut web = Web::connect(addr);
    let (mut admitted, mut refused) = (Vec::new(), 0);
    while begin.elapsed() < lasts {
        let sent = begin.elapsed().as_nanos() as u64;
        let answer = web.get("/bytes/10");
        let came = begin.elapsed().as_nanos() as u64;
        match answer.status {
            200 => admitted.push((sent, came)),
            429 => {
                refused += 1;
                refusal(&answer);
            }
            _ => panic!("{}{}", answer.head, answer.text()),
        }
    }
    (admitted, refused)
}

/// What a refusal says (RFC 6585 section 4, draft-ietf-httpapi-ratelimit-headers).
#[track_caller]
fn refusal(answer: &Answer) {
    let head = &answer.head;
    assert_eq!(answer.field("ratelimit-policy"), Some("\"hot\";q=700;w=1"), "{head}");
    assert!(matches!(answer.field("ratelimit"), Some("\"hot\";r=0;t=1")), "{head}");
    assert_eq!(answer.field("retry-after"), Some("1"), "{head}");
    assert!(answer.text().contains("urn:corelane:limited"), "{}", answer.text());
}

/// Clients of all shards take from one bucket: in every interval of the trace no more is
/// admitted than the burst and what that time refills; and no less in all, since somebody is
/// always there to take it.
fn one_bucket_for_the_node(driver: &str) {
    let upstream = Upstream::start();
    for shards in 1..=3 {
        // A machine that lets nobody run for a while lets tokens go by.
        let all_used = (0..3).any(|_| hammered(driver, shards, &upstream));
        assert!(all_used, "no less than the refill is admitted, on {shards} shards");
    }
}

/// Hammers one bucket of a node; whether all was used that the time has refilled.
fn hammered(driver: &str, shards: u16, upstream: &Upstream) -> bool {
    let limits = format!("  - {{name: hot, rate: {RATE}, burst: {BURST}}}\n");
    let (node, _folder) = limited(driver, shards, upstream, &limits);
    let (addr, begin, lasts) = (node.http[0], Instant::now(), Duration::from_millis(1_500));
    let clients: Vec<_> =
        (0..8).map(|_| std::thread::spawn(move || hammer(addr, begin, lasts))).collect();
    let (mut admitted, mut refused) = (Vec::new(), 0);
    for client in clients {
        let (times, count) = client.join().expect("a client");
        admitted.extend(times);
        refused += count;
    }
    every_interval_holds(&mut admitted);
    let least = RATE * lasts.as_nanos() as u64 / 1_000_000_000;
    let count = admitted.len() as u64;
    assert!(refused > 0, "more was asked for than there is");
    assert_eq!(counter(&node, "corelane_limit_admitted_total", &[]), count);
    assert_eq!(counter(&node, "corelane_limit_refused_total", &[]), refused);
    assert_eq!(errors(&node, "limited"), refused);
    assert_eq!(counter(&node, "corelane_limit_buckets", &[]), 1, "one home");
    println!("{driver}, {shards} shards: {count} admitted, {least} at least");
    count >= least
}

/// What was sent and answered within an interval was admitted within it.
#[track_caller]
fn every_interval_holds(admitted: &mut [Admitted]) {
    admitted.sort_unstable_by_key(|(_, came)| *came);
    for (start, _) in admitted.iter() {
        let mut within = 0;
        for (sent, came) in admitted.iter().filter(|(sent, _)| sent >= start) {
            within += 1;
            let bound = BURST + RATE * (came - start) / 1_000_000_000;
            assert!(within <= bound, "{within} within {start}..{came} ns, {bound} at most: {sent}");
        }
    }
}

/// HTTP and RESP take from one bucket, which is called by its limit's name and the value.
fn every_face_takes_from_one_bucket(driver: &str) {
    let upstream = Upstream::start();
    for shards in [1, 3] {
        let limits = "  - {name: slow, rate: 1, period: 1h, burst: 10, key: ['header:X-Key']}\n";
        let (node, _folder) = limited(driver, shards, &upstream, limits);
        let mut resp = node.client();
        for (value, name) in [("plain", "slow:plain"), ("a:b%c", "slow:a%3Ab%25c"), ("", "slow:")] {
            let ask = || {
                let mut web = Web::connect(node.http[0]);
                let field =
                    if value.is_empty() { String::new() } else { format!("X-Key: {value}\r\n") };
                web.send(format!("GET /bytes/1 HTTP/1.1\r\nHost: a\r\n{field}\r\n"));
                let answer = web.answer();
                let left = answer.field("ratelimit").map(str::to_owned);
                (answer.status, left.expect("the limit is told"))
            };
            for n in 0..5 {
                let left = 9 - 2 * n;
                let (status, told) = ask();
                assert_eq!(status, 200, "{name}: {told}");
                assert!(told.starts_with(&format!("\"slow\";r={left};")), "{name}: {told}");
                // Its own numbers are not heeded: the policy's are.
                let reply = resp.command(&["CL.THROTTLE", name, "99", "1000", "1"]);
                let numbers: Vec<i64> = reply.items().iter().map(Value::int).collect();
                assert_eq!(numbers[..3], [0, 10, left - 1], "{name}");
            }
            assert_eq!(ask().0, 429, "{name}");
            let reply = resp.command(&["CL.THROTTLE", name, "99", "1000", "1"]);
            assert_eq!(reply.items()[0].int(), 1, "{name}");
        }
    }
}

/// A client from another address of the machine's own network.
fn from(address: &str, to: SocketAddr) -> Web {
    let socket =
        rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
    let ip: IpAddr = address.parse().expect("an address");
    rustix::net::bind(&socket, &SocketAddr::new(ip, 0)).expect("bind");
    rustix::net::connect(&socket, &to).expect("connect");
    Web::over(TcpStream::from(socket))
}

/// Addresses have buckets of their own, or share one by network; paths and routes likewise; all
/// limits of a route hold.
fn keys_divide(driver: &str) {
    let upstream = Upstream::start();
    let limits = "  - {name: one, rate: 1, period: 1h, burst: 4, key: [client.address, path]}\n  \
                  - {name: net, rate: 1, period: 1h, burst: 6, key: [client.address], ipv4Prefix: 24}\n  \
                  - {name: route, rate: 1, period: 1h, burst: 20, key: [route]}\n";
    for shards in [1, 2] {
        let (node, _folder) = limited(driver, shards, &upstream, limits);
        let mut refused_by = Vec::new();
        let mut ask = |address: &str, path: &str| {
            let answer = from(address, node.http[0]).get(path);
            let named =
                |name: &&str| answer.head.contains(&format!("RateLimit: \"{name}\";r=0;t="));
            if answer.status == 429 {
                let last = ["route", "net", "one"].into_iter().find(named);
                refused_by.push((address.to_owned(), last.expect("who refuses is told")));
            }
            answer.status
        };
        assert_eq!((0..5).filter(|_| ask("127.0.1.2", "/bytes/1") == 200).count(), 4, "by path");
        assert_eq!(ask("127.0.1.2", "/bytes/2"), 200, "another path");
        assert_eq!(ask("127.0.1.3", "/bytes/1"), 200, "another address of the network");
        assert_eq!(ask("127.0.1.3", "/bytes/3"), 429, "the network has had its six");
        assert_eq!(ask("127.0.2.3", "/bytes/3"), 200, "another network");
        for n in 0..13 {
            assert_eq!(ask(&format!("127.0.{}.1", 10 + n), "/bytes/1"), 200, "{n}");
        }
        assert_eq!(ask("127.0.99.1", "/bytes/1"), 429, "the route has had its twenty");
        let by: Vec<&str> = refused_by.iter().map(|(_, by)| *by).collect();
        assert_eq!(by, ["one", "net", "route"]);
        assert_eq!(counter(&node, "corelane_limit_buckets", &[]), 1 + 16 + 19);
    }
}

/// A million keys that owe something: the one after that is told so, memory is bounded, and not
/// one of them is forgotten. Then as many again, once they owe nothing.
fn a_million_keys(driver: &str) {
    const ROOM: usize = 1 << 20;
    let upstream = Upstream::start();
    let limits = "  - {name: each, rate: 1, period: 1h, burst: 1, key: ['header:X-Key']}\n  \
                  - {name: soon, rate: 1000, period: 1s, burst: 1, key: ['header:X-Soon']}\n";
    let (node, _folder) = limited(driver, 2, &upstream, limits);
    let before = node.resident_bytes();
    let (taken, full) = throttle_all(&node, "each", 0, ROOM + ROOM / 16);
    assert!(taken <= ROOM && full >= ROOM / 16, "{taken} taken, {full} had no room");
    assert!(taken > ROOM - ROOM / 16, "only {taken} have found room");
    let held = node.resident_bytes() - before;
    println!("{driver}: {held} bytes for {taken} buckets");
    assert!(held <= taken as u64 * 160 + (24 << 20), "{held} bytes for {taken} buckets");
    let mut web = Web::connect(node.http[0]);
    let mut asked = |key: usize| {
        let field = format!("X-Key: {key}\r\nX-Soon: {key}\r\n");
        web.send(format!("GET /bytes/1 HTTP/1.1\r\nHost: a\r\n{field}\r\n"));
        web.answer().status
    };
    for n in 0..2_000 {
        let key = n * (ROOM / 2_000) / 2; // the first half, all of which have found room
        assert_eq!(asked(key), 429, "key {key} is remembered");
    }
    for key in [ROOM * 8, ROOM * 8 + 1] {
        assert_eq!(asked(key), 503, "there is no room for another one");
    }
    assert_eq!(errors(&node, "no_bucket"), 2);
    // What owes for a millisecond goes through the little room that a sweep leaves.
    let (node, _folder) = limited(driver, 2, &upstream, limits);
    let (taken, full) = throttle_all(&node, "soon", 0, 3 * ROOM / 2);
    assert_eq!((taken, full), (3 * ROOM / 2, 0), "more than there is room for, in turn");
    let held = node.resident_bytes();
    assert!(held <= 200 << 20, "{held} bytes after that many keys");
}

/// Takes one token of each key by RESP, many at a time; how many were taken, and how many had
/// no room.
fn throttle_all(node: &Node, limit: &str, from: usize, count: usize) -> (usize, usize) {
    const BATCH: usize = 4_096;
    let mut client = node.client();
    let (mut taken, mut full) = (0, 0);
    for start in (from..from + count).step_by(BATCH) {
        let keys = start..(start + BATCH).min(from + count);
        let len = keys.len();
        let mut batch = Vec::new();
        for key in keys {
            let name = format!("{limit}:{key}");
            batch.extend(resp::request(&["CL.THROTTLE", &name, "0", "1", "1"]));
        }
        client.send(&batch);
        for reply in client.replies(len) {
            match reply {
                Value::Array(items) if items[0].int() == 0 => taken += 1,
                Value::Error(text) if text.starts_with(b"ERR no room") => full += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    (taken, full)
}

on_each_driver!(
    one_bucket_for_the_node,
    every_face_takes_from_one_bucket,
    keys_divide,
    a_million_keys,
);
