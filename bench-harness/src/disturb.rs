//! Another client on a connection of its own: fills keys, and sends heavy commands while
//! the load goes on. Says in which windows of time it did what.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use dataplane::runtime::clock;
use shards::time::Nanos;

use crate::clients::resp::{Reply, Scanner, request};
use crate::plan::{Disturb, Prepare};
use crate::record::Window;

/// Requests sent before their replies are read.
const PIPELINE: u64 = 512;
/// How long the server is left alone after preparations.
const SETTLE: Duration = Duration::from_millis(500);
/// How long after its answer a command counts as a disturbance: what the server put off, such
/// as giving memory back, belongs to it. Longer windows would drown a stall in quiet.
const TAIL: Duration = Duration::from_millis(100);
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A blocking client.
pub(crate) struct Side {
    stream: TcpStream,
    scanner: Scanner,
    buffer: Vec<u8>,
}

/// When the server was left alone, and when it was busy with the disturbance.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    pub(crate) idle: Vec<Window>,
    pub(crate) disturbed: Vec<Window>,
    /// How long each disturbing command took to be answered.
    pub(crate) answers: Vec<Nanos>,
}

impl Side {
    pub(crate) fn connect(target: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(target)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, scanner: Scanner::default(), buffer: vec![0; 1 << 16] })
    }

    /// Sets keys, those the load asks for.
    pub(crate) fn fill(&mut self, keys: u64, value_bytes: usize) -> io::Result<()> {
        let value = vec![b'v'; value_bytes];
        let mut out = Vec::new();
        let mut next = 0;
        while next < keys {
            let last = keys.min(next + PIPELINE);
            out.clear();
            for n in next..last {
                request(&mut out, &[b"SET", format!("key:{n:012}").as_bytes(), &value]);
            }
            self.stream.write_all(&out)?;
            self.replies(last - next)?;
            next = last;
        }
        Ok(())
    }

    /// One command and its reply, which is read and dropped.
    fn command(&mut self, args: &[&[u8]]) -> io::Result<()> {
        let mut out = Vec::new();
        request(&mut out, args);
        self.stream.write_all(&out)?;
        self.replies(1)
    }

    fn replies(&mut self, count: u64) -> io::Result<()> {
        let mut left = count;
        let mut error = false;
        while left > 0 {
            let n = match self.stream.read(&mut self.buffer) {
                // A socket with a time limit is not resumed by the kernel.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let fed = self.scanner.feed(&self.buffer[..n], |reply| {
                left -= 1;
                error |= reply == Reply::Error;
            });
            if fed.is_err() || error {
                return Err(io::Error::other("the server answered with an error"));
            }
        }
        Ok(())
    }

    fn prepare(&mut self, what: &Prepare) -> io::Result<()> {
        match what {
            Prepare::Keys(n, bytes) => self.fill(*n, *bytes),
            Prepare::Value(name, bytes) => {
                let head = format!("*3\r\n$3\r\nSET\r\n${}\r\n{name}\r\n${bytes}\r\n", name.len());
                self.stream.write_all(head.as_bytes())?;
                let chunk = vec![b'v'; 1 << 20];
                let mut left = *bytes;
                while left > 0 {
                    let n = left.min(chunk.len() as u64);
                    self.stream.write_all(&chunk[..n as usize])?;
                    left -= n;
                }
                self.stream.write_all(b"\r\n")?;
                self.replies(1)
            }
        }
    }

    /// Takes turns of leaving the server alone for a window and disturbing it for one.
    pub(crate) fn disturb(
        &mut self,
        plan: &Disturb,
        window: Nanos,
        start: Nanos,
    ) -> io::Result<Windows> {
        let args: Vec<&[u8]> = plan.command.iter().map(|arg| arg.as_bytes()).collect();
        let mut windows = Windows::default();
        let span = Duration::from_nanos(window.0);
        let since_start = || clock::monotonic().since(start);
        for _ in 0..plan.times {
            if let Some(what) = &plan.prepare {
                self.prepare(what)?;
            }
            std::thread::sleep(SETTLE);
            let from = since_start();
            std::thread::sleep(span);
            windows.idle.push(Window { from, to: since_start() });
            let from = since_start();
            self.command(&args)?;
            let answered = since_start().since(from);
            windows.answers.push(answered);
            std::thread::sleep(TAIL);
            windows.disturbed.push(Window { from, to: since_start() });
        }
        Ok(windows)
    }
}
