//! Chooses the driver: io_uring where the kernel lets us, epoll otherwise, and says why.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;

use super::uring::Uring;

/// The drivers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverKind {
    /// `io_uring`, kernel 6.1 and newer.
    Uring,
    /// `epoll`, anywhere.
    Epoll,
}

impl DriverKind {
    /// As the command line, the log, INFO and the metrics call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A chosen driver and the reason, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What to run.
    pub kind: DriverKind,
    /// Why.
    pub reason: String,
}

/// Tries the ring once, as a shard would use it, and falls back to epoll.
pub fn auto() -> Choice {
    match Uring::new() {
        Ok(_) => Choice {
            kind: DriverKind::Uring,
            reason: "the kernel offers all that the ring needs".into(),
        },
        Err(error) => Choice { kind: DriverKind::Epoll, reason: why_not(&error) },
    }
}

/// Tries the ring because it was asked for by name.
///
/// # Errors
/// In words, when the ring cannot be had.
pub fn uring() -> Result<Choice, String> {
    Uring::new().map_err(|error| why_not(&error))?;
    Ok(Choice { kind: DriverKind::Uring, reason: "asked for".into() })
}

/// Epoll, asked for by name.
pub fn epoll() -> Choice {
    Choice { kind: DriverKind::Epoll, reason: "asked for".into() }
}

fn why_not(error: &io::Error) -> String {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => {
            "io_uring is forbidden here (seccomp profile or sysctl kernel.io_uring_disabled)".into()
        }
        Some(rustix::io::Errno::NOSYS) => "this kernel has no io_uring".into(),
        Some(rustix::io::Errno::NOMEM) => {
            "too little locked memory for io_uring (raise `ulimit -l` or LimitMEMLOCK)".into()
        }
        Some(rustix::io::Errno::INVAL) => {
            "this kernel's io_uring lacks what is needed (6.1 or newer has it)".into()
        }
        _ => format!("io_uring could not be set up: {error}"),
    }
}
