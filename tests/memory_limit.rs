//! The limit of memory holds in the end, whatever comes in and whoever holds it: also where
//! values are much larger than what goes for them, and when the limit is lowered. And whose word
//! on it counts: the flag's, CONFIG SET's, the Keyspace's.

#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use support::resp::{self, Value};
use support::web_node::{Folder, configured, reload};
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

/// `maxmemory` and `maxmemory-policy`.
fn rules(node: &Node) -> [String; 2] {
    ["maxmemory", "maxmemory-policy"].map(|name| {
        node.client().command(&["CONFIG", "GET", name]).items().last().expect("a value").text()
    })
}

fn keyspace(maxmemory: &str, eviction: &str) -> String {
    format!(
        "apiVersion: corelane.dev/v1\nkind: Keyspace\nmetadata: {{name: default}}\n\
         spec: {{maxmemory: {maxmemory}, eviction: {eviction}}}\n"
    )
}

/// SIGHUP changes what has changed in the documents, and nothing else; flags win always.
fn what_sighup_changes(driver: &str) {
    let folder = Folder::new();
    let file = folder.write("config.yaml", &keyspace("1gb", "noeviction"));
    let options = || configured(Options::driver(driver).arg("--shards").arg("2"), &file);
    let apply = |node: &Node, maxmemory: &str, eviction: &str| {
        folder.write("config.yaml", &keyspace(maxmemory, eviction));
        assert!(reload(node), "{}", node.output());
        rules(node)
    };
    let flagged = Node::start_with(options().arg("--maxmemory").arg("100mb"));
    assert_eq!(rules(&flagged), ["104857600", "noeviction"]);
    assert_eq!(apply(&flagged, "1gb", "allkeys-lru"), ["104857600", "allkeys-lru"]);
    assert_eq!(apply(&flagged, "2gb", "allkeys-lru"), ["104857600", "allkeys-lru"]);
    let said = flagged.output();
    assert!(said.contains("--maxmemory") && said.contains("Keyspace"), "it says so: {said}");

    folder.write("config.yaml", &keyspace("1gb", "noeviction"));
    let node = Node::start_with(options());
    assert_eq!(rules(&node), ["1073741824", "noeviction"]);
    let set = |name, value| node.client().command(&["CONFIG", "SET", name, value]);
    assert_eq!(set("maxmemory", "200mb"), Value::ok());
    assert_eq!(apply(&node, "1gb", "allkeys-lru"), ["209715200", "allkeys-lru"]);
    assert_eq!(set("maxmemory-policy", "volatile-ttl"), Value::ok());
    assert_eq!(apply(&node, "1gb", "allkeys-lru"), ["209715200", "volatile-ttl"]);
    assert_eq!(apply(&node, "2gb", "allkeys-lru"), ["2147483648", "volatile-ttl"]);
    assert_eq!(apply(&node, "2gb", "noeviction"), ["2147483648", "noeviction"]);
}

on_each_driver!(on_one_shard, on_several, what_sighup_changes);
