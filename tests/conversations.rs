//! Conversations: the same requests get the same replies as from a real server.
//!
//! The replies in `conversations/*.resp` and, from a node of a cluster,
//! `conversations_cluster/*.resp` come from the server named in each file's first line. Those in
//! `conversations_own/*.resp` are of commands that it lacks; each file says whose they are.
//! `CORELANE_RECORD=1 cargo test --test conversations` records them anew.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use support::conversation;
use support::format;
use support::peer::{Kind, Peer, version_of};
use support::peer_cluster::PeerCluster;
use support::{Client, Node, Options};

/// With one server that has all keys.
const STANDALONE: &str = "tests/conversations";
/// With a node of a cluster that has all slots.
const CLUSTER: &str = "tests/conversations_cluster";

/// With commands that the real servers at hand lack.
const OWN: &str = "tests/conversations_own";

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).expect("the folder of conversations");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "the conversations are there");
    files
}

fn all_files() -> Vec<PathBuf> {
    [files(STANDALONE), files(CLUSTER), files(OWN)].concat()
}

#[track_caller]
fn all_hold(folder: &str, addr: SocketAddr) {
    let mut wrong = Vec::new();
    for path in files(folder) {
        let file = format::parse(&fs::read_to_string(&path).expect("read a conversation"));
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        wrong.extend(conversation::check(&file, addr).iter().map(|text| format!("{name} {text}")));
    }
    assert!(wrong.is_empty(), "{} replies differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn same_replies_as_a_real_server(driver: &str) {
    let node = Node::start(driver);
    all_hold(STANDALONE, node.resp);
}

/// In the words of the sources that the files name.
fn same_replies_as_is_written(driver: &str) {
    let node = Node::start(driver);
    all_hold(OWN, node.resp);
}

/// On a node of one shard, which has all slots.
fn same_replies_as_a_real_cluster(driver: &str) {
    let options = Options::driver(driver).arg("--shards").arg("1");
    let node = Node::start_with(options);
    all_hold(CLUSTER, node.cluster[0]);
}

on_each_driver!(
    same_replies_as_a_real_server,
    same_replies_as_a_real_cluster,
    same_replies_as_is_written,
);

/// The files themselves are checked against the server they were recorded from, so that a
/// reply changed by hand does not pass for its own.
#[test]
fn the_files_are_what_the_real_server_says() {
    let peer = Peer::start(Kind::Valkey);
    record_and_check(STANDALONE, peer.addr);
}

#[test]
fn the_files_are_what_the_real_cluster_says() {
    let peers = PeerCluster::start(1);
    record_and_check(CLUSTER, peers.addresses()[0]);
}

fn record_and_check(folder: &str, addr: SocketAddr) {
    if std::env::var_os("CORELANE_RECORD").is_some() {
        for path in files(folder) {
            let mut file = format::parse(&fs::read_to_string(&path).expect("read"));
            conversation::record(&mut file, addr);
            file.recorded_from = Some(version_of(&mut Client::connect(addr)));
            fs::write(&path, format::write(&file)).expect("write what was recorded");
        }
    }
    all_hold(folder, addr);
}

#[test]
fn every_file_says_where_it_comes_from_and_reads_back() {
    for path in all_files() {
        let text = fs::read_to_string(&path).expect("read a conversation");
        let file = format::parse(&text);
        assert!(file.recorded_from.is_some(), "{}: recorded from what?", path.display());
        assert_eq!(format::write(&file), text, "{}: written as it was read", path.display());
    }
}

/// A command is listed only when a conversation shows that it answers as others do.
#[test]
fn every_command_has_a_conversation() {
    let read = |path: &PathBuf| fs::read_to_string(path).expect("read");
    let text: String = all_files().iter().map(read).collect();
    let file = format::parse(&text);
    let mut spoken = std::collections::BTreeSet::new();
    for step in file.sections.iter().flat_map(|section| &section.steps) {
        if let format::Step::Exchange(exchange) = step {
            let word = |n: usize| String::from_utf8_lossy(&exchange.args[n]).to_lowercase();
            spoken.insert(word(0));
            if exchange.args.len() > 1 {
                spoken.insert(format!("{}|{}", word(0), word(1)));
            }
        }
    }
    let mut missing: Vec<&str> = shards::command::COMMANDS.iter().map(|spec| spec.name).collect();
    missing.retain(|name| !spoken.contains(*name));
    assert!(missing.is_empty(), "no conversation has: {missing:?}");
}
