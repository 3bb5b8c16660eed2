//! Real clients of clusters: redis-py's RedisCluster, ioredis' Cluster, redis-cli -c and
//! redis-benchmark --cluster, with one to three shards.

#![forbid(unsafe_code)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::{Node, Options, tools};

/// How long one client's script may take.
const LIMIT: Duration = Duration::from_secs(60);

fn start(driver: &str, shards: u16) -> Node {
    Node::start_with(Options::driver(driver).arg("--shards").arg(shards.to_string()))
}

fn script(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    folder.join(name).to_str().expect("a path in UTF-8").to_owned()
}

fn port(node: &Node) -> String {
    node.cluster.last().expect("a cluster port").port().to_string()
}

fn redis_py(driver: &str) {
    for shards in [1, 2, 3] {
        for protocol in ["2", "3"] {
            let node = start(driver, shards);
            let mut command = Command::new(tools::python());
            command.arg(script("redis_py_cluster.py"));
            command.args([&port(&node), &shards.to_string(), protocol]);
            let text = tools::must(&mut command, LIMIT);
            assert_eq!(text.matches("ok ").count(), 7, "{text}");
            redirected_if_it_must(&node, shards);
        }
    }
}

fn ioredis(driver: &str) {
    for shards in [1, 2, 3] {
        let node = start(driver, shards);
        let mut command = Command::new("node");
        command.env("NODE_PATH", tools::node_modules()).arg(script("ioredis_cluster.js"));
        command.args([port(&node), shards.to_string()]);
        assert_eq!(tools::must(&mut command, LIMIT), "ok\n");
        redirected_if_it_must(&node, shards);
    }
}

/// The clients' scripts ask wrong nodes on purpose.
#[track_caller]
fn redirected_if_it_must(node: &Node, shards: u16) {
    let moved = node.metric("corelane_redirected_total");
    assert_eq!(moved > 0.0, shards > 1, "{moved} redirections with {shards} shards");
}

fn redis_cli(driver: &str) {
    for shards in [1, 3] {
        let node = start(driver, shards);
        let cli = |args: &[&str]| {
            let mut command = Command::new("redis-cli");
            tools::must(command.args(["-c", "-p", &port(&node)]).args(args), LIMIT)
        };
        for n in 0..20 {
            let (key, value) = (format!("key:{n}"), n.to_string());
            assert_eq!(cli(&["SET", &key, &value]), "OK\n");
            assert_eq!(cli(&["GET", &key]), format!("{value}\n"));
        }
        let address = format!("127.0.0.1:{}", port(&node));
        let text = cli(&["--cluster", "check", &address]);
        assert!(text.contains("All 16384 slots covered"), "{text}");
        assert!(text.contains("All nodes agree about slots configuration"), "{text}");
        assert!(
            text.contains(&format!("20 keys in {shards} primaries"))
                || text.contains(&format!("20 keys in {shards} masters")),
            "{text}"
        );
        let text = cli(&["--cluster", "call", &address, "DBSIZE"]);
        assert_eq!(text.matches("127.0.0.1:").count(), usize::from(shards), "{text}");
    }
}

fn redis_benchmark(driver: &str) {
    for shards in [2, 3] {
        // It takes one node for no cluster, whoever's it is.
        let node = start(driver, shards);
        for pipeline in ["1", "32"] {
            let mut command = Command::new("redis-benchmark");
            command.args(["--cluster", "-p", &port(&node), "-t", "set,get", "-q"]);
            command.args(["-n", "20000", "-P", pipeline, "-r", "1000", "--precision", "1"]);
            let text = tools::must(&mut command, LIMIT);
            let done = text.matches("requests per second").count();
            assert_eq!(done, 2, "SET and GET:\n{text}");
            let lower = text.to_lowercase();
            assert!(!lower.contains("error") && !lower.contains("warning"), "{text}");
            assert!(lower.contains(&format!("cluster has {shards} master nodes")), "{text}");
        }
        for shard in 0..usize::from(shards) {
            assert!(node.cluster_client(shard).call("DBSIZE").int() > 0, "keys on {shard}");
        }
        let moved = node.metric("corelane_redirected_total") as u64;
        assert_eq!(moved, 0, "it asks the right nodes");
    }
}

on_each_driver!(redis_py, ioredis, redis_cli, redis_benchmark);
