//! Starting: what a node says, and that whatever keeps it from running is one clear line.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use support::node::{binary, fresh_dir, public_copy};
use support::refusal::{refused, serve};
use support::web_node::manifests;
use support::{Client, Node, Options, eventually, tools};

/// An unprivileged user and group: Debian's `nobody`.
const NOBODY: u32 = 65_534;

fn says_what_listens_where(driver: &str) {
    let node = Node::start(driver);
    let output = node.output();
    let lines: Vec<_> = output.lines().take_while(|line| *line != "ready").collect();
    assert!((3..=10).contains(&lines.len()), "a few lines:\n{output}");
    assert!(output.contains("redis-cli -p"), "commands to paste:\n{output}");
    assert!(output.contains("/metrics"), "commands to paste:\n{output}");
    assert!(!output.contains('\x1b'), "no colours where there is no terminal:\n{output:?}");
    let port = node.resp.port().to_string();
    assert!(output.matches(&port).count() >= 2, "they name its port {port}:\n{output}");
}

/// Without `--shards` there is one on each core that the process may use, and fewer than the
/// machine has are explained.
fn as_many_shards_as_cores(driver: &str) {
    let status = fs::read_to_string("/proc/self/status").expect("the test's own status");
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let allowed = allowed.expect("a list of cores").trim();
    let first: String = allowed.chars().take_while(char::is_ascii_digit).collect();
    let cores = Some(first.clone());
    let node = Node::start_with(Options { cores, ..Options::driver(driver) });
    let said = node.output();
    assert!(said.contains(&format!("one shard on core {first}")), "{said}");
    let online = fs::read_to_string("/sys/devices/system/cpu/online").expect("cores");
    let explained = said.contains("this process may use 1");
    assert_eq!(explained, online.trim() != first, "{said}");
}

fn a_port_that_is_taken(driver: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("an address").to_string();
    for flag in ["--resp", "--admin", "--http"] {
        let line = refused(&mut serve(driver, &[flag, &addr]));
        assert!(line.contains(&addr) && line.contains("in use"), "{line}");
        assert!(line.contains("choose another") || line.contains(flag), "what to do: {line}");
    }
}

alone_on_each_driver!(the_clusters_default_ports, default_ports);

fn with_default_cluster(driver: &str) -> Node {
    let options = Options::driver(driver).arg("--shards").arg("2");
    Node::start_with(Options { default_cluster: true, ..options })
}

/// Without a word about them, the cluster's ports are opened all or not at all, and the node
/// says which.
fn default_ports(driver: &str) {
    let [first, second] = [7000, 7001].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let node = with_default_cluster(driver);
    let line = "cluster listening on 127.0.0.1:7000-7001, a port for each shard";
    assert!(node.output().lines().any(|l| l == line), "{}", node.output());
    assert_eq!(node.cluster, [first, second]);
    assert_eq!(node.cluster_client(1).call("PING").text(), "PONG");
    drop(node);

    // A ring gives its port back a little after its process has ended.
    let mut taken = None;
    eventually("the port is free again", Duration::from_secs(5), || {
        taken = TcpListener::bind(second).ok();
        taken.is_some()
    });
    let node = with_default_cluster(driver);
    let output = node.output();
    let line = output.lines().find(|line| line.starts_with("no cluster ports: "));
    let line = line.unwrap_or_else(|| panic!("it says so:\n{output}"));
    assert!(line.contains("127.0.0.1:7001") && line.contains("in use"), "{line}");
    assert!(line.contains("--cluster"), "what to do: {line}");
    assert!(output.contains("WARN no cluster ports"), "and in the log:\n{output}");
    assert!(node.cluster.is_empty());
    assert!(Client::try_connect(first).is_err(), "none, not some");
    let told = node.client().call("CLUSTER SLOTS").text();
    assert_eq!(told, "ERR This instance has cluster support disabled");
}

fn no_cluster_on_request(driver: &str) {
    let node = Node::start_with(Options::driver(driver).arg("--cluster").arg("off"));
    assert!(!node.output().contains("cluster"), "{}", node.output());
    assert!(node.cluster.is_empty());
    assert_eq!(node.info("cluster_enabled"), "0");
}

/// A node of flags of one's own; it ends with this.
struct Bare(Child, PathBuf);

impl Bare {
    /// Starts it and waits until it is ready; returns what it has said.
    fn start(command: &mut Command) -> (Self, String) {
        let dir = fresh_dir();
        let file = dir.join("output");
        let output = fs::File::create(&file).expect("create");
        let child = command.stdin(Stdio::null()).stdout(output).spawn().expect("start it");
        let bare = Self(child, dir);
        let mut said = String::new();
        eventually("the node is ready", Duration::from_secs(15), || {
            said = fs::read_to_string(&file).expect("what it says");
            said.lines().any(|line| line == "ready")
        });
        (bare, said)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = fs::remove_dir_all(&self.1);
    }
}

fn no_http_and_no_admin_on_request(driver: &str) {
    let args = ["--http", "off", "--admin", "off", "--cluster", "off", "--shards", "1"];
    let (node, said) = Bare::start(&mut serve(driver, &args));
    let listening = said.lines().filter(|line| line.contains("listening on"));
    assert_eq!(listening.count(), 1, "RESP alone:\n{said}");
    assert!(!said.contains("http") && !said.contains("admin"), "{said}");
    drop(node);

    // Gateways have their ports all the same, and routes without one have nowhere to be.
    let dir = fresh_dir();
    let (gateway, file) = (dir.join("gateway.yaml"), |path: &PathBuf| path.display().to_string());
    let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let text = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: web}}\nspec:\n  \
         gatewayClassName: corelane\n  listeners: [{{name: a, port: {}, protocol: HTTP}}]\n",
        free.port()
    );
    fs::write(&gateway, text).expect("write");
    let config = file(&gateway);
    let (_node, said) = Bare::start(serve(driver, &args).args(["--config", &config]));
    assert!(said.contains(&format!("http listening on http://{free}\n")), "{said}");
    assert_eq!(said.matches("http listening").count(), 1, "{said}");
    let proxy = ["--http", "off", "--proxy", "http://127.0.0.1:9"];
    let line = refused(&mut serve(driver, &proxy));
    assert!(line.contains("--http off: there are routes") && line.contains("Gateway"), "{line}");
    fs::remove_dir_all(dir).expect("clean up");
}

/// Ports that were asked for by name and cannot be had: no node.
fn cluster_ports_by_name(driver: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("an address");
    let below = SocketAddr::new(addr.ip(), addr.port() - 1).to_string();
    let line = refused(&mut serve(driver, &["--cluster", &below, "--shards", "2"]));
    assert!(line.contains("--cluster") && line.contains("in use"), "{line}");
    let line = refused(&mut serve(driver, &["--cluster", "127.0.0.1:65535", "--shards", "2"]));
    assert!(line.contains("--cluster") && line.contains("65535"), "{line}");
}

fn an_address_of_another_machine(driver: &str) {
    let line = refused(&mut serve(driver, &["--admin", "192.0.2.1:0"]));
    assert!(line.contains("192.0.2.1"), "{line}");
}

/// Beyond loopback without a password: refused, and the line says what to do.
fn open_to_the_world_without_a_password(driver: &str) {
    let line = refused(&mut serve(driver, &["--resp", "0.0.0.0:0"]));
    assert!(line.contains("--requirepass-file"), "{line}");
    let line = refused(&mut serve(driver, &["--cluster", "0.0.0.0:0"]));
    assert!(line.contains("--cluster") && line.contains("--requirepass-file"), "{line}");
    let line = refused(&mut serve(driver, &["--admin", "0.0.0.0:0"]));
    assert!(line.contains("0.0.0.0") || line.contains("loopback"), "{line}");
}

fn as_nobody(program: &PathBuf, driver: &str, args: &[&str]) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    command.args(["serve", "--driver", driver]).args(args).uid(NOBODY).gid(NOBODY);
    command.current_dir("/");
    command
}

fn no_permission(driver: &str) {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let first: u32 = first.expect("the setting").trim().parse().expect("a port");
    assert!(first > 999, "ports below 1000 are open to all here: run where they are not");
    let program = public_copy(&fresh_dir()).expect("copy the binary");
    let args = ["--resp", "127.0.0.1:999", "--admin", "127.0.0.1:0"];
    let line = refused(&mut as_nobody(&program, driver, &args));
    assert!(line.contains("127.0.0.1:999") && line.to_lowercase().contains("permission"), "{line}");

    let secret = program.with_file_name("secret");
    fs::write(&secret, "password").expect("write");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("close it");
    let secret = secret.to_str().expect("a path");
    for flag in ["--requirepass-file", "--access-log", "--config"] {
        let http = ["--http", "127.0.0.1:0", "--shards", "1"];
        let args = ["--resp", "127.0.0.1:0", "--admin", "127.0.0.1:0", flag, secret];
        let line = refused(as_nobody(&program, driver, &args).args(http));
        assert!(line.contains(secret) && line.to_lowercase().contains("permission"), "{line}");
    }
    fs::remove_dir_all(program.parent().expect("a folder")).expect("clean up");
}

fn files_that_are_not_there(driver: &str) {
    let line = refused(&mut serve(driver, &["--requirepass-file", "/nonexistent/password"]));
    assert!(line.contains("/nonexistent/password"), "{line}");
    let dir = fresh_dir();
    let empty = dir.join("empty");
    fs::write(&empty, "\n").expect("write");
    let line = refused(&mut serve(driver, &["--requirepass-file", empty.to_str().expect("path")]));
    assert!(line.contains("empty"), "an empty password is none: {line}");
    fs::remove_dir_all(dir).expect("clean up");
}

/// Paths of the wrong kind, or where nothing can be written.
fn paths_that_lead_nowhere(driver: &str) {
    let dir = fresh_dir();
    let path = |name: &str| dir.join(name).display().to_string();
    fs::create_dir(dir.join("empty")).expect("a folder");
    fs::write(dir.join("notes.txt"), "no manifest").expect("write");
    let _socket = UnixListener::bind(dir.join("socket")).expect("a socket");
    std::os::unix::fs::symlink("/dev/zero", dir.join("zero")).expect("a link");
    for (flag, name, parts) in [
        ("--access-log", "empty", ["directory", "--access-log"]),
        ("--access-log", "missing/log", ["No such file", "--access-log"]),
        ("--access-log", "notes.txt/log", ["Not a directory", "--access-log"]),
        ("--access-log", "socket", ["name a file or a pipe", "--access-log"]),
        ("--config", "empty", ["no file named *.yaml", ""]),
        ("--config", ".", ["no file named *.yaml", ""]),
        ("--config", "missing", ["no such file", ""]),
        ("--config", "notes.txt/x", ["not a directory", ""]),
        ("--config", "zero", ["longer than 64 MiB", ""]),
    ] {
        let line = refused(serve(driver, &[flag, &path(name)]).arg("--shards=1"));
        for part in parts.into_iter().chain([&*path(name)]) {
            assert!(line.contains(part), "{flag} {name}, {part}: {line}");
        }
    }
    fs::remove_dir_all(dir).expect("clean up");
}

/// SIGHUP while a node starts is heeded once it has; it ends nothing.
fn sighup_amid_the_start(driver: &str) {
    let dir = fresh_dir();
    let config = dir.join("config.yaml");
    fs::write(&config, manifests(&["127.0.0.1:9".parse().expect("an address")], "", ""))
        .expect("write");
    for round in 0..5 {
        let mut command = serve(driver, &["--config", &config.display().to_string()]);
        let log = dir.join(format!("log-{round}"));
        command.stderr(fs::File::create(&log).expect("a file")).stdout(Stdio::null());
        let mut child = command.spawn().expect("start");
        // The signal mask of /proc says when it is caught: not before main.
        let caught = |pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            line.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap_or(0) & 1 == 1)
        };
        eventually("SIGHUP is caught", Duration::from_secs(5), || caught(child.id()));
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, Signal::HUP).expect("signal it");
        eventually("it is heeded", Duration::from_secs(10), || {
            assert!(child.try_wait().expect("a state").is_none(), "it goes on, round {round}");
            let said = fs::read_to_string(&log).expect("the log");
            said.contains("configuration 2 is published")
        });
        rustix::process::kill_process(pid, Signal::KILL).expect("end it");
        child.wait().expect("its end");
    }
    fs::remove_dir_all(dir).expect("clean up");
}

/// SIGHUP opens the access log anew: where that fails, the log says which file it was.
fn an_access_log_that_cannot_be_opened_anew(driver: &str) {
    let dir = fresh_dir();
    let (folder, file) = (dir.join("folder"), dir.join("folder/log").display().to_string());
    fs::create_dir(&folder).expect("a folder");
    let node = Node::start_with(Options::driver(driver).arg("--access-log").arg(&file));
    fs::remove_dir_all(&folder).expect("take it away");
    node.signal(Signal::HUP);
    eventually("it says which file", Duration::from_secs(5), || {
        let output = node.output();
        let mut lines = output.lines().filter(|line| line.contains("cannot be opened"));
        lines.any(|line| line.contains(&file) && line.contains("No such file"))
    });
    fs::remove_dir_all(dir).expect("clean up");
}

/// So few open files that the node cannot even listen.
fn far_too_few_open_files(driver: &str) {
    let mut shell = Command::new("bash");
    shell.args(["-c", "ulimit -n 8 && exec \"$0\" \"$@\""]).arg(binary());
    shell.args(["serve", "--resp", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--driver", driver]);
    let line = refused(&mut shell);
    assert!(line.contains("ulimit -n") || line.contains("open files"), "{line}");
}

/// Few open files: it runs, says how many clients it can hold, and refuses the others in words.
fn few_open_files(driver: &str) {
    let ulimit = Some("-n 200".to_owned());
    let node = Node::start_with(Options { ulimit, ..Options::driver(driver) });
    assert!(node.output().contains("ulimit -n"), "{}", node.output());
    let mut held: Vec<_> = Vec::new();
    let told = loop {
        let mut client = support::Client::connect(node.resp);
        client.send(b"PING\r\n");
        match client.reply() {
            reply if reply.is_error() => break reply.text(),
            _ => held.push(client),
        }
        assert!(held.len() < 200, "200 files cannot hold {} clients", held.len());
    };
    assert_eq!(told, "ERR max number of clients reached");
    assert!(held.len() >= 100, "{} clients in 200 files", held.len());
    assert_eq!(held[0].call("PING").text(), "PONG");
}

fn flags_that_make_no_sense(driver: &str) {
    for (args, named) in [
        (["--resp", "nonsense"], "nonsense"),
        (["--admin", "127.0.0.1:99999"], "127.0.0.1:99999"),
        (["--cluster", "nonsense"], "nonsense"),
        (["--cluster", "127.0.0.1"], "127.0.0.1"),
        (["--maxmemory", "lots"], "lots"),
        (["--cpus", "4096"], "4096"),
        (["--cpus", "x"], "x"),
        (["--shards", "0"], "0"),
        (["--spin", "-1"], "-1"),
        (["--nonsense", "1"], "--nonsense"),
    ] {
        let output = tools::run(&mut serve(driver, &args), Duration::from_secs(10));
        assert!(!output.status.success(), "{args:?} must not start");
        assert!(output.status.code().is_some(), "{args:?}: {}", output.status);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(named), "{args:?}: {text}");
        assert!(!text.contains("panicked"), "{args:?}: {text}");
    }
    let output = tools::run(&mut serve("nonsense", &[]), Duration::from_secs(10));
    assert!(String::from_utf8_lossy(&output.stderr).contains("epoll"), "it names the drivers");
}

/// Any two shards hold memory for each other: a thousand of them would take all of it.
fn more_shards_than_cores_have_room_for(driver: &str) {
    let status = fs::read_to_string("/sys/devices/system/cpu/possible").expect("cores");
    let most = status.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<u32>().ok());
    if most.is_some_and(|last| last < 124) {
        let line = refused(&mut serve(driver, &["--shards", "1000"]));
        assert!(line.contains("--shards 1000: expected 1 to ") && line.contains("core"), "{line}");
    }
}

/// A crash leaves nothing behind that keeps the next node from the same port.
fn the_same_port_again_after_a_kill(driver: &str) {
    let node = Node::start(driver);
    let addr = node.resp.to_string();
    let mut client = node.client();
    client.call("SET k v");
    drop(node); // SIGKILL, with a connection open
    let again = Node::start_with(Options::driver(driver).arg("--resp").arg(&addr));
    assert_eq!(again.resp.to_string(), addr);
    assert_eq!(again.client().call("EXISTS k").int(), 0);
}

#[test]
fn help_and_version() {
    for flag in ["--help", "--version"] {
        let text = tools::must(Command::new(binary()).arg(flag), Duration::from_secs(10));
        assert!(text.contains("corelane") || text.contains("Corelane"), "{text}");
    }
}

on_each_driver!(
    says_what_listens_where,
    as_many_shards_as_cores,
    a_port_that_is_taken,
    the_clusters_default_ports,
    no_cluster_on_request,
    no_http_and_no_admin_on_request,
    cluster_ports_by_name,
    an_address_of_another_machine,
    open_to_the_world_without_a_password,
    no_permission,
    files_that_are_not_there,
    paths_that_lead_nowhere,
    an_access_log_that_cannot_be_opened_anew,
    sighup_amid_the_start,
    far_too_few_open_files,
    few_open_files,
    flags_that_make_no_sense,
    more_shards_than_cores_have_room_for,
    the_same_port_again_after_a_kill,
);
