//! What finding a route costs, in this process and without a network: nanoseconds a search,
//! bytes of the compiled configuration, milliseconds to compile it.
//!
//! `cargo run --release -p shards --example route_cost [-- ROUTES]` (10,000 by default).

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::Instant;

use shards::config::draft::{Backend, Draft, Listener, Match, Path, Route, Rule};
use shards::config::{PortId, Snapshot};
use shards::route::{Request, find, pick};

/// Requests that are played, in an order that caches cannot guess.
const REQUESTS: usize = 1 << 16;
/// Rounds of them; the median counts.
const ROUNDS: usize = 21;

/// A shape of table: its name, the host and the path prefix of route `n`.
type Shape = (&'static str, fn(usize) -> String, fn(usize) -> String);

const SHAPES: [Shape; 3] = [
    ("a host each", |n| format!("service-{n}.example.com"), |_| "/".into()),
    (
        "ten paths a host",
        |n| format!("service-{}.example.com", n / 10),
        |n| format!("/api/v{}/items", n % 10),
    ),
    ("one host", |_| "www.example.com".into(), |n| format!("/tenant-{n}/api")),
];

fn compile(routes: usize, (_, host, path): &Shape) -> (Snapshot, f64) {
    let backends = (0..routes).map(|n| Backend {
        name: format!("default/service-{n}:80"),
        endpoints: vec![([10, (n >> 16) as u8, (n >> 8) as u8, n as u8], 80).into()],
        ..Backend::default()
    });
    let route = |n: usize| {
        let one = Match { path: Path::Prefix(path(n)), ..Match::default() };
        Route {
            name: format!("default/route-{n}"),
            listeners: vec![0],
            hostnames: vec![host(n)],
            rules: vec![Rule {
                matches: vec![one],
                backends: vec![(1, Some(n))],
                ..Rule::default()
            }],
        }
    };
    let draft = Draft {
        generation: 1,
        listeners: vec![Listener { name: "default/http".into(), ..Listener::default() }],
        routes: (0..routes).map(route).collect(),
        backends: backends.collect(),
        ..Draft::default()
    };
    let start = Instant::now();
    let snapshot = draft.compile().expect("a configuration");
    (snapshot, start.elapsed().as_secs_f64() * 1e3)
}

/// Median nanoseconds of one search and draw.
fn search(config: &Snapshot, requests: &[(String, String)], hit: bool) -> f64 {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for (host, path) in requests {
            let [host, path] = [host, path].map(String::as_bytes);
            let request = Request { host, path, query: b"", method: b"GET" };
            let found = find(config, PortId(0), black_box(&request), &());
            assert_eq!(found.is_ok(), hit, "{request:?}");
            if let Ok(rule) = found {
                black_box(pick(config, rule, 7).expect("a backend"));
            }
        }
        rounds.push(start.elapsed().as_nanos() as f64 / requests.len() as f64);
    }
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn main() {
    let routes: usize = std::env::args().nth(1).map_or(10_000, |n| n.parse().expect("a number"));
    for shape in SHAPES {
        let (name, host, path) = shape;
        let (config, ms) = compile(routes, &shape);
        // Multiples of an odd number go through all residues in an order without a pattern.
        let order = || (0..REQUESTS).map(|n| n.wrapping_mul(0x9e37_79b1) % routes);
        let hits: Vec<_> = order().map(|n| (host(n), path(n) + "/17/details")).collect();
        let other_paths: Vec<_> = order().map(|n| (host(n), format!("*{n}"))).collect();
        let other_hosts: Vec<_> = order().map(|n| (format!("x{n}.example.net"), path(n))).collect();
        println!(
            "{routes} routes, {name}: found in {:.0} ns, wrong path {:.0} ns, wrong host {:.0} ns; \
             {:.0} bytes a route, compiled in {ms:.1} ms",
            search(&config, &hits, true),
            search(&config, &other_paths, false),
            search(&config, &other_hosts, false),
            config.as_bytes().len() as f64 / routes as f64,
        );
    }
}
