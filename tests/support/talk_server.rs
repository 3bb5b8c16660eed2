//! A server that reads strictly, answers as it is told, and remembers what it has seen.

#![allow(dead_code, unreachable_pub)] // each test uses its own part

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::talk_strict::{Found, From, Message, read_from};

/// What a server has seen.
#[derive(Clone, Debug)]
pub enum Seen {
    /// A request, over which connection.
    Request(usize, Message),
    /// One that broke off after its start line.
    Cut(String),
    Bad(String),
}

/// Answers a request; the flag says whether it is the connection's last.
pub type Answer = dyn Fn(&Message) -> (Vec<u8>, bool) + Send + Sync;

/// A server on a thread for each connection.
pub struct Server {
    pub at: SocketAddr,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(from: From, answer: Arc<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("its address");
        let (seen, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (seen_by, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            std::thread::scope(|scope| {
                for (n, stream) in listener.incoming().enumerate() {
                    if stopped.load(Ordering::Acquire) {
                        return;
                    }
                    let (seen, answer, stop) = (&seen_by, &*answer, &stopped);
                    let stream = stream.expect("a connection");
                    scope.spawn(move || serve(from, n, stream, seen, answer, stop));
                }
            });
        });
        Self { at, seen, stop, thread: Some(thread) }
    }

    /// What was seen since the last call.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().expect("nobody has failed"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        drop(TcpStream::connect(self.at)); // wakes it
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(
    from: From,
    n: usize,
    mut stream: TcpStream,
    seen: &Mutex<Vec<Seen>>,
    answer: &Answer,
    stop: &AtomicBool,
) {
    stream.set_nodelay(true).expect("no delay");
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a limit");
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    let tell = |what| seen.lock().expect("nobody has failed").push(what);
    while !stop.load(Ordering::Acquire) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
        loop {
            match read_from(from, &bytes, true, false) {
                Found::Message(message) => {
                    bytes.drain(..message.len);
                    let (out, last) = answer(&message);
                    tell(Seen::Request(n, message));
                    if stream.write_all(&out).is_err() || last {
                        return;
                    }
                }
                Found::More(_) => break,
                Found::Bad(why) => return tell(Seen::Bad(why)),
            }
        }
    }
    if let Found::More(Some(line)) = read_from(from, &bytes, true, false) {
        tell(Seen::Cut(line));
    }
}
