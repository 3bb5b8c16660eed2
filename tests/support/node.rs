//! A node under test: started from the built binary on free ports, ended on drop.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Client, eventually, http};

/// How long a node may take to be ready, and to end.
const START: Duration = Duration::from_secs(15);

/// How to start a node.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--driver`; none for the node's own choice.
    pub driver: Option<String>,
    /// Further flags.
    pub args: Vec<String>,
    /// Shell `ulimit` options, such as `-n 64`; several are separated by `;`.
    pub ulimit: Option<String>,
    /// Runs it on these cores, as for taskset, and leaves the number of shards to it.
    pub cores: Option<String>,
    /// Starts it under a filter that answers EPERM to io_uring's system calls.
    pub forbid_uring: bool,
    /// Runs it as this user and group.
    pub user: Option<u32>,
    /// Password, given by file.
    pub password: Option<String>,
    /// Leaves the cluster's ports as they are by default.
    pub default_cluster: bool,
    /// Leaves the default HTTP listener as it is.
    pub default_http: bool,
}

impl Options {
    pub fn driver(driver: &str) -> Self {
        Self { driver: Some(driver.into()), ..Self::default() }
    }

    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }
}

/// A running node.
pub struct Node {
    child: Child,
    dir: PathBuf,
    pub resp: SocketAddr,
    /// Where each shard is a node of a cluster.
    pub cluster: Vec<SocketAddr>,
    pub admin: SocketAddr,
    /// Where HTTP clients connect: the default listener, then those of Gateways.
    pub http: Vec<SocketAddr>,
    /// As the node itself said at start.
    pub driver: String,
    password: Option<String>,
}

/// The binary under test: the one that cargo built for the tests, or another on request.
pub fn binary() -> PathBuf {
    std::env::var_os("CORELANE_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_corelane")), PathBuf::from)
}

/// Shards of each node; a whole run of tests is with one number of them.
pub fn shards() -> String {
    std::env::var("CORELANE_SHARDS").unwrap_or_else(|_| "1".into())
}

/// A folder of one test's own.
pub fn fresh_dir() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("corelane-test-{}-{n}", std::process::id()));
    fs::create_dir_all(&dir).expect("make a folder for the node");
    dir
}

impl Node {
    /// Starts a node with the driver and waits until it is ready; asserts that it runs on it.
    #[track_caller]
    pub fn start(driver: &str) -> Self {
        Self::start_with(Options::driver(driver))
    }

    #[track_caller]
    pub fn start_with(options: Options) -> Self {
        let asked = options.driver.clone();
        let node = Self::try_start(options).unwrap_or_else(|said| panic!("no node:\n{said}"));
        if let Some(asked) = asked {
            assert_eq!(node.driver, asked, "the driver that was asked for runs");
        }
        let info = node.client().call("INFO server").text();
        let line = format!("corelane_driver:{}", node.driver);
        assert!(info.lines().any(|l| l == line), "INFO names the driver {}:\n{info}", node.driver);
        node
    }

    /// Starts a node; what it wrote, and how it ended, when it does not get ready.
    pub fn try_start(options: Options) -> Result<Self, String> {
        let dir = fresh_dir();
        let mut child = spawn(&options, &dir).map_err(|error| error.to_string())?;
        let mut ended = None;
        let mut ready = false;
        eventually("the node is ready or ends", START, || {
            ended = child.try_wait().expect("wait for the node");
            ready = output_in(&dir).lines().any(|line| line.trim_end() == "ready");
            ready || ended.is_some()
        });
        let output = output_in(&dir);
        if let (false, Some(status)) = (ready, ended) {
            let _ = fs::remove_dir_all(&dir);
            return Err(format!("{output}{status}"));
        }
        let found = listening(&output);
        let Some((resp, driver, admin)) = found else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("ready, but the addresses are not told:\n{output}"));
        };
        let cluster = cluster_ports(&output);
        let http = http_ports(&output);
        Ok(Self { child, dir, resp, cluster, admin, http, driver, password: options.password })
    }

    /// A new connection, authenticated if the node has a password.
    #[track_caller]
    pub fn client(&self) -> Client {
        let mut client = Client::connect(self.resp);
        if let Some(password) = &self.password {
            assert_eq!(client.command(&["AUTH", password]).text(), "OK");
        }
        client
    }

    /// A new connection to a shard as a node of a cluster.
    #[track_caller]
    pub fn cluster_client(&self, shard: usize) -> Client {
        let mut client = Client::connect(self.cluster[shard]);
        if let Some(password) = &self.password {
            assert_eq!(client.command(&["AUTH", password]).text(), "OK");
        }
        client
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("signal the node");
    }

    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait for the node")
    }

    /// Waits until the node has ended.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        eventually("the node ends", limit, || {
            status = self.try_wait();
            status.is_some()
        });
        status.expect("it ended")
    }

    /// Everything that it wrote so far, standard output and error.
    pub fn output(&self) -> String {
        output_in(&self.dir)
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("status");
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("VmRSS");
        let kb: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
        kb << 10
    }

    /// Sum over all series of one metric.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let (status, _, body) = http::get(self.admin, "/metrics");
        assert_eq!(status, 200);
        let samples: Vec<f64> = body
            .lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name))
            .map(|line| line.rsplit(' ').next().and_then(|v| v.parse().ok()).expect("a value"))
            .collect();
        assert!(!samples.is_empty(), "no metric {name} in:\n{body}");
        samples.iter().sum()
    }

    /// One field of INFO.
    #[track_caller]
    pub fn info(&self, field: &str) -> String {
        let text = self.client().call("INFO everything").text();
        let found = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
        found.unwrap_or_else(|| panic!("no {field} in INFO:\n{text}")).trim().to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the node wrote:\n{}", self.output());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn output_in(dir: &Path) -> String {
    let read = |name: &str| fs::read(dir.join(name)).unwrap_or_default();
    let (out, err) = (read("stdout"), read("stderr"));
    format!("{}{}", String::from_utf8_lossy(&out), String::from_utf8_lossy(&err))
}

/// RESP address, driver and admin address out of what a node prints at start.
fn listening(output: &str) -> Option<(SocketAddr, String, SocketAddr)> {
    let line = output.lines().find_map(|l| l.split_once("resp listening on ").map(|(_, r)| r))?;
    let (resp, rest) = line.split_once(' ')?;
    let driver = rest.strip_prefix("(driver ")?.split([')', ',', ':', ' ']).next()?;
    let admin = output.lines().find_map(|l| l.split_once("admin listening on http://"))?.1;
    let admin = admin.split([' ', '/']).next()?;
    Some((resp.parse().ok()?, driver.to_owned(), admin.trim().parse().ok()?))
}

/// The addresses in `cluster listening on 127.0.0.1:7000-7002,7005, ...`; none without the line.
fn cluster_ports(output: &str) -> Vec<SocketAddr> {
    let lines = output.lines();
    let Some(text) = lines.filter_map(|l| l.strip_prefix("cluster listening on ")).next() else {
        return Vec::new();
    };
    let text = text.split(' ').next().expect("an address").trim_end_matches(',');
    let (ip, ports) = text.rsplit_once(':').expect("an address with ports");
    let ip: std::net::IpAddr = ip.trim_matches(['[', ']']).parse().expect("an address");
    let port = |text: &str| text.parse::<u16>().expect("a port");
    let ranges = ports.split(',').map(|r| r.split_once('-').unwrap_or((r, r)));
    ranges.flat_map(|(a, b)| port(a)..=port(b)).map(|port| SocketAddr::new(ip, port)).collect()
}

/// The addresses in lines `http listening on http://127.0.0.1:8080`.
fn http_ports(output: &str) -> Vec<SocketAddr> {
    let lines = output.lines().filter_map(|l| l.strip_prefix("http listening on http://"));
    lines.map(|address| address.trim().parse().expect("an address")).collect()
}

/// A copy of the binary in `dir` that every user may run.
pub fn public_copy(dir: &Path) -> io::Result<PathBuf> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    let copy = dir.join("corelane");
    // By a process of its own: one that another test forks meanwhile would have the file open for
    // writing until it runs its program, and nobody could run this one ("Text file busy").
    let copied = Command::new("cp").arg(binary()).arg(&copy).status()?;
    assert!(copied.success(), "cp {}", copy.display());
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    Ok(copy)
}

fn spawn(options: &Options, dir: &Path) -> io::Result<Child> {
    let program = if options.user.is_some() { public_copy(dir)? } else { binary() };
    let mut command = match (&options.ulimit, &options.cores) {
        (None, None) => Command::new(&program),
        (None, Some(cores)) => {
            let mut taskset = Command::new("taskset");
            taskset.args(["-c", cores]).arg(&program);
            taskset
        }
        (Some(limits), _) => {
            let set: String =
                limits.split(';').map(|limit| format!("ulimit {} && ", limit.trim())).collect();
            let mut shell = Command::new("bash");
            shell.args(["-c", &format!("{set} exec \"$0\" \"$@\"")]).arg(&program);
            shell
        }
    };
    command.arg("serve");
    for flag in ["--resp", "--admin", "--cluster", "--http"] {
        let default = flag == "--cluster" && options.default_cluster
            || flag == "--http" && options.default_http;
        if !default && !options.args.iter().any(|arg| arg == flag) {
            command.args([flag, "127.0.0.1:0"]);
        }
    }
    if options.cores.is_none() && !options.args.iter().any(|arg| arg == "--shards") {
        command.args(["--shards", &shards()]);
    }
    if let Some(driver) = &options.driver {
        command.args(["--driver", driver]);
    }
    if let Some(password) = &options.password {
        let file = dir.join("password");
        fs::write(&file, format!("{password}\n"))?;
        command.arg("--requirepass-file").arg(file);
    }
    command.args(&options.args).stdin(Stdio::null());
    command.stdout(fs::File::create(dir.join("stdout"))?);
    command.stderr(fs::File::create(dir.join("stderr"))?);
    if let Some(user) = options.user {
        command.uid(user).gid(user);
    }
    if options.forbid_uring { spawn_without_uring(command) } else { command.spawn() }
}

/// A filter belongs to a thread and is inherited by what it starts: so a thread of its own.
fn spawn_without_uring(mut command: Command) -> io::Result<Child> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
    const IO_URING: [i64; 3] = [425, 426, 427]; // setup, enter, register: alike on all Linux
    std::thread::spawn(move || {
        let filter = SeccompFilter::new(
            IO_URING.iter().map(|call| (*call, vec![])).collect(),
            SeccompAction::Allow,
            SeccompAction::Errno(1), // EPERM, as container profiles answer
            std::env::consts::ARCH.try_into().expect("a known processor"),
        );
        let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
        apply_filter(&program).expect("the kernel takes the filter");
        command.spawn()
    })
    .join()
    .expect("the thread that spawns")
}
