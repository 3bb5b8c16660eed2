//! Twenty thousand idle connections, or as many as the limit of open files allows: what each costs,
//! and that the node goes on.

#![forbid(unsafe_code)]

mod support;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Client, Node, eventually, tell};

/// Open files of this process are shared by its tests: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

const WANTED: usize = 20_000;
/// Open files that are no connection, in the node and in this test.
const OTHERS: usize = 100;
/// Most that an idle connection may cost, in bytes of the node's resident memory.
const BYTES_EACH: u64 = 1024;

/// As many connections as the machine's limit of open files lets one process hold.
fn allowed() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let wanted = hard.min(2 * WANTED as u64);
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("raise the soft limit to the hard one");
    let allowed = WANTED.min(wanted as usize - OTHERS);
    assert!(allowed >= WANTED - 2 * OTHERS, "only {wanted} open files: raise `ulimit -Hn`");
    allowed
}

fn idle_connections_are_cheap(driver: &str) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let count = allowed();
    let node = Node::start(driver);
    let mut first = node.client();
    first.call("PING");
    let before = node.resident_bytes();
    let mut clients = Vec::with_capacity(count);
    while clients.len() < count {
        for _ in 0..500.min(count - clients.len()) {
            clients.push(Client::connect(node.resp));
        }
        // Each has spoken once, as real ones have.
        let from = clients.len().saturating_sub(500);
        for client in &mut clients[from..] {
            client.send(b"PING\r\n");
        }
        for client in &mut clients[from..] {
            assert_eq!(client.reply().text(), "PONG");
        }
    }
    clients.iter_mut().for_each(Client::forget_buffer);
    let each = node.resident_bytes().saturating_sub(before) / count as u64;
    tell(&format!("{driver}: {each} bytes for each of {count} idle connections"));
    assert!(each <= BYTES_EACH, "{each} bytes an idle connection");
    assert_eq!(first.call("SET k v").text(), "OK");
    assert_eq!(clients[count / 2].call("GET k").text(), "v");
    drop(clients);
    eventually("all are gone", Duration::from_secs(20), || {
        first.call("INFO clients").text().contains("connected_clients:1\r")
    });
    let mut again = node.client();
    assert_eq!(again.call("GET k").text(), "v");
}

on_each_driver!(idle_connections_are_cheap);
