//! The layers run one way: which of our crates may import which.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Crate, and which of ours it may import.
const ALLOWED: [(&str, &[&str]); 5] = [
    ("shards", &[]),
    ("dataplane", &["shards"]),
    ("controlplane", &["shards"]),
    ("bench-harness", &["shards", "dataplane"]),
    ("corelane", &["shards", "dataplane", "controlplane"]),
];

/// What a sans-IO crate must not import, whoever wrote it.
const NOT_IN_SHARDS: [&str; 6] = ["tokio", "io-uring", "mio", "socket2", "rand", "core_affinity"];

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("run cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    all["packages"].as_array().expect("packages").clone()
}

/// Names of a package's dependencies, development ones left out.
fn imports(package: &Value) -> BTreeSet<String> {
    let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
    dependencies
        .filter(|dependency| dependency["kind"] != "dev")
        .map(|dependency| dependency["name"].as_str().expect("a name").to_owned())
        .collect()
}

/// Edges that `allowed` does not have, as `from -> to`.
fn forbidden(
    found: &BTreeMap<String, BTreeSet<String>>,
    allowed: &[(&str, &[&str])],
) -> Vec<String> {
    let mut edges = Vec::new();
    for (from, imports) in found {
        let Some((_, may)) = allowed.iter().find(|(name, _)| name == from) else {
            edges.push(format!("{from}, which has no place yet"));
            continue;
        };
        let ours = imports.iter().filter(|to| allowed.iter().any(|(name, _)| name == to));
        edges.extend(
            ours.filter(|to| !may.contains(&to.as_str())).map(|to| format!("{from} -> {to}")),
        );
    }
    edges
}

#[test]
fn layers_run_one_way() {
    let found: BTreeMap<_, _> = packages()
        .iter()
        .map(|package| (package["name"].as_str().expect("a name").to_owned(), imports(package)))
        .collect();
    assert_eq!(found.len(), ALLOWED.len(), "all crates are looked at: {found:?}");
    let wrong = forbidden(&found, &ALLOWED);
    assert!(wrong.is_empty(), "edges against the direction: {wrong:?}");
    for name in NOT_IN_SHARDS {
        assert!(!found["shards"].contains(name), "shards decides, it does no I/O: {name}");
    }
}

#[test]
fn an_edge_against_the_direction_is_seen() {
    let edge = |from: &str, to: &str| (from.to_owned(), BTreeSet::from([to.to_owned()]));
    let found = BTreeMap::from([edge("shards", "dataplane"), edge("controlplane", "dataplane")]);
    let wrong = forbidden(&found, &ALLOWED);
    assert_eq!(wrong, ["controlplane -> dataplane", "shards -> dataplane"]);
    let wrong = forbidden(&BTreeMap::from([edge("newcomer", "shards")]), &ALLOWED);
    assert_eq!(wrong.len(), 1, "a crate nobody placed is seen");
}

/// Files of `shards` name no socket, thread, clock or file.
#[test]
fn shards_reads_no_clock_and_opens_nothing() {
    const NEVER: [&str; 7] = [
        "std::net::TcpStream",
        "std::net::TcpListener",
        "std::thread::spawn",
        "Instant::now",
        "SystemTime::now",
        "std::fs",
        "thread_rng",
    ];
    let mut seen = 0;
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shards/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("list") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.extend(Some(path).filter(|path| !path.ends_with("tests")));
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                seen += 1;
                let text = std::fs::read_to_string(&path).expect("read");
                let code = text.split("#[cfg(test)]").next().expect("the part before the tests");
                let is_test = path.file_name().is_some_and(|name| name == "tests.rs");
                for word in NEVER.iter().filter(|_| !is_test) {
                    assert!(!code.contains(word), "{}: {word}", path.display());
                }
            }
        }
    }
    assert!(seen > 20, "the files are there");
}
