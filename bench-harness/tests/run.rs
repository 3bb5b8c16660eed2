//! `corelane-bench run` as its users run it, against servers with known faults.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Answers each PING with `reply`, but not while `stalled`.
struct Server {
    address: SocketAddr,
    stalled: Arc<RwLock<()>>,
}

const PING: usize = b"*1\r\n$4\r\nPING\r\n".len();

impl Server {
    fn start(reply: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stalled = Arc::new(RwLock::new(()));
        let gate = stalled.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, gate) = (stream.unwrap(), gate.clone());
                std::thread::spawn(move || answer(stream, reply, &gate));
            }
        });
        Self { address, stalled }
    }

    /// Answers nobody for `pause`, once every `period`, from now on.
    fn stall(&self, period: Duration, pause: Duration) {
        let gate = self.stalled.clone();
        std::thread::spawn(move || {
            let start = Instant::now();
            for n in 1.. {
                std::thread::sleep((start + period * n).saturating_duration_since(Instant::now()));
                let _held = gate.write().unwrap();
                std::thread::sleep(pause);
            }
        });
    }
}

fn answer(mut stream: TcpStream, reply: &[u8], gate: &RwLock<()>) {
    stream.set_nodelay(true).unwrap();
    let (mut buffer, mut left) = (vec![0; 64 << 10], 0);
    while let Ok(n) = stream.read(&mut buffer)
        && n > 0
    {
        drop(gate.read().unwrap());
        left += n;
        if stream.write_all(&reply.repeat(left / PING)).is_err() {
            return;
        }
        left %= PING;
    }
}

fn run(target: SocketAddr, args: &[&str]) -> (Output, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_corelane-bench"))
        .args(["run", "--target", &target.to_string(), "--mix", "ping", "--json", "-"])
        .args(args)
        .output()
        .unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output, document)
}

fn us(document: &Value, of: &str, quantile: &str) -> f64 {
    document[of][format!("{quantile}_us")].as_f64().unwrap()
}

#[test]
fn a_server_that_stalls_is_charged_for_all_who_would_have_come() {
    let server = Server::start(b"+PONG\r\n");
    server.stall(Duration::from_millis(500), Duration::from_millis(100));
    let args = ["--rate", "1000", "--duration", "3", "--connections", "8"];
    for driver in ["uring", "epoll"] {
        let (_, document) = run(server.address, &[&args[..], &["--driver", driver]].concat());
        assert_eq!(document["latency"]["requests"], 3_000, "{driver}");
        assert_eq!(document["driver"], driver);
        // A fifth of all requests fall into a stall and wait 50 ms of it on average. A closed
        // loop would have sent eight of the hundred.
        let (p50, p90, max) = (
            us(&document, "latency", "p50"),
            us(&document, "latency", "p90"),
            us(&document, "latency", "max"),
        );
        assert!(p50 < 20_000.0, "{driver}: most are served at once: {p50} us");
        assert!((30_000.0..110_000.0).contains(&p90), "{driver}: p90 {p90} us");
        assert!((90_000.0..200_000.0).contains(&max), "{driver}: the first waits 100 ms: {max} us");
    }
}

#[test]
fn errors_and_missing_answers_make_a_run_invalid() {
    let errors = Server::start(b"-ERR no\r\n");
    let (output, document) = run(errors.address, &["--duration", "0.5", "--rate", "500"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(document["valid"], false);
    assert!(String::from_utf8_lossy(&output.stderr).contains("replies were errors"));
    let silent = Server::start(b"");
    let (output, document) =
        run(silent.address, &["--duration", "0.2", "--warmup", "0", "--rate", "50"]);
    assert_eq!(output.status.code(), Some(2));
    let objections = document["objections"].to_string();
    assert!(objections.contains("10 requests were never answered"), "{objections}");
}

#[test]
fn what_cannot_be_measured_is_said_in_one_line() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let web = Server::start(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    for (target, args, expected) in [
        (closed, &["--duration", "1"][..], "refused"),
        (web.address, &["--duration", "1"], "no answer to a RESP request"),
        (closed, &["--duration", "-1"], "--duration"),
        (closed, &["--rate", "2000000", "--duration", "1000"], "at most"),
        (closed, &["--mix", "flushall=1"], "--mix"),
        (closed, &["--disturb", "KEYS *", "--disturb-prepare", "x"], "--disturb-prepare"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_corelane-bench"));
        let output =
            command.args(["run", "--target", &target.to_string()]).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    }
}

#[test]
fn a_disturbance_shows_in_the_windows_it_belongs_to() {
    let server = Server::start(b"+PONG\r\n");
    // Its own server never stalls: both windows are alike, and full.
    let args = ["--rate", "500", "--duration", "0.3", "--disturb", "PING", "--disturb-times", "2"];
    let (output, document) = run(server.address, &args);
    assert!(output.status.code() == Some(0) || document["valid"] == false);
    for (window, about) in [("latency", 300), ("disturbed", 100)] {
        let requests = document[window]["requests"].as_u64().unwrap();
        let range = about * 4 / 5..=about * 3 / 2;
        assert!(range.contains(&requests), "{window}: {requests} of about {about}");
    }
    assert!(document["p99_ratio"].as_f64().unwrap() > 0.0);
    assert_eq!(document["answers_ms"].as_array().unwrap().len(), 2);
}
