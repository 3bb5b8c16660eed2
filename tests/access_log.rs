//! The access log: each request once, as the client saw it; and a log that cannot be written
//! stalls nobody.

#![forbid(unsafe_code)]

mod support;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use support::refusal::{refused, serve};
use support::web::Web;
use support::web_load::Load;
use support::web_node::{Folder, counter, flags, proxy, reload};
use support::web_server::Upstream;
use support::{Node, Options, eventually, tools};

fn logging(driver: &str, log: &Path, upstream: SocketAddr) -> Node {
    let options = Options::driver(driver).arg("--access-log").arg(log.display().to_string());
    Node::start_with(flags(options.arg("--shards").arg("2"), &[upstream]))
}

/// The lines of a log; each must be an object by itself.
#[track_caller]
fn lines(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).expect("the log");
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole");
    let line =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(line).collect()
}

/// Waits until so many lines are there.
#[track_caller]
fn wait_for(log: &Path, count: usize) -> Vec<Value> {
    let there = || fs::read(log).map_or(0, |text| text.iter().filter(|b| **b == b'\n').count());
    eventually(&format!("{count} lines"), Duration::from_secs(10), || there() >= count);
    lines(log)
}

/// What a client saw of a request.
#[derive(Debug, PartialEq)]
struct Saw {
    status: u64,
    bytes_in: u64,
    bytes_out: u64,
    cause: &'static str,
}

/// A request of each kind, by a name of its own.
fn ask(web: &mut Web, n: usize) -> (String, Saw) {
    let id = format!("request-{:p}-{n}", &raw const *web);
    let (method, path, body) = match n % 6 {
        0 => ("GET", format!("/bytes/{}", n * 37 % 50_000), 0),
        1 => ("GET", format!("/chunked/{}", n * 91 % 90_000), 0),
        2 => ("HEAD", "/bytes/777".into(), 0),
        3 => ("POST", "/echo".into(), n * 13 % 30_000),
        4 => ("GET", "/status/404".into(), 0),
        _ => ("GET", "/a/../bytes/12?q=%22x%22".into(), 0),
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: log.test\r\nX-Request-Id: {id}\r\n\
         User-Agent: a \"b\" \\ \x7f\r\nContent-Length: {body}\r\n\r\n"
    );
    let head = head.replace('\x7f', "\u{e9}");
    web.send([head.as_bytes(), &vec![b'x'; body]].concat());
    let answer = web.try_answer(method == "HEAD").expect("an answer");
    let saw = Saw {
        status: answer.status.into(),
        bytes_in: body as u64,
        bytes_out: answer.body.len() as u64,
        cause: "-",
    };
    (id, saw)
}

/// Every request of a load is there once, valid, and says what its client saw.
fn every_request_once(driver: &str) {
    let (upstream, folder) = (Upstream::start(), Folder::new());
    let log = folder.path("access.log");
    let mut node = logging(driver, &log, upstream.addr);
    let addr = node.http[0];
    let start = std::time::SystemTime::now();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                let mut web = Box::new(Web::connect(addr));
                let all = (0..250).map(|n| ask(&mut web, n)).collect::<Vec<_>>();
                (all, web)
            })
        })
        .collect();
    let mut saw = HashMap::new();
    let mut alive = Vec::new(); // their addresses are part of the names
    for client in clients {
        let (all, web) = client.join().expect("a client");
        saw.extend(all);
        alive.push(web);
    }
    assert_eq!(saw.len(), 2_000);
    // At once: what has not left the shards yet is written before the end.
    node.signal(Signal::TERM);
    assert_eq!(node.wait(Duration::from_secs(10)).code(), Some(0));
    let lines = lines(&log);
    assert_eq!(lines.len(), saw.len(), "each once");
    for line in &lines {
        let id = line["id"].as_str().expect("an id");
        let expected = saw.remove(id).unwrap_or_else(|| panic!("twice, or never asked: {line}"));
        let number = |name: &str| line[name].as_u64().unwrap_or_else(|| panic!("{name}: {line}"));
        assert_eq!(number("status"), expected.status, "{line}");
        assert_eq!(number("bytes_in"), expected.bytes_in, "{line}");
        assert_eq!(number("bytes_out"), expected.bytes_out, "{line}");
        assert_eq!(line["cause"], expected.cause, "{line}");
        assert_eq!(line["client"], "127.0.0.1", "{line}");
        assert_eq!(line["host"], "log.test", "{line}");
        assert_eq!(line["endpoint"], upstream.addr.to_string(), "{line}");
        assert_eq!(number("tries"), 1, "{line}");
        assert!(number("first_us") <= number("us") && number("us") < 20_000_000, "{line}");
        let time = Duration::from_secs_f64(line["time"].as_f64().expect("a time"));
        let since = start.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        assert!(time + Duration::from_secs(1) > since && time < since + Duration::from_secs(60));
        assert!(line["agent"].as_str().expect("an agent").starts_with("a \"b\" \\ "), "{line}");
    }
}

/// The proxy's own answers, what is no request, and what is broken off are there, too.
fn what_goes_wrong_is_there(driver: &str) {
    let (upstream, folder) = (Upstream::start(), Folder::new());
    let log = folder.path("access.log");
    let node = logging(driver, &log, upstream.addr);
    let addr = node.http[0];
    let mut web = Web::connect(addr);
    web.send("NONSENSE\r\n\r\n");
    let malformed = web.answer();
    let mut web = Web::connect(addr);
    web.send("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n");
    let refused = web.answer();
    let mut web = Web::connect(addr);
    web.send("GET /stall/10000 HTTP/1.1\r\nHost: a\r\nX-Request-Id: gone\r\n\r\n");
    web.head().expect("a head");
    web.reset_on_drop();
    drop(web);
    let mut web = Web::connect(addr);
    web.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    web.answer();
    web.send("12345");
    assert_eq!(web.take(5).expect("an echo"), b"12345");
    drop(web);
    let lines = wait_for(&log, 4);
    assert_eq!(lines.len(), 4, "{lines:#?}");
    let by_status = |status: u64| {
        let found = lines.iter().find(|line| line["status"] == status && line["id"] != "gone");
        found.unwrap_or_else(|| panic!("{status}: {lines:#?}"))
    };
    for answer in [&malformed, &refused] {
        let line = by_status(answer.status.into());
        assert_eq!(line["id"].as_str(), answer.field("x-request-id"), "{line}");
        assert_eq!(line["bytes_out"], answer.body.len(), "{line}");
        assert!(answer.text().contains(line["cause"].as_str().expect("a cause")), "{line}");
    }
    let gone = lines.iter().find(|line| line["id"] == "gone").expect("the one that went");
    assert_eq!((&gone["cause"], &gone["status"]), (&"client_gone".into(), &200.into()), "{gone}");
    let tunnel = by_status(101);
    assert_eq!((&tunnel["bytes_in"], &tunnel["bytes_out"]), (&5.into(), &5.into()), "{tunnel}");
    expect_unique_ids(&lines);
}

#[track_caller]
fn expect_unique_ids(lines: &[Value]) {
    let id = |line: &'_ Value| line["id"].as_str().expect("an id").to_owned();
    let ids: HashSet<String> = lines.iter().map(id).collect();
    assert_eq!(ids.len(), lines.len(), "ids are unique: {lines:#?}");
}

/// The file is moved away and SIGHUP opens a new one, under load: no line is lost between them.
fn a_moved_log_goes_on(driver: &str) {
    let (upstream, folder) = (Upstream::start(), Folder::new());
    let log = folder.path("access.log");
    let node = logging(driver, &log, upstream.addr);
    let load = Load::start(node.http[0], 4, &["/bytes/100"], Duration::ZERO);
    let old: Vec<PathBuf> = (0..10).map(|n| folder.path(&format!("old-{n}"))).collect();
    for old in &old {
        load.wait_for(100);
        fs::rename(&log, old).expect("move it away");
        assert!(reload(&node));
        eventually("a new one", Duration::from_secs(5), || log.exists());
    }
    let done = load.stop();
    done.expect_no_failures(1_000);
    // A writer that has no turn for long loses lines, which are counted; opening the file loses none.
    let logs = || old.iter().chain([&log]);
    let ends = |log: &PathBuf| {
        let bytes = fs::read(log).expect("a log");
        bytes.iter().filter(|byte| **byte == b'\n').count() as u64
    };
    eventually("all lines", Duration::from_secs(10), || {
        logs().map(ends).sum::<u64>() + lost(&node) >= done.good
    });
    let failed = counter(&node, "corelane_access_log_lines_total", &["fate=\"failed\""]);
    assert_eq!(failed, 0, "every line that reached the writer is written");
    let all: Vec<Value> = logs().flat_map(|log| lines(log)).collect();
    assert_eq!(all.len() as u64 + lost(&node), done.good, "each once");
    expect_unique_ids(&all);
}

/// A small file system of the test's own.
struct Disk(PathBuf);

impl Disk {
    fn of_kilobytes(folder: &Folder, kilobytes: usize) -> Self {
        let at = folder.path("disk");
        fs::create_dir(&at).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "tmpfs"]).arg(&at);
        tools::must(&mut mount, Duration::from_secs(10));
        Self(at)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(status.is_ok_and(|status| status.success()), "unmount {}", self.0.display());
    }
}

/// Lines that did not get into the file, as the node counts them.
fn lost(node: &Node) -> u64 {
    let fate = |fate: &str| {
        counter(node, "corelane_access_log_lines_total", &[&format!("fate=\"{fate}\"")])
    };
    fate("lost") + fate("failed")
}

/// A full disk loses lines, which are counted, and no requests; when there is room again,
/// lines go on, each of them whole.
fn a_full_disk_stalls_nobody(driver: &str) {
    let (upstream, folder) = (Upstream::start(), Folder::new());
    let disk = Disk::of_kilobytes(&folder, 96);
    let (log, ballast) = (disk.0.join("access.log"), disk.0.join("ballast"));
    fs::write(&ballast, vec![0; 32 << 10]).expect("write");
    let node = logging(driver, &log, upstream.addr);
    let load = Load::start(node.http[0], 4, &["/bytes/100"], Duration::ZERO);
    load.wait_for(2_000);
    fs::remove_file(&ballast).expect("make room");
    load.wait_for(50);
    let done = load.stop();
    done.expect_no_failures(2_000);
    let written = || {
        let text = fs::read_to_string(&log).expect("the log");
        text.split_inclusive('\n')
            .map(|line| serde_json::from_str::<Value>(line).is_ok())
            .fold((0, 0), |(good, bad), ok| (good + u64::from(ok), bad + u64::from(!ok)))
    };
    eventually("all lines are written or counted as lost", Duration::from_secs(10), || {
        std::thread::sleep(Duration::from_millis(100));
        written().0 + lost(&node) == done.good
    });
    let (good, bad) = written();
    assert!(good < done.good, "the disk was full");
    assert_eq!(bad, 0, "lines that are none, beside {good} good ones");
    assert_eq!(good + lost(&node), done.good, "and no more than that");
}

fn named_pipe(folder: &Folder) -> PathBuf {
    let pipe = folder.path("pipe");
    tools::must(Command::new("mkfifo").arg(&pipe), Duration::from_secs(5));
    pipe
}

/// A reader that takes what there is and never waits.
fn reader_of(pipe: &Path) -> fs::File {
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    fs::OpenOptions::new().read(true).custom_flags(flags).open(pipe).expect("a reader")
}

/// Asks until a line of it has come to the reader.
#[track_caller]
fn expect_a_line(web: &mut Web, reader: &mut fs::File) {
    let mut text = Vec::new();
    eventually("a line", Duration::from_secs(10), || {
        assert_eq!(web.get("/bytes/10").status, 200);
        std::thread::sleep(Duration::from_millis(50));
        let _ = reader.read_to_end(&mut text); // it says that more may come
        text.contains(&b'\n')
    });
    let line = text.split(|byte| *byte == b'\n').next().expect("a line");
    serde_json::from_slice::<Value>(line).expect("the first line is whole");
}

/// A pipe without a reader is told, at the start and at SIGHUP, and nothing waits for one; whoever
/// reads it later gets the lines from then on.
fn a_pipe_without_a_reader(driver: &str) {
    let (upstream, folder) = (Upstream::start(), Folder::new());
    let pipe = named_pipe(&folder);
    let flag = pipe.display().to_string();
    let line = refused(&mut serve(driver, &["--access-log", &flag]));
    assert!(line.contains("--access-log") && line.contains(&flag), "which: {line}");
    assert!(line.contains("pipe") && line.contains("reader"), "what to do: {line}");

    let mut reader = reader_of(&pipe);
    let mut node = logging(driver, &pipe, upstream.addr);
    let mut web = Web::connect(node.http[0]);
    expect_a_line(&mut web, &mut reader);
    drop(reader);
    eventually("lines that nobody takes are counted", Duration::from_secs(10), || {
        assert_eq!(web.get("/bytes/10").status, 200);
        lost(&node) > 0
    });
    assert!(reload(&node));
    eventually("it says so", Duration::from_secs(5), || {
        let output = node.output();
        output.lines().any(|line| line.contains("cannot be opened") && line.contains("reader"))
    });
    let mut reader = reader_of(&pipe);
    expect_a_line(&mut web, &mut reader);
    assert!(reload(&node));
    expect_a_line(&mut web, &mut reader);
    node.signal(Signal::TERM);
    assert_eq!(node.wait(Duration::from_secs(10)).code(), Some(0));
}

/// A log that nobody takes lines from (a pipe whose reader has stopped) stalls no request, and
/// the node still ends when it is told to.
fn a_stuck_log_stalls_nobody(driver: &str) {
    let (upstream, folder) = (Upstream::start(), Folder::new());
    let pipe = named_pipe(&folder);
    let reader = fs::OpenOptions::new().read(true).write(true).open(&pipe).expect("its reader");
    let mut node = logging(driver, &pipe, upstream.addr);
    let idle = proxy(driver, &[upstream.addr]);
    let time = |node: &Node| {
        let start = Instant::now();
        let load = Load::start(node.http[0], 4, &["/bytes/100"], Duration::ZERO);
        load.wait_for(20_000);
        let took = start.elapsed();
        load.stop().expect_no_failures(20_000);
        took
    };
    let (with, without) = (time(&node), time(&idle));
    assert!(with < without * 3 + Duration::from_secs(1), "{with:?}, and without a log {without:?}");
    assert!(lost(&node) > 0, "lines were lost and counted");
    node.signal(Signal::TERM);
    assert_eq!(node.wait(Duration::from_secs(35)).code(), Some(0), "it ends");
    drop(reader);
}

on_each_driver!(
    every_request_once,
    what_goes_wrong_is_there,
    a_moved_log_goes_on,
    a_full_disk_stalls_nobody,
    a_stuck_log_stalls_nobody,
    a_pipe_without_a_reader,
);
