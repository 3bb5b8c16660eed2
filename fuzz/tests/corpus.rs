//! The corpus, and seeded mutations of it, through every target without a fuzzing engine.

use std::fs;
use std::path::Path;

/// Mutations tried for each file of the corpus.
const MUTATIONS: usize = 300;

/// Bytes that mean something to one of the parsers.
const TELLING: &[u8] = b"*$\r\n-0129 \"':{}[],&!|#/";

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("the corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 5, "there is a corpus");
    paths.iter().map(|path| fs::read(path).expect("read")).collect()
}

/// SplitMix64, so that a failure comes again.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ (z >> 31)) as usize
}

fn mutate(data: &mut Vec<u8>, other: &[u8], state: &mut u64) {
    for _ in 0..1 + next(state) % 4 {
        let at = next(state) % (data.len() + 1);
        match next(state) % 5 {
            0 if at < data.len() => data[at] = next(state) as u8,
            1 => data.insert(at, TELLING[next(state) % TELLING.len()]),
            2 if at < data.len() => _ = data.remove(at),
            3 => data.truncate(at),
            _ => {
                let from = next(state) % (other.len() + 1);
                let to = from + next(state) % (other.len() + 1 - from);
                let piece = other[from..to].to_vec();
                data.splice(at..at, piece);
            }
        }
    }
}

fn replay(name: &str, target: fn(&[u8])) {
    let files = corpus(name);
    let mut state = 0x5eed;
    for file in &files {
        target(file);
        for _ in 0..MUTATIONS {
            let mut data = file.clone();
            let other = &files[next(&mut state) % files.len()];
            mutate(&mut data, other, &mut state);
            let shown = String::from_utf8_lossy(&data).into_owned();
            if std::panic::catch_unwind(|| target(&data)).is_err() {
                panic!("{name} fails for {shown:?}");
            }
        }
    }
}

#[test]
fn resp_parser() {
    replay("resp_parser", corelane_fuzz::resp_parser);
}

#[test]
fn commands() {
    replay("commands", corelane_fuzz::commands);
}

#[test]
fn manifests() {
    replay("manifests", corelane_fuzz::manifests);
}

#[test]
fn http1_request() {
    replay("http1_request", corelane_fuzz::http1_request);
}

#[test]
fn http1_response() {
    replay("http1_response", corelane_fuzz::http1_response);
}

#[test]
fn http1_chunked() {
    replay("http1_chunked", corelane_fuzz::http1_chunked);
}
