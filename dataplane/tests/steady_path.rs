//! On the steady path a shard asks neither the allocator nor a futex for anything.
//!
//! A whole server runs on threads whose allocations are counted, behind a filter that counts
//! futex calls and answers them with EAGAIN. Requests warm it up; from then on there may be
//! neither for GET, SET of a known size, INCR, EXPIRE, CL.THROTTLE, or a miss, with and without a pipeline, on
//! either driver; on several shards the same for single requests and for reads in a pipeline.
#![allow(clippy::unwrap_used)]

mod counting;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};

use counting::{count_allocations, count_futexes, during, facts};
use dataplane::cache_server::{CacheServer, Control, Order, Setup};
use dataplane::mesh::port::{Ends, MeshStats, PARCELS};
use dataplane::net::listen_on;
use dataplane::publish::publication;
use dataplane::runtime::epoll::Epoll;
use dataplane::runtime::uring::Uring;
use dataplane::runtime::{Driver, Waker};
use shards::session::Face;
use shards::settings::Settings;
use shards::time::Nanos;

/// One shard of a server.
struct Running {
    control: Arc<Control>,
    waker: Waker,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Server {
    address: SocketAddr,
    shards: Vec<Running>,
    mesh: Vec<Arc<MeshStats>>,
}

impl Server {
    /// A server of so many shards, as one that has all keys or as a node of a cluster.
    fn start<D: Driver + 'static>(
        driver: fn() -> std::io::Result<D>,
        face: Face,
        shards: u16,
    ) -> Self {
        let listener = listen_on("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let node: Arc<[Arc<Control>]> = (0..shards).map(|_| Arc::default()).collect();
        let listener = Some(OwnedFd::from(listener));
        let (mut listener, mut cluster) = match face {
            Face::Standalone => (listener, None),
            Face::Cluster => (None, listener),
        };
        let budget = Arc::new(shards::budget::Budget::new(shards));
        let settings = publication(Settings::default());
        let mut ends = Ends::between(shards, PARCELS).into_iter();
        let mut server = Self { address, shards: Vec::new(), mesh: Vec::new() };
        for control in node.iter() {
            let mesh = ends.next().filter(|_| shards > 1);
            server.mesh.extend(mesh.as_ref().map(|ends| ends.stats.clone()));
            let setup = Setup {
                listener: listener.take(),
                cluster: cluster.take(),
                proxy: None,
                mesh,
                budget: budget.clone(),
                node: node.clone(),
                settings: settings.clone(),
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
                count_futexes();
                count_allocations(true);
                server.run().unwrap();
                count_allocations(false);
            });
            let waker = start.recv().unwrap();
            let (control, thread) = (control.clone(), Some(thread));
            server.shards.push(Running { control, waker, thread });
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for Running { control, waker, .. } in &self.shards {
            control.give(Order::Stop, waker);
        }
        for shard in &mut self.shards {
            shard.thread.take().unwrap().join().unwrap();
        }
    }
}

fn request(out: &mut Vec<u8>, words: &str) {
    let words: Vec<&str> = words.split(' ').collect();
    write!(out, "*{}\r\n", words.len()).unwrap();
    for word in words {
        write!(out, "${}\r\n{word}\r\n", word.len()).unwrap();
    }
}

/// How many requests [`steps`] has.
const STEPS: usize = 11;

/// Makes the buckets of [`steps`], and takes the one token of those that it finds empty.
fn prime(client: &mut TcpStream) {
    let replies = "*5\r\n:0\r\n:1\r\n:0\r\n:-1\r\n:5000000000\r\n\
                   *5\r\n:0\r\n:1000000000\r\n:999999999\r\n:-1\r\n:0\r\n";
    for key in 0..100 {
        let mut hits = Vec::new();
        request(&mut hits, &format!("CL.THROTTLE out:{key:03} 0 1 5000000000"));
        request(&mut hits, &format!("CL.THROTTLE in:{key:03} 999999999 1000000000 1"));
        let mut buffer = Vec::new();
        exchange(client, &hits, replies.len(), &mut buffer);
        assert_eq!(String::from_utf8_lossy(&buffer), replies);
    }
}

/// Requests of every steady kind, and how long the reply of each is.
fn steps(n: usize) -> [(String, usize); STEPS] {
    let key = n % 100;
    [
        (format!("SET key:{key:03} {n:064}"), "+OK\r\n".len()),
        (format!("GET key:{key:03}"), "$64\r\n\r\n".len() + 64),
        (format!("SET exp:{key:03} {n:016} EX 1000"), "+OK\r\n".len()),
        (format!("EXPIRE key:{key:03} 500"), ":1\r\n".len()),
        (format!("SETRANGE num:{key:03} 0 00000"), ":5\r\n".len()),
        (format!("GET none:{key:03}"), "$-1\r\n".len()),
        (format!("SET cnt:{key:03} 1000"), "+OK\r\n".len()),
        (format!("INCR cnt:{key:03}"), ":1001\r\n".len()),
        ("PING".into(), "+PONG\r\n".len()),
        // Refused for 158 years, as `prime` has taken it; and one that never owes for long.
        (
            format!("CL.THROTTLE out:{key:03} 0 1 5000000000"),
            "*5\r\n:1\r\n:1\r\n:0\r\n:5000000000\r\n:5000000000\r\n".len(),
        ),
        (
            format!("CL.THROTTLE in:{key:03} 999999999 1000000000 1"),
            "*5\r\n:0\r\n:1000000000\r\n:999999999\r\n:-1\r\n:0\r\n".len(),
        ),
    ]
}

/// The same in one piece, and how long their replies are together.
fn round(n: usize) -> (Vec<u8>, usize) {
    let (mut out, mut reply) = (Vec::new(), 0);
    for (words, expect) in steps(n) {
        request(&mut out, &words);
        reply += expect;
    }
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

fn connect(server: &Server, count: usize) -> Vec<TcpStream> {
    let client = |_| {
        let client = TcpStream::connect(server.address).unwrap();
        client.set_nodelay(true).unwrap();
        client
    };
    (0..count).map(client).collect()
}

fn nothing_is_allocated<D: Driver + 'static>(driver: fn() -> std::io::Result<D>, face: Face) {
    let server = Server::start(driver, face, 1);
    let mut clients = connect(&server, 20);
    prime(&mut clients[0]);
    // The last is longer than a receive buffer, so that requests straddle two.
    for depth in [1, 32, 128] {
        load(&mut clients, 40, depth);
        let spent = during(|| load(&mut clients, 60, depth));
        let requests = 60 * 20 * STEPS * depth;
        assert_eq!(spent, (0, 0), "in {requests} requests, {face:?}, pipeline {depth}");
    }
    // The counter counts: new keys need places now and then, and so do new buckets.
    let mut requests = Vec::new();
    for n in 0..20_000 {
        request(&mut requests, &format!("SET fresh:{n} value"));
        request(&mut requests, &format!("CL.THROTTLE fresh:{n} 0 1 5000000000"));
    }
    let reply = "+OK\r\n*5\r\n:0\r\n:1\r\n:0\r\n:-1\r\n:5000000000\r\n".len();
    let spent = during(|| exchange(&mut clients[0], &requests, 20_000 * reply, &mut Vec::new()));
    assert!(spent.0 > 0, "the counter counts");
}

/// Repeats some work until it has taken nothing several times in a row, which has to come.
/// Where a shard of the busy machine did not run and others had no parcel left for it, what
/// waited was copied: such a time says nothing.
fn until_steady(server: &Server, mut work: impl FnMut()) {
    let waits = || -> u64 { server.mesh.iter().map(|stats| stats.waits.get()).sum() };
    let mut windows = Vec::new();
    for _ in 0..1_000 {
        let before = waits();
        let spent = during(&mut work);
        if waits() == before {
            windows.push(spent);
        }
        if windows.ends_with(&[(0, 0); 5]) {
            return;
        }
        assert!(windows.len() < 60, "it never ends: {windows:?}");
    }
    panic!("the machine is too busy: {windows:?}");
}

/// Over several shards: whatever one client asks at a time, and reads in a pipeline.
fn nor_is_it_across<D: Driver + 'static>(driver: fn() -> std::io::Result<D>, shards: u16) {
    let server = Server::start(driver, Face::Standalone, shards);
    let mut clients = connect(&server, 20);
    prime(&mut clients[0]);
    let mut buffer = Vec::new();
    let mut one_by_one = |clients: &mut [TcpStream], rounds: usize| {
        for n in 0..rounds {
            for client in clients.iter_mut() {
                for (words, reply) in steps(n) {
                    let mut out = Vec::new();
                    request(&mut out, &words);
                    exchange(client, &out, reply, &mut buffer);
                }
            }
        }
    };
    // One from each shard.
    one_by_one(&mut clients[..1], 100);
    until_steady(&server, || one_by_one(&mut clients[..3], 20));

    let mut buffer = Vec::new();
    for depth in [1, 32, 128] {
        let mut reads = |clients: &mut [TcpStream], rounds: usize| {
            let mut out = Vec::new();
            for n in 0..rounds {
                out.clear();
                (0..depth).for_each(|deep| {
                    request(&mut out, &format!("GET key:{:03}", (n + deep) % 100))
                });
                // All at once, so that both ways are in use.
                clients.iter_mut().for_each(|client| client.write_all(&out).unwrap());
                for client in clients.iter_mut() {
                    exchange(client, &[], depth * ("$64\r\n\r\n".len() + 64), &mut buffer);
                }
            }
        };
        // The last of the parcels is filled seldom, so that warming up takes a while.
        until_steady(&server, || reads(&mut clients, 50));
    }
    let sent: u64 = server.mesh.iter().map(|stats| stats.requests.get()).sum();
    assert!(sent > 100_000, "they are at home elsewhere: {sent}");
}

/// One test, since all servers share the counter.
#[test]
fn neither_driver_allocates_or_waits_for_a_lock() {
    for face in [Face::Standalone, Face::Cluster] {
        nothing_is_allocated(Uring::new, face);
        nothing_is_allocated(Epoll::new, face);
    }
    for shards in [2, 3] {
        nor_is_it_across(Uring::new, shards);
        nor_is_it_across(Epoll::new, shards);
    }
}
