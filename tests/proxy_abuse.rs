//! Clients that send too much, too slowly or nothing: each has its answer in its time, is
//! counted, and leaves nothing behind.

#![forbid(unsafe_code)]

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use support::eventually;
use support::web::{Web, content, difference};
use support::web_load::asked;
use support::web_node::{clear_stage, counter, errors, stage};

/// What is refused before it is read: bytes, status (0: any of several).
fn heads_and_chunks() -> Vec<(&'static str, Vec<u8>, u16)> {
    let head = |fields: String| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
    let chunked = |chunks: String| {
        let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{chunks}").into_bytes()
    };
    let fields = |n: usize| (0..n).map(|n| format!("X-{n}: v\r\n")).collect::<String>();
    let extensions = |n: usize| "1;extension=value\r\na\r\n".repeat(n);
    vec![
        ("33 KB of fields", head(format!("X: {}\r\n", "v".repeat(33 << 10))), 431),
        ("many fields of 33 KB", head(fields(99).replace("v\r", &("v".repeat(340) + "\r"))), 431),
        ("a head without an end", vec![b'x'; 64 << 10], 0),
        ("101 fields", head(fields(100)), 431),
        ("a long target", format!("GET /{} HTTP/1.1\r\n", "x".repeat(9 << 10)).into(), 414),
        ("extensions of 60 KB", chunked(extensions(4_000)), 400),
        ("an extension of 60 KB", chunked(format!("1;{}\r\n", "e".repeat(60 << 10))), 400),
        ("a size of 17 digits", chunked("1000000000000000a\r\n".into()), 400),
        ("a size of a thousand zeros", chunked(format!("{}1\r\n", "0".repeat(1_000))), 400),
        ("a size without digits", chunked(";\r\n".into()), 400),
        ("a size below zero", chunked("-1\r\n".into()), 400),
        ("trailers of 40 KB", chunked(format!("0\r\nX: {}\r\n", "v".repeat(40 << 10))), 431),
        ("a length of 20 digits", head("Content-Length: 99999999999999999999\r\n".into()), 400),
    ]
}

fn too_much_is_refused(driver: &str) {
    let (upstream, node, files) = stage(driver);
    for (what, bytes, status) in heads_and_chunks() {
        let refused = || -> u64 {
            [400, 414, 431, 501]
                .map(|s| {
                    counter(&node, "corelane_http_errors_total", &[&format!("status=\"{s}\"")])
                })
                .iter()
                .sum()
        };
        let before = refused();
        let mut web = Web::connect(node.http[0]);
        web.stream.write_all(&bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        let answer = web.try_answer(false).unwrap_or_else(|error| panic!("{what}: {error}"));
        if status == 0 {
            assert!(matches!(answer.status, 400 | 414 | 431 | 501), "{what}: {}", answer.head);
        } else {
            assert_eq!(answer.status, status, "{what}: {}{}", answer.head, answer.text());
        }
        assert!(answer.closes(), "{what}: {}", answer.head);
        assert_eq!(web.until_closed(Duration::from_secs(3)), b"", "{what}: and then the end");
        eventually(&format!("{what} is counted"), Duration::from_secs(3), || {
            refused() == before + 1
        });
    }
    // What is just small enough passes: 32 KiB in 100 fields, Host among them.
    let all = |pad: usize| {
        let fields: String = (0..99).map(|n| format!("X-{n}: {}\r\n", "v".repeat(pad))).collect();
        format!("GET /bytes/3 HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
    };
    let pad = (31 << 10) / 99 - 9;
    let mut web = Web::connect(node.http[0]);
    web.send(all(pad));
    assert_eq!(web.answer().status, 200, "a head of {} bytes", all(pad).len());
    drop(web);
    clear_stage(upstream, &node, files);
}

/// A head that comes a byte now and then is answered with 408 ten seconds after its first one,
/// whatever time the connection had been idle before; so is a content that stays below 500
/// bytes a second; a slow but steady one passes. All at once.
fn who_is_slow_is_told(driver: &str) {
    let (upstream, node, files) = stage(driver);
    let mut head = Web::connect(node.http[0]);
    let mut body = Web::connect(node.http[0]);
    let mut silent = Web::connect(node.http[0]);
    let mut steady = Web::connect(node.http[0]);
    let addr = node.http[0];
    let late = std::thread::spawn(move || {
        let mut web = Web::connect(addr);
        std::thread::sleep(Duration::from_secs(2)); // idle time is not the head's
        let start = Instant::now();
        web.send("GET / HT");
        (web.answer().status, start.elapsed().as_secs_f64())
    });
    let post =
        |len: usize| format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
    body.send(post(100_000));
    silent.send(post(100));
    let content = content("steady", 24_000);
    steady.send(post(content.len()));
    let slow =
        b"GET / HTTP/1.1\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let mut sent = 0;
    while sent < 24 {
        // Those who have been answered do not listen any more.
        let _ = head.stream.write_all(&slow[sent..=sent]);
        let _ = body.stream.write_all(&[b'x'; 200]);
        steady.send(&content[sent * 1_000..(sent + 1) * 1_000]);
        sent += 1;
        std::thread::sleep(Duration::from_millis(500));
    }
    for (mut web, what, cause) in
        [(head, "head", "slow_head"), (body, "body", "slow_body"), (silent, "none", "slow_body")]
    {
        let answer = web.try_answer(false).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(answer.status, 408, "{what}: {}", answer.head);
        assert!(answer.text().contains(cause), "{what}: {}", answer.text());
    }
    let answer = steady.answer();
    assert_eq!(answer.status, 200, "2 kB a second: {}{}", answer.head, answer.text());
    assert_eq!(difference(&content, &answer.body), None);
    drop(steady);
    let (status, took) = late.join().expect("the late one");
    assert!(status == 408 && (9.5..18.0).contains(&took), "{status} after {took} s");
    assert_eq!((errors(&node, "slow_head"), errors(&node, "slow_body")), (2, 2));
    clear_stage(upstream, &node, files);
}

/// Ten thousand requests in one go, read only later: all are answered in their order, and the
/// node keeps no more than it said it would meanwhile.
fn a_pipeline_without_a_reader(driver: &str) {
    const COUNT: usize = 10_000;
    let (upstream, node, files) = stage(driver);
    let mut warm = Web::connect(node.http[0]);
    assert_eq!(warm.get("/bytes/1000").status, 200);
    let before = node.resident_bytes();
    let mut web = Web::connect(node.http[0]);
    let all: String = (0..COUNT)
        .map(|n| format!("GET /bytes/{} HTTP/1.1\r\nHost: a\r\n\r\n", 1_000 + n))
        .collect();
    let mut writer = web.stream.try_clone().expect("a second handle");
    writer.set_write_timeout(None).expect("no limit");
    let sender = std::thread::spawn(move || writer.write_all(all.as_bytes()));
    let mut asked_for = 0;
    eventually("it stops asking", Duration::from_secs(15), || {
        std::thread::sleep(Duration::from_millis(300));
        let now = upstream.requests();
        std::mem::replace(&mut asked_for, now) == now && now > 10
    });
    assert!(asked_for < COUNT as u64 / 2, "{asked_for} were asked for without a reader");
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "a client that reads nothing costs {grown} bytes");
    assert_eq!(warm.get("/bytes/7").status, 200, "others are served");
    for n in 0..COUNT {
        let answer = web.answer();
        let len = 1_000 + n;
        assert_eq!(answer.status, 200, "answer {n}: {}", answer.head);
        assert_eq!(difference(&content(&format!("/bytes/{len}"), len), &answer.body), None);
    }
    sender.join().expect("the sender").expect("all was taken");
    drop((web, warm));
    clear_stage(upstream, &node, files);
}

/// Clients that go away in each state: the server's connection is closed within two seconds.
fn gone_clients_let_their_servers_go(driver: &str) {
    let (upstream, node, files) = stage(driver);
    let large = "/bytes/100000000";
    for (what, request, read, reset) in [
        ("awaiting an answer", "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 0, false),
        ("the same, reset", "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 0, true),
        (
            "amid an answer that stalls",
            "GET /stall/9000 HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            4_000,
            false,
        ),
        ("amid a long answer", format!("GET {large} HTTP/1.1\r\nHost: a\r\n\r\n"), 100_000, false),
        ("the same, reset", format!("GET {large} HTTP/1.1\r\nHost: a\r\n\r\n"), 100_000, true),
        (
            "amid its own content",
            format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n{}",
                "x".repeat(50_000)
            ),
            0,
            false,
        ),
        (
            "amid a chunk",
            "POST /hold HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nabc"
                .into(),
            0,
            true,
        ),
        (
            "in a tunnel",
            "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
                .into(),
            20,
            false,
        ),
    ] {
        let idle = upstream.open();
        let mut web = Web::connect(node.http[0]);
        web.send(&request);
        let mut part = vec![0; read];
        web.stream.read_exact(&mut part).unwrap_or_else(|error| panic!("{what}: {error}"));
        eventually(&format!("{what}: it is there"), Duration::from_secs(5), || {
            upstream.open() > idle || counter(&node, "corelane_http_idle_upstreams", &[]) == 0
        });
        if reset {
            web.reset_on_drop();
        }
        let start = Instant::now();
        drop(web);
        eventually(&format!("{what}: the server is let go"), Duration::from_secs(4), || {
            upstream.open() == counter(&node, "corelane_http_idle_upstreams", &[])
                && counter(&node, "corelane_http_connections", &["side=\"client\""]) == 0
        });
        println!("{driver}: {what}: {:?}", start.elapsed());
    }
    clear_stage(upstream, &node, files);
}

/// A half-closed client still has the answer to what it has asked (RFC 9112 section 9.6), when
/// the server gives it soon.
fn half_closed_clients_are_answered(driver: &str) {
    let (upstream, node, files) = stage(driver);
    let mut web = Web::connect(node.http[0]);
    web.send(
        "GET /bytes/500 HTTP/1.1\r\nHost: a\r\n\r\nGET /slow/20/70000 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    web.stream.shutdown(Shutdown::Write).expect("half-close");
    for (path, len) in [("/bytes/500", 500), ("/slow/20/70000", 70_000)] {
        let answer = web.try_answer(false).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(difference(&content(path, len), &answer.body), None, "{path}");
    }
    assert_eq!(web.until_closed(Duration::from_secs(3)), b"");
    clear_stage(upstream, &node, files);
}

/// Clients that come and go without a word, or with half of one.
fn come_and_gone(driver: &str) {
    let (upstream, node, files) = stage(driver);
    for round in 0..300 {
        let mut web = Web::connect(node.http[0]);
        match round % 4 {
            0 => {}
            1 => web.send("GET / HTTP/1.1\r\nHo"),
            2 => web.reset_on_drop(),
            _ => {
                let mut done = support::web_load::Done::default();
                asked(&mut web, "/bytes/10", &mut done).expect("an answer");
                web.send("\r\n"); // RFC 9112 section 2.2
            }
        }
    }
    eventually("all are gone", Duration::from_secs(5), || {
        counter(&node, "corelane_http_connections", &["side=\"client\""]) == 0
    });
    // Nobody has been refused anything.
    assert_eq!(counter(&node, "corelane_http_errors_total", &["status=\"4"]), 0);
    // RFC 9112 section 2.2: one empty line before a request is let pass, more are not.
    for (before, status) in [("\r\n", 200), ("\r\n\r\n", 400)] {
        let mut web = Web::connect(node.http[0]);
        web.send(format!("{before}GET /bytes/3 HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(web.answer().status, status, "behind {before:?}");
    }
    clear_stage(upstream, &node, files);
}

on_each_driver!(
    too_much_is_refused,
    who_is_slow_is_told,
    a_pipeline_without_a_reader,
    gone_clients_let_their_servers_go,
    half_closed_clients_are_answered,
    come_and_gone,
);
