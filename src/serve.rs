//! `corelane serve`: binds, starts the threads, says what runs, waits for the end.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{SystemTime, UNIX_EPOCH};

use controlplane::admin;
use dataplane::cache_server::{CacheServer, Control, Setup};
use dataplane::net;
use dataplane::runtime::choose::{self, Opened, Wish};
use dataplane::runtime::{Choice, Driver, DriverKind, Waker};
use shards::command::NodeFacts;
use shards::settings::Settings;
use shards::time::Nanos;

use crate::args::{DriverChoice, ServeOptions};
use crate::metrics::ShardView;
use crate::signals;

/// Descriptors that the node needs besides those of clients.
const OWN_DESCRIPTORS: u64 = 64;
/// Fewer clients than this are not worth starting for.
const FEWEST_CLIENTS: u64 = 32;

/// Runs a node until it is told to end.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub(crate) fn run(options: ServeOptions) -> Result<(), String> {
    if options.shards != 1 {
        return Err(format!(
            "--shards {}: this version runs one shard; leave the flag out",
            options.shards
        ));
    }
    let settings = settings(&options)?;
    refuse_open_doors(&options, &settings)?;
    let cpu = choose_cpu(&options)?;
    let resp = net::listen_on(options.resp).map_err(|why| format!("--resp: {why}"))?;
    let resp_address = address_of(&resp)?;
    let admin = net::listen_on(options.admin).map_err(|why| format!("--admin: {why}"))?;
    let admin_address = address_of(&admin)?;
    let settings =
        Settings { port: resp_address.port(), bind: resp_address.ip().to_string(), ..settings };
    let clients = settings.maxclients;
    let control = Arc::new(Control::default());
    let setup = Setup {
        listener: OwnedFd::from(resp),
        settings,
        seed: u64::from_ne_bytes(random()?),
        facts: facts(resp_address.port())?,
        control: control.clone(),
        spin: Nanos(u64::from(options.spin) * 1_000),
    };
    let wish = wish(options.driver);
    let (started, start) = mpsc::channel();
    let shard = std::thread::Builder::new()
        .name("shard-0".into())
        .spawn(move || serve(wish, setup, cpu, &started))
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    let failed = || "the shard has ended before it began".to_string();
    let (waker, choice) = start.recv().map_err(|_| failed())??;
    if wish == Wish::Auto && choice.kind == DriverKind::Epoll {
        tracing::warn!("running on epoll: {}", choice.reason);
    }
    let view = ShardView { control: control.clone(), waker: waker.clone(), driver: choice.kind };
    admin::spawn(admin, Arc::new(view)).map_err(|e| format!("cannot serve the admin port: {e}"))?;
    signals::spawn(control, waker)?;
    announce(resp_address, admin_address, &choice, cpu, clients);
    shard.join().map_err(|_| failed())?
}

/// What a shard's thread says once it runs, or why it does not.
type Started = Result<(Waker, Choice), String>;

/// The shard's thread.
fn serve(
    wish: Wish,
    mut setup: Setup,
    cpu: core_affinity::CoreId,
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

fn settings(options: &ServeOptions) -> Result<Settings, String> {
    let files = net::raise_file_limit();
    let mut settings = Settings { maxmemory: options.maxmemory, ..Settings::default() };
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

/// Beyond loopback nobody gets in without a password, as in Redis' protected mode.
fn refuse_open_doors(options: &ServeOptions, settings: &Settings) -> Result<(), String> {
    if !options.resp.ip().is_loopback() && settings.requirepass.is_empty() {
        return Err(format!(
            "--resp {}: open to the network without a password; add --requirepass-file or listen \
             on 127.0.0.1",
            options.resp
        ));
    }
    if !options.admin.ip().is_loopback() {
        return Err(format!(
            "--admin {}: the admin port has no authentication in this version; listen on 127.0.0.1",
            options.admin
        ));
    }
    Ok(())
}

fn wish(choice: DriverChoice) -> Wish {
    match choice {
        DriverChoice::Auto => Wish::Auto,
        DriverChoice::Epoll => Wish::Only(DriverKind::Epoll),
        DriverChoice::Uring => Wish::Only(DriverKind::Uring),
    }
}

fn choose_cpu(options: &ServeOptions) -> Result<core_affinity::CoreId, String> {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    let listed: Vec<usize> = allowed.iter().map(|core| core.id).collect();
    let wanted = match &options.cpus {
        None => allowed.first().copied(),
        Some(list) => {
            if let Some(missing) = list.0.iter().find(|cpu| !listed.contains(cpu)) {
                return Err(format!(
                    "--cpus: core {missing} is not among those this process may use ({listed:?})"
                ));
            }
            list.0.first().map(|id| core_affinity::CoreId { id: *id })
        }
    };
    wanted.ok_or_else(|| "the system does not tell which cores there are; use --cpus 0".into())
}

fn address_of(listener: &std::net::TcpListener) -> Result<SocketAddr, String> {
    listener.local_addr().map_err(|error| format!("a listener has no address: {error}"))
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())
        .map_err(|error| format!("the system gives no random numbers: {error}"))?;
    Ok(bytes)
}

fn facts(port: u16) -> Result<NodeFacts, String> {
    let id: [u8; 20] = random()?;
    let system = rustix::system::uname();
    let part = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(NodeFacts {
        version: env!("CARGO_PKG_VERSION").into(),
        driver: "",
        port,
        pid: std::process::id(),
        run_id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
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
    })
}

fn announce(
    resp: SocketAddr,
    admin: SocketAddr,
    choice: &Choice,
    cpu: core_affinity::CoreId,
    clients: u32,
) {
    let port = resp.port();
    println!("corelane {}, one shard on core {}", env!("CARGO_PKG_VERSION"), cpu.id);
    println!("resp listening on {resp} (driver {}: {})", choice.kind, choice.reason);
    println!("admin listening on http://{admin}");
    if clients < Settings::default().maxclients {
        println!("at most {clients} clients, for want of open files; raise `ulimit -n` for more");
    }
    println!("try:  redis-cli -p {port} set greeting hello");
    println!("      redis-benchmark -p {port} -t get,set -q");
    println!("      curl -s http://{admin}/metrics | head");
    println!("ready");
}
