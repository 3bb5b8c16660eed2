//! `corelane serve`: binds, starts the threads, says what runs, waits for the end.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{SystemTime, UNIX_EPOCH};

use controlplane::admin;
use controlplane::resources::model::Keyspace;
use core_affinity::CoreId;
use dataplane::bridge::Dock;
use dataplane::cache_server::{CacheServer, Control, Setup};
use dataplane::mesh::port::{Ends, MeshStats, PARCELS};
use dataplane::net;
use dataplane::proxy::Endpoints;
use dataplane::publish::{Publisher, publication};
use dataplane::runtime::choose::{self, Opened, Wish};
use dataplane::runtime::{Choice, Driver, DriverKind, Waker};
use shards::budget::Budget;
use shards::command::NodeFacts;
use shards::settings::Settings;
use shards::time::Nanos;

use crate::access_log::AccessLog;
use crate::args::{DriverChoice, ServeOptions};
use crate::cluster;
use crate::config;
use crate::cores;
use crate::doors;
use crate::http::Proxies;
use crate::logging::{self, Log};
use crate::metrics::NodeView;
use crate::reload::{ConfigStats, Reload};
use crate::signals::{self, Early};

/// Descriptors that the node needs besides those of clients.
const OWN_DESCRIPTORS: u64 = 64;
/// Fewer clients than this are not worth starting for.
const FEWEST_CLIENTS: u64 = 32;

/// Runs a node until it is told to end.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub(crate) fn run(options: ServeOptions, log: &Log, early: Early) -> Result<(), String> {
    let loaded = config::load(&options, 1).map_err(|faults| config::described(&faults))?;
    let settings = settings(&options, &loaded.keyspace)?;
    doors::refuse_open(&options, &settings)?;
    let cores = cores::choose(&options)?;
    let (doors, addresses) = doors::open(&options, &loaded.snapshot, cores.len() as u16)?;
    config::refuse_own(&loaded, &doors.http)?;
    drop(loaded.places); // as long as the documents
    let (port, bind) = (addresses.resp.port(), addresses.resp.ip().to_string());
    let settings = Settings { port, bind, ..settings };
    let clients = settings.maxclients;
    let cluster = cluster::nodes(&addresses.cluster)?.into();
    let facts = NodeFacts { shards: cores.len() as u16, cluster, ..facts(port)? };
    let node: Arc<[Arc<Control>]> = cores.iter().map(|_| Arc::default()).collect();
    let published = publication(settings);
    let (access_log, pens) = AccessLog::of(options.access_log.as_deref(), cores.len())?;
    let mut endpoints = Endpoints::new(node.len());
    let seed = u64::from_ne_bytes(random()?);
    let limits = (net::raise_file_limit().saturating_sub(OWN_DESCRIPTORS), seed);
    let (listeners, taken) = (doors.http, doors.taken);
    let proxies = Proxies::new(&listeners, loaded.snapshot, &mut endpoints, &node, pens, limits)?;
    let served = proxies.served.clone();
    let spin = Nanos(u64::from(options.spin) * 1_000);
    let common = Common { node: node.clone(), settings: published.clone(), facts, seed, spin };
    let (setups, mesh) = setups(&common, doors.resp, doors.cluster, proxies);
    let (docks, _bridge) = log.bridge(cores.len())?;
    let setups = setups.into_iter().zip(docks);
    let started = start_shards(wish(options.driver), setups, &cores)?;
    let wakers: Vec<Waker> = started.shards.iter().map(|shard| shard.waker.clone()).collect();
    let stats: Arc<ConfigStats> = Arc::default();
    stats.generation.store(1, Ordering::Relaxed);
    let (driver, config) = (started.choice.kind, stats.clone());
    let view = NodeView { node: node.clone(), wakers: wakers.clone(), driver, mesh, config };
    if let Some(listener) = doors.admin {
        admin::spawn(listener, Arc::new(view))
            .map_err(|error| format!("cannot serve the admin port: {error}"))?;
    }
    let reload = Reload {
        options,
        endpoints,
        served: served.clone(),
        settings: published,
        listeners,
        taken,
        documents: loaded.summary.documents,
        keyspace: loaded.keyspace,
        access_log: access_log.as_ref().map(AccessLog::desk),
        stats,
        wakers: wakers.clone(),
    };
    signals::spawn(node, wakers, reload, &early)?;
    if let Some(why) = &addresses.no_cluster {
        tracing::warn!("no cluster ports: {why}");
    }
    dataplane::memory::give_back(); // many times what stays of the documents
    addresses.announce(&started.choice, &cores, clients);
    let outcome = started.join();
    drop((access_log, served));
    outcome
}

/// What all shards are set up with.
struct Common {
    node: Arc<[Arc<Control>]>,
    settings: Publisher<Settings>,
    facts: NodeFacts,
    seed: u64,
    spin: Nanos,
}

/// What each shard begins with, and where they count what crossing costs; the first one has the
/// sockets that the node listens on.
fn setups(
    common: &Common,
    resp: TcpListener,
    cluster: Vec<TcpListener>,
    mut proxies: Proxies,
) -> (Vec<Setup>, Vec<Arc<MeshStats>>) {
    let shards = common.facts.shards;
    let several = shards > 1;
    let ends = Ends::between(shards, PARCELS);
    let mesh = ends.iter().filter(|_| several).map(|ends| ends.stats.clone()).collect();
    let (mut ends, mut cluster) = (ends.into_iter(), cluster.into_iter());
    let mut listener = Some(OwnedFd::from(resp));
    let budget = Arc::new(Budget::new(shards));
    let setup = |control: &Arc<Control>| Setup {
        proxy: proxies.next(),
        listener: listener.take(),
        cluster: cluster.next().map(OwnedFd::from),
        mesh: ends.next().filter(|_| several),
        budget: budget.clone(),
        node: common.node.clone(),
        settings: common.settings.clone(),
        seed: common.seed,
        facts: common.facts.clone(),
        control: control.clone(),
        spin: common.spin,
    };
    (common.node.iter().map(setup).collect(), mesh)
}

fn failed() -> String {
    "a shard has ended before it began".into()
}

/// A shard that runs.
struct Shard {
    thread: std::thread::JoinHandle<Result<(), String>>,
    waker: Waker,
}

/// All of them, and the driver they run on.
struct Running {
    shards: Vec<Shard>,
    choice: Choice,
}

impl Running {
    /// Waits until all have ended; what went wrong first, if anything did.
    fn join(self) -> Result<(), String> {
        let mut outcome = Ok(());
        for shard in self.shards {
            let ended = shard.thread.join().map_err(|_| failed())?;
            outcome = outcome.and(ended);
        }
        outcome
    }
}

/// Starts one thread a shard, one after the other; all run on the driver of the first unless
/// the kernel refuses it to them.
fn start_shards(
    wish: Wish,
    setups: impl Iterator<Item = (Setup, Dock<logging::Message>)>,
    cores: &[CoreId],
) -> Result<Running, String> {
    let mut shards = Vec::new();
    let mut chosen: Option<Choice> = None;
    for (n, ((setup, dock), core)) in setups.zip(cores).enumerate() {
        let (core, wish) = (*core, chosen.as_ref().map_or(wish, |first| follow(wish, first)));
        let (started, start) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(format!("shard-{n}"))
            .spawn(move || {
                logging::over(dock);
                serve(wish, setup, core, &started)
            })
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        let (waker, choice) = start.recv().map_err(|_| failed())??;
        if wish == Wish::Auto && choice.kind == DriverKind::Epoll {
            tracing::warn!("shard {n} runs on epoll: {}", choice.reason);
        }
        chosen.get_or_insert(choice);
        shards.push(Shard { thread, waker });
    }
    let choice = chosen.ok_or("no core to run on")?;
    Ok(Running { shards, choice })
}

/// What a further shard asks for: what the first has, or else what it can get.
fn follow(wish: Wish, first: &Choice) -> Wish {
    if first.kind == DriverKind::Epoll { Wish::Only(DriverKind::Epoll) } else { wish }
}

/// What a shard's thread says once it runs, or why it does not.
type Started = Result<(Waker, Choice), String>;

/// The shard's thread.
fn serve(
    wish: Wish,
    mut setup: Setup,
    cpu: CoreId,
    started: &mpsc::Sender<Started>,
) -> Result<(), String> {
    if !core_affinity::set_for_current(cpu) {
        tracing::warn!("the shard could not be pinned to core {}; it runs unpinned", cpu.id);
    }
    let (opened, choice) = match choose::open(wish) {
        Ok(opened) => opened,
        Err(why) => {
            let text = match wish {
                Wish::Only(kind) => format!("--driver {kind}: {why}"),
                Wish::Auto => why,
            };
            // The main thread waits for this; if it is gone, so is the process.
            let _ = started.send(Err(text.clone()));
            return Err(text);
        }
    };
    setup.facts.driver = choice.kind.name();
    match opened {
        Opened::Uring(driver) => run_shard(*driver, choice, setup, started),
        Opened::Epoll(driver) => run_shard(*driver, choice, setup, started),
    }
}

fn run_shard<D: Driver>(
    driver: D,
    choice: Choice,
    setup: Setup,
    started: &mpsc::Sender<Started>,
) -> Result<(), String> {
    let waker = driver.waker();
    let mut server = match CacheServer::new(driver, setup) {
        Ok(server) => server,
        Err(error) => {
            let text = format!("the driver could not be set up: {error}");
            let _ = started.send(Err(text.clone()));
            return Err(text);
        }
    };
    let _ = started.send(Ok((waker, choice)));
    server.run().map_err(|error| format!("the event loop has failed: {error}"))
}

fn settings(options: &ServeOptions, keyspace: &Keyspace) -> Result<Settings, String> {
    let files = net::raise_file_limit();
    let mut settings = Settings { limit_buckets: options.limit_buckets, ..Settings::default() };
    keyspace.apply(&mut settings).map_err(|why| format!("Keyspace default: {why}"))?;
    if let Some(flag) = options.maxmemory {
        settings.maxmemory = flag; // what is said on the command line counts
    }
    let room = files.saturating_sub(OWN_DESCRIPTORS);
    if room < FEWEST_CLIENTS {
        return Err(format!(
            "only {files} open files are allowed; raise `ulimit -n` (or LimitNOFILE) to 1024 or more"
        ));
    }
    if room < u64::from(settings.maxclients) {
        settings.maxclients = room as u32;
    }
    if let Some(path) = &options.requirepass_file {
        settings.requirepass = password(path)?;
    }
    Ok(settings)
}

/// The first line of a file.
fn password(path: &Path) -> Result<Vec<u8>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("--requirepass-file {}: {error}", path.display()))?;
    let line = text.lines().next().unwrap_or("");
    if line.is_empty() {
        return Err(format!("--requirepass-file {}: the first line is empty", path.display()));
    }
    Ok(line.as_bytes().to_vec())
}

fn wish(choice: DriverChoice) -> Wish {
    match choice {
        DriverChoice::Auto => Wish::Auto,
        DriverChoice::Epoll => Wish::Only(DriverKind::Epoll),
        DriverChoice::Uring => Wish::Only(DriverKind::Uring),
    }
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())
        .map_err(|error| format!("the system gives no random numbers: {error}"))?;
    Ok(bytes)
}

/// Forty hexadecimal digits.
pub(crate) fn random_hex() -> Result<String, String> {
    let id: [u8; 20] = random()?;
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn facts(port: u16) -> Result<NodeFacts, String> {
    let system = rustix::system::uname();
    let part = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(NodeFacts {
        version: env!("CARGO_PKG_VERSION").into(),
        driver: "",
        port,
        pid: std::process::id(),
        run_id: random_hex()?,
        started: since_1970.as_secs(),
        executable: std::env::current_exe()
            .map_or_else(|_| String::new(), |p| p.display().to_string()),
        os: format!(
            "{} {} {}",
            part(system.sysname()),
            part(system.release()),
            part(system.machine())
        ),
        shards: 1,
        cluster: Arc::default(),
    })
}
