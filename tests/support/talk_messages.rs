//! Valid messages from a seed: requests, and what a server answers.

#![allow(unreachable_pub)] // it is a test's own

use super::support::rng::Rng;

/// What a test sends and what a server answers.
pub struct Exchange {
    pub number: usize,
    pub request: Vec<u8>,
    pub head: bool,
    /// Whether the target is written in another form by us, which is what it is routed by.
    pub odd_target: bool,
    pub answer: Vec<u8>,
    /// Whether the server closes after it.
    pub last: bool,
}

fn word(rng: &mut Rng, least: usize, most: usize, letters: &[u8]) -> String {
    (0..rng.between(least, most)).map(|_| char::from(*rng.pick(letters))).collect()
}

const PLAIN: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-_~";
const VALUE: &[u8] = b"abcXYZ019 ,;=\"()<>@:/[]?{}!#$%&'*+-.^_`|~";

/// Some fields more; of what may come once only nginx refuses a second one, or keeps the last.
fn add_fields(all: &mut String, rng: &mut Rng, names: &[&str]) {
    for _ in 0..rng.below(8) {
        let name = *rng.pick(names);
        let lists =
            ["Accept", "Cookie", "X-A", "x-b", "X_C", "Cache-Control", "set-cookie", "Link"];
        if all.contains(&format!("\n{name}:")) && !lists.contains(&name) {
            continue;
        }
        let value = word(rng, 1, 40, VALUE);
        // No tabs around values: nginx takes them for part of the value (RFC 9110 section 5.5).
        let pad = *rng.pick(&["", " ", "  "]);
        let text = value.trim_matches(' ');
        let text = if text.is_empty() { "x" } else { text };
        *all += &format!("{name}:{pad}{text}{}\r\n", *rng.pick(&["", " ", "   "]));
    }
}

fn content(rng: &mut Rng) -> Vec<u8> {
    let len = *rng.pick(&[0, 1, 5, 100, 4_000, 9_000, 40_000, 200_000]);
    (0..rng.below(len + 1)).map(|_| rng.draw() as u8).collect()
}

/// A content in chunks of any size, with extensions and trailers now and then.
fn chunked(content: &[u8], rng: &mut Rng) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), content);
    while !rest.is_empty() {
        let size = rng.between(1, rest.len());
        let extension = if rng.chance(10) { ";a=\"b\"" } else { "" };
        let line = if rng.chance(50) {
            format!("{size:x}{extension}")
        } else {
            format!("0{size:X}{extension}")
        };
        out.extend([line.as_bytes(), b"\r\n", &rest[..size], b"\r\n"].concat());
        rest = &rest[size..];
    }
    out.extend(b"0\r\n");
    if rng.chance(20) {
        out.extend(b"X-Trailer: 1\r\n");
    }
    out.extend(b"\r\n");
    out
}

const REQUEST_FIELDS: &[&str] = &[
    "Accept",
    "accept-language",
    "User-Agent",
    "Cookie",
    "X-A",
    "x-b",
    "X_C",
    "Referer",
    "If-None-Match",
    "Cache-Control",
    "Authorization",
    "Range",
    "Origin",
    "Content-Type",
];
const ANSWER_FIELDS: &[&str] = &[
    "Content-Type",
    "set-cookie",
    "ETag",
    "Cache-Control",
    "X-A",
    "x-b",
    "X_C",
    "Vary",
    "Link",
    "Content-Language",
    "Access-Control-Allow-Origin",
    "Strict-Transport-Security",
    "Allow",
];

/// An exchange of any kind that is valid.
pub fn exchange(number: usize, rng: &mut Rng) -> Exchange {
    let method =
        *rng.pick(&["GET", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "FOO"]);
    let mut path = format!("/{number}");
    for _ in 0..rng.below(4) {
        path += &format!("/{}", word(rng, 1, 12, PLAIN));
    }
    let odd_target = rng.chance(10);
    if odd_target {
        path += *rng.pick(&["/%61", "/%2f", "/x/../y", "/./z"]);
    }
    if rng.chance(40) {
        path += &format!("?{}", word(rng, 0, 20, b"abc=&%20+/?:@-._~!$'()*,;"));
    }
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    let host = *rng.pick(&["x.test", "X.test:8080", "[::1]", "127.0.0.1"]);
    add_fields(&mut head, rng, REQUEST_FIELDS);
    head += &format!("Host: {host}\r\n");
    add_fields(&mut head, rng, REQUEST_FIELDS);
    if rng.chance(10) {
        head += "Connection: keep-alive, x-named\r\nX-Named: 1\r\nKeep-Alive: timeout=5\r\n";
    }
    let has_content = matches!(method, "POST" | "PUT" | "PATCH" | "DELETE" | "FOO");
    let content_of_request = if has_content { content(rng) } else { Vec::new() };
    let body = match rng.below(3) {
        _ if !has_content => Vec::new(),
        0 => {
            head += "Transfer-Encoding: chunked\r\n";
            chunked(&content_of_request, rng)
        }
        _ => {
            head += &format!("Content-Length: {}\r\n", content_of_request.len());
            content_of_request
        }
    };
    let request = [head.as_bytes(), b"\r\n", &body].concat();
    let (answer, last) = answer(method, rng);
    Exchange { number, request, head: method == "HEAD", odd_target, answer, last }
}

/// An answer, and whether its end is that of the connection.
fn answer(method: &str, rng: &mut Rng) -> (Vec<u8>, bool) {
    let statuses = [
        "200 OK",
        "200 OK",
        "201 Created",
        "204 No Content",
        "206 Partial Content",
        "301 Moved Permanently",
        "304 Not Modified",
        "400 Bad",
        "404 Not Found",
        "500 Oh",
        "599 ",
    ];
    let status = *rng.pick(&statuses);
    let mut head = format!("HTTP/1.1 {status}\r\n");
    add_fields(&mut head, rng, ANSWER_FIELDS);
    if rng.chance(30) {
        head += "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: test\r\n";
    }
    if rng.chance(10) {
        head += "Connection: x-named\r\nX-Named: 1\r\nKeep-Alive: timeout=5\r\n";
    }
    if status.starts_with("204") || status.starts_with("304") {
        return ([head.as_bytes(), b"\r\n"].concat(), false);
    }
    let content = content(rng);
    let (line, body, last) = match rng.below(4) {
        0 => ("Transfer-Encoding: chunked\r\n".to_owned(), chunked(&content, rng), false),
        1 if method != "HEAD" => ("Connection: close\r\n".to_owned(), content, true),
        _ => (format!("Content-Length: {}\r\n", content.len()), content, false),
    };
    let body = if method == "HEAD" { Vec::new() } else { body };
    ([head.as_bytes(), line.as_bytes(), b"\r\n", &body].concat(), last)
}
