//! Valid messages through the node and through nginx: both sides get the same of either.
//!
//! Messages come from a seed; `CORELANE_SEED=N` repeats a run. What differs and is meant to is in
//! `DIFFERENCES`, each with its reason.

#![forbid(unsafe_code)]

mod support;
#[path = "support/talk_messages.rs"]
mod talk_messages;
#[path = "support/talk_server.rs"]
mod talk_server;
#[path = "support/talk_strict.rs"]
mod talk_strict;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::rng::Rng;
use support::{Node, Options, eventually, node};
use talk_messages::{Exchange, exchange};
use talk_server::{Seen, Server};
use talk_strict::{Found, From, Message, read_from};

const LIMIT: Duration = Duration::from_secs(10);
/// Exchanges of a run.
const EXCHANGES: usize = 1_500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Request,
    Answer,
}

/// Fields that are not compared, on which side, and why.
const DIFFERENCES: &[(Side, &str, &str)] = &[
    (Side::Request, "via", "a gateway MUST add it (RFC 9110 section 7.6.3); nginx does not"),
    (Side::Request, "x-forwarded-for", "we say who the client is; nginx when it is told to"),
    (Side::Request, "x-forwarded-proto", "the same"),
    (Side::Request, "x-forwarded-host", "the same"),
    (Side::Request, "forwarded", "the same"),
    (Side::Request, "x-request-id", "every request has an id; nginx gives none unless told to"),
    (Side::Request, "expect", "we ask the server; nginx answers 100 itself and drops the field"),
    (
        Side::Request,
        "content-length",
        "nginx makes a length of short chunks; the content is compared",
    ),
    (Side::Request, "transfer-encoding", "the same"),
    (Side::Request, "connection", "each says what concerns its own connection"),
    (Side::Request, "te", "the same: we take trailers, nginx does not know them"),
    (
        Side::Request,
        "x-named",
        "Connection names it, so it MUST go (RFC 9110 section 7.6.1); nginx keeps it",
    ),
    (Side::Request, "proxy-connection", "hop-by-hop by custom (section 7.6.1); nginx keeps it"),
    (
        Side::Request,
        "trailer",
        "trailers are announced by whoever sends them; nginx keeps the field and drops them",
    ),
    (Side::Answer, "via", "we add it; nginx does not"),
    (
        Side::Answer,
        "date",
        "nginx puts its own where the server has none, as we do, a second apart",
    ),
    (Side::Answer, "server", "nginx names itself where the server does not"),
    (Side::Answer, "connection", "each says what concerns its own connection"),
    (Side::Answer, "transfer-encoding", "each frames by itself; the content is compared"),
    (Side::Answer, "x-named", "Connection names it, so it MUST go; nginx keeps it"),
    (Side::Answer, "trailer", "as in requests"),
    (Side::Answer, "keep-alive", "hop-by-hop"),
];

/// Answers by the number in the path.
fn server(from: From, exchanges: &Arc<Vec<Exchange>>) -> Server {
    let exchanges = Arc::clone(exchanges);
    Server::start(
        from,
        Arc::new(move |message| {
            let number = message.word(1).trim_start_matches('/').split(['/', '?']).next();
            let number: usize = number.and_then(|n| n.parse().ok()).expect("a number in the path");
            (exchanges[number].answer.clone(), exchanges[number].last)
        }),
    )
}

/// An nginx of the test's own.
struct Nginx {
    child: Child,
    dir: PathBuf,
    at: SocketAddr,
}

impl Nginx {
    fn start(server: SocketAddr) -> Self {
        let dir = node::fresh_dir();
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = free.local_addr().expect("its address");
        drop(free);
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {}/{what};\n", dir.display()))
            .concat();
        let text = format!(
            "user root;\nmaster_process off;\nworker_processes 1;\npid {0}/pid;\n\
             error_log {0}/errors info;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\
             underscores_in_headers on;\nmerge_slashes off;\nclient_max_body_size 0;\n\
             upstream up {{ server {server}; keepalive 8; }}\n\
             server {{\nlisten {at};\nlocation / {{\nproxy_pass http://up;\n\
             proxy_http_version 1.1;\nproxy_set_header Connection \"\";\n\
             proxy_set_header Host $http_host;\nproxy_request_buffering off;\n\
             proxy_redirect off;\nproxy_pass_header Date;\nproxy_pass_header Server;\n\
             proxy_ignore_headers Vary Cache-Control Set-Cookie;\n}}\n}}\n}}\n",
            dir.display()
        );
        let file = dir.join("nginx.conf");
        fs::write(&file, text).expect("write");
        let child = Command::new("nginx")
            .args(["-g", "daemon off;", "-p"])
            .arg(&dir)
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx runs; apt-get install nginx-light");
        let nginx = Self { child, dir, at };
        eventually("nginx listens", LIMIT, || TcpStream::connect(at).is_ok());
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A client of one of the two.
struct Asker {
    from: From,
    to: SocketAddr,
    stream: Option<TcpStream>,
}

impl Asker {
    /// Sends a request in pieces and reads its answer.
    fn ask(&mut self, exchange: &Exchange, pieces: &[usize]) -> Result<Message, String> {
        if self.stream.is_none() {
            let stream = TcpStream::connect_timeout(&self.to, LIMIT).expect("connect");
            stream.set_nodelay(true).expect("no delay");
            stream.set_read_timeout(Some(LIMIT)).expect("a limit");
            self.stream = Some(stream);
        }
        let stream = self.stream.as_mut().expect("it was made");
        let mut rest = exchange.request.as_slice();
        for piece in pieces.iter().cycle() {
            let (now, later) = rest.split_at((*piece).min(rest.len()));
            stream.write_all(now).map_err(|error| error.to_string())?;
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let (mut bytes, mut buffer, mut ended) = (Vec::new(), vec![0; 64 << 10], false);
        let end = Instant::now() + LIMIT;
        loop {
            match read_from(self.from, &bytes, false, exchange.head) {
                Found::Message(message) => {
                    let close = message.all("Connection").any(|c| c.contains("close"));
                    if close || ended {
                        self.stream = None;
                    }
                    let more = bytes.len() - message.len;
                    return if more == 0 { Ok(message) } else { Err(format!("{more} bytes more")) };
                }
                Found::Bad(why) => return Err(why),
                Found::More(_) if ended || Instant::now() > end => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    return Err(format!("half an answer: {text:.300}"));
                }
                Found::More(_) => {}
            }
            match stream.read(&mut buffer) {
                Ok(0) => ended = true,
                Ok(n) => bytes.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

/// Fields that are compared: names in small letters, in their order.
fn compared(side: Side, message: &Message) -> Vec<(String, String)> {
    let fields = message.fields.iter().map(|(name, value)| (name.to_lowercase(), value.clone()));
    let named = |name: &str| DIFFERENCES.iter().any(|(on, what, _)| *on == side && *what == name);
    let mut all: Vec<_> = fields.filter(|(name, _)| !named(name)).collect();
    // Framing fields and Host have no place of their own.
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

fn same(what: &str, ours: &Message, theirs: &Message, side: Side) -> Result<(), String> {
    if ours.content != theirs.content {
        let lens = (ours.content.len(), theirs.content.len());
        return Err(format!("{what}: contents differ, of {lens:?} bytes"));
    }
    let (a, b) = (compared(side, ours), compared(side, theirs));
    if a == b { Ok(()) } else { Err(format!("{what}:\n  ours   {a:?}\n  nginx  {b:?}")) }
}

/// The one request that a server has seen.
fn seen(server: &Server) -> Result<Message, String> {
    match server.take().as_slice() {
        [Seen::Request(_, message)] => Ok(message.clone()),
        other => Err(format!("the server saw {other:?}")),
    }
}

fn compare(
    exchange: &Exchange,
    askers: &mut [Asker; 2],
    servers: [&Server; 2],
    pieces: &[usize],
) -> Result<(), String> {
    let [ours, theirs] = askers;
    let ours = ours.ask(exchange, pieces).map_err(|why| format!("through us: {why}"))?;
    let theirs = theirs.ask(exchange, pieces).map_err(|why| format!("through nginx: {why}"))?;
    if ours.word(1) != theirs.word(1) {
        return Err(format!("status {} instead of {}", ours.word(1), theirs.word(1)));
    }
    same("what the client gets", &ours, &theirs, Side::Answer)?;
    let [ours, theirs] = [seen(servers[0])?, seen(servers[1])?];
    // Ours is in the form that it was routed by.
    if ours.line != theirs.line && !exchange.odd_target {
        return Err(format!("{:?} instead of {:?}", ours.line, theirs.line));
    }
    same("what the server gets", &ours, &theirs, Side::Request)
}

fn the_same_as_through_nginx(driver: &str) {
    let seed = std::env::var("CORELANE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 8 | driver.len() as u64);
    let mut rng = Rng::new(seed);
    let exchanges: Vec<Exchange> = (0..EXCHANGES).map(|n| exchange(n, &mut rng)).collect();
    let exchanges = Arc::new(exchanges);
    let (behind_us, behind_nginx) =
        (server(From::Node, &exchanges), server(From::Other, &exchanges));
    let options = Options::driver(driver).arg("--proxy").arg(format!("http://{}", behind_us.at));
    let node = Node::start_with(options);
    let nginx = Nginx::start(behind_nginx.at);
    let mut askers = [
        Asker { from: From::Node, to: node.http[0], stream: None },
        Asker { from: From::Other, to: nginx.at, stream: None },
    ];
    let wrong = Mutex::new(Vec::new());
    for exchange in exchanges.iter() {
        let pieces: Vec<usize> =
            (0..4).map(|_| *rng.pick(&[1, 7, 100, 1_000, 20_000, 1 << 20])).collect();
        let large = exchange.request.len() > 5_000;
        let pieces = if large { vec![exchange.request.len() / 3 + 1] } else { pieces };
        if let Err(why) = compare(exchange, &mut askers, [&behind_us, &behind_nginx], &pieces) {
            let head = exchange.request.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let head = String::from_utf8_lossy(head).into_owned();
            wrong
                .lock()
                .expect("nobody has failed")
                .push(format!("{} {head}: {why}", exchange.number));
            askers.iter_mut().for_each(|asker| asker.stream = None);
            behind_us.take();
            behind_nginx.take();
        }
    }
    let wrong = wrong.into_inner().expect("nobody has failed");
    let first = wrong.iter().take(8).cloned().collect::<Vec<_>>().join("\n");
    let errors = fs::read_to_string(nginx.dir.join("errors")).unwrap_or_default();
    let last: Vec<&str> = errors.lines().rev().take(20).collect();
    println!("nginx wrote last:\n{}", last.join("\n"));
    assert!(wrong.is_empty(), "CORELANE_SEED={seed}: {} of {EXCHANGES}:\n{first}", wrong.len());
}

on_each_driver!(the_same_as_through_nginx);
