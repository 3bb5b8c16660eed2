//! Sends through the ring: part by part, plain or vectored.
//!
//! Owns the form in which the kernel reads a vectored send. Unsafe because of that.
#![allow(unsafe_code)]

use std::os::fd::AsRawFd;

use io_uring::{opcode, types};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::Uring;
use super::complete::{Op, error_of};
use crate::runtime::{ConnKey, Event, Payload, SEND_CHUNK_BYTES};

/// Most bytes of a payload that is sent outside the ring.
const SMALL_BYTES: usize = 16 << 10;

/// The header of a vectored send; boxed, since the kernel reads it by address.
pub(super) struct Message {
    header: libc::msghdr,
    /// What the header points to.
    pieces: Vec<libc::iovec>,
}

impl Default for Message {
    fn default() -> Self {
        // SAFETY: all-zero is a valid msghdr: no name, no pieces, no control data.
        let header = unsafe { std::mem::zeroed() };
        Self { header, pieces: Vec::new() }
    }
}

impl Message {
    /// Names the next pieces of a payload; those of before have left.
    fn fill(&mut self, payload: &Payload) {
        self.pieces.clear();
        payload.each_piece(SEND_CHUNK_BYTES, |piece| {
            self.pieces.push(libc::iovec {
                iov_base: piece.as_ptr().cast_mut().cast(),
                iov_len: piece.len(),
            });
        });
        self.header.msg_iov = self.pieces.as_mut_ptr();
        self.header.msg_iovlen = self.pieces.len();
    }
}

impl Uring {
    /// Sends what the kernel takes of a small payload at once; `false` when the peer takes
    /// nothing any more, which is told.
    pub(super) fn send_now(&mut self, key: ConnKey, payload: &mut Payload) -> bool {
        let Some(conn) = self.conns.get(key) else { return true };
        let Some(bytes) = payload.plain().filter(|bytes| bytes.len() <= SMALL_BYTES) else {
            return true;
        };
        match send(&conn.fd, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(n) => payload.advance(n),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => {
                self.pending.push(Event::Deaf(key, errno.into()));
                return false;
            }
        }
        true
    }

    /// Queues the next part of the payload in flight.
    pub(super) fn continue_send(&mut self, key: ConnKey) {
        let Some(conn) = self.conn(key) else { return };
        let Some(payload) = &conn.sending else { return };
        let fd = types::Fd(conn.fd.as_raw_fd());
        let entry = if let Some(bytes) = payload.plain() {
            let len = bytes.len().min(SEND_CHUNK_BYTES) as u32;
            opcode::Send::new(fd, bytes.as_ptr(), len).flags(libc::MSG_NOSIGNAL).build()
        } else {
            let message = conn.message.get_or_insert_default();
            message.fill(payload);
            opcode::SendMsg::new(fd, &raw const message.header)
                .flags(libc::MSG_NOSIGNAL as u32)
                .build()
        };
        self.in_flight += 1;
        self.push(entry, Op::Send, key);
    }

    pub(super) fn sent(&mut self, key: ConnKey, result: i32, events: &mut Vec<Event>) {
        self.in_flight -= 1;
        let Some(conn) = self.conn(key) else { return };
        let Some(mut payload) = conn.sending.take() else { return };
        let closing = conn.closing;
        match error_of(result) {
            None => payload.advance(result as usize),
            Some(Errno::AGAIN | Errno::INTR) => {}
            Some(errno) => {
                if closing {
                    self.settle(key);
                } else {
                    events.push(Event::Deaf(key, errno.into()));
                }
                return;
            }
        }
        if closing {
            self.settle(key);
        } else if payload.left() == 0 {
            events.push(Event::Sent(key, payload));
        } else {
            conn.sending = Some(payload);
            self.continue_send(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::super::FEW_SENDS;
    use super::*;
    use crate::runtime::{Driver, Wait};

    fn pair(driver: &mut Uring) -> (ConnKey, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let fd: std::os::fd::OwnedFd = listener.accept().unwrap().0.into();
        (driver.open(fd.into()).unwrap(), peer)
    }

    fn payload(len: usize) -> Payload {
        Payload::new(vec![b'x'; len], Vec::new())
    }

    /// What happens within a while, until `wanted` is among it.
    fn await_event(driver: &mut Uring, wanted: impl Fn(&Event) -> bool) -> bool {
        let (mut events, since) = (Vec::new(), Instant::now());
        while since.elapsed() < Duration::from_secs(5) {
            driver.turn(Wait::AtMost(100_000_000), &mut events).unwrap();
            if events.drain(..).any(|event| wanted(&event)) {
                return true;
            }
        }
        false
    }

    #[test]
    fn one_small_send_leaves_at_once_and_others_through_the_ring() {
        let mut driver = Uring::new().unwrap();
        let (key, mut peer) = pair(&mut driver);
        driver.expect_sends(FEW_SENDS);
        assert!(driver.send(key, payload(10)).is_some());
        peer.read_exact(&mut [0; 10]).unwrap();
        for (expected, len) in [(FEW_SENDS + 1, 10), (FEW_SENDS, SMALL_BYTES + 1)] {
            driver.expect_sends(expected);
            assert!(driver.send(key, payload(len)).is_none());
            assert!(await_event(&mut driver, |e| matches!(e, Event::Sent(to, _) if *to == key)));
            peer.read_exact(&mut vec![0; len]).unwrap();
        }
    }

    #[test]
    fn what_does_not_fit_follows() {
        let mut driver = Uring::new().unwrap();
        let (key, mut peer) = pair(&mut driver);
        driver.expect_sends(1);
        let mut sent = 0;
        while driver.send(key, payload(SMALL_BYTES)).is_some() {
            sent += SMALL_BYTES;
        }
        sent += SMALL_BYTES;
        assert!(driver.unsent(key) > 0);
        driver.submit().unwrap();
        let reader = std::thread::spawn(move || peer.read_exact(&mut vec![0; sent]).map(|()| peer));
        assert!(await_event(&mut driver, |e| matches!(e, Event::Sent(to, _) if *to == key)));
        assert!(reader.join().unwrap().is_ok());
    }

    #[test]
    fn a_peer_that_takes_nothing_is_told_at_once() {
        let mut driver = Uring::new().unwrap();
        let (key, peer) = pair(&mut driver);
        driver.finish(key); // whatever is sent now is refused
        drop(peer);
        driver.expect_sends(1);
        assert!(driver.send(key, payload(10)).is_none());
        let start = Instant::now();
        let mut events = Vec::new();
        driver.turn(Wait::Forever, &mut events).unwrap();
        assert!(matches!(events[0], Event::Deaf(to, _) if to == key), "{events:?}");
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}
