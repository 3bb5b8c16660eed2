//! On the steady path a shard asks neither the allocator nor a futex for anything.
//!
//! A whole server runs on a thread whose allocations are counted, behind a filter that ends
//! the process at its first futex call. Requests warm it up; from then on nothing may be
//! allocated for GET, SET of a known size, INCR, EXPIRE, or a miss, with and without a
//! pipeline, on either driver.
//!
//! Unsafe because a global allocator is; it only counts and passes on.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use dataplane::cache_server::{CacheServer, Control, Order, Setup};
use dataplane::publish::publication;
use dataplane::runtime::epoll::Epoll;
use dataplane::runtime::uring::Uring;
use dataplane::runtime::{Driver, Waker};
use seccompiler::{SeccompAction, SeccompFilter, TargetArch};
use shards::command::NodeFacts;
use shards::session::Face;
use shards::settings::Settings;
use shards::time::Nanos;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

impl Counting {
    fn note() {
        // A thread that is ending has no such cell any more, and is not counted.
        if COUNTED.try_with(Cell::get).unwrap_or(false) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: passes every call on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note();
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as our caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::note();
        // SAFETY: as our caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn facts() -> NodeFacts {
    NodeFacts {
        version: "0".into(),
        driver: "test",
        port: 0,
        pid: 0,
        run_id: "0".repeat(40),
        started: 0,
        executable: String::new(),
        os: String::new(),
        shards: 1,
        cluster: Arc::default(),
    }
}

/// Ends the process when this thread makes a futex call.
fn forbid_futex() {
    let rules = BTreeMap::from([(libc::SYS_futex, vec![])]);
    let arch: TargetArch = std::env::consts::ARCH.try_into().unwrap();
    let (others, futex) = (SeccompAction::Allow, SeccompAction::KillProcess);
    let filter = SeccompFilter::new(rules, others, futex, arch).unwrap();
    let program: seccompiler::BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

struct Server {
    address: SocketAddr,
    control: Arc<Control>,
    waker: Waker,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// A server of one shard, as one that has all keys or as a node of a cluster.
    fn start<D: Driver + 'static>(driver: fn() -> std::io::Result<D>, face: Face) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let control = Arc::new(Control::default());
        let listener = Some(OwnedFd::from(listener));
        let (listener, cluster) = match face {
            Face::Standalone => (listener, None),
            Face::Cluster => (None, listener),
        };
        let setup = Setup {
            listener,
            cluster,
            mesh: None,
            budget: Arc::new(shards::budget::Budget::new(1)),
            node: Arc::from([control.clone()]),
            settings: publication(Settings::default()),
            seed: 1,
            facts: facts(),
            control: control.clone(),
            spin: Nanos(0),
        };
        let (started, start) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let driver = driver().unwrap();
            let waker = driver.waker();
            let mut server = CacheServer::new(driver, setup).unwrap();
            started.send(waker).unwrap();
            forbid_futex();
            COUNTED.set(true);
            server.run().unwrap();
            COUNTED.set(false);
        });
        let waker = start.recv().unwrap();
        Self { address, control, waker, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.control.give(Order::Stop, &self.waker);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn request(out: &mut Vec<u8>, words: &str) {
    let words: Vec<&str> = words.split(' ').collect();
    write!(out, "*{}\r\n", words.len()).unwrap();
    for word in words {
        write!(out, "${}\r\n{word}\r\n", word.len()).unwrap();
    }
}

/// Requests of every steady kind, and how long their replies are together.
fn round(n: usize) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let mut reply = 0;
    let mut add = |words: &str, expect: usize| {
        request(&mut out, words);
        reply += expect;
    };
    let key = n % 100;
    add(&format!("SET key:{key:03} {:064}", n), "+OK\r\n".len());
    add(&format!("GET key:{key:03}"), "$64\r\n\r\n".len() + 64);
    add(&format!("SET exp:{key:03} {:016} EX 1000", n), "+OK\r\n".len());
    add(&format!("EXPIRE key:{key:03} 500"), ":1\r\n".len());
    add(&format!("SETRANGE num:{key:03} 0 00000"), ":5\r\n".len());
    add(&format!("GET none:{key:03}"), "$-1\r\n".len());
    add(&format!("SET cnt:{key:03} 1000"), "+OK\r\n".len());
    add(&format!("INCR cnt:{key:03}"), ":1001\r\n".len());
    add("PING", "+PONG\r\n".len());
    (out, reply)
}

fn exchange(client: &mut TcpStream, requests: &[u8], reply: usize, buffer: &mut Vec<u8>) {
    client.write_all(requests).unwrap();
    buffer.resize(reply, 0);
    client.read_exact(buffer).unwrap();
    let at_line_start = |n: usize| n == 0 || buffer[n - 1] == b'\n';
    let errors = (0..reply).filter(|n| buffer[*n] == b'-' && at_line_start(*n)).count();
    assert_eq!(errors, 0, "no errors");
}

/// Every client sends its rounds; `depth` of them at once.
fn load(clients: &mut [TcpStream], rounds: usize, depth: usize) {
    let mut buffer = Vec::new();
    for n in 0..rounds {
        let (mut requests, mut reply) = (Vec::new(), 0);
        for deep in 0..depth {
            let (one, expect) = round(n * depth + deep);
            requests.extend(one);
            reply += expect;
        }
        for client in clients.iter_mut() {
            exchange(client, &requests, reply, &mut buffer);
        }
    }
}

fn nothing_is_allocated<D: Driver + 'static>(driver: fn() -> std::io::Result<D>, face: Face) {
    let server = Server::start(driver, face);
    let mut clients: Vec<_> = (0..20)
        .map(|_| {
            let client = TcpStream::connect(server.address).unwrap();
            client.set_nodelay(true).unwrap();
            client
        })
        .collect();
    // The last is longer than a receive buffer, so that requests straddle two.
    for depth in [1, 32, 128] {
        load(&mut clients, 40, depth);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        load(&mut clients, 60, depth);
        let allocated = ALLOCATIONS.load(Ordering::Relaxed) - before;
        assert_eq!(
            allocated,
            0,
            "allocations in {} requests, {face:?}, pipeline {depth}",
            60 * 20 * 9 * depth
        );
    }
    // The counter counts: a new key needs a place now and then.
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let mut requests = Vec::new();
    (0..20_000).for_each(|n| request(&mut requests, &format!("SET fresh:{n} value")));
    exchange(&mut clients[0], &requests, 20_000 * 5, &mut Vec::new());
    assert!(ALLOCATIONS.load(Ordering::Relaxed) > before, "the counter counts");
}

/// One test, since all servers share the counter.
#[test]
fn neither_driver_allocates_or_waits_for_a_lock() {
    for face in [Face::Standalone, Face::Cluster] {
        nothing_is_allocated(Uring::new, face);
        nothing_is_allocated(Epoll::new, face);
    }
}
