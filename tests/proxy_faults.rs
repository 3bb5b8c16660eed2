//! What goes wrong around the node while requests come: configurations that change or are
//! wrong, servers that are killed and come back, the node's own end.

#![forbid(unsafe_code)]

mod support;

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::web::{Web, content, difference};
use support::web_load::{Done, Load, asked};
use support::web_node::{
    Folder, configured, counter, errors, expect_files_back, manifests, open_files, proxy, proxy_on,
    reload,
};
use support::web_peers;
use support::web_server::Upstream;
use support::{Node, Options, eventually, tools};

const NO_PAUSE: Duration = Duration::ZERO;

/// Starts a node that reads a file.
fn of_file(driver: &str, shards: u16, folder: &Folder, text: &str) -> Node {
    let file = folder.write("config.yaml", text);
    let options = Options::driver(driver).arg("--shards").arg(shards.to_string());
    Node::start_with(configured(options, &file))
}

/// Two configurations in turn, a hundred times under load: no request fails, none is answered
/// by a server that its configuration does not name, and the last one rules.
fn a_hundred_reloads(driver: &str) {
    let one = web_peers::node("one", 0, Duration::from_secs(5));
    let two = web_peers::node("two", 0, Duration::from_secs(5));
    let folder = Folder::new();
    let texts = [&one, &two].map(|server| manifests(&[server.addr], "", ""));
    let node = of_file(driver, 2, &folder, &texts[0]);
    let files = open_files(&node);
    let paths = ["/bytes/100", "/bytes/50000", "/chunked/20000", "/slow/3/10"];
    let load = Load::start(node.http[0], 8, &paths, NO_PAUSE);
    load.wait_for(50);
    for n in 1..=100 {
        folder.write("config.yaml", &texts[n % 2]);
        assert!(reload(&node), "reload {n}");
    }
    folder.write("config.yaml", &texts[1]);
    assert!(reload(&node));
    load.wait_for(100);
    let done = load.stop();
    done.expect_no_failures(500);
    assert!(done.servers["one"] > 20 && done.servers["two"] > 20, "{:?}", done.servers);
    let mut after = Done::default();
    for _ in 0..50 {
        asked(&mut Web::connect(node.http[0]), "/bytes/10", &mut after).expect("an answer");
    }
    assert_eq!(after.servers.keys().collect::<Vec<_>>(), ["two"], "the last one rules");
    assert_eq!(counter(&node, "corelane_http_errors_total", &[]), 0);
    drop((one, two));
    expect_files_back(&node, files);
}

/// A wrong file changes nothing, and says where it is wrong and what was expected.
fn a_wrong_configuration_is_refused_whole(driver: &str) {
    let upstream = Upstream::start();
    let folder = Folder::new();
    let good = manifests(&[upstream.addr], "", "");
    let node = of_file(driver, 2, &folder, &good);
    let load = Load::start(node.http[0], 4, &["/bytes/100"], NO_PAUSE);
    let file = folder.path("config.yaml").display().to_string();
    for (wrong, line, column, parts) in [
        (good.replace("backendRefs", "backendRef"), 7, 5, ["backendRef", "backendRefs"]),
        (good.replace("port: 80}]}", "port: eighty}]}"), 12, 0, ["eighty", "65535"]),
        (good.replace("{name: test, port: 80}", "{name: tset, port: 80}"), 7, 0, ["tset", "test"]),
        (format!("{good}---\n{{"), 0, 0, ["config.yaml", ""]),
        ("# nothing yet\n".into(), 0, 0, ["config.yaml", "no document"]),
    ] {
        assert_ne!(wrong, good, "{parts:?}");
        folder.write("config.yaml", &wrong);
        let said = node.output().len();
        assert!(!reload(&node), "{parts:?} is refused");
        let said = node.output()[said..].to_owned();
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
        if line > 0 {
            let place = format!("{file}:{line}:");
            let at = said.find(&place).unwrap_or_else(|| panic!("{place} is not in: {said}"));
            let found: String =
                said[at + place.len()..].chars().take_while(char::is_ascii_digit).collect();
            assert!(column == 0 || found == column.to_string(), "column {found}: {said}");
            assert!(!found.is_empty(), "a column: {said}");
        }
    }
    // A pipe that nobody writes into is an empty file, and nothing waits for it.
    let path = folder.path("config.yaml");
    std::fs::remove_file(&path).expect("take it away");
    tools::must(Command::new("mkfifo").arg(&path), Duration::from_secs(5));
    assert!(!reload(&node), "a pipe is refused");
    load.wait_for(100);
    load.stop().expect_no_failures(100);
    folder.write("config.yaml", &good);
    assert!(reload(&node), "a right one is taken again");
    assert_eq!(counter(&node, "corelane_config_generation", &[]), 2);
}

/// One of two servers dies under load and comes back: nobody notices, and it serves again.
fn a_server_is_killed(driver: &str) {
    for shards in [1, 2] {
        let mut one = web_peers::node("one", 0, Duration::from_secs(5));
        let two = web_peers::node("two", 0, Duration::from_secs(5));
        let node = proxy_on(driver, shards, &[one.addr, two.addr]);
        let paths = ["/bytes/100", "/chunked/3000", "/slow/5/1000"];
        let load = Load::start(node.http[0], 8, &paths, Duration::from_millis(1));
        load.wait_for(100);
        one.kill();
        load.wait_for(300);
        one = web_peers::node("again", one.addr.port(), Duration::from_secs(5));
        load.wait_for(300);
        let done = load.stop();
        // What had begun to be answered cannot be asked again: it may be broken off.
        let broken = errors(&node, "truncated");
        assert!(done.failed <= broken, "{:?} beside {broken} broken off", done.told);
        assert!(done.servers["one"] > 10 && done.servers["two"] > 100, "{:?}", done.servers);
        if shards == 2 {
            serves_again(&node, "again");
        }
        drop((one, two));
    }
}

/// It gets requests again when the time of its ejection is over.
#[track_caller]
fn serves_again(node: &Node, name: &str) {
    let mut done = Done::default();
    eventually(&format!("{name} serves again"), Duration::from_secs(15), || {
        asked(&mut Web::connect(node.http[0]), "/bytes/10", &mut done).expect("an answer");
        done.servers.contains_key(name)
    });
}

/// All servers are down: 502 with its cause at once, again and again; when one is back, so is
/// the service.
fn all_servers_are_down(driver: &str) {
    let upstream = Upstream::start();
    let addr = upstream.addr;
    let node = proxy(driver, &[addr]);
    let mut web = Web::connect(node.http[0]);
    assert_eq!(web.get("/bytes/10").status, 200);
    drop(upstream);
    for n in 0..30 {
        let start = Instant::now();
        let answer = web.get("/bytes/10");
        assert!(matches!(answer.status, 502 | 503), "{n}: {}", answer.head);
        let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        let causes = ["connect_failed", "upstream_closed", "upstream_reset", "no_endpoint"];
        let cause = body["type"].as_str().and_then(|t| t.strip_prefix("urn:corelane:"));
        assert!(cause.is_some_and(|cause| causes.contains(&cause)), "{body}");
        assert_eq!(body["status"], answer.status);
        assert_eq!(body["request_id"].as_str(), answer.field("x-request-id"));
        assert!(start.elapsed() < Duration::from_secs(2), "at once");
    }
    let upstream = Upstream::with(addr, support::web_server::site);
    assert_eq!(web.get("/bytes/10").status, 200, "it is back at once: there is no other");
    drop(upstream);
}

/// A server that no route knows any more has no connection left, whether it was idle when the
/// other configuration came or busy.
fn gone_servers_are_let_go(driver: &str) {
    let (old, new) = (Upstream::start(), Upstream::start());
    let folder = Folder::new();
    let node = of_file(driver, 2, &folder, &manifests(&[old.addr], "", ""));
    // A hundred at once, so that as many connections are idle after them.
    let mut clients: Vec<Web> = (0..100).map(|_| Web::connect(node.http[0])).collect();
    for web in &mut clients {
        web.send("GET /slow/300/10 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    assert!(clients.iter_mut().all(|web| web.answer().status == 200));
    let mut busy = Web::connect(node.http[0]);
    busy.send("GET /slow/6000/10 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is under way", Duration::from_secs(3), || old.requests() == 101);
    assert!(old.open() > 50, "{} are open", old.open());
    folder.write("config.yaml", &manifests(&[new.addr], "", ""));
    assert!(reload(&node));
    eventually("the idle ones are closed", Duration::from_secs(5), || old.open() == 1);
    assert_eq!(busy.answer().status, 200);
    eventually("and then the busy one", Duration::from_secs(5), || old.open() == 0);
    let served = old.requests();
    assert!(clients.iter_mut().all(|web| web.get("/bytes/10").status == 200));
    assert_eq!(old.requests(), served);
}

/// Clients that are slow, or ask for what cannot be, are no reason to send a server nothing.
fn clients_cannot_eject(driver: &str) {
    let server = Upstream::with("127.0.0.1:0".parse().expect("an address"), |line, asked| {
        match asked.target.as_str() {
            // It gives up on who is slow, or switches before all has come.
            "/gives-up" => {
                std::thread::sleep(Duration::from_millis(2_600));
                Ok(false)
            }
            "/switches" => {
                let head = "HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n";
                line.write(head)?;
                line.until_closed()
            }
            "/takes" => line.until_closed(),
            _ => support::web_server::site(line, asked),
        }
    });
    let folder = Folder::new();
    let timeouts = ["request: 2s", "backendRequest: 2s", "request: 10s"];
    for timeout in timeouts {
        let rule = format!("    timeouts: {{{timeout}}}\n");
        let node = of_file(driver, 1, &folder, &manifests(&[server.addr], &rule, ""));
        let mut clients = Vec::new();
        for path in ["/takes", "/gives-up", "/switches", "/bytes/30000000"] {
            for _ in 0..8 {
                let mut web = Web::connect(node.http[0]);
                match path {
                    "/bytes/30000000" => {
                        web.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
                    }
                    _ => web.send(format!(
                        "POST {path} HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: Upgrade\r\n\
                         Content-Length: 100\r\n\r\nabc"
                    )),
                }
                clients.push(web);
            }
        }
        std::thread::sleep(Duration::from_millis(3_300));
        assert_eq!(counter(&node, "corelane_http_ejections_total", &[]), 0, "{timeout}");
        assert_eq!(errors(&node, "early_switch"), 8, "{timeout}");
        drop(clients);
        assert_eq!(Web::connect(node.http[0]).get("/bytes/10").status, 200);
    }
}

/// A server that fails five times in a row gets nothing for ten seconds, and then is tried.
fn a_failing_server_is_left_alone(driver: &str) {
    let bad = Upstream::with("127.0.0.1:0".parse().expect("an address"), |line, asked| {
        if asked.target == "/well" {
            return support::web_server::site(line, asked);
        }
        line.write("HTTP/1.1 503 No\r\nContent-Length: 0\r\nX-Server: bad\r\n\r\n").map(|()| true)
    });
    let good = Upstream::start();
    let node = proxy_on(driver, 2, &[bad.addr, good.addr]);
    let ask = || Web::connect(node.http[0]).get("/bytes/10").status;
    let mut start = Instant::now();
    eventually("it is ejected", Duration::from_secs(10), || {
        start = Instant::now();
        ask();
        counter(&node, "corelane_http_ejections_total", &[]) == 1
    });
    let before = bad.requests();
    while start.elapsed() < Duration::from_secs(8) {
        assert_eq!(ask(), 200, "{:?} after it was ejected", start.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(bad.requests(), before, "it gets nothing");
    eventually("it is tried again", Duration::from_secs(5), || {
        ask();
        bad.requests() > before
    });
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(9_500), "after {took:?}");
    // On probation: one failure is enough.
    eventually("it is ejected again", Duration::from_secs(5), || {
        ask();
        counter(&node, "corelane_http_ejections_total", &[]) == 2
    });
    assert!(bad.requests() <= before + 2, "{} more failures", bad.requests() - before);
}

/// SIGTERM amid requests: those that were accepted end well, later connections are refused,
/// and the node ends with status 0.
fn an_end_amid_load(driver: &str) {
    for shards in [1, 2] {
        let upstream = Upstream::start();
        let mut node = proxy_on(driver, shards, &[upstream.addr]);
        let addr = node.http[0];
        let mut slow: Vec<Web> = (0..20).map(|_| Web::connect(addr)).collect();
        for web in &mut slow {
            web.send("GET /slow/4000/70000 HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        let load = Load::start(addr, 6, &["/slow/1/1000", "/chunked/30000"], NO_PAUSE);
        load.wait_for(200);
        node.signal(Signal::TERM);
        for web in &mut slow {
            let answer = web.answer();
            assert_eq!((answer.status, answer.body.len()), (200, 70_000), "{}", answer.head);
            assert!(answer.closes(), "the last answer says so: {}", answer.head);
        }
        assert_eq!(node.wait(Duration::from_secs(10)).code(), Some(0));
        let done = load.stop();
        let cut: Vec<_> = done.told.iter().filter(|why| !is_refusal(why)).collect();
        assert!(cut.is_empty(), "{cut:?} of {} good ones", done.good);
        assert_eq!(upstream.requests(), done.good + 20, "what went to the server was answered");
        assert!(Web::try_connect(addr).is_err());
    }
}

/// SIGTERM amid an upload and a tunnel: both go on to their own ends; idle clients are let go.
fn an_end_amid_uploads(driver: &str) {
    let upstream = Upstream::start();
    let mut node = proxy_on(driver, 2, &[upstream.addr]);
    let addr = node.http[0];
    let mut idle = Web::connect(addr);
    assert_eq!(idle.get("/bytes/1").status, 200);
    let mut tunnel = Web::connect(addr);
    tunnel.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(tunnel.answer().status, 101);
    let body = content("upload", 300_000);
    let mut upload = Web::connect(addr);
    upload.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
    upload.send(&body[..100_000]);
    eventually("all are there", Duration::from_secs(5), || upstream.requests() == 3);
    node.signal(Signal::TERM);
    assert_eq!(idle.until_closed(Duration::from_secs(5)), b"");
    eventually("the port is closed", Duration::from_secs(5), || Web::try_connect(addr).is_err());
    node.signal(Signal::HUP);
    eventually("SIGHUP comes too late", Duration::from_secs(5), || {
        node.output().contains("SIGHUP: the node is ending")
    });
    for part in body[100_000..].chunks(50_000) {
        std::thread::sleep(Duration::from_millis(100)); // a client takes its time
        upload.send(part);
    }
    let answer = upload.answer();
    assert_eq!((answer.status, difference(&body, &answer.body)), (200, None));
    tunnel.send("still here");
    assert_eq!(tunnel.take(10).expect("an echo"), b"still here");
    drop(tunnel);
    assert_eq!(node.wait(Duration::from_secs(10)).code(), Some(0));
}

/// The node had gone, or closed an idle connection before it took the request: nothing of it
/// had been accepted. (A client sees the end before a byte of an answer.)
fn is_refusal(why: &str) -> bool {
    let gone = ["Connection refused", "unexpected end of file", "reset by peer", "Broken pipe"];
    // Or it came when the listener was about to close, and has been told so.
    let told = ["HTTP/1.1 503 ", "Connection: close", "Retry-After: "];
    gone.iter().any(|part| why.contains(part)) || told.iter().all(|part| why.contains(part))
}

/// Interim answers are passed on up to a hundred; a server that sends more of them is answered
/// for.
fn a_flood_of_interim_answers(driver: &str) {
    let server = Upstream::with("127.0.0.1:0".parse().expect("an address"), |line, asked| {
        let count = asked.target[1..].parse().expect("a number");
        for _ in 0..count {
            line.write("HTTP/1.1 103 Early Hints\r\nLink: </x.css>\r\n\r\n")?;
        }
        line.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").map(|()| true)
    });
    let node = proxy_on(driver, 1, &[server.addr]);
    for (count, last) in [(100, "HTTP/1.1 200 OK"), (101, "HTTP/1.1 502 Bad Gateway")] {
        let mut web = Web::connect(node.http[0]);
        web.send(format!("GET /{count} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        let said = web.until_closed(Duration::from_secs(10));
        let said = String::from_utf8_lossy(&said);
        assert_eq!(said.matches("HTTP/1.1 103 ").count(), 100, "{said}");
        assert!(said.contains(last), "{count}: {said}");
    }
    assert_eq!(errors(&node, "bad_response"), 1);
}

/// A node whose servers are known to nobody yet.
fn a_route_without_endpoints(driver: &str) {
    let folder = Folder::new();
    let node = of_file(driver, 1, &folder, &manifests(&[], "", ""));
    let answer = Web::connect(node.http[0]).get("/");
    assert_eq!(answer.status, 503, "{}", answer.head);
    assert!(answer.text().contains("urn:corelane:no_endpoint"), "{}", answer.text());
    let upstream = Upstream::start();
    let addr: SocketAddr = upstream.addr;
    folder.write("config.yaml", &manifests(&[addr], "", ""));
    assert!(reload(&node));
    assert_eq!(Web::connect(node.http[0]).get("/bytes/4").status, 200);
}

on_each_driver!(
    a_hundred_reloads,
    a_wrong_configuration_is_refused_whole,
    a_server_is_killed,
    all_servers_are_down,
    gone_servers_are_let_go,
    clients_cannot_eject,
    a_failing_server_is_left_alone,
    an_end_amid_load,
    an_end_amid_uploads,
    a_route_without_endpoints,
    a_flood_of_interim_answers,
);
