//! An accepted connection on its way to the driver that will serve it.
//!
//! Owns the descriptor, or the simulator's end in its place, until [`super::Driver::open`]
//! takes it; dropped before, the connection is closed.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{SendFlags, send};

use super::sim::SimSocket;
use crate::net;

/// See the module's text.
#[derive(Debug)]
pub enum Socket {
    /// A descriptor of the kernel.
    Kernel(OwnedFd),
    /// One end of a connection of the simulated network.
    Simulated(SimSocket),
}

impl Socket {
    /// Sets how soon a silent peer is probed, in seconds; 0 for never.
    pub fn keep_alive(&self, seconds: u32) {
        match self {
            Self::Kernel(fd) => net::keep_alive(fd.as_fd(), seconds),
            Self::Simulated(_) => {} // the simulated network loses no peer in silence
        }
    }

    /// The peer's and the own address.
    pub fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        match self {
            Self::Kernel(fd) => net::addresses(fd.as_fd()),
            Self::Simulated(socket) => socket.addresses(),
        }
    }

    /// Tells the peer why it is not served, and closes. To a socket that has just been made
    /// this does not block; if it fails, the peer learns by the close.
    pub fn refuse(self, text: &'static [u8]) {
        match self {
            Self::Kernel(fd) => {
                let _ = send(&fd, text, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
            }
            Self::Simulated(socket) => socket.refuse(text),
        }
    }
}

impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Self {
        Self::Kernel(fd)
    }
}
