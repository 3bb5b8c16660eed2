//! Real clients: redis-cli, redis-benchmark, redis-py, ioredis, node-redis.

#![forbid(unsafe_code)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::{Node, tools};

/// How long one client's script may take.
const LIMIT: Duration = Duration::from_secs(60);

fn script(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    folder.join(name).to_str().expect("a path in UTF-8").to_owned()
}

fn cli(node: &Node, args: &[&str]) -> String {
    let mut command = Command::new("redis-cli");
    tools::must(command.args(["-p", &node.resp.port().to_string()]).args(args), LIMIT)
}

fn redis_cli(driver: &str) {
    let node = Node::start(driver);
    assert_eq!(cli(&node, &["SET", "greeting", "hello"]), "OK\n");
    assert_eq!(cli(&node, &["GET", "greeting"]), "hello\n");
    assert_eq!(cli(&node, &["-3", "GET", "none"]), "\n");
    assert_eq!(cli(&node, &["-n", "5", "DBSIZE"]), "0\n");
    assert_eq!(
        cli(&node, &["-3", "--no-raw", "MGET", "greeting", "none"]),
        "1) \"hello\"\n2) (nil)\n"
    );
    assert!(
        cli(&node, &["-3", "--json", "CONFIG", "GET", "databases"])
            .contains("\"databases\":\"16\"")
    );
    assert!(cli(&node, &["INFO"]).contains(&format!("corelane_driver:{driver}")));
    assert!(cli(&node, &["NONSENSE"]).contains("unknown command"));
    for n in 0..300 {
        node.client().call(&format!("SET key:{n} v"));
    }
    let scanned = cli(&node, &["--scan", "--pattern", "key:*"]);
    assert_eq!(scanned.lines().count(), 300);
    assert!(cli(&node, &["--bigkeys"]).contains("strings"));
    let piped =
        format!("printf 'MULTI\\nSET a 1\\nINCR a\\nEXEC\\n' | redis-cli -p {}", node.resp.port());
    let text = tools::must(Command::new("bash").args(["-c", &piped]), LIMIT);
    assert_eq!(text, "OK\nQUEUED\nQUEUED\nOK\n2\n");
    let mass = format!(
        "for n in $(seq 1000); do printf 'SET mass:%s v\\r\\n' $n; done | redis-cli -p {} --pipe",
        node.resp.port()
    );
    let text = tools::must(Command::new("bash").args(["-c", &mass]), LIMIT);
    assert!(text.contains("errors: 0, replies: 1000"), "{text}");
}

fn redis_benchmark(driver: &str) {
    let node = Node::start(driver);
    let port = node.resp.port().to_string();
    for pipeline in ["1", "32"] {
        let mut command = Command::new("redis-benchmark");
        command.args(["-p", &port, "-t", "ping,set,get,incr,mset", "-q", "-n", "20000"]);
        command.args(["-P", pipeline, "-r", "1000", "--precision", "1"]);
        let text = tools::must(&mut command, LIMIT);
        let done = text.matches("requests per second").count();
        assert_eq!(done, 6, "two PINGs, SET, GET, INCR, MSET:\n{text}");
        assert!(!text.to_lowercase().contains("error"), "{text}");
    }
    assert!(node.client().call("DBSIZE").int() > 1_000);
}

fn redis_py(driver: &str) {
    for protocol in ["2", "3"] {
        let node = Node::start(driver);
        let mut command = Command::new(tools::python());
        command.arg(script("redis_py.py")).args([&node.resp.port().to_string(), driver, protocol]);
        let text = tools::must(&mut command, LIMIT);
        assert_eq!(text.matches("ok ").count(), 6, "{text}");
    }
}

fn run_node(node: &Node, name: &str, args: &[&str]) {
    let mut command = Command::new("node");
    command.env("NODE_PATH", tools::node_modules()).arg(script(name));
    command.arg(node.resp.port().to_string()).args(args);
    assert_eq!(tools::must(&mut command, LIMIT), "ok\n");
}

fn ioredis(driver: &str) {
    run_node(&Node::start(driver), "ioredis.js", &[driver]);
}

fn node_redis(driver: &str) {
    for protocol in ["2", "3"] {
        run_node(&Node::start(driver), "node_redis.js", &[driver, protocol]);
    }
}

on_each_driver!(redis_cli, redis_benchmark, redis_py, ioredis, node_redis);
