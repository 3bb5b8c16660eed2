//! What completions say.
//!
//! Owns the user data of requests: what each is about, and of which connection.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd};

use io_uring::cqueue;
use rustix::io::Errno;

use super::table::Receive;
use super::{ACCEPT_REST, Uring};
use crate::runtime::slots::GENERATIONS;
use crate::runtime::{ConnKey, Event, ListenerId, Loan, clock};

/// What a completion is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Op {
    Accept,
    Receive,
    Send,
    Cancel,
    Wake,
    /// A message to another ring.
    Ring,
    /// A message from another ring.
    Rung,
    Connect,
    /// Watching for a reset.
    Watch,
}

impl Op {
    pub(super) fn token(self, key: ConnKey) -> u64 {
        (self as u64) << 56 | u64::from(key.generation) << 32 | u64::from(key.index)
    }

    pub(super) fn of(token: u64) -> (Self, ConnKey) {
        let op = match token >> 56 {
            0 => Self::Accept,
            1 => Self::Receive,
            2 => Self::Send,
            3 => Self::Cancel,
            4 => Self::Wake,
            5 => Self::Ring,
            6 => Self::Rung,
            7 => Self::Connect,
            _ => Self::Watch,
        };
        let generation = (token >> 32) as u32 & (GENERATIONS - 1);
        (op, ConnKey { index: token as u32, generation })
    }
}

pub(super) fn error_of(result: i32) -> Option<Errno> {
    (result < 0).then(|| Errno::from_raw_os_error(-result))
}

impl Uring {
    pub(super) fn complete(&mut self, cqe: &cqueue::Entry, events: &mut Vec<Event>) {
        let (op, key) = Op::of(cqe.user_data());
        match op {
            Op::Accept => self.accepted(key.index as usize, cqe, events),
            Op::Receive => self.received(key, cqe, events),
            Op::Send => self.sent(key, cqe.result(), events),
            Op::Cancel => {}
            Op::Wake => {
                self.waker.clear();
                self.wake_armed = cqueue::more(cqe.flags());
                events.push(Event::Woken);
            }
            Op::Ring => self.bells.refused(key.index), // success is not reported
            Op::Rung => events.push(Event::Woken),
            Op::Connect => self.connected(key, cqe.result(), events),
            Op::Watch => self.watched(key, cqe, events),
        }
    }

    fn accepted(&mut self, index: usize, cqe: &cqueue::Entry, events: &mut Vec<Event>) {
        match error_of(cqe.result()) {
            None => {
                // SAFETY: the kernel has just made this descriptor for us; nobody else has it.
                let fd = unsafe { OwnedFd::from_raw_fd(cqe.result()) };
                events.push(Event::Accepted(ListenerId(index as u16), fd.into()));
            }
            Some(Errno::CANCELED) => {}
            Some(_) if self.is_closing(index) => {}
            Some(errno) => {
                self.accept_rests = Some(clock::monotonic().after(ACCEPT_REST));
                events.push(Event::AcceptFailed(errno.into()));
            }
        }
        if !cqueue::more(cqe.flags()) {
            if self.is_closing(index) {
                self.listeners[index] = None;
            } else if let Some(listener) = &mut self.listeners[index] {
                listener.armed = false;
            }
        }
    }

    fn is_closing(&self, listener: usize) -> bool {
        self.listeners[listener].as_ref().is_none_or(|it| it.closing)
    }

    /// A connection that has been paused is broken, or closed by both sides.
    fn watched(&mut self, key: ConnKey, cqe: &cqueue::Entry, events: &mut Vec<Event>) {
        let more = cqueue::more(cqe.flags());
        self.in_flight -= usize::from(!more);
        let Some(conn) = self.conn(key) else { return };
        conn.watched = more;
        if conn.closing || conn.releasing {
            return self.settle(key);
        }
        let result = cqe.result();
        if result > 0 && result & i32::from(libc::POLLERR) != 0 {
            // One that receives hears of it by that, after what has come before; or once it is
            // paused.
            if conn.wanted {
                conn.broken = true;
            } else {
                events.push(conn.failed(key));
            }
        }
    }

    fn received(&mut self, key: ConnKey, cqe: &cqueue::Entry, events: &mut Vec<Event>) {
        let more = cqueue::more(cqe.flags());
        let loan = cqueue::buffer_select(cqe.flags());
        if let Some(id) = loan {
            self.ring_of(id).lend(id);
            self.loans.push(id);
        }
        if !more {
            self.in_flight -= 1;
        }
        let Some(conn) = self.conn(key) else { return };
        if !more {
            conn.receive = Receive::Quiet;
        }
        let (closing, leaving) = (conn.closing, conn.closing || conn.releasing);
        match (error_of(cqe.result()), loan) {
            _ if closing => {}
            (None, Some(id)) if cqe.result() > 0 => {
                events.push(Event::Received(key, Loan { id, len: cqe.result() as u32 }));
                if !more {
                    conn.wanted &= !conn.pieces;
                    self.arm_receive(key);
                }
            }
            (None, _) => {
                conn.wanted = false;
                self.watches.push(key);
                events.push(Event::Ended(key));
            }
            (Some(Errno::NOBUFS), _) => {
                self.starved.push(key);
                self.starved_count += 1;
            }
            (Some(Errno::CANCELED), _) => self.arm_receive(key),
            (Some(errno), _) => {
                conn.wanted = false;
                events.push(Event::Failed(key, errno.into()));
            }
        }
        if leaving {
            self.settle(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::time::Duration;

    use rustix::net::sockopt::set_socket_linger;

    use super::*;
    use crate::runtime::{Driver, PIECES, Wait};

    fn turn(driver: &mut Uring) -> Vec<Event> {
        let mut events = Vec::new();
        driver.turn(Wait::AtMost(100_000_000), &mut events).unwrap();
        events
    }

    /// What is told of a connection whose receive ends for want of buffers in the turn in which
    /// the watch tells of a reset, and which is then paused: nothing else would ever tell of it.
    fn told_of_a_reset(and_resumed: bool) -> Vec<&'static str> {
        let mut driver = Uring::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pair = |driver: &mut Uring| {
            let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let fd: OwnedFd = listener.accept().unwrap().0.into();
            let key = driver.open(fd.into()).unwrap();
            driver.receive_by_pieces(key, true);
            turn(driver);
            (key, peer)
        };
        // Half of the buffers are kept, and others take the rest before it.
        let mut others: Vec<_> = (0..PIECES).map(|_| pair(&mut driver)).collect();
        let (key, mut peer) = pair(&mut driver);
        driver.pause(key);
        turn(&mut driver);
        driver.resume(key);
        turn(&mut driver);
        let mut kept = Vec::new();
        for (_, other) in &mut others[..usize::from(PIECES) / 2] {
            other.write_all(b"x").unwrap();
            let events = turn(&mut driver);
            let [Event::Received(_, loan)] = events[..] else { panic!("{events:?}") };
            kept.extend(driver.keep(loan));
        }
        for (_, other) in &mut others[usize::from(PIECES) / 2..] {
            other.write_all(b"x").unwrap();
        }
        peer.write_all(b"unread").unwrap();
        set_socket_linger(peer.as_fd(), Some(Duration::ZERO)).unwrap();
        drop(peer);
        let events = turn(&mut driver);
        assert_eq!((events.len(), driver.starved()), (usize::from(PIECES) / 2, 1), "{events:?}");
        driver.pause(key);
        let mut told = Vec::new();
        for _ in 0..3 {
            if and_resumed {
                driver.resume(key); // once for each piece
            }
            told.extend(turn(&mut driver).iter().filter_map(|event| match event {
                Event::Received(of, loan) if *of == key && loan.len == 6 => Some("all of it"),
                Event::Failed(of, _) if *of == key => Some("reset"),
                _ => None,
            }));
        }
        told
    }

    #[test]
    fn a_reset_is_told_though_the_receive_had_no_buffer_for_it() {
        assert_eq!(told_of_a_reset(false), ["reset"]);
        assert_eq!(told_of_a_reset(true), ["all of it", "reset"]);
    }
}
