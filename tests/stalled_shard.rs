//! A shard that does not run for a while (a debugger, a busy neighbour) and a client that floods
//! it: others wait for what is at home there, and for nothing else; nothing is lost.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shards::partition::Partition;
use shards::slot::slot_of;
use support::resp::{self, Value};
use support::{Client, Node, Options, quantile, tools};

const SHARDS: u16 = 2;
/// Longer than any request of a shard that runs.
const A_WHILE: Duration = Duration::from_millis(500);

/// A key at home on a shard.
fn key_of(shard: u16, n: usize) -> String {
    let partition = Partition::new(SHARDS).expect("shards");
    let mut keys = (0..).map(|n| format!("key{n}"));
    let mut at_home = keys.by_ref().filter(|k| partition.home(slot_of(k.as_bytes())).0 == shard);
    at_home.nth(n).expect("endless")
}

/// Holds a shard's thread still until dropped.
struct Stall(Child);

impl Stall {
    fn of(node: &Node, shard: &str) -> Self {
        let tasks = fs::read_dir(format!("/proc/{}/task", node.pid())).expect("threads");
        let thread = tasks.map(|task| task.expect("a thread").path()).find(|path| {
            fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == shard)
        });
        let thread = thread.unwrap_or_else(|| panic!("no thread {shard}"));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/stall.py");
        let mut child = Command::new(tools::python())
            .args([script, thread.file_name().expect("a number").to_str().expect("digits")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python");
        let mut said = String::new();
        let output = child.stdout.as_mut().expect("piped");
        BufReader::new(output).read_line(&mut said).expect("a line");
        assert_eq!(said, "still\n", "the thread is held");
        Self(child)
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        let _ = self.0.stdin.take().map(|mut stdin| stdin.write_all(b"\n"));
        let ended = self.0.wait();
        assert!(std::thread::panicking() || ended.is_ok_and(|status| status.success()));
    }
}

fn start(driver: &str) -> Node {
    Node::start_with(Options::driver(driver).arg("--shards").arg(SHARDS.to_string()))
}

/// Connections of the standalone port that the first shard serves: those that are answered
/// while the second stands still.
fn served_by_the_first(node: &Node) -> (Stall, Vec<Client>) {
    let mut clients: Vec<Client> = (0..6).map(|_| node.client()).collect();
    for client in &mut clients {
        assert_eq!(client.call("PING").text(), "PONG");
    }
    let stall = Stall::of(node, "shard-1");
    for client in &mut clients {
        client.stream.set_read_timeout(Some(A_WHILE)).expect("a limit");
        client.send(b"PING\r\n");
    }
    let patience = Some(Duration::from_secs(20));
    clients.retain_mut(|client| {
        let answered = matches!(client.try_reply(), Ok(Some(_)));
        client.stream.set_read_timeout(patience).expect("a limit");
        answered
    });
    assert!(clients.len() >= 2, "connections are spread: {} at the first", clients.len());
    (stall, clients)
}

fn only_what_is_at_home_there_waits(driver: &str) {
    let node = start(driver);
    let (mine, theirs) = (key_of(0, 0), key_of(1, 0));
    assert_eq!(node.client().command(&["SET", &theirs, "before"]), Value::ok());
    let (stall, mut clients) = served_by_the_first(&node);
    let mut waiting = clients.remove(0);
    let mut others = clients;
    // One waits for the other shard, in the order of its requests.
    waiting.send(&resp::request(&["SET", &mine, "1"]));
    waiting.send(&resp::request(&["GET", &theirs]));
    waiting.send(&resp::request(&["MGET", &mine, &theirs]));
    waiting.send(&resp::request(&["INCR", &mine]));
    assert_eq!(waiting.reply(), Value::ok());
    waiting.expect_silence(A_WHILE);
    // The others do not, whichever port they came by.
    let mut in_cluster = node.cluster_client(0);
    for client in others.iter_mut().chain([&mut in_cluster]) {
        let own = key_of(0, 1);
        let mut times: Vec<Duration> = (0..2_000)
            .map(|n| client.timed(&resp::request(&["SET", &own, &n.to_string()])))
            .collect();
        let p99 = quantile(&mut times, 0.99);
        assert!(p99 < Duration::from_millis(20), "p99 of others: {p99:?}");
    }
    drop(stall);
    assert_eq!(waiting.reply().text(), "before");
    let both = waiting.reply();
    assert_eq!((both.items()[0].text(), both.items()[1].text()), ("1".into(), "before".into()));
    assert_eq!(waiting.reply().int(), 2);
}

/// More requests than a stalled shard may be owed: their client is not read any further, which
/// costs no memory and nobody else, and all are answered in the end.
fn a_flood_waits_outside(driver: &str) {
    const REQUESTS: usize = 400_000;
    let node = start(driver);
    let theirs = key_of(1, 0);
    let (stall, mut clients) = served_by_the_first(&node);
    let (mut flooder, mut other) = (clients.remove(0), clients.remove(0));
    let request = resp::request(&["INCR", &theirs]);
    let mut stream = flooder.stream.try_clone().expect("a second handle");
    stream.set_write_timeout(Some(Duration::from_secs(60))).expect("a limit");
    let sending = std::thread::spawn(move || {
        for _ in 0..REQUESTS / 1_000 {
            stream.write_all(&request.repeat(1_000)).expect("send");
        }
    });
    let before = node.resident_bytes();
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed() < Duration::from_secs(2) {
        times.push(other.timed(b"PING\r\n"));
        std::thread::sleep(Duration::from_millis(1));
    }
    let p99 = quantile(&mut times, 0.99);
    assert!(p99 < Duration::from_millis(20), "p99 of another: {p99:?}");
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more for a flood of {} bytes", REQUESTS * 29);
    assert!(!sending.is_finished(), "the flood has to wait");
    drop(stall);
    for n in 1..=REQUESTS {
        assert_eq!(flooder.reply().int(), n as i64);
    }
    sending.join().expect("the sender");
}

on_each_driver!(only_what_is_at_home_there_waits, a_flood_waits_outside);
