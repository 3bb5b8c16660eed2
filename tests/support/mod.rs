//! What the black-box tests share: a node on free ports, real servers to compare with, a
//! small RESP client, the conversation format.
//!
//! Owns processes and sockets of the tests; never looks inside the node. Everything waits
//! with a limit, and every process is ended by its own handle.

#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)] // each test file uses its own part of this

pub mod client;
pub mod conversation;
pub mod format;
pub mod http;
pub mod node;
pub mod peer;
pub mod peer_cluster;
pub mod refusal;
pub mod resp;
pub mod rng;
pub mod scripts;
pub mod tools;
pub mod web;
pub mod web_load;
pub mod web_node;
pub mod web_peers;
pub mod web_server;

pub use client::Client;
pub use node::{Node, Options};
pub use resp::Value;

use std::io::Write;
use std::time::{Duration, Instant};

/// The drivers that every black-box test runs on.
pub const DRIVERS: [&str; 2] = ["uring", "epoll"];

/// Makes `mod NAME { uring, epoll }`: one test per driver out of one function.
#[macro_export]
macro_rules! on_each_driver {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[test]
            fn uring() {
                super::$name("uring");
            }
            #[test]
            fn epoll() {
                super::$name("epoll");
            }
        }
    )*};
}

/// A test for each driver that runs `$body` in a network of its own ([`tools::alone`]), where it
/// may take ports that are fixed: `$name` starts it, `in_a_network_of_its_own` is what it starts.
#[macro_export]
macro_rules! alone_on_each_driver {
    ($name:ident, $body:ident) => {
        fn $name(driver: &str) {
            $crate::support::tools::alone(&format!("in_a_network_of_its_own::{driver}"));
        }

        mod in_a_network_of_its_own {
            #[test]
            #[ignore = "takes fixed ports; another test runs it in a network of its own"]
            fn uring() {
                super::$body("uring");
            }
            #[test]
            #[ignore = "takes fixed ports; another test runs it in a network of its own"]
            fn epoll() {
                super::$body("epoll");
            }
        }
    };
}

/// Asks again and again until `done` says yes, `limit` at most.
#[track_caller]
pub fn eventually(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A figure that belongs to a test's result: it is shown when the test has passed, too.
pub fn tell(line: &str) {
    // Not println!, which is shown for tests that fail.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The value at `quantile` (0.99 and the like) of measured times.
pub fn quantile(times: &mut [Duration], quantile: f64) -> Duration {
    assert!(!times.is_empty(), "nothing was measured");
    times.sort_unstable();
    let rank = (times.len() as f64 * quantile).ceil() as usize;
    times[rank.clamp(1, times.len()) - 1]
}
