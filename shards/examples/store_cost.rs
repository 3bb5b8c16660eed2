//! What the store costs, in this process and without a network: memory a key, and how long
//! single writes take while it grows.
//!
//! `cargo run --release -p shards --example store_cost [-- MILLIONS]` (8 by default).

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Instant;

use shards::ids::DbId;
use shards::stats::ShardStats;
use shards::store::{Expiry, NewValue, Store, StoreConfig};
use shards::time::{Nanos, Now, UnixMs};

const DB: DbId = DbId(0);
const VALUE: [u8; 64] = [b'v'; 64];
const NOW: Now = Now { mono: Nanos(1_000_000_000), wall_us: 1_700_000_000_000_000 };

fn store() -> Store {
    Store::new(StoreConfig { databases: 16, seed: 7, stats: Arc::new(ShardStats::default()) })
}

fn name(n: u64) -> [u8; 16] {
    let mut name = *b"key:000000000000";
    let text = n.to_string();
    name[16 - text.len()..].copy_from_slice(text.as_bytes());
    name
}

fn put(store: &mut Store, n: u64, expiry: Expiry) {
    let (hasher, name) = (store.hasher(), name(n));
    let key = hasher.key(&name);
    store.set(DB, key, NewValue::Bytes(&VALUE), expiry, NOW).expect("memory");
}

/// Resident memory of this process.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("statm");
    pages.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()).expect("pages") * 4096
}

fn bytes_a_key(expiry: impl Fn(u64) -> Expiry) -> f64 {
    const KEYS: u64 = 4_000_000;
    let before = resident();
    let mut store = store();
    (0..KEYS).for_each(|n| put(&mut store, n, expiry(n)));
    assert_eq!(store.len(DB), KEYS as usize);
    (resident() - before) as f64 / KEYS as f64
}

/// Nanoseconds of each write of a new key from `from` to `to` keys.
fn growth(from: u64, to: u64) -> Vec<u64> {
    let mut store = store();
    (0..from).for_each(|n| put(&mut store, n, Expiry::Never));
    let mut times = Vec::with_capacity((to - from) as usize);
    for n in from..to {
        let start = Instant::now();
        put(&mut store, n, Expiry::Never);
        times.push(start.elapsed().as_nanos() as u64);
    }
    times.sort_unstable();
    times
}

fn main() {
    let millions: u64 = std::env::args().nth(1).map_or(8, |n| n.parse().expect("a number"));
    let plain = bytes_a_key(|_| Expiry::Never);
    let expiring = bytes_a_key(|n| Expiry::At(UnixMs(1_800_000_000_000 + n)));
    println!("bytes a key, 16 B and 64 B, 4 M keys: {plain:.1}; with expiry {expiring:.1}");
    let times = growth(1_000_000, millions * 1_000_000);
    let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize] as f64 / 1e3;
    println!(
        "growth 1 to {millions} M keys, us a write: p50 {:.2}, p99 {:.2}, p99.9 {:.2}, longest {:.0}",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}
