//! A node as a proxy: how it is started, and what can be seen of it from outside.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use super::web_server::Upstream;
use super::{Node, Options, eventually, http, node};

/// A node in front of these servers, with as many shards as the whole run has.
#[track_caller]
pub fn proxy(driver: &str, upstreams: &[SocketAddr]) -> Node {
    Node::start_with(flags(Options::driver(driver), upstreams))
}

/// The same with so many shards.
#[track_caller]
pub fn proxy_on(driver: &str, shards: u16, upstreams: &[SocketAddr]) -> Node {
    let options = Options::driver(driver).arg("--shards").arg(shards.to_string());
    Node::start_with(flags(options, upstreams))
}

/// `--proxy` for each server.
pub fn flags(options: Options, upstreams: &[SocketAddr]) -> Options {
    let flag =
        |options: Options, addr: &SocketAddr| options.arg("--proxy").arg(format!("http://{addr}"));
    upstreams.iter().fold(options, flag)
}

/// Documents of a route `test` to these servers, under the name `test` with these matches, and
/// whatever else is given.
pub fn manifests(upstreams: &[SocketAddr], rule: &str, more: &str) -> String {
    let mut text = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: test}}\n\
         spec:\n  rules:\n  - name: all\n    backendRefs: [{{name: test, port: 80}}]\n{rule}---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: test}}\nspec: {{ports: [{{port: 80}}]}}\n"
    );
    for (n, addr) in upstreams.iter().enumerate() {
        text += &format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: \
             {{name: test-{n}, labels: {{kubernetes.io/service-name: test}}}}\naddressType: IPv4\n\
             endpoints: [{{addresses: ['{}']}}]\nports: [{{port: {}}}]\n",
            addr.ip(),
            addr.port()
        );
    }
    if more.is_empty() { text } else { format!("{text}---\n{more}") }
}

/// A folder of one test's own; it goes with the value.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        Self(node::fresh_dir())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file whole, as careful operators do: never half of it is seen.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let (file, draft) = (self.path(name), self.path("draft"));
        fs::write(&draft, text).expect("write");
        fs::rename(draft, &file).expect("rename");
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A node that reads this file.
pub fn configured(options: Options, file: &Path) -> Options {
    options.arg("--config").arg(file.display().to_string())
}

/// Sum of a metric's series that have all of these labels, `name="value"`; 0 without any.
pub fn counter(node: &Node, name: &str, labels: &[&str]) -> u64 {
    let (status, _, body) = http::get(node.admin, "/metrics");
    assert_eq!(status, 200);
    let of = |line: &&str| {
        line.split(['{', ' ']).next() == Some(name) && labels.iter().all(|l| line.contains(l))
    };
    let number = |line: &str| line.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok());
    body.lines().filter(of).map(|line| number(line).expect("a value") as u64).sum()
}

/// How often the proxy answered itself, or broke off, for a cause.
pub fn errors(node: &Node, cause: &str) -> u64 {
    counter(node, "corelane_http_errors_total", &[&format!("cause=\"{cause}\"")])
}

/// Sends SIGHUP and waits until it has been heeded, and until that has been said; whether the
/// configuration was taken.
#[track_caller]
pub fn reload(node: &Node) -> bool {
    let count = |outcome: &str| {
        counter(node, "corelane_config_reloads_total", &[&format!("outcome=\"{outcome}\"")])
    };
    let (good, bad) = (count("published"), count("refused"));
    let told = || {
        let said = node.output();
        said.matches("is published: ").count() + said.matches("SIGHUP: ").count()
    };
    let before = told();
    node.signal(Signal::HUP);
    let mut outcome = None;
    eventually("SIGHUP is heeded", Duration::from_secs(10), || {
        outcome = match (count("published") - good, count("refused") - bad) {
            (0, 0) => None,
            (1, 0) => Some(true),
            (0, 1) => Some(false),
            other => panic!("one SIGHUP, {other:?} outcomes"),
        };
        outcome.is_some()
    });
    eventually("it is said", Duration::from_secs(10), || {
        told() > before && node.output().ends_with('\n')
    });
    outcome.expect("heeded")
}

fn files_now(node: &Node) -> usize {
    fs::read_dir(format!("/proc/{}/fd", node.pid())).expect("the node's files").count()
}

/// Open files of the node, once their number stays the same for a while.
pub fn open_files(node: &Node) -> usize {
    let (mut last, mut same) = (0, 0);
    eventually("the number of open files settles", Duration::from_secs(10), || {
        let now = files_now(node);
        same = if now == last { same + 1 } else { 0 };
        last = now;
        same == 8
    });
    last
}

/// The node has no more files open than before.
#[track_caller]
pub fn expect_files_back(node: &Node, before: usize) {
    let mut now = 0;
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while std::time::Instant::now() < end {
        now = files_now(node);
        if now <= before {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let client = counter(node, "corelane_http_connections", &["side=\"client\""]);
    let upstream = counter(node, "corelane_http_connections", &["side=\"upstream\""]);
    panic!(
        "{now} files are open, {before} were before; {client} clients, {upstream} connections to \
         servers"
    );
}

/// A node in front of the test's server, and what it had open before anybody came.
pub fn stage(driver: &str) -> (Upstream, Node, usize) {
    let upstream = Upstream::start();
    let node = proxy(driver, &[upstream.addr]);
    let files = open_files(&node);
    (upstream, node, files)
}

/// The server behind closes all; then the node has no more open than at first.
#[track_caller]
pub fn clear_stage(upstream: Upstream, node: &Node, files: usize) {
    upstream.expect_no_complaints();
    drop(upstream);
    expect_files_back(node, files);
}

/// Lets this process, and the nodes that it starts, open as many files as the machine allows, up
/// to `wanted`; how many that is.
pub fn allow_files(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let allowed = wanted.min(limit.maximum.unwrap_or(u64::MAX));
    if limit.current.is_some_and(|now| now < allowed) {
        let raised = Rlimit { current: Some(allowed), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).expect("raise the soft limit to the hard one");
    }
    assert!(allowed >= 19_000, "only {allowed} open files: raise `ulimit -Hn`");
    allowed
}
