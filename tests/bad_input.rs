//! Bad input: a clear error to that peer, the connection closed where its bytes make no more
//! sense, nothing reserved for what was only claimed, and no effect on the others.

#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use support::resp;
use support::{Client, Node, Options, eventually};

/// Sends bytes; what comes back until the node closes.
fn until_closed(node: &Node, bytes: &[u8]) -> String {
    let mut client = Client::connect(node.resp);
    client.send(bytes);
    String::from_utf8_lossy(&client.until_closed()).into_owned()
}

fn senseless_bytes_are_named_and_the_connection_closed(driver: &str) {
    let node = Node::start(driver);
    let mut witness = node.client();
    let cases: &[(&[u8], &str)] = &[
        (b"*abc\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*2147483648\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*99999999999999999999999\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n$abc\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$-9223372036854775808\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$536870913\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$9223372036854775807\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$18446744073709551617\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*2\r\n$4\r\nECHO\r\n:1\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"),
        (b"*1\r\n*1\r\n", "-ERR Protocol error: expected '$', got '*'\r\n"),
        (b"*3\r\n\r\n", "-ERR Protocol error: expected '$', got '\r'\r\n"),
        (b"SET k \"open\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"GET 'a'b\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
    ];
    for (bytes, expected) in cases {
        // Texts with a raw line break in them arrive with a space there.
        let got = until_closed(&node, bytes);
        let expected = expected.replace("'\r'", "' '");
        let got_shown = got.replace("'\r'", "' '");
        assert_eq!(got_shown, expected, "{:?}", String::from_utf8_lossy(bytes));
        assert_eq!(witness.call("PING").text(), "PONG");
    }
}

/// What was asked before the senseless bytes is still answered.
fn what_came_before_is_answered(driver: &str) {
    let node = Node::start(driver);
    let mut bytes = resp::request(&["SET", "k", "v"]);
    bytes.extend(resp::request(&["GET", "k"]));
    bytes.extend(b"*x\r\n");
    bytes.extend(resp::request(&["SET", "k", "never"]));
    let got = until_closed(&node, &bytes);
    assert_eq!(got, "+OK\r\n$1\r\nv\r\n-ERR Protocol error: invalid multibulk length\r\n");
    assert_eq!(node.client().call("GET k").text(), "v");
}

/// `*-1` and `*0` are no requests and get no reply, as in Redis.
fn empty_requests_get_no_reply(driver: &str) {
    let node = Node::start(driver);
    let mut client = node.client();
    client.send(b"*0\r\n*-1\r\n*-10\r\n\r\n\r\n   \r\n");
    client.send(&resp::request(&["PING"]));
    assert_eq!(client.reply().text(), "PONG");
}

fn lines_that_never_end_are_cut(driver: &str) {
    let node = Node::start(driver);
    let endless = vec![b'a'; 70 << 10];
    let got = until_closed(&node, &endless);
    assert_eq!(got, "-ERR Protocol error: too big inline request\r\n");
    let mut count = b"*".to_vec();
    count.resize(70 << 10, b'1');
    let got = until_closed(&node, &count);
    assert!(got.starts_with("-ERR Protocol error: "), "{got}");
    let mut length = b"*1\r\n$".to_vec();
    length.resize(70 << 10, b'1');
    let got = until_closed(&node, &length);
    assert!(got.starts_with("-ERR Protocol error: "), "{got}");
}

/// 200 connections claim 512 MB each, and a million arguments each: the node's memory stays.
fn claims_reserve_nothing(driver: &str) {
    let node = Node::start(driver);
    let mut warm: Vec<_> = (0..400).map(|_| node.client()).collect();
    for client in &mut warm {
        client.call("PING");
    }
    let before = node.resident_bytes();
    for (n, client) in warm.iter_mut().enumerate() {
        let claim: &[u8] = match n % 3 {
            0 => b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n",
            1 => b"*1048576\r\n$3\r\nDEL\r\n",
            _ => b"*2\r\n$536870912\r\n",
        };
        client.send(claim);
    }
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(node.client().call("PING").text(), "PONG");
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{} claims cost {grown} bytes", warm.len());
}

/// A browser that is made to talk to this port must not get a command through.
fn cross_protocol_attacks_are_closed(driver: &str) {
    let node = Node::start(driver);
    for head in ["POST / HTTP/1.1", "post / HTTP/1.1", "Host: example.org", "host: example.org"] {
        let attack = format!("{head}\r\nContent-Length: 20\r\n\r\nSET attacked yes\r\n");
        let got = until_closed(&node, attack.as_bytes());
        assert!(!got.contains("OK"), "{head}: {got}");
    }
    let got =
        until_closed(&node, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\nSET attacked yes\r\n");
    assert!(!got.contains("+OK"), "{got}");
    assert_eq!(node.client().call("EXISTS attacked").int(), 0);
}

fn with_password(driver: &str) -> Node {
    let password = Some("correct horse".to_owned());
    Node::start_with(Options { password, ..Options::driver(driver) })
}

fn without_a_password_little_is_taken(driver: &str) {
    let node = with_password(driver);
    let mut client = Client::connect(node.resp);
    let refused = "NOAUTH Authentication required.";
    for words in ["GET k", "SET k v", "CONFIG GET requirepass", "CLIENT LIST", "INFO", "NONSENSE"] {
        let reply = client.call(words);
        assert!(reply.is_error(), "{words}: {reply:?}");
        assert!(!reply.text().contains("horse"), "{words}");
    }
    assert_eq!(client.call("GET k").text(), refused);
    assert_eq!(
        client.command(&["AUTH", "wrong"]).text(),
        "WRONGPASS invalid username-password pair or user is disabled."
    );
    assert_eq!(client.call("GET k").text(), refused);
    assert_eq!(client.command(&["AUTH", "default", "correct horse"]).text(), "OK");
    assert_eq!(client.call("SET k v").text(), "OK");
    assert_eq!(client.call("RESET").text(), "RESET");
    assert_eq!(client.call("GET k").text(), refused);
    assert_eq!(client.command(&["AUTH", "correct horse"]).text(), "OK");
    assert_eq!(client.call("GET k").text(), "v");

    let mut eleven = b"*11\r\n".to_vec();
    eleven.extend(b"$4\r\nPING\r\n");
    let got = until_closed(&node, &eleven);
    assert_eq!(got, "-ERR Protocol error: unauthenticated multibulk length\r\n");
    let got = until_closed(&node, b"*2\r\n$4\r\nAUTH\r\n$16385\r\n");
    assert_eq!(got, "-ERR Protocol error: unauthenticated bulk length\r\n");
    let mut client = Client::connect(node.resp);
    let long = "x".repeat(16 << 10);
    assert!(client.command(&["AUTH", &long]).is_error(), "16 KB are taken, and are wrong");
    let mut hello = Client::connect(node.resp);
    assert!(hello.call("HELLO 3").text().starts_with("NOAUTH HELLO must be called with"));
    let reply = hello.command(&["HELLO", "3", "AUTH", "default", "correct horse"]);
    assert!(!reply.is_error(), "{reply:?}");
    assert!(!hello.call("SET k v").is_error());
}

/// In one pipeline: what comes after AUTH has the rights, and the sizes, of who has authenticated.
fn authentication_within_a_pipeline(driver: &str) {
    let node = with_password(driver);
    let mut client = Client::connect(node.resp);
    let long = "x".repeat(100_000);
    let mut bytes = resp::request(&["SET", "k", "before"]);
    bytes.extend(resp::request(&["AUTH", "correct horse"]));
    bytes.extend(resp::request(&["SET", "k", &long]));
    bytes.extend(resp::request(&["STRLEN", "k"]));
    client.send(&bytes);
    assert!(client.reply().is_error());
    assert_eq!(client.reply().text(), "OK");
    assert_eq!(client.reply().text(), "OK");
    assert_eq!(client.reply().int(), 100_000);
}

/// Seeded noise: whatever it does to its own connection, the others go on.
fn noise_harms_nobody_else(driver: &str) {
    let node = Node::start(driver);
    let mut witness = node.client();
    let mut rng = support::rng::Rng::new(0x5eed);
    let words: [&[u8]; 12] = [
        b"*",
        b"$",
        b"\r\n",
        b"3",
        b"-1",
        b"SET",
        b"$3\r\nSET\r\n",
        b"*2\r\n",
        b"\0",
        b"\"",
        b" ",
        b"k",
    ];
    for round in 0..300 {
        let mut client = Client::connect(node.resp);
        let noise: Vec<u8> =
            (0..rng.below(60)).flat_map(|_| words[rng.below(words.len())].to_vec()).collect();
        client.send(&noise);
        drop(client);
        if round % 10 == 0 {
            assert_eq!(witness.call("PING").text(), "PONG");
        }
    }
    eventually("their connections are gone", Duration::from_secs(5), || {
        let list = witness.call("CLIENT LIST").text();
        list.lines().count() == 1
    });
}

fn more_clients_than_allowed_are_told(driver: &str) {
    let node = Node::start(driver);
    let mut first = node.client();
    eventually("nobody else is there", Duration::from_secs(5), || {
        first.call("CLIENT LIST").text().lines().count() == 1
    });
    assert_eq!(first.call("CONFIG SET maxclients 3").text(), "OK");
    let mut inside: Vec<_> = (0..2).map(|_| node.client()).collect();
    for client in &mut inside {
        assert_eq!(client.call("PING").text(), "PONG");
    }
    let mut refused = Client::connect(node.resp);
    let told = String::from_utf8_lossy(&refused.until_closed()).into_owned();
    assert_eq!(told, "-ERR max number of clients reached\r\n");
    drop(inside);
    eventually("there is room again", Duration::from_secs(5), || {
        let mut client = node.client();
        client.send(&resp::request(&["PING"]));
        matches!(client.try_reply(), Ok(Some(reply)) if reply.text() == "PONG")
    });
}

fn memory_limit_refuses_writes_only(driver: &str) {
    let node = Node::start_with(Options::driver(driver).arg("--maxmemory").arg("16mb"));
    let mut client = node.client();
    let value = "v".repeat(10_000);
    let mut refusal = None;
    for n in 0..5_000 {
        let reply = client.command(&["SET", &format!("key:{n}"), &value]);
        if reply.is_error() {
            refusal = Some(reply.text());
            break;
        }
    }
    let text = refusal.expect("50 MB do not fit 16 MB");
    assert_eq!(text, "OOM command not allowed when used memory > 'maxmemory'.");
    assert_eq!(client.call("GET key:0").text(), value);
    assert_eq!(client.call("DEL key:0").int(), 1);
    assert_eq!(client.call("CONFIG SET maxmemory-policy allkeys-lru").text(), "OK");
    for n in 0..3_000 {
        assert_eq!(client.command(&["SET", &format!("key:{n}"), &value]).text(), "OK", "{n}");
    }
    assert!(node.info("evicted_keys").parse::<u64>().expect("a number") > 1_000);
    assert!(node.resident_bytes() < 80 << 20, "{} bytes", node.resident_bytes());
}

on_each_driver!(
    senseless_bytes_are_named_and_the_connection_closed,
    what_came_before_is_answered,
    empty_requests_get_no_reply,
    lines_that_never_end_are_cut,
    claims_reserve_nothing,
    cross_protocol_attacks_are_closed,
    without_a_password_little_is_taken,
    authentication_within_a_pipeline,
    noise_harms_nobody_else,
    more_clients_than_allowed_are_told,
    memory_limit_refuses_writes_only,
);
