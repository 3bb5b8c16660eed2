//! An HTTP/1.1 server within the test, to stand behind the node: a thread a connection.
//!
//! Owns what it answers by path (`site`), and counts what it sees. Reads strictly: what is no
//! request is kept as a complaint, which a test asks for.
//!
//! ```text
//! /bytes/N     N bytes with their length        /slow/MS/N   the same, MS milliseconds later
//! /chunked/N   in chunks of all sizes           /trickle/N   in chunks, a byte every 5 ms
//! /close/N     that end with the connection     /stall/N     N of twice as many, then silence
//! /echo        the request's content            /early       before the content has come
//! /trailers    chunks, and a field after them   /upgrade     101, and every byte comes back
//! /status/S    an empty answer of that status   /hold        never answered
//! /deaf/MS     not read from for so long, and then not answered
//! ```

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::web::{self, content, line_of};

/// A running server; ended on drop.
pub struct Upstream {
    pub addr: SocketAddr,
    seen: Arc<Seen>,
    acceptor: Option<std::thread::JoinHandle<()>>,
}

/// What a server has seen.
#[derive(Default)]
pub struct Seen {
    pub accepted: AtomicU64,
    pub requests: AtomicU64,
    pub open: AtomicU64,
    complaints: Mutex<Vec<String>>,
    streams: Mutex<HashMap<u64, TcpStream>>,
    stopping: AtomicBool,
}

/// A request's head.
pub struct Asked {
    pub method: String,
    pub target: String,
    pub head: String,
}

impl Asked {
    pub fn field(&self, name: &str) -> Option<&str> {
        super::http::header(&self.head, name)
    }
}

/// What answers; says whether the connection goes on.
pub type Answerer = fn(&mut Line, &Asked) -> io::Result<bool>;

/// The server's end of a connection.
pub struct Line {
    pub stream: TcpStream,
    unread: Vec<u8>,
    /// Content of the request at hand that has not been read: a length, or chunks.
    left: Left,
}

#[derive(Clone, Copy, PartialEq)]
enum Left {
    Length(usize),
    Chunks,
}

impl Upstream {
    pub fn start() -> Self {
        Self::with("127.0.0.1:0".parse().expect("an address"), site)
    }

    pub fn with(addr: SocketAddr, answerer: Answerer) -> Self {
        let listener = TcpListener::bind(addr).expect("bind the server behind");
        Self::on(listener, answerer)
    }

    /// One whose kernel takes next to nothing for it while it does not read.
    pub fn with_small_buffers() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind the server behind");
        rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 4 << 10).expect("SO_RCVBUF");
        Self::on(listener, site)
    }

    fn on(listener: TcpListener, answerer: Answerer) -> Self {
        // Room for bursts of connections: a dropped SYN comes again a second later.
        rustix::net::listen(&listener, 4_096).expect("a longer queue");
        let addr = listener.local_addr().expect("its address");
        let seen = Arc::new(Seen::default());
        let ours = seen.clone();
        let acceptor = std::thread::spawn(move || accept(&listener, &ours, answerer));
        Self { addr, seen, acceptor: Some(acceptor) }
    }

    pub fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::SeqCst)
    }

    pub fn accepted(&self) -> u64 {
        self.seen.accepted.load(Ordering::SeqCst)
    }

    /// Connections that are open now.
    pub fn open(&self) -> u64 {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// Nothing but requests has come.
    #[track_caller]
    pub fn expect_no_complaints(&self) {
        let complaints = self.seen.complaints.lock().expect("complaints");
        assert!(complaints.is_empty(), "the server behind got: {complaints:?}");
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.seen.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr); // wakes the acceptor
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for stream in self.seen.streams.lock().expect("streams").values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn accept(listener: &TcpListener, seen: &Arc<Seen>, answerer: Answerer) {
    for number in 0.. {
        let Ok((stream, _)) = listener.accept() else { return };
        if seen.stopping.load(Ordering::SeqCst) {
            return;
        }
        seen.accepted.fetch_add(1, Ordering::SeqCst);
        seen.open.fetch_add(1, Ordering::SeqCst);
        let _ = stream.set_nodelay(true);
        if let Ok(second) = stream.try_clone() {
            seen.streams.lock().expect("streams").insert(number, second);
        }
        let seen = seen.clone();
        let serve = move || {
            let mut line = Line { stream, unread: Vec::new(), left: Left::Length(0) };
            if let Err(error) = serve(&mut line, &seen, answerer)
                && error.kind() == ErrorKind::InvalidData
            {
                seen.complaints.lock().expect("complaints").push(error.to_string());
            }
            let _ = line.stream.shutdown(Shutdown::Both);
            seen.streams.lock().expect("streams").remove(&number);
            seen.open.fetch_sub(1, Ordering::SeqCst);
        };
        let builder = std::thread::Builder::new().stack_size(256 << 10);
        builder.spawn(serve).expect("a thread for a connection");
    }
}

fn serve(line: &mut Line, seen: &Seen, answerer: Answerer) -> io::Result<()> {
    while let Some(asked) = line.request()? {
        seen.requests.fetch_add(1, Ordering::SeqCst);
        if !answerer(line, &asked)? {
            return Ok(());
        }
        while line.piece()?.is_some() {}
    }
    Ok(())
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.into())
}

impl Line {
    /// The next request's head; nothing at an end between two requests.
    fn request(&mut self) -> io::Result<Option<Asked>> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more()? {
                return if self.unread.is_empty() { Ok(None) } else { Err(wrong("half a head")) };
            }
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        let head = String::from_utf8(head).map_err(|error| wrong(error.to_string()))?;
        let mut words = head.lines().next().unwrap_or_default().split(' ');
        let (method, target, version) = (words.next(), words.next(), words.next());
        let (Some(method), Some(target), Some("HTTP/1.1")) = (method, target, version) else {
            return Err(wrong(format!("no request line:\n{head}")));
        };
        let asked = Asked { method: method.into(), target: target.into(), head: head.clone() };
        let length = asked.field("content-length");
        self.left = match (length, asked.field("transfer-encoding")) {
            (None, None) => Left::Length(0),
            (None, Some("chunked")) => Left::Chunks,
            (Some(n), None) => Left::Length(n.parse().map_err(|_| wrong(head.clone()))?),
            _ => return Err(wrong(format!("an odd framing:\n{head}"))),
        };
        Ok(Some(asked))
    }

    /// The next piece of the request's content; nothing at its end.
    pub fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.left {
            Left::Length(0) => Ok(None),
            Left::Length(left) => {
                if self.unread.is_empty() {
                    self.need_more()?;
                }
                let piece: Vec<u8> = self.unread.drain(..left.min(self.unread.len())).collect();
                self.left = Left::Length(left - piece.len());
                Ok(Some(piece))
            }
            Left::Chunks => {
                let line = self.line()?;
                let size = usize::from_str_radix(&line, 16).map_err(|_| wrong(line.clone()))?;
                if size == 0 {
                    while !self.line()?.is_empty() {}
                    self.left = Left::Length(0);
                    return Ok(None);
                }
                while self.unread.len() < size {
                    self.need_more()?;
                }
                let piece: Vec<u8> = self.unread.drain(..size).collect();
                if !self.line()?.is_empty() {
                    return Err(wrong("no line end after a chunk"));
                }
                Ok(Some(piece))
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(line) = line_of(&mut self.unread) {
                return Ok(line);
            }
            self.need_more()?;
        }
    }

    fn more(&mut self) -> io::Result<bool> {
        let mut part = [0; 16 << 10];
        let len = self.stream.read(&mut part)?;
        self.unread.extend_from_slice(&part[..len]);
        Ok(len > 0)
    }

    fn need_more(&mut self) -> io::Result<()> {
        if self.more()? { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// A head of status 200 with these fields, each with its line end.
    pub fn head(&mut self, fields: &str) -> io::Result<()> {
        self.write(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"))
    }

    /// The first `len` bytes of a name's content.
    fn content(&mut self, name: &str, len: usize) -> io::Result<()> {
        let mut part = vec![0; len.min(64 << 10)];
        let mut at = 0;
        while at < len {
            let n = part.len().min(len - at);
            web::fill(name, at as u64, &mut part[..n]);
            self.stream.write_all(&part[..n])?;
            at += n;
        }
        Ok(())
    }

    fn whole(&mut self, body: &[u8]) -> io::Result<bool> {
        let mut all = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        if body.len() < 16 << 10 {
            let mut all = std::mem::take(&mut all).into_bytes();
            all.extend_from_slice(body);
            return self.write(all).map(|()| true);
        }
        self.write(all)?;
        self.write(body).map(|()| true)
    }

    /// In chunks of one byte to many.
    fn chunks(&mut self, body: &[u8], trailers: &str) -> io::Result<bool> {
        self.head("Transfer-Encoding: chunked\r\n")?;
        let (mut rest, mut size) = (body, 1);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(size.min(rest.len()));
            let mut chunk = format!("{:x}\r\n", now.len()).into_bytes();
            chunk.extend_from_slice(now);
            chunk.extend_from_slice(b"\r\n");
            self.write(chunk)?;
            (rest, size) = (later, (size * 5 + 1) % 70_001);
        }
        self.write(format!("0\r\n{trailers}\r\n")).map(|()| true)
    }

    /// Waits for the client's end; whatever comes before it is thrown away.
    pub fn until_closed(&mut self) -> io::Result<bool> {
        while self.more()? {
            self.unread.clear();
        }
        Ok(false)
    }
}

/// See the module's text.
pub fn site(line: &mut Line, asked: &Asked) -> io::Result<bool> {
    let path = asked.target.split('?').next().unwrap_or_default();
    let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let number = |n: usize| words.get(n).and_then(|word| word.parse::<usize>().ok()).unwrap_or(0);
    if asked.field("expect").is_some_and(|v| v.eq_ignore_ascii_case("100-continue")) {
        line.write("HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let len = number(1);
    match words[0] {
        "bytes" if asked.method == "HEAD" => {
            line.head(&format!("Content-Length: {len}\r\n")).map(|()| true)
        }
        "bytes" if len < 16 << 10 => line.whole(&content(path, len)),
        "bytes" => {
            line.head(&format!("Content-Length: {len}\r\n"))?;
            line.content(path, len).map(|()| true)
        }
        "chunked" => line.chunks(&content(path, len), ""),
        "trailers" => line.chunks(&content(path, len), "X-Sum: 42\r\n"),
        "close" => {
            line.head("Connection: close\r\n")?;
            line.content(path, len).map(|()| false)
        }
        "slow" => {
            std::thread::sleep(Duration::from_millis(len as u64));
            line.whole(&content(path, number(2)))
        }
        "trickle" => {
            line.head("Transfer-Encoding: chunked\r\n")?;
            for byte in content(path, len) {
                std::thread::sleep(Duration::from_millis(5));
                line.write([&b"1\r\n"[..], &[byte], b"\r\n"].concat())?;
            }
            line.write("0\r\n\r\n").map(|()| true)
        }
        "stall" => {
            line.head(&format!("Content-Length: {}\r\n", 2 * len))?;
            line.content(path, len)?;
            line.until_closed()
        }
        "hold" => line.until_closed(),
        "deaf" => {
            std::thread::sleep(Duration::from_millis(len as u64));
            line.until_closed()
        }
        "early" => line.whole(b"early"),
        "status" => {
            line.write(format!("HTTP/1.1 {len} X\r\nContent-Length: 0\r\n\r\n")).map(|()| true)
        }
        "upgrade" => upgrade(line),
        _ => {
            let mut body = Vec::new();
            while let Some(piece) = line.piece()? {
                body.extend(piece);
            }
            line.whole(&body)
        }
    }
}

fn upgrade(line: &mut Line) -> io::Result<bool> {
    line.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")?;
    loop {
        let bytes = std::mem::take(&mut line.unread);
        line.write(bytes)?;
        if !line.more()? {
            return Ok(false);
        }
    }
}
