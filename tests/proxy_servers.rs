//! Servers of others behind the node: nginx, HAProxy, Python's and Node's. They close when they
//! like to, pack, cut into chunks and answer early, and no client may notice.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use support::Node;
use support::web::{Web, content, difference};
use support::web_load::Load;
use support::web_node::{Folder, counter, errors, proxy, proxy_on};
use support::web_peers::{self, Process};
use support::web_server::Upstream;

/// Long enough for every way of being sent: from a head's packet to many of them.
const LENGTHS: [usize; 6] = [0, 1, 900, 20_000, 70_001, 400_000];

/// Clients that ask for these paths without a break, and then so that servers' time-outs for
/// idle connections run out about when the next request comes.
#[track_caller]
fn hammer(node: &Node, paths: &[&str], idle: Duration) {
    let load = Load::start(node.http[0], 6, paths, Duration::ZERO);
    load.wait_for(500);
    load.stop().expect_no_failures(500);
    let load = Load::start(node.http[0], 12, paths, idle);
    load.wait_for(300);
    load.stop().expect_no_failures(300);
}

/// What POST /echo answers.
#[track_caller]
fn echoes(addr: SocketAddr, rounds: usize) {
    let mut web = Web::connect(addr);
    for n in 0..rounds {
        let body = content("echo", 1 + n * 7_919 % 200_000);
        if n % 2 == 0 {
            let len = body.len();
            web.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n"));
            web.send(&body);
        } else {
            web.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            for part in body.chunks(30_011) {
                web.send([format!("{:X}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
            }
            web.send("0\r\n\r\n");
        }
        let answer = web.answer();
        assert_eq!(answer.status, 200, "{}{}", answer.head, answer.text());
        assert_eq!(difference(&body, &answer.body), None, "round {n}");
        if answer.closes() {
            web = Web::connect(addr);
        }
    }
}

/// Files whose contents are those of their path under /files.
fn files() -> Folder {
    let folder = Folder::new();
    for len in LENGTHS {
        let name = len.to_string();
        fs::write(folder.path(&name), content(&format!("/files/{len}"), len)).expect("write");
    }
    folder
}

fn nginx(driver: &str) {
    let (files, behind) = (files(), Upstream::start());
    let server = web_peers::nginx(&files.0, behind.addr);
    let node = proxy(driver, &[server.addr]);
    let paths: Vec<String> = LENGTHS.iter().map(|len| format!("/files/{len}")).collect();
    let mut paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    paths.extend(["/bytes/3000", "/chunked/90000", "/close/4000", "/trailers/300"]);
    hammer(&node, &paths, Duration::from_millis(300));
    assert!(counter(&node, "corelane_http_reused_connections_total", &[]) > 500);
    echoes(node.http[0], 60);
    for len in LENGTHS {
        for kind in ["gzip", "sub"] {
            packed_alike(&node, &server, &format!("/{kind}/{len}"));
        }
    }
    behind.expect_no_complaints();
    // It closes without an answer: the second try does not help, and the client is told why.
    let answer = Web::connect(node.http[0]).get("/drop");
    assert_eq!(answer.status, 502, "{}", answer.head);
    assert!(answer.text().contains("upstream_closed"), "{}", answer.text());
    assert_eq!(errors(&node, "upstream_closed"), 1);
    assert_eq!(counter(&node, "corelane_http_errors_total", &["status=\"5"]), 1);
}

/// What comes through the node is what comes without it.
#[track_caller]
fn packed_alike(node: &Node, server: &Process, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let ask = |addr| {
        let mut web = Web::connect(addr);
        web.send(&request);
        web.answer()
    };
    let (direct, through) = (ask(server.addr), ask(node.http[0]));
    assert_eq!(through.status, 200, "{path}: {}", through.head);
    assert_eq!(difference(&direct.body, &through.body), None, "{path}");
    for field in ["content-encoding", "transfer-encoding", "content-length", "last-modified"] {
        assert_eq!(direct.field(field), through.field(field), "{path}: {field}");
    }
}

fn haproxy(driver: &str) {
    let behind = Upstream::start();
    let server = web_peers::haproxy(behind.addr, Duration::from_millis(40));
    let node = proxy(driver, &[server.addr]);
    let paths = ["/bytes/10", "/bytes/100000", "/chunked/50000", "/trailers/2000", "/close/3000"];
    hammer(&node, &paths, Duration::from_millis(40));
    // What may not be sent twice is not to meet a connection that is just being closed for its age.
    let patient = web_peers::haproxy(behind.addr, Duration::from_secs(10));
    echoes(proxy(driver, &[patient.addr]).http[0], 60);
    behind.expect_no_complaints();
    assert_eq!(counter(&node, "corelane_http_errors_total", &[]), 0);
}

fn python(driver: &str) {
    let server = web_peers::python("1.0");
    let node = proxy(driver, &[server.addr]);
    hammer(&node, &["/bytes/0", "/bytes/17", "/bytes/50000"], Duration::from_millis(5));
    let reused = counter(&node, "corelane_http_reused_connections_total", &[]);
    assert_eq!(reused, 0, "it keeps no connection");
    let server = web_peers::python("1.1");
    let node = proxy(driver, &[server.addr]);
    let paths = ["/bytes/0", "/bytes/50000", "/chunked/30000", "/close/5000"];
    hammer(&node, &paths, Duration::from_millis(5));
    assert!(counter(&node, "corelane_http_reused_connections_total", &[]) > 100);
    let folder = Folder::new();
    fs::create_dir(folder.path("files")).expect("a folder");
    for len in LENGTHS {
        let path = format!("files/{len}");
        fs::write(folder.path(&path), content(&format!("/{path}"), len)).expect("write");
    }
    let server = web_peers::python_files(&folder.0);
    let node = proxy(driver, &[server.addr]);
    hammer(&node, &["/files/900", "/files/400000", "/files/0"], Duration::from_millis(5));
}

fn node_js(driver: &str) {
    let server = web_peers::node("one", 0, Duration::from_millis(30));
    let node = proxy(driver, &[server.addr]);
    let paths = ["/bytes/0", "/bytes/70000", "/chunked/40000", "/trailers/3000", "/slow/20/100"];
    hammer(&node, &paths, Duration::from_millis(30));
    // As with HAProxy.
    let patient = web_peers::node("one", 0, Duration::from_secs(10));
    echoes(proxy(driver, &[patient.addr]).http[0], 40);
    let mut web = Web::connect(node.http[0]);
    web.send("GET /trailers/3000 HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    let answer = web.answer();
    assert_eq!(answer.trailers.to_lowercase(), "x-sum: 42\n", "{}", answer.head);
    assert_eq!(counter(&node, "corelane_http_errors_total", &[]), 0);
}

/// A server that answers before the content has come: the answer counts, and a client that
/// reads only when it has sent everything has it, too (RFC 9112 section 9.6).
fn early_answers(driver: &str) {
    let server = web_peers::node("early", 0, Duration::from_secs(5));
    let behind = Upstream::start();
    for addr in [server.addr, behind.addr] {
        let node = proxy(driver, &[addr]);
        for len in [100, 50_000, 4 << 20] {
            let mut web = Web::connect(node.http[0]);
            web.send(format!("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n"));
            web.send(content("early", len));
            let answer = web.answer();
            assert_eq!((answer.status, answer.text()), (200, "early".into()), "{len} to {addr}");
            let mut web = Web::connect(node.http[0]);
            web.send(format!("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\nab"));
            let answer = web.answer();
            assert_eq!((answer.status, answer.text()), (200, "early".into()), "2 of {len}");
        }
        assert_eq!(Web::connect(node.http[0]).get("/bytes/9").status, 200);
        assert_eq!(counter(&node, "corelane_http_errors_total", &["status=\"5"]), 0);
    }
}

/// A shard that has no idle connection to a server borrows another shard's before it dials, and
/// dials only when that one takes too long, which is counted.
fn idle_connections_are_borrowed(driver: &str) {
    let behind = Upstream::start();
    let node = proxy_on(driver, 2, &[behind.addr]);
    // The shard with the fewest clients gets the next one.
    let mut clients: Vec<Web> = (0..4).map(|_| Web::connect(node.http[0])).collect();
    for round in 0..20 {
        for web in &mut clients {
            assert_eq!(web.get("/bytes/100").status, 200, "round {round}");
        }
    }
    let late = counter(&node, "corelane_http_late_loans_total", &[]);
    assert_eq!(behind.accepted(), 1 + late, "one request at a time needs one connection");
    assert!(counter(&node, "corelane_http_borrowed_connections_total", &[]) > late);
}

on_each_driver!(nginx, haproxy, python, node_js, early_answers, idle_connections_are_borrowed);
