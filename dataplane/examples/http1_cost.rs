//! What a head costs: `cargo run --release -p dataplane --example http1_cost`.
//!
//! Ours checks more and finds out more (framing, host, connection) than httparse, which splits
//! lines. Rounds are interleaved, and the least of each is told.
//!
//! Nanoseconds on a virtual core of 2026 (release profile; httparse by words, without its
//! run-time choice of SIMD):
//!
//! | | bytes | ours | httparse 1.10.1 |
//! | --- | --- | --- | --- |
//! | request of one field (wrk's own) | 40 | 47 | 30 to 35 |
//! | request of four fields | 120 | 88 | 56 |
//! | request of a browser | 576 | 205 | 142 |
//! | response of four fields | 120 | 79 | 55 |
//! | writing a request, a response | 323, 139 | 118, 44 | |
//! | a chunk of 128 bytes | | 14 | |

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use dataplane::http1::write::{self, Address, Back, Forward, Scheme};
use dataplane::http1::{
    Asked, Body, Event, Fields, Framing, Limits, Method, Scan, Version, request, response,
};

const WRK: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
const SMALL: &[u8] = b"GET /api/items/42?full=1 HTTP/1.1\r\nHost: shop.example:8080\r\n\
    User-Agent: load/1.0\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n\r\n";
const BROWSER: &[u8] =
    b"GET /wp-content/uploads/2010/03/hello-kitty-darth-vader-pink.jpg HTTP/1.1\r\n\
    Host: www.kittyhell.com\r\n\
    User-Agent: Mozilla/5.0 (Macintosh; U; Intel Mac OS X 10.6; ja-JP-mac; rv:1.9.2.3) \
    Gecko/20100401 Firefox/3.6.3 Pathtraq/0.9\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: ja,en-us;q=0.7,en;q=0.3\r\nAccept-Encoding: gzip,deflate\r\n\
    Accept-Charset: Shift_JIS,utf-8;q=0.7,*;q=0.7\r\nConnection: keep-alive\r\n\
    Cookie: wp_ozh_wsa_visits=2; wp_ozh_wsa_visit_lasttime=xxxxxxxxxx; \
    __utma=xxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.x\r\n\r\n";
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: backend\r\nDate: Mon, 05 Jan 2026 10:00:00 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 128\r\n\r\n";

/// Least nanoseconds a call of each, of rounds that take turns.
fn least<const N: usize>(rounds: u32, calls: u32, mut what: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut best = [f64::INFINITY; N];
    for _ in 0..rounds {
        for (best, what) in best.iter_mut().zip(&mut what) {
            let start = Instant::now();
            for _ in 0..calls {
                what();
            }
            *best = best.min(start.elapsed().as_nanos() as f64 / f64::from(calls));
        }
    }
    best
}

fn heads(rounds: u32, calls: u32, limits: &Limits, fields: &mut Fields) {
    let mut scan = Scan::default();
    for (name, bytes) in [("wrk", WRK), ("small", SMALL), ("browser", BROWSER)] {
        let mut ours = || {
            let head = request(black_box(bytes), &mut scan, limits, fields);
            assert!(matches!(black_box(&head), Ok(Some(_))));
        };
        let mut theirs = || {
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut head = httparse::Request::new(&mut headers);
            let status = head.parse(black_box(bytes)).expect("a good head");
            assert!(black_box(status).is_complete());
            black_box(&head);
        };
        let [ours, theirs] = least(rounds, calls, [&mut ours, &mut theirs]);
        let len = bytes.len();
        println!("request {name:8} {len:4} bytes: {ours:6.1} ns, httparse {theirs:6.1} ns");
    }
    let to = Asked { method: Method::Get, upgrade: false };
    let mut ours = || {
        let head = response(black_box(ANSWER), &mut scan, limits, fields, to);
        assert!(matches!(black_box(&head), Ok(Some(_))));
    };
    let mut theirs = || {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut head = httparse::Response::new(&mut headers);
        let status = head.parse(black_box(ANSWER)).expect("a good head");
        assert!(black_box(status).is_complete());
        black_box(&head);
    };
    let [ours, theirs] = least(rounds, calls, [&mut ours, &mut theirs]);
    println!("response         {:4} bytes: {ours:6.1} ns, httparse {theirs:6.1} ns", ANSWER.len());
}

fn writers(rounds: u32, calls: u32, limits: &Limits, fields: &mut Fields) {
    let mut scan = Scan::default();
    let mut out = Vec::with_capacity(64 << 10);
    let head = request(SMALL, &mut scan, limits, fields).expect("good").expect("an end");
    let forward = Forward {
        path: b"/api/items/42",
        authority: None,
        client: Address::of(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        scheme: Scheme::Http,
        trusted: false,
        request_id: b"0123456789abcdef",
        upgrade: false,
        extra: b"",
    };
    let mut write_request = || {
        out.clear();
        write::request(&mut out, black_box(SMALL), &head, fields, &forward);
        black_box(&out);
    };
    let [cost] = least(rounds, calls, [&mut write_request]);
    println!("write a request  {:4} bytes: {cost:6.1} ns", out.len());

    let to = Asked { method: Method::Get, upgrade: false };
    let head = response(ANSWER, &mut scan, limits, fields, to).expect("good").expect("an end");
    let back = Back { version: Version::Http11, keep_alive: true, extra: b"" };
    let mut write_response = || {
        out.clear();
        black_box(write::response(&mut out, black_box(ANSWER), &head, fields, &back));
    };
    let [cost] = least(rounds, calls, [&mut write_response]);
    println!("write a response {:4} bytes: {cost:6.1} ns", out.len());
}

fn chunks(rounds: u32, calls: u32, limits: &Limits) {
    let mut bytes = Vec::new();
    for _ in 0..16 {
        write::chunk(&mut bytes, &[b'a'; 128]);
    }
    write::last_chunk(&mut bytes, b"");
    let mut read = || {
        let mut body = Body::new(Framing::Chunked, limits);
        let mut at = 0;
        loop {
            let (taken, event) = body.next(black_box(&bytes[at..])).expect("a good body");
            at += taken;
            if let Event::End { .. } = event {
                break;
            }
        }
        assert_eq!(at, bytes.len());
    };
    let [cost] = least(rounds, calls, [&mut read]);
    println!("chunk of 128 bytes:         {:6.1} ns", cost / 17.0);
}

/// Prints all of it.
fn run(rounds: u32, calls: u32) {
    let limits = Limits::default();
    let mut fields = Fields::new(&limits);
    heads(rounds, calls, &limits, &mut fields);
    writers(rounds, calls, &limits, &mut fields);
    chunks(rounds, calls, &limits);
}

fn main() {
    run(200, 20_000);
}

#[cfg(test)]
mod tests {
    /// So that it does not rot.
    #[test]
    fn it_runs() {
        super::run(1, 1);
    }
}
