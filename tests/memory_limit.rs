//! The limit of memory holds in the end, whatever comes in and whoever holds it: also where
//! values are much larger than what goes for them, and when the limit is lowered.

#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use support::resp::{self, Value};
use support::{Node, Options, eventually};

const LIMIT: u64 = 40 << 20;

fn used(node: &Node) -> u64 {
    node.info("used_memory").parse().expect("bytes")
}

fn what_is_too_much_goes(driver: &str, shards: u16) {
    let node = Node::start_with(
        Options::driver(driver)
            .arg("--shards")
            .arg(shards.to_string())
            .arg("--maxmemory")
            .arg(LIMIT.to_string()),
    );
    let mut client = node.client();
    assert_eq!(client.call("CONFIG SET maxmemory-policy allkeys-lru"), Value::ok());
    for round in 0..100 {
        let mut requests = Vec::new();
        for n in 0..1_000 {
            requests.extend(resp::request(&[
                "SET",
                &format!("small:{round}:{n}"),
                &"v".repeat(60),
            ]));
        }
        client.send(&requests);
        assert!(client.replies(1_000).iter().all(|reply| *reply == Value::ok()));
    }
    let long = "v".repeat(1 << 20);
    for n in 0..100 {
        assert_eq!(client.command(&["SET", &format!("long:{n}"), &long]), Value::ok());
    }
    let limit = Duration::from_secs(10);
    eventually("what is too much has gone", limit, || used(&node) <= LIMIT);
    assert!(used(&node) > LIMIT / 2, "and no more than that: {}", used(&node));
    let lower = (LIMIT / 4).to_string();
    assert_eq!(client.command(&["CONFIG", "SET", "maxmemory", &lower]), Value::ok());
    eventually("a lower limit is kept", limit, || used(&node) <= LIMIT / 4);
    assert!(node.metric("corelane_evicted_keys_total") > 1_000.0);
}

fn on_one_shard(driver: &str) {
    what_is_too_much_goes(driver, 1);
}

fn on_several(driver: &str) {
    what_is_too_much_goes(driver, 3);
}

on_each_driver!(on_one_shard, on_several);
