//! Conversations through the proxy: both sides of it are ours, and every byte is expected.
//!
//! `proxy_conversations/*.http`, played against the binary on each driver with one and two
//! shards, each message whole, and byte by byte with one. The simulator plays the same files
//! (dataplane/tests/sim). `CORELANE_TALK=WORDS` plays the cases whose titles have these words.

#![forbid(unsafe_code)]

mod support;
#[path = "support/talk.rs"]
mod talk;
#[path = "support/talk_sockets.rs"]
mod talk_sockets;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use support::DRIVERS;
use talk::{Delivery, File};
use talk_sockets::Sockets;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proxy_conversations")
}

fn read(name: &str) -> File {
    let text = fs::read_to_string(folder().join(format!("{name}.http"))).expect("a conversation");
    talk::parse(&text, talk_sockets::long())
}

/// Plays all cases of a file on one driver.
#[track_caller]
fn hold(name: &str, driver: &str) {
    let file = read(name);
    let words = std::env::var("CORELANE_TALK").unwrap_or_default();
    let (mut wrong, mut played) = (Vec::new(), 0);
    for shards in [1, 2] {
        let mut sockets = Sockets::start(driver, shards);
        for case in file.cases.iter().filter(|case| case.title.contains(&words)) {
            if !case.is_for("sockets", shards) {
                continue;
            }
            // The simulator cuts on two shards, too.
            let cut = case.may_be_cut() && shards == 1;
            let bytes = cut.then_some(Delivery::ByteByByte);
            for delivery in [Some(Delivery::Whole), bytes].into_iter().flatten() {
                played += 1;
                if !case.limits.is_empty() {
                    sockets = Sockets::start(driver, shards); // whose buckets are full
                }
                if let Err(why) = sockets.play(&file, case, delivery) {
                    wrong.push(format!("{name}.http, {driver}, {shards} shards, {why}"));
                }
            }
            assert!(sockets.node.try_wait().is_none(), "the node ended in {}", case.title);
        }
    }
    assert!(wrong.is_empty(), "{} of {played} do not hold:\n{}", wrong.len(), wrong.join("\n"));
    assert!(played > 0, "none was played");
}

/// One test for each file and driver.
macro_rules! files {
    ($($name:ident),* $(,)?) => {
        const FILES: &[&str] = &[$(stringify!($name)),*];
        $(mod $name {
            #[test]
            fn uring() {
                super::hold(stringify!($name), super::DRIVERS[0]);
            }
            #[test]
            fn epoll() {
                super::hold(stringify!($name), super::DRIVERS[1]);
            }
        })*
    };
}

files!(
    answers,
    bodiless,
    broken_off,
    chunked,
    client_gone,
    forwarded,
    framing,
    hops,
    interim,
    keep_alive,
    lengths,
    limits,
    old,
    retry,
    routing,
    targets,
    timeouts,
    upgrade,
    upstream_faults,
);

#[test]
fn every_file_is_played_and_every_case_has_a_title_of_its_own() {
    let entries = fs::read_dir(folder()).expect("the folder");
    let names = entries.map(|entry| entry.expect("an entry").path());
    let names: BTreeSet<String> =
        names.map(|path| path.file_stem().expect("a name").to_string_lossy().into()).collect();
    assert_eq!(names, FILES.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(DRIVERS, ["uring", "epoll"]);
    let mut titles = BTreeSet::new();
    for name in FILES {
        for case in read(name).cases {
            assert!(titles.insert(case.title.clone()), "twice: {}", case.title);
        }
    }
}
