//! A blocking HTTP/1.1 client with a time limit on everything, and contents known by their name.
//!
//! Owns the reading of answers, strictly: what is not an answer is an error in words.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a test waits for bytes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The bytes from `at` on of the content that belongs to a name: anybody can check any part.
pub fn fill(name: &str, at: u64, out: &mut [u8]) {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut n = 0;
    while n < out.len() {
        let place = at + n as u64;
        // splitmix64 of the eight bytes' number.
        let mut word = seed.wrapping_add((place / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bytes = (word ^ (word >> 31)).to_le_bytes();
        for byte in &bytes[(place % 8) as usize..] {
            if n < out.len() {
                out[n] = *byte;
                n += 1;
            }
        }
    }
}

/// The first `len` bytes of a name's content.
pub fn content(name: &str, len: usize) -> Vec<u8> {
    let mut all = vec![0; len];
    fill(name, 0, &mut all);
    all
}

/// One answer, whole.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    /// Status line and fields.
    pub head: String,
    pub body: Vec<u8>,
    pub trailers: String,
    /// Interim answers before it.
    pub interim: Vec<u16>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        super::http::header(&self.head, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the connection ends with it.
    pub fn closes(&self) -> bool {
        self.field("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"))
    }
}

/// One connection of a client.
pub struct Web {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.into())
}

impl Web {
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).unwrap_or_else(|error| panic!("connect to {addr}: {error}"))
    }

    pub fn try_connect(addr: SocketAddr) -> io::Result<Self> {
        Ok(Self::over(TcpStream::connect_timeout(&addr, PATIENCE)?))
    }

    /// Over a connection that there is.
    #[track_caller]
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream.set_write_timeout(Some(PATIENCE)).expect("a limit");
        Self { stream, unread: Vec::new() }
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("send");
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        self.try_get(path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    pub fn try_get(&mut self, path: &str) -> io::Result<Answer> {
        self.stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes())?;
        self.try_answer(false)
    }

    /// The next answer that is not interim.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.try_answer(false).unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    pub fn try_answer(&mut self, to_head: bool) -> io::Result<Answer> {
        let mut interim = Vec::new();
        let mut answer = loop {
            let answer = self.head()?;
            if answer.status >= 200 || answer.status == 101 {
                break answer;
            }
            interim.push(answer.status);
        };
        answer.interim = interim;
        if to_head || matches!(answer.status, 101 | 204 | 304) {
            return Ok(answer);
        }
        let chunked =
            answer.field("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
        match answer.field("content-length").map(str::parse::<usize>) {
            Some(_) if chunked => return Err(wrong(format!("two lengths:\n{}", answer.head))),
            Some(Ok(len)) => answer.body = self.take(len)?,
            Some(Err(error)) => return Err(wrong(format!("{error}:\n{}", answer.head))),
            None if chunked => self.chunks(&mut answer)?,
            None => while self.more()? {},
        }
        if !chunked && answer.field("content-length").is_none() {
            answer.body = std::mem::take(&mut self.unread);
        }
        Ok(answer)
    }

    /// A head alone.
    pub fn head(&mut self) -> io::Result<Answer> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if self.unread.len() > 64 << 10 {
                return Err(wrong("a head without an end"));
            }
            self.need_more()?;
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        let head = String::from_utf8(head).map_err(|error| wrong(error.to_string()))?;
        let code = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = code.and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| wrong(format!("no status line:\n{head}")))?;
        Ok(Answer { status, head, ..Answer::default() })
    }

    fn chunks(&mut self, answer: &mut Answer) -> io::Result<()> {
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(&line, 16)
                .map_err(|error| wrong(format!("chunk size {line:?}: {error}")))?;
            if size == 0 {
                break;
            }
            answer.body.extend(self.take(size)?);
            if !self.line()?.is_empty() {
                return Err(wrong("no line end after a chunk"));
            }
        }
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(());
            }
            answer.trailers.push_str(&line);
            answer.trailers.push('\n');
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

    /// So many bytes.
    pub fn take(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let known = len.min(self.unread.len());
        let mut all: Vec<u8> = self.unread.drain(..known).collect();
        all.resize(len, 0);
        self.stream.read_exact(&mut all[known..])?;
        Ok(all)
    }

    /// Reads on; `false` at the end.
    fn more(&mut self) -> io::Result<bool> {
        let known = self.unread.len();
        self.unread.resize(known + (16 << 10), 0);
        let got = self.stream.read(&mut self.unread[known..]);
        self.unread.truncate(known + *got.as_ref().unwrap_or(&0));
        match got {
            Ok(len) => Ok(len > 0),
            Err(error) if error.kind() == ErrorKind::Interrupted => self.more(),
            Err(error) => Err(error),
        }
    }

    fn need_more(&mut self) -> io::Result<()> {
        if self.more()? { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    /// Gives the test's own memory back.
    pub fn forget_buffer(&mut self) {
        assert!(self.unread.is_empty(), "nothing is unread");
        self.unread = Vec::new();
    }

    /// Its end is a reset.
    pub fn reset_on_drop(&self) {
        let linger = Some(Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(&self.stream, linger).expect("SO_LINGER");
    }

    /// What comes until the end, in order or by a reset; panics if there is none in `limit`.
    #[track_caller]
    pub fn until_closed(&mut self, limit: Duration) -> Vec<u8> {
        self.stream.set_read_timeout(Some(limit)).expect("a limit");
        loop {
            match self.more() {
                Ok(true) => {}
                Ok(false) => return std::mem::take(&mut self.unread),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return std::mem::take(&mut self.unread);
                }
                Err(error) => panic!("the server does not close: {error}"),
            }
        }
    }
}

/// A first difference in words, if there is one.
pub fn difference(expected: &[u8], got: &[u8]) -> Option<String> {
    let at = expected.iter().zip(got).position(|(a, b)| a != b);
    match at {
        Some(at) => Some(format!("another byte at {at} of {}", expected.len())),
        None if expected.len() != got.len() => {
            Some(format!("{} bytes instead of {}", got.len(), expected.len()))
        }
        None => None,
    }
}

/// Takes the first line out, without its end, if it is whole.
pub fn line_of(unread: &mut Vec<u8>) -> Option<String> {
    let at = unread.windows(2).position(|two| two == b"\r\n")?;
    let line: Vec<u8> = unread.drain(..at + 2).collect();
    Some(String::from_utf8_lossy(&line[..at]).into_owned())
}
