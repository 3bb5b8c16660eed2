//! What a new configuration costs a shard: how long its turn is held up by 10,000 routes to as
//! many endpoints that have just been published, against a turn without news.
//!
//! `cargo run --release -p dataplane --example publish_cost [-- ROUTES]`
//!
//! Microseconds on a virtual core of 2026, 10,000 routes, 200 generations, half of whose
//! endpoints are new each time:
//!
//! | | median | longest |
//! | --- | --- | --- |
//! | a turn without news | 0.1 | 0.3 to 0.4 |
//! | the turn that takes a generation over | 3.0 to 3.1 | 6 to 19 |
//! | on the control side: compiling it | 28,200 to 30,000 | 51,000 to 53,000 |
//! | numbering endpoints | 4,230 to 4,330 | 7,700 to 9,400 |
//! | publishing, and freeing the one before | 92 to 96 | 810 to 860 |
//!
//! Without connections to servers: each endpoint that has some is looked for in the new
//! configuration besides, by its number, and those to endpoints that have gone are closed in the
//! turns that follow, 16 in each.

#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::time::Instant;

use dataplane::proxy::{self, Endpoints, Hands, Proxy};
use dataplane::publish::{UpdateError, publication};
use dataplane::runtime::Driver;
use dataplane::runtime::epoll::Epoll;
use shards::config::Snapshot;
use shards::config::draft::{Backend, Draft, Listener, Route, Rule};
use shards::ids::ShardId;
use shards::limit::Limiter;
use shards::partition::Partition;
use shards::store::Hasher;

/// Generations that are published one after the other.
const GENERATIONS: usize = 200;

/// Routes with a host and an endpoint each.
fn compile(routes: usize, generation: usize) -> Snapshot {
    let endpoint = |n: usize| {
        let third = (n.is_multiple_of(2) as usize * generation) as u8;
        ([10, third, (n >> 8) as u8, n as u8], 80).into()
    };
    let route = |n: usize| Route {
        name: format!("default/route-{n}"),
        listeners: vec![0],
        hostnames: vec![format!("service-{n}.example.com")],
        rules: vec![Rule { backends: vec![(1, Some(n))], ..Rule::default() }],
    };
    let backend = |n: usize| Backend {
        name: format!("default/service-{n}:80"),
        endpoints: vec![endpoint(n)],
        ..Backend::default()
    };
    let draft = Draft {
        generation: generation as u64,
        listeners: vec![Listener { name: "default/http".into(), ..Listener::default() }],
        routes: (0..routes).map(route).collect(),
        backends: (0..routes).map(backend).collect(),
        ..Draft::default()
    };
    draft.compile().expect("a configuration")
}

/// Runs something and adds how many microseconds it took.
fn timed<T>(times: &mut Vec<f64>, f: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = f();
    times.push(start.elapsed().as_nanos() as f64 / 1e3);
    result
}

fn tell(what: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what:<40} {median:>9.1} {longest:>9.1}");
}

fn main() -> io::Result<()> {
    let routes = std::env::args().nth(1).map_or(10_000, |n| n.parse().expect("a number"));
    let mut endpoints = Endpoints::new(1);
    let first = endpoints.serve(compile(routes, 1), &[None]).expect("it is served");
    let served = publication(first);
    let mut driver = Epoll::new()?;
    let mut limiter = Limiter::new(1 << 16, Arc::default());
    let setup = proxy::Setup {
        listener: None,
        served: served.clone(),
        stats: Arc::default(),
        causes: Arc::default(),
        log: None,
        descriptors: 1_000,
        seed: 1,
    };
    let mut proxy = Proxy::new(setup, driver.now());
    // A shard's turn as far as it is the proxy's.
    let mut turn = || {
        proxy.begin_turn(&mut limiter, driver.now());
        let mut hands = Hands {
            driver: &mut driver,
            limiter: &mut limiter,
            hasher: Hasher::new(1),
            partition: Partition::SINGLE,
            me: ShardId(0),
        };
        proxy.turn(&mut hands);
    };
    turn();
    let [mut compiling, mut numbering, mut publishing, mut quiet, mut news] =
        [const { Vec::new() }; 5];
    for generation in 2..GENERATIONS + 2 {
        let config = timed(&mut compiling, || compile(routes, generation));
        let next = timed(&mut numbering, || endpoints.serve(config, &[None])).expect("served");
        let mut next = Some(next);
        let publish = || served.update(|_| next.take().ok_or(UpdateError::<()>::TooManyLive));
        timed(&mut publishing, publish).expect("the shard keeps up");
        timed(&mut news, &mut turn);
        timed(&mut quiet, &mut turn);
    }
    println!("{routes} routes, microseconds{:>27} {:>9}", "median", "longest");
    tell("a turn without news", quiet);
    tell("the turn that takes a generation over", news);
    tell("compiling", compiling);
    tell("numbering endpoints", numbering);
    tell("publishing", publishing);
    Ok(())
}
