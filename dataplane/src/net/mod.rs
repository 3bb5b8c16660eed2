//! Sockets: binding, options, limits of the process. Errors say what to do.

#![forbid(unsafe_code)]

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// How often and how long binding is tried while the port is in use: the kernel frees a
/// ring's listener a little after its process has ended.
const BIND_TRIES: u32 = 20;
const BIND_PAUSE: std::time::Duration = std::time::Duration::from_millis(25);

/// Binds and listens. Accepted connections inherit TCP_NODELAY.
///
/// # Errors
/// One line for the operator.
pub fn listen_on(address: SocketAddr) -> Result<TcpListener, String> {
    let mut last = None;
    for attempt in 0..BIND_TRIES {
        if attempt > 0 {
            std::thread::sleep(BIND_PAUSE);
        }
        match try_listen(address) {
            Ok(listener) => return Ok(listener.into()),
            Err(error) => {
                let in_use = error.kind() == io::ErrorKind::AddrInUse;
                last = Some(error);
                if !in_use {
                    break;
                }
            }
        }
    }
    let error = last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into());
    Err(explain(address, &error))
}

fn try_listen(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    bind(&fd, &address)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    listen(&fd, BACKLOG)?;
    Ok(fd)
}

/// A socket to connect to that address with, with TCP_NODELAY. `waits`: whether calls that
/// cannot go on wait, as the ring wants it (it waits for us and ends requests to others).
///
/// # Errors
/// When the process or the system has no descriptor left.
pub fn dialling_socket(to: SocketAddr, waits: bool) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let mut flags = SocketFlags::CLOEXEC;
    flags.set(SocketFlags::NONBLOCK, !waits);
    let fd = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    Ok(fd)
}

/// Resets a connection: its peer learns that what it has got is not all. The descriptor stays.
pub fn reset(fd: impl AsFd) {
    // Disconnecting resets at once, while closing with a linger of no time would do it behind
    // the end that a shutdown has sent. A connection that is over already needs none.
    let _ = rustix::net::connect_unspec(fd);
}

fn explain(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "cannot listen on {address}: the port is in use; stop the program that has it \
             (`ss -ltnp sport = :{}`) or choose another",
            address.port()
        ),
        io::ErrorKind::PermissionDenied => format!(
            "cannot listen on {address}: no permission; choose a port from 1024 on, or give the \
             program CAP_NET_BIND_SERVICE"
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "cannot listen on {address}: this machine does not have that address; see `ip addr`"
        ),
        _ => format!("cannot listen on {address}: {error}"),
    }
}

/// Sets the keep-alive probes of an accepted connection.
pub fn keep_alive(fd: BorrowedFd<'_>, seconds: u32) {
    if seconds == 0 {
        return;
    }
    let idle = std::time::Duration::from_secs(seconds.into());
    // A connection that is gone by now reports itself elsewhere.
    let _ = sockopt::set_socket_keepalive(fd, true)
        .and_then(|()| sockopt::set_tcp_keepidle(fd, idle))
        .and_then(|()| sockopt::set_tcp_keepintvl(fd, idle / 3))
        .and_then(|()| sockopt::set_tcp_keepcnt(fd, 3));
}

/// The peer's and the own address of a connection.
pub fn addresses(fd: BorrowedFd<'_>) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let peer = rustix::net::getpeername(fd).ok().flatten();
    let own = rustix::net::getsockname(fd).ok();
    (peer.and_then(|a| a.try_into().ok()), own.and_then(|a| a.try_into().ok()))
}

/// Raises the limit of open files as far as allowed and returns what it is then.
pub fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let got = if setrlimit(Resource::Nofile, wanted).is_ok() { wanted } else { limit };
    got.current.unwrap_or(u64::MAX)
}
