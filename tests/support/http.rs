//! One HTTP GET, for the admin port.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Status, head and body of `GET path`.
#[track_caller]
pub fn get(addr: SocketAddr, path: &str) -> (u16, String, String) {
    let limit = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&addr, limit).expect("connect to the admin port");
    stream.set_read_timeout(Some(limit)).expect("set a time limit");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("send");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("the whole answer, and then the end");
    let text = String::from_utf8(all).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head that ends");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    if let Some(length) = header(head, "content-length") {
        assert_eq!(length.parse(), Ok(body.len()), "content-length is the body's");
    }
    (status, head.to_owned(), body.to_owned())
}

/// A header's value.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
