//! The ring driver's connections by their keys.
//!
//! Owns descriptors, and what the kernel holds of each connection; one is let go of once that
//! is nothing.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::sockopt;

use super::send::Message;
use super::{Uring, dial};
use crate::runtime::{ConnKey, Event, Payload};

/// Where a connection's multishot receive stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receive {
    Quiet,
    Armed,
    /// Told to stop; its last completion is still to come.
    Cancelling,
}

pub(super) struct Conn {
    pub(super) fd: OwnedFd,
    pub(super) receive: Receive,
    /// Whether it receives large pieces, one at a time.
    pub(super) pieces: bool,
    /// Whether the caller wants to receive; differs from `receive` while that settles.
    pub(super) wanted: bool,
    pub(super) sending: Option<Payload>,
    pub(super) message: Option<Box<Message>>,
    /// Where it is being connected to, until it is.
    pub(super) dialled: Option<Box<dial::Address>>,
    /// Whether a reset is watched for, which is done while it is paused.
    pub(super) watched: bool,
    /// Whether a reset was told while it received. The receive may never tell of it, since it may
    /// end for want of buffers, and the watch says it once.
    pub(super) broken: bool,
    /// Whether the caller wants its descriptor back.
    pub(super) releasing: bool,
    pub(super) closing: bool,
}

impl Conn {
    /// That it is broken, and why.
    pub(super) fn failed(&self, key: ConnKey) -> Event {
        let error = sockopt::socket_error(&self.fd).and_then(|outcome| outcome).err();
        Event::Failed(key, error.unwrap_or(Errno::CONNRESET).into())
    }
}

impl Uring {
    pub(super) fn descriptor(&self, key: ConnKey) -> Option<BorrowedFd<'_>> {
        Some(self.conns.get(key)?.fd.as_fd())
    }

    pub(super) fn conn(&mut self, key: ConnKey) -> Option<&mut Conn> {
        self.conns.get_mut(key)
    }

    /// Takes a descriptor into the table.
    pub(super) fn admit(&mut self, fd: OwnedFd, dialled: Option<Box<dial::Address>>) -> ConnKey {
        self.conns.put(Conn {
            fd,
            receive: Receive::Quiet,
            pieces: false,
            wanted: true,
            sending: None,
            message: None,
            dialled,
            watched: false,
            broken: false,
            releasing: false,
            closing: false,
        })
    }

    /// Lets go of a connection that is closed or released once the kernel holds no request of it.
    pub(super) fn settle(&mut self, key: ConnKey) {
        let Some(conn) = self.conn(key) else { return };
        let quiet = conn.receive == Receive::Quiet && conn.sending.is_none() && !conn.watched;
        let over = conn.closing || conn.releasing;
        if over
            && quiet
            && conn.dialled.is_none()
            && let Some(conn) = self.conns.take(key)
            && !conn.closing
        {
            self.released.push((key, conn.fd));
        }
    }
}
