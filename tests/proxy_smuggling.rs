//! Smuggling: no bytes of a client or of a server are one message for the node and two for others.
//!
//! `proxy_smuggling/requests.txt` and `answers.txt`, against the binary, each whole and byte by
//! byte. What the node sends is read by a strict reader of our own, so that the number of messages
//! and the bytes of each are told by somebody else.

#![forbid(unsafe_code)]

mod support;
#[path = "support/talk.rs"]
mod talk;
#[path = "support/talk_server.rs"]
mod talk_server;
#[path = "support/talk_sockets.rs"]
mod talk_sockets;
#[path = "support/talk_strict.rs"]
mod talk_strict;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::{Node, Options};
use talk::text::unescape;
use talk_server::{Seen, Server};
use talk_strict::{Found, From, Message, read};

const LIMIT: Duration = Duration::from_secs(5);
const EVIL: &str = "GET /evil HTTP/1.1\\r\\nHost: x.test\\r\\n\\r\\n";
const AFTER: &str = "GET /after HTTP/1.1\r\nHost: x.test\r\n\r\n";

struct Case {
    name: String,
    wanted: String,
    bytes: Vec<u8>,
}

fn cases(text: &str, short: &[(&str, &str)]) -> Vec<Case> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let case = |line: &str| {
        let parts: Vec<&str> = line.split(" | ").collect();
        let [name, section, wanted, bytes] = parts[..] else { panic!("four columns: {line}") };
        assert!(section.contains(|letter: char| letter.is_ascii_digit()), "which rule? {line}");
        let long = short.iter().fold(bytes.to_owned(), |text, (a, b)| text.replace(a, b));
        Case { name: name.into(), wanted: wanted.into(), bytes: unescape(&long) }
    };
    lines.map(case).collect()
}

fn requests() -> Vec<Case> {
    let short = [
        ("{P}", "POST / HTTP/1.1\\r\\nHost: x.test\\r\\n"),
        ("{G}", "GET / HTTP/1.1\\r\\nHost: x.test\\r\\n"),
        ("{E}", EVIL),
    ];
    cases(include_str!("proxy_smuggling/requests.txt"), &short)
}

/// A request as it is told: method, target and content.
fn told(message: &Message) -> String {
    let content = match message.content.as_slice() {
        [] => "-".to_owned(),
        content => content.iter().map(|byte| char::from(*byte)).collect(),
    };
    format!("{} {} {content}", message.word(0), message.word(1))
}

fn answer(content: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
    [head.as_bytes(), content].concat()
}

fn node(driver: &str, server: SocketAddr) -> Node {
    let options = Options::driver(driver).arg("--proxy").arg(format!("http://{server}"));
    Node::start_with(options.arg("--shards").arg("1"))
}

/// A client that reads strictly.
struct Asker {
    stream: TcpStream,
    bytes: Vec<u8>,
    ended: bool,
}

impl Asker {
    fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&to, LIMIT).expect("connect");
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a limit");
        Self { stream, bytes: Vec::new(), ended: false }
    }

    /// Sends; the node may have closed before the last byte.
    fn send(&mut self, bytes: &[u8], one_by_one: bool) {
        let size = if one_by_one { 1 } else { bytes.len().max(1) };
        for piece in bytes.chunks(size) {
            if self.stream.write_all(piece).is_err() {
                return;
            }
        }
    }

    /// Receives once; whether more may come.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(n) => self.bytes.extend_from_slice(&buffer[..n]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => self.ended = true,
        }
        !self.ended
    }

    /// The next answer that is not an interim one; none when the connection ends before.
    fn answer(&mut self) -> Result<Option<Message>, String> {
        let end = Instant::now() + LIMIT;
        loop {
            match read(&self.bytes, false, false) {
                Found::Message(message) => {
                    self.bytes.drain(..message.len);
                    if !message.word(1).starts_with('1') {
                        return Ok(Some(message));
                    }
                    continue;
                }
                Found::Bad(why) => return Err(format!("an answer that is none: {why}")),
                Found::More(_) if self.ended => return Ok(None),
                Found::More(_) => {}
            }
            if Instant::now() > end {
                return Err(format!("no answer, and no end; {:?}", self.bytes));
            }
            self.receive();
        }
    }

    /// Nothing but the end may come.
    fn end(&mut self) -> Result<(), String> {
        let end = Instant::now() + LIMIT;
        while self.receive() && self.bytes.is_empty() && Instant::now() < end {}
        match (self.ended, self.bytes.is_empty()) {
            (true, true) => Ok(()),
            _ => Err(format!("no end, but {:?}", String::from_utf8_lossy(&self.bytes))),
        }
    }
}

/// What of an answer the client is to get.
fn shown(message: &Message) -> String {
    let content: String = message.content.iter().map(|byte| char::from(*byte)).collect();
    match message.word(1) {
        "200" => content,
        status => {
            let cause = content.split("urn:corelane:").nth(1).and_then(|c| c.split('"').next());
            format!("{status} {}", cause.unwrap_or("?"))
        }
    }
}

fn play_request(case: &Case, node: &Node, server: &Server, one_by_one: bool) -> Result<(), String> {
    let before = talk_sockets::errors(node);
    let (mut answers, mut seen) = (Vec::new(), Vec::new());
    let (mut cut, mut open, mut closed) = (None, false, false);
    for wanted in case.wanted.split(" ; ") {
        let mut rest = wanted;
        for (word, flag) in [("open ", &mut open), ("closed ", &mut closed)] {
            if let Some(behind) = rest.strip_prefix(word) {
                (rest, *flag) = (behind, true);
            }
        }
        match rest.strip_prefix("cut ") {
            Some(line) => cut = Some(format!("{line} HTTP/1.1")),
            None => answers.push(String::from_utf8_lossy(&unescape(rest)).into_owned()),
        }
    }
    let refused = answers.last().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()));
    if !(refused || open || closed) {
        answers.push("GET /after -".into());
    }
    seen.extend(answers.iter().filter(|a| !a.starts_with(|c: char| c.is_ascii_digit())).cloned());
    let mut asker = Asker::connect(node.http[0]);
    asker.send(&case.bytes, one_by_one);
    if open {
        asker.stream.shutdown(std::net::Shutdown::Write).expect("half-close");
    } else {
        asker.send(AFTER.as_bytes(), one_by_one);
    }
    for wanted in &answers {
        let Some(got) = asker.answer()? else { return Err(format!("the end, not {wanted}")) };
        if shown(&got) != *wanted {
            return Err(format!("the client got {:?}, not {wanted:?}", shown(&got)));
        }
    }
    if refused || open || closed {
        asker.end()?;
    }
    drop(asker);
    let mut probe = Asker::connect(node.http[0]);
    probe.send(b"GET /probe HTTP/1.1\r\nHost: x.test\r\n\r\n", false);
    let got = probe.answer()?.ok_or("the probe is not answered")?;
    if shown(&got) != "GET /probe -" {
        return Err(format!("the probe got {:?}", shown(&got)));
    }
    seen.push("GET /probe -".into());
    judge(&server.take(), &seen, cut.as_deref())?;
    counted(node, &before, &answers, open)
}

/// The server behind has seen these requests and no others, each in the narrowest form.
fn judge(seen: &[Seen], wanted: &[String], cut: Option<&str>) -> Result<(), String> {
    let mut requests = Vec::new();
    for one in seen {
        match one {
            Seen::Request(_, message) => requests.push(told(message)),
            // How much has left before it was refused, nobody promises.
            Seen::Cut(line) if Some(line.as_str()) == cut => {}
            Seen::Cut(line) => return Err(format!("a request broke off: {line}")),
            Seen::Bad(why) => return Err(format!("the server got what is no request: {why}")),
        }
    }
    if requests == wanted {
        Ok(())
    } else {
        Err(format!("the server saw {requests:?}, not {wanted:?}"))
    }
}

/// Refusals are counted by their reason, and nothing else is.
fn counted(
    node: &Node,
    before: &BTreeMap<String, u64>,
    answers: &[String],
    gone: bool,
) -> Result<(), String> {
    let mut wanted = before.clone();
    for answer in answers {
        if let Some((status, cause)) = answer.split_once(' ')
            && status.parse::<u16>().is_ok()
        {
            *wanted.entry(cause.into()).or_default() += 1;
        }
    }
    if gone {
        *wanted.entry("client_gone".into()).or_default() += 1;
    }
    let end = Instant::now() + LIMIT;
    loop {
        let now = talk_sockets::errors(node);
        if now == wanted {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("counted are {now:?}, not {wanted:?}"));
        }
    }
}

fn no_request_is_smuggled(driver: &str) {
    let server =
        Server::start(From::Node, Arc::new(|message| (answer(told(message).as_bytes()), false)));
    let node = node(driver, server.at);
    let (mut wrong, cases) = (Vec::new(), requests());
    for case in &cases {
        for one_by_one in [false, true] {
            if let Err(why) = play_request(case, &node, &server, one_by_one) {
                wrong.push(format!("{} (one by one: {one_by_one}): {why}", case.name));
                drop(server.take());
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), 2 * cases.len(), wrong.join("\n"));
    assert!(cases.len() > 150, "{} cases", cases.len());
}

/// The server's answer to `/first` is a case's; to others it says what was asked.
fn play_answer(case: &Case, node: &Node, server: &Server) -> Result<(), String> {
    drop(server.take());
    let (wanted, second) = case.wanted.rsplit_once(' ').expect("WANTED same or other");
    let mut asker = Asker::connect(node.http[0]);
    asker.send(b"GET /first HTTP/1.1\r\nHost: x.test\r\n\r\n", false);
    let got = match asker.answer()? {
        None => "cut".to_owned(),
        Some(message) => match message.word(1) {
            "502" => "502".into(),
            status if message.content.is_empty() => format!("{status} -"),
            status => format!("{status} {}", String::from_utf8_lossy(&message.content)),
        },
    };
    let wanted = String::from_utf8_lossy(&unescape(wanted)).into_owned();
    if got != wanted {
        return Err(format!("the client got {got:?}, not {wanted:?}"));
    }
    if got == "cut" {
        asker = Asker::connect(node.http[0]);
    }
    asker.send(b"GET /second HTTP/1.1\r\nHost: x.test\r\n\r\n", false);
    let next = asker.answer()?.ok_or("the end instead of the second answer")?;
    if shown(&next) != "GET /second -" {
        return Err(format!("the second answer is {:?}", shown(&next)));
    }
    let seen = server.take();
    let wanted = ["GET /first -", "GET /second -"].map(str::to_owned);
    judge(&seen, &wanted, None)?;
    let connections: Vec<usize> = seen
        .iter()
        .filter_map(|seen| if let Seen::Request(n, _) = seen { Some(*n) } else { None })
        .collect();
    match (connections[0] == connections[1], second) {
        (true, "same") | (false, "other") => Ok(()),
        _ => Err(format!("over connections {connections:?}, not {second}")),
    }
}

fn no_answer_is_smuggled(driver: &str) {
    let short = [
        ("{O}", "HTTP/1.1 200 OK\\r\\n"),
        ("{A}", "HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nevil"),
    ];
    let cases = cases(include_str!("proxy_smuggling/answers.txt"), &short);
    let next: Arc<Mutex<Vec<u8>>> = Arc::default();
    let first = Arc::clone(&next);
    let server = Server::start(
        From::Node,
        Arc::new(move |message| match message.word(1) {
            "/first" => (first.lock().expect("nobody has failed").clone(), false),
            _ => (answer(told(message).as_bytes()), false),
        }),
    );
    let node = node(driver, server.at);
    let mut wrong = Vec::new();
    for case in &cases {
        next.lock().expect("nobody has failed").clone_from(&case.bytes);
        if let Err(why) = play_answer(case, &node, &server) {
            wrong.push(format!("{}: {why}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() > 40, "{} cases", cases.len());
}

on_each_driver!(no_request_is_smuggled, no_answer_is_smuggled);

#[test]
fn the_judge_lets_nothing_pass_that_was_not_wanted() {
    let evil = Message { line: "GET /evil HTTP/1.1".into(), ..Message::default() };
    let cut = || Seen::Cut("POST / HTTP/1.1".into());
    let wanted = ["GET /evil -".to_owned()];
    assert!(judge(&[Seen::Request(0, evil.clone())], &wanted, None).is_ok());
    assert!(judge(&[Seen::Request(0, evil.clone())], &[], None).is_err(), "one too many");
    assert!(judge(&[], &wanted, None).is_err(), "one too few");
    assert!(judge(&[Seen::Bad("x".into())], &[], None).is_err(), "no request");
    assert!(judge(&[cut()], &[], Some("POST / HTTP/1.1")).is_ok());
    assert!(judge(&[cut()], &[], Some("POST /a HTTP/1.1")).is_err(), "another one");
    assert!(judge(&[cut()], &[], None).is_err(), "it broke off");
}
