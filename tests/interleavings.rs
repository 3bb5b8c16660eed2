//! A pipeline gives the same replies however its bytes are cut and whenever its sender ends:
//! random scripts with long arguments, transactions, long commands and silenced replies,
//! each once request by request, then cut at random and ended at once.

#![forbid(unsafe_code)]

mod support;

use std::net::Shutdown;
use std::time::Duration;

use support::Node;
use support::resp::{self, Value};
use support::rng::Rng;

/// Scripts a driver is tried with.
const SCRIPTS: u64 = 400;
/// Enough keys for KEYS to go in steps.
const KEYS: usize = 700;
/// Long enough to be collected apart from the rest.
const LONG: usize = 40_000;

/// A request and how many replies it gets.
type Request = (Vec<u8>, usize);

fn request(args: &[&str]) -> Request {
    (resp::request(args), 1)
}

/// What a script begins with: the same state each time.
fn preface() -> Vec<Request> {
    let mut fill = vec!["MSET".to_string()];
    for n in 0..KEYS {
        fill.extend([format!("key:{n}"), format!("{n}")]);
    }
    vec![request(&["FLUSHALL"]), (resp::request(&fill), 1)]
}

/// Many small arguments: longer than what a client may have unread while it waits.
fn wide(rng: &mut Rng) -> Request {
    let mut args = vec!["MSET".to_string()];
    for n in 0..2_000 + rng.below(2_000) {
        args.extend([format!("wide:{n}"), "v".repeat(rng.below(60))]);
    }
    (resp::request(&args), 1)
}

fn choose(rng: &mut Rng, script: &mut Vec<Request>) {
    let long = "x".repeat(LONG + rng.below(100));
    let key = format!("key:{}", rng.below(10));
    match rng.below(16) {
        0 => script.push(request(&["SET", &key, "7"])),
        1 => script.push(request(&["GET", &key])),
        2 => script.push(request(&["SET", "long", &long])),
        3 => script.push(request(&["ECHO", &long])),
        4 => script.push(request(&[&long, "x"])),
        5 => script.push(request(&["GET", "long"])),
        6 => script.push(request(&["KEYS", "*"])),
        7 => script.push(request(&["SCAN", "0", "COUNT", "1000"])),
        8 => script.push(wide(rng)),
        9 => script.push((b"PING\r\n".to_vec(), 1)),
        10 => script.push(request(&["INCR", "counter"])),
        11 => script.push(request(&["MGET", &key, "long", "none"])),
        12 => {
            script.push(request(&["MULTI"]));
            script.push(request(&["SET", &key, &long]));
            script.push(request(&["KEYS", "key:1*"]));
            script.push(request(&["EXEC"]));
        }
        13 => {
            let silent = |args: &[&str]| (resp::request(args), 0);
            script.push(silent(&["CLIENT", "REPLY", "SKIP"]));
            script.push(silent(if rng.below(2) == 0 {
                &["KEYS", "*"]
            } else {
                &["INCR", "counter"]
            }));
        }
        14 => {
            script.push((resp::request(&["CLIENT", "REPLY", "OFF"]), 0));
            script.push((resp::request(&["KEYS", "*"]), 0));
            script.push((resp::request(&["GET\0", "x"]), 0));
            script.push(request(&["CLIENT", "REPLY", "ON"]));
        }
        _ => script.push(request(&["GET\0", &key])),
    }
}

/// Request by request.
fn one_by_one(node: &Node, script: &[Request]) -> Vec<Value> {
    let mut client = node.client();
    let mut replies = Vec::new();
    for (bytes, count) in script {
        client.send(bytes);
        replies.extend(client.replies(*count));
    }
    replies
}

/// Cut at random, ended at once.
fn cut(node: &Node, script: &[Request], rng: &mut Rng) -> Vec<u8> {
    let all: Vec<u8> = script.iter().flat_map(|(bytes, _)| bytes).copied().collect();
    let mut reader = node.client();
    let stream = reader.stream.try_clone().expect("a second handle");
    let sender = std::thread::spawn({
        let mut rng = Rng::new(rng.draw());
        move || {
            let mut rest = &all[..];
            while !rest.is_empty() {
                let most = [40, 3_000, 70_000, 1 << 20][rng.below(4)];
                let n = (1 + rng.below(most)).min(rest.len());
                std::io::Write::write_all(&mut &stream, &rest[..n]).expect("send");
                rest = &rest[n..];
                if rng.below(3) == 0 {
                    std::thread::sleep(Duration::from_micros(rng.below(1_500) as u64));
                }
            }
            stream.shutdown(Shutdown::Write).expect("end");
        }
    });
    let got = reader.until_closed();
    sender.join().expect("the sender");
    got
}

fn cuts_and_ends_change_nothing(driver: &str) {
    let node = Node::start(driver);
    for seed in 0..SCRIPTS {
        let mut rng = Rng::new(seed + 1);
        let mut script = preface();
        for _ in 0..1 + rng.below(10) {
            choose(&mut rng, &mut script);
        }
        let expected = one_by_one(&node, &script);
        let got = cut(&node, &script, &mut rng);
        let (mut rest, mut replies) = (&got[..], Vec::new());
        while let Some((value, len)) = resp::parse(rest) {
            replies.push(value);
            rest = &rest[len..];
        }
        assert!(rest.is_empty(), "seed {seed}: half a reply");
        let heads: Vec<String> = script
            .iter()
            .map(|(bytes, _)| String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned())
            .collect();
        assert_eq!(replies.len(), expected.len(), "seed {seed}: replies to {heads:?}");
        assert!(replies == expected, "seed {seed}: other replies to {heads:?}");
    }
}

on_each_driver!(cuts_and_ends_change_nothing);
