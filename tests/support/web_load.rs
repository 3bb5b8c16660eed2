//! Many clients at once, each checking all that it gets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::web::{Web, content, difference};
use super::{eventually, quantile};

/// Failures that are kept in words.
const TOLD: usize = 5;

/// Clients that ask for paths in turn, over connections of their own, until they are stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Done>>,
}

/// What clients have got.
#[derive(Debug, Default)]
pub struct Done {
    pub good: u64,
    pub failed: u64,
    /// The first failures.
    pub told: Vec<String>,
    /// The name, status and content's length of each answer.
    pub seen: Vec<(String, u16, u64)>,
    /// How often each server has answered, where they say so (`X-Server`).
    pub servers: std::collections::BTreeMap<String, u64>,
}

impl Done {
    pub fn add(&mut self, other: Self) {
        self.good += other.good;
        self.failed += other.failed;
        self.told.extend(other.told);
        self.seen.extend(other.seen);
        for (server, count) in other.servers {
            *self.servers.entry(server).or_default() += count;
        }
    }

    fn fail(&mut self, why: String) {
        self.failed += 1;
        if self.told.len() < TOLD {
            self.told.push(why);
        }
    }

    /// Something was asked, and all of it went well.
    #[track_caller]
    pub fn expect_no_failures(&self, at_least: u64) {
        let Self { good, failed, told, .. } = self;
        assert_eq!(*failed, 0, "{failed} requests failed, {good} did not: {told:#?}");
        assert!(*good >= at_least, "only {good} requests were made");
    }
}

/// What is wrong with the answer to a GET of one of the site's paths.
pub fn asked(web: &mut Web, path: &str, done: &mut Done) -> Result<bool, String> {
    let answer = web.try_get(path).map_err(|error| format!("GET {path}: {error}"))?;
    let id = answer.field("x-request-id").unwrap_or_default().to_owned();
    done.seen.push((id, answer.status, answer.body.len() as u64));
    if let Some(server) = answer.field("x-server") {
        *done.servers.entry(server.to_owned()).or_default() += 1;
    }
    if answer.status != 200 {
        return Err(format!("GET {path}: {}\n{}", answer.head, answer.text()));
    }
    let len = path.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    match difference(&content(path, len), &answer.body) {
        Some(why) => Err(format!("GET {path}: {why}")),
        None => Ok(!answer.closes()),
    }
}

impl Load {
    /// Starts so many clients; each waits `pause` between two requests.
    pub fn start(addr: SocketAddr, clients: usize, paths: &[&str], pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let good = Arc::new(AtomicU64::new(0));
        let paths: Arc<[String]> = paths.iter().map(|path| (*path).to_owned()).collect();
        let one = |n: usize| {
            let (stop, good, paths) = (stop.clone(), good.clone(), paths.clone());
            std::thread::spawn(move || client(addr, n, &paths, pause, &stop, &good))
        };
        let clients = (0..clients).map(one).collect();
        Self { stop, good, clients }
    }

    /// Good answers so far.
    pub fn good(&self) -> u64 {
        self.good.load(Ordering::Relaxed)
    }

    /// Waits for so many more good answers.
    #[track_caller]
    pub fn wait_for(&self, more: u64) {
        let goal = self.good() + more;
        eventually("the load goes on", Duration::from_secs(20), || self.good() >= goal);
    }

    pub fn stop(self) -> Done {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Done::default();
        for client in self.clients {
            all.add(client.join().expect("a client"));
        }
        all
    }
}

fn client(
    addr: SocketAddr,
    number: usize,
    paths: &[String],
    pause: Duration,
    stop: &AtomicBool,
    good: &AtomicU64,
) -> Done {
    let mut done = Done::default();
    let mut line: Option<Web> = None;
    let mut n = number;
    while !stop.load(Ordering::Relaxed) {
        let mut web = match line.take().map_or_else(|| Web::try_connect(addr), Ok) {
            Ok(web) => web,
            Err(error) => {
                done.fail(format!("connect: {error}"));
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
        };
        match asked(&mut web, &paths[n % paths.len()], &mut done) {
            Ok(goes_on) => {
                line = goes_on.then_some(web);
                done.good += 1;
                good.fetch_add(1, Ordering::Relaxed);
            }
            Err(why) => done.fail(why),
        }
        n += 1;
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    done
}

/// The 99th percentile of the answers' times to `clients` that ask gently for a while.
#[track_caller]
pub fn p99(addr: SocketAddr, clients: usize, path: &str, time: Duration) -> Duration {
    let end = Instant::now() + time;
    let one = move |path: String| {
        let mut web = Web::connect(addr);
        let mut times = Vec::new();
        while Instant::now() < end {
            let start = Instant::now();
            let answer = web.get(&path);
            times.push(start.elapsed());
            assert_eq!(answer.status, 200, "{}", answer.head);
            std::thread::sleep(Duration::from_millis(20));
        }
        times
    };
    let probes: Vec<_> = (0..clients)
        .map(|_| {
            let path = path.to_owned();
            std::thread::spawn(move || one(path))
        })
        .collect();
    let mut times = Vec::new();
    for probe in probes {
        times.extend(probe.join().expect("a client that measures"));
    }
    quantile(&mut times, 0.99)
}
