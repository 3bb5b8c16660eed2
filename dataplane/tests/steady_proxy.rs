//! On the steady path the proxy asks neither the allocator nor a futex for anything.
//!
//! A whole shard runs on a thread whose allocations and futex calls are counted, with a server
//! behind it, routes, a limit and the access log. Requests warm it up; from then on there may be
//! neither for GET and POST, with a length and in chunks, short and long, with and without a pipeline.
#![allow(clippy::unwrap_used)]

mod counting;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};

use counting::{count_allocations, count_futexes, during, facts};
use dataplane::cache_server::{CacheServer, Control, Order, Setup};
use dataplane::net::listen_on;
use dataplane::proxy::{self, Endpoints, access_log};
use dataplane::publish::publication;
use dataplane::runtime::epoll::Epoll;
use dataplane::runtime::uring::Uring;
use dataplane::runtime::{Driver, Waker};
use shards::config::draft::{Backend, Draft, Key, Limit, Listener, Match, Path, Route, Rule};
use shards::settings::Settings;
use shards::time::Nanos;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                      Content-Length: 5\r\n\r\nhello";
/// Bytes of a long content.
const LONG: usize = 300_000;
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                       Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

/// An answer with a long content, which ends as the others do.
fn long() -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n");
    [head.as_bytes(), &vec![b'.'; LONG - 5], b"hello"].concat()
}

/// A server that answers each request by what its path says; requests have no content, or it
/// ends with `!`.
fn serve(listener: &TcpListener) {
    let long: Arc<[u8]> = long().into();
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        let long = long.clone();
        std::thread::spawn(move || {
            stream.set_nodelay(true).unwrap();
            let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                seen.extend_from_slice(&buffer[..n]);
                let has_content = seen.starts_with(b"POST");
                let whole = if has_content {
                    seen.ends_with(b"!") || seen.ends_with(b"!\r\n0\r\n\r\n")
                } else {
                    seen.ends_with(b"\r\n\r\n")
                };
                if whole {
                    let path = seen.split(|b| *b == b' ').nth(1).unwrap();
                    match path {
                        b"/chunked" => stream.write_all(CHUNKED.as_bytes()).unwrap(),
                        b"/long" => stream.write_all(&long).unwrap(),
                        _ => stream.write_all(ANSWER.as_bytes()).unwrap(),
                    }
                    seen.clear();
                }
            }
        });
    }
}

fn draft(endpoint: SocketAddr) -> Draft {
    let rule = |path: &str, limits| Rule {
        matches: vec![Match { path: Path::Prefix(path.into()), ..Match::default() }],
        backends: vec![(1, Some(0))],
        limits,
        ..Rule::default()
    };
    Draft {
        generation: 1,
        listeners: vec![Listener { name: "default".into(), ..Listener::default() }],
        routes: vec![Route {
            name: "default/all".into(),
            listeners: vec![0],
            rules: vec![rule("/", vec![]), rule("/limited", vec![0])],
            ..Route::default()
        }],
        backends: vec![Backend {
            name: "b".into(),
            endpoints: vec![endpoint],
            ..Backend::default()
        }],
        limits: vec![Limit {
            name: "per-client".into(),
            tokens: 1_000_000,
            period: Nanos::SECOND,
            burst: 1_000_000,
            cost: 1,
            keys: vec![Key::ClientAddress { v4: 32, v6: 64 }, Key::Path],
        }],
    }
}

struct Server {
    http: SocketAddr,
    control: Arc<Control>,
    waker: Waker,
    thread: Option<std::thread::JoinHandle<()>>,
    desk: proxy::Desk,
}

impl Server {
    fn start<D: Driver + 'static>(driver: fn() -> std::io::Result<D>) -> Self {
        let backend = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = backend.local_addr().unwrap();
        std::thread::spawn(move || serve(&backend));
        let listener = listen_on("127.0.0.1:0".parse().unwrap()).unwrap();
        let http = listener.local_addr().unwrap();
        let node: Arc<[Arc<Control>]> = Arc::new([Arc::default()]);
        let control = node[0].clone();
        let snapshot = draft(endpoint).compile().unwrap();
        let served = Endpoints::new(1).serve(snapshot, &[None]).unwrap();
        let served = publication(served.listening(vec![Some(Arc::new(listener.into()))]));
        let (mut pens, writer, desk) = access_log(1).unwrap();
        let null = || std::fs::OpenOptions::new().write(true).open("/dev/null");
        std::thread::spawn(move || writer.run(null));
        let setup = Setup {
            listener: None,
            cluster: None,
            proxy: Some(proxy::Setup {
                listener: None,
                served,
                stats: control.proxy_stats.clone(),
                causes: control.causes.clone(),
                log: pens.pop(),
                descriptors: 2_000,
                seed: 1,
            }),
            mesh: None,
            budget: Arc::new(shards::budget::Budget::new(1)),
            node: node.clone(),
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
            count_futexes();
            count_allocations(true);
            server.run().unwrap();
            count_allocations(false);
        });
        let waker = start.recv().unwrap();
        Self { http, control, waker, thread: Some(thread), desk }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.control.give(Order::Stop, &self.waker);
        self.thread.take().unwrap().join().unwrap();
        self.desk.close();
    }
}

/// Requests of every kind, one after the other.
const REQUESTS: [&str; 5] = [
    "GET /plain?x=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n",
    "GET /chunked HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "GET /limited/%61 HTTP/1.1\r\nHost: shop.example\r\nX-Request-Id: mine\r\n\r\n",
    "POST /plain HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nab!",
    "POST /plain HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n\
     3\r\nab!\r\n0\r\n\r\n",
];

/// Reads so many answers, each of which has `hello` as its content.
fn answers(client: &mut TcpStream, count: usize, buffer: &mut Vec<u8>) {
    let end = |seen: &[u8]| seen.ends_with(b"hello") || seen.ends_with(b"hello\r\n0\r\n\r\n");
    buffer.clear();
    let mut piece = [0; 16_384];
    loop {
        let n = client.read(&mut piece).unwrap();
        assert!(n > 0, "it goes on");
        buffer.extend_from_slice(&piece[..n]);
        let heads = buffer.windows(9).filter(|w| w == b"HTTP/1.1 ").count();
        if heads == count && end(buffer) {
            break;
        }
    }
    let good = buffer.windows(12).filter(|w| w == b"HTTP/1.1 200").count();
    assert_eq!(good, count, "{}", String::from_utf8_lossy(buffer));
}

fn load(clients: &mut [TcpStream], rounds: usize, depth: usize) {
    let mut buffer = Vec::new();
    for request in REQUESTS {
        let many = request.repeat(depth);
        for _ in 0..rounds {
            for client in clients.iter_mut() {
                client.write_all(many.as_bytes()).unwrap();
            }
            for client in clients.iter_mut() {
                answers(client, depth, &mut buffer);
            }
        }
    }
}

/// Long answers, each read as it comes.
fn load_long(clients: &mut [TcpStream], rounds: usize) {
    let mut piece = vec![0; 64 << 10];
    for _ in 0..rounds {
        for client in clients.iter_mut() {
            client.write_all(b"GET /long HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
        }
        for client in clients.iter_mut() {
            let (mut seen, mut last) = (0, 0);
            while last != b'o' {
                let n = client.read(&mut piece).unwrap();
                assert!(n > 0, "it goes on");
                (seen, last) = (seen + n, piece[n - 1]);
            }
            assert!(seen > LONG, "{seen} bytes");
        }
    }
}

fn nothing_is_allocated<D: Driver + 'static>(driver: fn() -> std::io::Result<D>) {
    let server = Server::start(driver);
    let connect = |_| {
        let client = TcpStream::connect(server.http).unwrap();
        client.set_nodelay(true).unwrap();
        client
    };
    let mut clients: Vec<TcpStream> = (0..10).map(connect).collect();
    for depth in [1, 8] {
        // Until every buffer has been as long as it gets, which has to come.
        let mut windows = Vec::new();
        while !windows.ends_with(&[(0, 0); 3]) {
            windows.push(during(|| load(&mut clients, 20, depth)));
            assert!(windows.len() < 30, "pipeline {depth}, it never ends: {windows:?}");
        }
    }
    let mut windows = Vec::new();
    while !windows.ends_with(&[(0, 0); 3]) {
        windows.push(during(|| load_long(&mut clients, 10)));
        assert!(windows.len() < 30, "long answers, it never ends: {windows:?}");
    }
    // The counter counts: new clients need memory.
    let spent = during(|| {
        let mut fresh: Vec<TcpStream> = (0..10).map(connect).collect();
        load(&mut fresh, 1, 1);
    });
    assert!(spent.0 > 0, "the counter counts");
    assert!(server.control.proxy_stats.logged.get() > 1_000, "the access log is on");
}

#[test]
fn neither_driver_allocates_or_waits_for_a_lock() {
    nothing_is_allocated(Uring::new);
    nothing_is_allocated(Epoll::new);
}
