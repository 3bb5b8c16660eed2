//! Ending: SIGTERM finishes what is in flight and exits with 0; a second one ends at once.

#![forbid(unsafe_code)]

mod support;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::resp::{self, Value};
use support::{Client, Node, eventually};

/// Room for a busy machine; the promise itself is 30 s at most.
const SOON: Duration = Duration::from_secs(5);

fn idle_clients_do_not_hold_it_up(driver: &str) {
    for signal in [Signal::TERM, Signal::INT] {
        let mut node = Node::start(driver);
        let mut idle: Vec<_> = (0..50).map(|_| node.client()).collect();
        for client in &mut idle {
            client.call("PING");
        }
        node.signal(signal);
        assert_eq!(node.wait(SOON).code(), Some(0), "{signal:?}");
        for client in &mut idle {
            assert_eq!(client.until_closed(), b"", "closed without a word");
        }
        assert!(Client::try_connect(node.resp).is_err(), "nobody listens any more");
    }
}

/// What the node has taken in is answered whole before it ends.
fn what_is_in_flight_is_finished(driver: &str) {
    const COUNT: usize = 64;
    let mut node = Node::start(driver);
    let mut client = node.client();
    let value = "v".repeat(1 << 20);
    assert_eq!(client.command(&["SET", "big", &value]), Value::ok());
    let mut reader = node.client();
    reader.send(&resp::request(&["GET", "big"]).repeat(COUNT));
    std::thread::sleep(Duration::from_millis(100)); // its replies now wait for the reader
    node.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(200));
    assert!(node.try_wait().is_none(), "it does not end with replies unsent");
    for n in 0..COUNT {
        assert_eq!(reader.reply().text().len(), value.len(), "reply {n}");
    }
    assert_eq!(reader.until_closed(), b"");
    assert_eq!(node.wait(SOON).code(), Some(0));
}

/// What the kernel had received before the signal is answered, however many turns it takes to
/// read, and although nothing is being sent meanwhile.
fn what_has_been_received_is_answered(driver: &str) {
    const COUNT: usize = 15_000; // some 300 ms of work in 90 KB
    let mut node = Node::start(driver);
    let mut client = node.client();
    client.call("PING");
    let mut script = b"CLIENT REPLY OFF\r\n".to_vec();
    script.extend(b"INFO\r\n".repeat(COUNT));
    script.extend(b"CLIENT REPLY ON\r\nECHO done\r\n");
    client.send(&script);
    std::thread::sleep(Duration::from_millis(20));
    node.signal(Signal::TERM);
    assert_eq!(client.until_closed(), b"+OK\r\n$4\r\ndone\r\n");
    assert_eq!(node.wait(SOON).code(), Some(0));
}

/// A client that never reads holds the node up for the time of grace; a second signal does not
/// wait for it.
fn a_second_signal_ends_it_at_once(driver: &str) {
    let mut node = Node::start(driver);
    let mut client = node.client();
    let value = "v".repeat(8 << 20);
    assert_eq!(client.command(&["SET", "big", &value]), Value::ok());
    let mut stuck = node.client();
    stuck.send(&resp::request(&["GET", "big"]).repeat(16)); // and never reads
    std::thread::sleep(Duration::from_millis(100));
    node.signal(Signal::TERM);
    // Two signals that nobody has taken yet are one.
    eventually("it drains", SOON, || node.output().contains("draining"));
    std::thread::sleep(Duration::from_millis(300));
    assert!(node.try_wait().is_none(), "it waits for the client");
    node.signal(Signal::TERM);
    node.wait(SOON);
    drop(stuck);
}

/// The time of grace ends: 30 s, and then the node ends by itself.
fn it_waits_thirty_seconds_at_most(driver: &str) {
    let mut node = Node::start(driver);
    let mut client = node.client();
    let value = "v".repeat(8 << 20);
    assert_eq!(client.command(&["SET", "big", &value]), Value::ok());
    let mut stuck = node.client();
    // It never reads; what waits for it stays below the limit at which it would be closed.
    stuck.send(&resp::request(&["GET", "big"]).repeat(3));
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    node.signal(Signal::TERM);
    let status = node.wait(Duration::from_secs(40));
    assert_eq!(status.code(), Some(0));
    let took = start.elapsed();
    assert!(took > Duration::from_secs(28), "{took:?}: a client may be slow for 30 s");
    drop(stuck);
}

/// No new clients while it drains.
fn new_clients_are_refused_while_it_drains(driver: &str) {
    let mut node = Node::start(driver);
    let mut client = node.client();
    let value = "v".repeat(8 << 20);
    assert_eq!(client.command(&["SET", "big", &value]), Value::ok());
    let mut reader = node.client();
    reader.send(&resp::request(&["GET", "big"]).repeat(8));
    std::thread::sleep(Duration::from_millis(100));
    node.signal(Signal::TERM);
    eventually("the port is closed", SOON, || match Client::try_connect(node.resp) {
        Err(_) => true,
        Ok(mut late) => {
            late.stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a limit");
            let asked = io::Write::write_all(&mut late.stream, b"PING\r\n");
            asked.is_err() || !matches!(late.try_reply(), Ok(Some(_)))
        }
    });
    reader.replies(8);
    assert_eq!(node.wait(SOON).code(), Some(0));
}

/// Amid load: every reply that arrives is whole and right, every write that was acknowledged
/// was acknowledged once and in order, and the node ends in time.
fn amid_load(driver: &str) {
    let mut node = Node::start(driver);
    let replies = [const { AtomicU64::new(0) }; 8];
    let status = std::thread::scope(|scope| {
        for (worker, replies) in replies.iter().enumerate() {
            let mut client = node.client();
            scope.spawn(move || load(&mut client, worker, replies));
        }
        eventually("it is under load", Duration::from_secs(20), || {
            replies.iter().all(|replies| replies.load(Ordering::Relaxed) > 100)
        });
        std::thread::sleep(Duration::from_millis(300));
        node.signal(Signal::TERM);
        node.wait(Duration::from_secs(31))
    });
    assert_eq!(status.code(), Some(0));
}

/// Whether the client's time limit has passed.
fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Pipelines of 16 INCRs until the node closes; counts the replies, each one more than the last.
/// A connection that outlives the node ends by the client's time limit, with a panic.
fn load(client: &mut Client, worker: usize, replies: &AtomicU64) {
    use std::io::Write;
    let request = resp::request(&["INCR", &format!("counter:{worker}")]).repeat(16);
    loop {
        if client.stream.write_all(&request).is_err() {
            return;
        }
        for _ in 0..16 {
            match client.try_reply() {
                Ok(Some(reply)) => {
                    let last = replies.fetch_add(1, Ordering::Relaxed);
                    assert_eq!(reply.int(), last as i64 + 1, "in order and none twice");
                }
                Err(error) if is_late(&error) => panic!("the connection has not ended: {error}"),
                _ => return,
            }
        }
    }
}

on_each_driver!(
    idle_clients_do_not_hold_it_up,
    what_is_in_flight_is_finished,
    what_has_been_received_is_answered,
    a_second_signal_ends_it_at_once,
    it_waits_thirty_seconds_at_most,
    new_clients_are_refused_while_it_drains,
    amid_load,
);
