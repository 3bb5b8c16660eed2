//! A blocking RESP client with a time limit on everything.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::resp::{self, Value};

/// How long a test waits for bytes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes that are read at a time.
const READ: usize = 16 << 10;

/// One connection.
pub struct Client {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).unwrap_or_else(|error| panic!("connect to {addr}: {error}"))
    }

    pub fn try_connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Sends one command given as words and waits for its reply.
    #[track_caller]
    pub fn call(&mut self, words: &str) -> Value {
        let args: Vec<_> = words.split_whitespace().collect();
        self.command(&args)
    }

    /// Sends one command and waits for its reply.
    #[track_caller]
    pub fn command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        self.send(&resp::request(args));
        self.reply()
    }

    /// Gives the test's own memory back.
    pub fn forget_buffer(&mut self) {
        assert!(self.unread.is_empty(), "nothing is unread");
        self.unread = Vec::new();
    }

    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("send to the server");
    }

    #[track_caller]
    pub fn reply(&mut self) -> Value {
        self.try_reply().expect("read a reply").expect("a reply before the server closes")
    }

    /// The next reply; `None` when the server has closed.
    pub fn try_reply(&mut self) -> io::Result<Option<Value>> {
        loop {
            if let Some((value, len)) = resp::parse(&self.unread) {
                self.unread.drain(..len);
                return Ok(Some(value));
            }
            let known = self.unread.len();
            self.unread.resize(known + READ, 0);
            let got = self.stream.read(&mut self.unread[known..]);
            self.unread.truncate(known + *got.as_ref().unwrap_or(&0));
            match got {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    #[track_caller]
    pub fn replies(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.reply()).collect()
    }

    /// Everything until the server closes; panics if it does not within the time limit.
    #[track_caller]
    pub fn until_closed(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.unread);
        let mut part = vec![0; 64 << 10];
        loop {
            match self.stream.read(&mut part) {
                Ok(0) => return all,
                Ok(len) => all.extend_from_slice(&part[..len]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return all,
                Err(error) => panic!("the server does not close: {error}"),
            }
        }
    }

    /// That nothing comes for `pause`.
    #[track_caller]
    pub fn expect_silence(&mut self, pause: Duration) {
        assert!(self.unread.is_empty(), "unread: {:?}", String::from_utf8_lossy(&self.unread));
        self.stream.set_read_timeout(Some(pause)).expect("set a time limit");
        let mut byte = [0];
        let got = self.stream.read(&mut byte);
        self.stream.set_read_timeout(Some(PATIENCE)).expect("set a time limit");
        match got {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            other => panic!("not silent: {other:?} {byte:?}"),
        }
    }

    /// One command's round trip.
    #[track_caller]
    pub fn timed(&mut self, request: &[u8]) -> Duration {
        let start = Instant::now();
        self.send(request);
        self.reply();
        start.elapsed()
    }
}
