//! Conversations over sockets: a running node between clients and servers that are both ours.
//!
//! Owns the sockets of a case. Nothing blocks: what cannot be sent or has not come is looked for
//! again, with an end to it.

#![allow(dead_code, unreachable_pub)] // each test uses its own part

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{
    set_socket_linger, set_socket_recv_buffer_size, set_socket_send_buffer_size,
};
use rustix::process::Signal;

use super::support::{Node, Options, http, node};
use super::talk::format::{Calls, Deed};
use super::talk::manifests::manifests;
use super::talk::play::{Conn, State, Wires};
use super::talk::{Case, Delivery, File, play};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it is listened whether nothing comes.
const SILENCE: Duration = Duration::from_millis(12);

/// More than the kernel keeps for the node's two sockets and ours.
pub fn long() -> usize {
    let most = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).expect("a setting");
        text.split_whitespace().last().and_then(|n| n.parse::<usize>().ok()).expect("bytes")
    };
    most("tcp_rmem") + most("tcp_wmem") + 8 * BUFFER
}

/// Of our own sockets.
const BUFFER: usize = 256 << 10;

struct Talker {
    stream: Option<TcpStream>,
    inbox: Vec<u8>,
    outbox: VecDeque<u8>,
    state: State,
    stalled: bool,
}

/// A node, and the sockets of the case at hand.
pub struct Sockets {
    pub node: Node,
    file: PathBuf,
    generations: usize,
    servers: Vec<(char, SocketAddr, Option<TcpListener>)>,
    talkers: Vec<Talker>,
    until: Instant,
}

impl Sockets {
    /// A node on that driver, with so many shards.
    pub fn start(driver: &str, shards: u16) -> Self {
        let file = node::fresh_dir().join("manifests.yaml");
        fs::write(&file, "").expect("write");
        let options = Options::driver(driver)
            .arg("--config")
            .arg(file.to_string_lossy())
            .arg("--shards")
            .arg(shards.to_string());
        let node = Node::start_with(options); // it asserts the driver
        assert_eq!(node.cluster.len(), usize::from(shards), "as many shards as were asked for");
        let until = Instant::now();
        Self { node, file, generations: 0, servers: Vec::new(), talkers: Vec::new(), until }
    }

    /// Plays a case with servers of its own.
    pub fn play(&mut self, file: &File, case: &Case, delivery: Delivery) -> Result<(), String> {
        self.talkers.clear();
        let listen = |name: &char| {
            let listener = listener("127.0.0.1:0".parse().expect("an address"));
            (*name, listener.local_addr().expect("its address"), Some(listener))
        };
        self.servers = case.servers.iter().map(listen).collect();
        let addresses: Vec<_> = self.servers.iter().map(|(name, at, _)| (*name, *at)).collect();
        self.configure(&manifests(file, case, &addresses));
        play(case, self, delivery)
    }

    /// Gives the node another configuration.
    pub fn configure(&mut self, text: &str) {
        fs::write(&self.file, text).expect("write the manifests");
        let said = |output: &str| {
            let lines = output.lines();
            let told = |l: &&str| l.contains("is published") || l.contains("stays as it was");
            lines.filter(told).count()
        };
        self.node.signal(Signal::HUP);
        self.generations += 1;
        let end = Instant::now() + PATIENCE;
        while said(&self.node.output()) < self.generations {
            assert!(Instant::now() < end, "SIGHUP was not heard:\n{}", self.node.output());
            std::thread::sleep(Duration::from_millis(1));
        }
        let output = self.node.output();
        let last = output.lines().rfind(|line| line.contains("is published"));
        let number = format!("configuration {} is", self.generations + 1);
        let published = last.is_some_and(|line| line.contains(&number));
        assert!(published, "refused: {}\n{text}", output.lines().last().unwrap_or_default());
    }

    /// Waits until a socket can do something, and lets it.
    fn turn(&mut self, limit: Duration) {
        let mut all = Vec::new();
        for talker in &self.talkers {
            let Some(stream) = &talker.stream else { continue };
            let mut flags = PollFlags::empty();
            let reads = talker.state == State::Open && !talker.stalled;
            flags.set(PollFlags::IN, reads);
            flags.set(PollFlags::OUT, !talker.outbox.is_empty());
            if !flags.is_empty() {
                all.push(PollFd::new(stream, flags));
            }
        }
        let listeners = self.servers.iter().filter_map(|(.., listener)| listener.as_ref());
        all.extend(listeners.map(|listener| PollFd::new(listener, PollFlags::IN)));
        let limit = Timespec { tv_sec: 0, tv_nsec: limit.as_nanos() as i64 };
        poll(&mut all, Some(&limit)).expect("poll");
        self.talkers.iter_mut().for_each(Talker::turn);
    }
}

/// A listener that does not block.
fn listener(at: SocketAddr) -> TcpListener {
    let listener = TcpListener::bind(at).expect("a port");
    listener.set_nonblocking(true).expect("no blocking");
    listener
}

impl Talker {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("no delay");
        stream.set_nonblocking(true).expect("no blocking");
        // Little of what is in flight is with us, so that what the proxy takes can be told.
        set_socket_send_buffer_size(&stream, BUFFER).expect("a send buffer");
        set_socket_recv_buffer_size(&stream, BUFFER).expect("a receive buffer");
        let (inbox, outbox) = (Vec::new(), VecDeque::new());
        Self { stream: Some(stream), inbox, outbox, state: State::Open, stalled: false }
    }

    fn turn(&mut self) {
        let Some(mut stream) = self.stream.as_ref() else { return };
        while !self.outbox.is_empty() {
            match stream.write(self.outbox.as_slices().0) {
                Ok(n) => drop(self.outbox.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.outbox.clear(), // reading tells why
            }
        }
        let mut buffer = [0; 64 << 10];
        while self.state == State::Open && !self.stalled {
            match stream.read(&mut buffer) {
                Ok(0) => self.state = State::Ended,
                Ok(n) => self.inbox.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.state = State::Reset,
            }
        }
    }
}

impl Wires for Sockets {
    fn connect(&mut self) -> Conn {
        let stream = TcpStream::connect_timeout(&self.node.http[0], PATIENCE).expect("connect");
        self.talkers.push(Talker::new(stream));
        self.talkers.len() - 1
    }

    fn accept(&mut self, server: char) -> Option<Conn> {
        let (.., listener) = self.servers.iter().find(|(name, ..)| *name == server)?;
        let (stream, _) = listener.as_ref()?.accept().ok()?;
        self.talkers.push(Talker::new(stream));
        Some(self.talkers.len() - 1)
    }

    fn calls(&mut self, server: char, calls: Calls) {
        let found = self.servers.iter_mut().find(|(name, ..)| *name == server);
        let (_, at, place) = found.expect("a server of the case");
        *place = None;
        match calls {
            Calls::Taken => *place = Some(listener(*at)),
            Calls::Refused => {}
            Calls::Unanswered => panic!("a kernel answers calls by itself"),
        }
    }

    fn send(&mut self, conn: Conn, bytes: &[u8]) {
        self.talkers[conn].outbox.extend(bytes);
        self.talkers[conn].turn();
    }

    fn unsent(&mut self, conn: Conn) -> usize {
        self.talkers[conn].outbox.len()
    }

    fn act(&mut self, conn: Conn, deed: Deed) {
        let talker = &mut self.talkers[conn];
        talker.turn();
        let Some(stream) = &talker.stream else { return };
        match deed {
            // The proxy may have gone first.
            Deed::HalfCloses => drop(stream.shutdown(std::net::Shutdown::Write)),
            Deed::Resets => {
                set_socket_linger(stream, Some(Duration::ZERO)).expect("linger");
                talker.stream = None;
            }
            Deed::Closes => talker.stream = None,
            Deed::Stalls => talker.stalled = true,
            Deed::Reads => talker.stalled = false,
            other => panic!("{other:?} is nothing to do"),
        }
    }

    fn inbox(&mut self, conn: Conn) -> (&mut Vec<u8>, State) {
        let talker = &mut self.talkers[conn];
        (&mut talker.inbox, talker.state)
    }

    fn begin_to_wait(&mut self) {
        self.until = Instant::now() + PATIENCE;
        self.talkers.iter_mut().for_each(Talker::turn);
    }

    fn wait(&mut self) -> bool {
        self.turn(Duration::from_millis(5));
        Instant::now() < self.until
    }

    fn settle(&mut self) {
        let end = Instant::now() + SILENCE;
        while Instant::now() < end {
            self.turn(Duration::from_millis(5));
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = Instant::now() + Duration::from_millis(ms);
        while Instant::now() < end {
            self.turn(Duration::from_millis(5));
        }
    }

    fn metric(&mut self, name: &str) -> u64 {
        let (name, label) = name.split_once('{').unwrap_or((name, "}"));
        let label = label.trim_end_matches('}').replace('=', "=\"");
        let page = http::get(self.node.admin, "/metrics").2;
        let samples = page.lines().filter(|line| {
            let known = line.split(['{', ' ']).next().and_then(|l| l.strip_prefix("corelane_"));
            let same = known.is_some_and(|known| known.trim_end_matches("_total") == name);
            same && (label.is_empty() || line.contains(&format!("{label}\"")))
        });
        let values: Vec<u64> = samples.map(value).collect();
        assert!(!values.is_empty(), "no metric {name} {label} in:\n{page}");
        values.iter().sum()
    }

    fn errors(&mut self) -> BTreeMap<String, u64> {
        errors(&self.node)
    }
}

/// How often each cause came up in a node's proxies.
pub fn errors(node: &Node) -> BTreeMap<String, u64> {
    let page = http::get(node.admin, "/metrics").2;
    let mut all = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("corelane_http_errors_total{")) {
        let cause = line.split("cause=\"").nth(1).and_then(|rest| rest.split('"').next());
        *all.entry(cause.expect("a cause").to_owned()).or_default() += value(line);
    }
    all
}

fn value(sample: &str) -> u64 {
    sample.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok()).expect("a value") as u64
}

impl Drop for Sockets {
    fn drop(&mut self) {
        let _ = self.file.parent().map(fs::remove_dir_all);
    }
}
