//! Servers of others that stand behind the node: nginx, HAProxy, Node's and Python's own.
//!
//! Owns their processes and configurations; each is started by the test and ended on drop.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::peer::free_address;
use super::web_node::Folder;
use super::{eventually, tools};

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(15);

/// A server in a process of its own; ended on drop.
pub struct Process {
    child: Child,
    pub addr: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    _folder: Option<Folder>,
}

impl Process {
    /// Ends it at once, with all that it has started, as a crash would (SIGKILL).
    pub fn kill(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }

    /// What it has written so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("lines").clone()
    }

    /// The rest of a line that begins so; waits for it.
    #[track_caller]
    pub fn line(&self, begin: &str, limit: Duration) -> String {
        let mut found = None;
        eventually(&format!("it says {begin:?}"), limit, || {
            found = self.lines().iter().find_map(|l| l.strip_prefix(begin).map(str::to_owned));
            found.is_some()
        });
        found.expect("found")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(command: &mut Command, folder: Option<Folder>) -> Process {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{shown}: {error}; ./test installs it"));
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let out = BufReader::new(child.stdout.take().expect("piped"));
    let kept = lines.clone();
    std::thread::spawn(move || {
        out.lines().map_while(Result::ok).for_each(|line| kept.lock().expect("lines").push(line));
    });
    let addr = "127.0.0.1:0".parse().expect("an address");
    Process { child, addr, lines, _folder: folder }
}

/// One that says itself where it listens.
fn telling(command: &mut Command) -> Process {
    let mut process = spawn(command, None);
    let port = process.line("listening ", START);
    process.addr.set_port(port.parse().expect("a port"));
    process
}

/// One that is told where to listen, by a configuration made for the address.
fn told(name: &str, configure: impl Fn(SocketAddr, &Folder) -> Command) -> Process {
    // Another process may take the port meanwhile: then the next one.
    for _ in 0..5 {
        let addr = free_address();
        let folder = Folder::new();
        let mut process = spawn(&mut configure(addr, &folder), Some(folder));
        process.addr = addr;
        let mut gone = false;
        eventually(&format!("{name} listens"), START, || {
            gone = process.child.try_wait().expect("wait").is_some();
            gone || TcpStream::connect(addr).is_ok()
        });
        if !gone {
            return process;
        }
    }
    panic!("{name} does not start on any of five free ports");
}

fn script(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    folder.join(name).display().to_string()
}

/// Node's server under a name, on this port or a free one; it closes connections that are idle
/// for so long.
pub fn node(name: &str, port: u16, keep_alive: Duration) -> Process {
    let mut command = Command::new("node");
    command.env("NODE_PATH", tools::node_modules()).arg(script("server.js"));
    command.args([&port.to_string(), name, &keep_alive.as_millis().to_string()]);
    telling(&mut command)
}

/// Chromium without a window, on this page, until it is dropped.
pub fn chromium(url: &str) -> Process {
    let profile = Folder::new();
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]);
    command.args(["--no-first-run", "--disable-background-networking", "--disable-sync"]);
    command.args(["--disable-component-update", "--disable-dev-shm-usage"]);
    command.arg("--remote-debugging-port=0"); // it stays
    command.arg(format!("--user-data-dir={}", profile.path("profile").display()));
    command.arg(url).stderr(Stdio::null());
    spawn(&mut command, Some(profile))
}

/// Python's server of this version of HTTP.
pub fn python(version: &str) -> Process {
    telling(Command::new(tools::python()).arg(script("server.py")).arg(version))
}

/// Python's module http.server over a folder.
pub fn python_files(files: &Path) -> Process {
    told("http.server", |addr, _| {
        let mut command = Command::new(tools::python());
        command.args(["-m", "http.server", &addr.port().to_string(), "--bind", "127.0.0.1"]);
        command.arg("--directory").arg(files).stderr(Stdio::null());
        command
    })
}

/// nginx: files under /files and, packed, under /gzip; /sub in chunks; /drop closes without an
/// answer; everything else goes to the server behind it. It closes often.
pub fn nginx(files: &Path, behind: SocketAddr) -> Process {
    told("nginx", |addr, folder| {
        let here = folder.0.display();
        let files = files.display();
        let config = format!(
            "daemon off; master_process off; pid {here}/pid; error_log {here}/errors;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; default_type text/plain; client_max_body_size 100m;\n\
             client_body_temp_path {here}/body; proxy_temp_path {here}/proxy;\n\
             fastcgi_temp_path {here}/fcgi; uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;\n\
             keepalive_requests 7; keepalive_timeout 300ms;\n\
             server {{ listen {addr}; server_name _;\n\
             location /files/ {{ alias {files}/; }}\n\
             location /gzip/ {{ alias {files}/; gzip on; gzip_types *; gzip_min_length 1;\n\
             gzip_proxied any; }}\n\
             location /sub/ {{ alias {files}/; sub_filter 'zzzz' 'yyyy'; sub_filter_types *; }}\n\
             location = /drop {{ return 444; }}\n\
             location / {{ proxy_pass http://{behind}; proxy_http_version 1.1;\n\
             proxy_set_header Connection ''; proxy_request_buffering off; }} }} }}\n"
        );
        let file = folder.write("nginx.conf", &config);
        let mut command = Command::new("nginx");
        command.arg("-c").arg(file).arg("-e").arg(folder.path("errors"));
        command
    })
}

/// HAProxy in front of a server; it closes connections that are idle for 40 ms.
pub fn haproxy(behind: SocketAddr, keep_alive: Duration) -> Process {
    told("haproxy", |addr, folder| {
        let config = format!(
            "global\n  maxconn 1000\ndefaults\n  mode http\n  timeout connect 2s\n  timeout client 5s\n  \
             timeout server 5s\n  timeout http-keep-alive {}ms\nfrontend front\n  bind {addr}\n  \
             default_backend back\nbackend back\n  server one {behind}\n",
            keep_alive.as_millis()
        );
        let file = folder.write("haproxy.cfg", &config);
        let mut command = Command::new("haproxy");
        command.args(["-db", "-q", "-f"]).arg(file);
        command
    })
}
