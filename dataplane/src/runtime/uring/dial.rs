//! Connecting to servers through the ring.
//!
//! Owns the form in which the kernel reads an address. The address of a connection under way
//! lies boxed in the connection until the completion is reaped, as payloads do.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use io_uring::{opcode, types};

use super::complete::{Op, error_of};
use super::{ConnKey, Event, Uring};
use crate::net;

/// An address as the kernel reads it.
pub(super) enum Address {
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
}

impl Address {
    fn of(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => Self::V4(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(v6) => Self::V6(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            }),
        }
    }

    fn raw(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        match self {
            Self::V4(v4) => ((&raw const *v4).cast(), size_of_val(v4) as libc::socklen_t),
            Self::V6(v6) => ((&raw const *v6).cast(), size_of_val(v6) as libc::socklen_t),
        }
    }
}

impl Uring {
    pub(super) fn dial(&mut self, to: SocketAddr) -> io::Result<ConnKey> {
        let fd = net::dialling_socket(to, true)?;
        let number = types::Fd(fd.as_raw_fd());
        let key = self.admit(fd, Some(Box::new(Address::of(to))));
        // Named where it stays until the completion.
        let address = self.conn(key).and_then(|conn| conn.dialled.as_ref());
        let Some((raw, len)) = address.map(|address| address.raw()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        self.in_flight += 1;
        self.push(opcode::Connect::new(number, raw, len).build(), Op::Connect, key);
        Ok(key)
    }

    pub(super) fn connected(&mut self, key: ConnKey, result: i32, events: &mut Vec<Event>) {
        self.in_flight -= 1;
        let Some(conn) = self.conn(key) else { return };
        conn.dialled = None;
        if conn.closing {
            return self.settle(key);
        }
        match error_of(result) {
            None => {
                events.push(Event::Connected(key));
                self.arm_receive(key);
            }
            Some(errno) => {
                conn.wanted = false;
                events.push(Event::Failed(key, errno.into()));
            }
        }
    }

    /// The connection is to be closed before it is one.
    pub(super) fn give_up_dialling(&mut self, key: ConnKey) {
        let entry = opcode::AsyncCancel::new(Op::Connect.token(key)).build();
        self.push(entry, Op::Cancel, key);
    }
}
