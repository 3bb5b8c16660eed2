//! Pipelines: replies come in order, whole, however the bytes are cut.

#![forbid(unsafe_code)]

mod support;

use std::io::{Read, Write};
use std::time::Duration;

use support::Node;
use support::resp::{self, Value};

/// A pipeline with replies of every shape, an error and an inline command in its middle.
fn mixed() -> (Vec<u8>, Vec<Value>) {
    let mut bytes = resp::request(&["SET", "k", "value\r\n$5"]);
    bytes.extend(resp::request(&["GET", "k"]));
    bytes.extend(resp::request(&["NONSENSE", "x"]));
    bytes.extend(b"PING\r\n");
    bytes.extend(b"*0\r\n\r\n");
    bytes.extend(b"SET \"inline key\" 'single quoted'\n");
    bytes.extend(resp::request(&["MGET", "inline key", "k", "none"]));
    bytes.extend(resp::request(&["INCR", "k"]));
    bytes.extend(resp::request(&["ECHO", ""]));
    let bulk = |text: &str| Value::Bulk(text.as_bytes().to_vec());
    let error = |text: &str| Value::Error(text.as_bytes().to_vec());
    let replies = vec![
        Value::ok(),
        bulk("value\r\n$5"),
        error("ERR unknown command 'NONSENSE', with args beginning with: 'x' "),
        Value::Simple(b"PONG".to_vec()),
        Value::ok(),
        Value::Array(vec![bulk("single quoted"), bulk("value\r\n$5"), Value::NullBulk]),
        error("ERR value is not an integer or out of range"),
        bulk(""),
    ];
    (bytes, replies)
}

fn cut_at_every_byte(driver: &str) {
    let node = Node::start(driver);
    let (bytes, expected) = mixed();
    for cut in 0..=bytes.len() {
        let mut client = node.client();
        client.send(&bytes[..cut]);
        std::thread::sleep(Duration::from_millis(2)); // so that it arrives by itself
        client.send(&bytes[cut..]);
        assert_eq!(client.replies(expected.len()), expected, "cut at byte {cut}");
    }
}

fn byte_after_byte(driver: &str) {
    let node = Node::start(driver);
    let (bytes, expected) = mixed();
    let mut client = node.client();
    for byte in &bytes {
        client.send(&[*byte]);
        std::thread::sleep(Duration::from_micros(300));
    }
    assert_eq!(client.replies(expected.len()), expected);
}

fn ten_thousand_at_once(driver: &str) {
    let node = Node::start(driver);
    let mut client = node.client();
    let mut bytes = Vec::new();
    for n in 0..10_000 {
        bytes.extend(resp::request(&["SET", &format!("key:{n}"), &format!("value:{n}")]));
        bytes.extend(resp::request(&["GET", &format!("key:{n}")]));
    }
    client.send(&bytes);
    for n in 0..10_000 {
        assert_eq!(client.reply(), Value::ok());
        assert_eq!(client.reply().text(), format!("value:{n}"));
    }
    assert_eq!(client.call("DBSIZE").int(), 10_000);
}

/// The client sends without reading until both sides' buffers are full, and reads only then:
/// nothing may be lost, and nothing may block for ever.
fn a_client_that_reads_late_gets_everything(driver: &str) {
    const COUNT: usize = 20_000;
    let node = Node::start(driver);
    let mut client = node.client();
    let value = "v".repeat(1000);
    assert_eq!(client.command(&["SET", "k", &value]), Value::ok());
    let mut writer = client.stream.try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || {
        let request = resp::request(&["GET", "k"]).repeat(COUNT);
        writer.write_all(&request).expect("the node takes all requests in the end");
    });
    std::thread::sleep(Duration::from_millis(300));
    for n in 0..COUNT {
        assert_eq!(client.reply().text().len(), value.len(), "reply {n}");
    }
    sender.join().expect("the sender");
    assert_eq!(client.call("PING").text(), "PONG");
}

fn replies_of_many_connections_stay_apart(driver: &str) {
    let node = Node::start(driver);
    let mut clients: Vec<_> = (0..200).map(|_| node.client()).collect();
    for round in 0..20 {
        for (n, client) in clients.iter_mut().enumerate() {
            client.send(&resp::request(&["ECHO", &format!("{n}:{round}")]));
        }
        for (n, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.reply().text(), format!("{n}:{round}"));
        }
    }
}

/// A connection whose client has shut its sending side down still gets its replies.
fn half_closed_clients_get_their_replies(driver: &str) {
    let node = Node::start(driver);
    let mut client = node.client();
    let (bytes, expected) = mixed();
    client.send(&bytes);
    client.stream.shutdown(std::net::Shutdown::Write).expect("shut down the sending side");
    assert_eq!(client.replies(expected.len()), expected);
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).expect("the end");
    assert_eq!(rest, b"");
}

on_each_driver!(
    cut_at_every_byte,
    byte_after_byte,
    ten_thousand_at_once,
    a_client_that_reads_late_gets_everything,
    replies_of_many_connections_stay_apart,
    half_closed_clients_get_their_replies,
);
