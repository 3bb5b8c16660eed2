//! Chooses the driver: io_uring where the kernel lets us, epoll otherwise, and says why.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;

use super::epoll::Epoll;
use super::uring::Uring;

/// The drivers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverKind {
    /// `io_uring`, kernel 6.1 and newer.
    Uring,
    /// `epoll`, anywhere.
    Epoll,
    /// A simulated network; in tests only, the command line does not know it.
    Sim,
}

impl DriverKind {
    /// As the command line, the log, INFO and the metrics call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
            Self::Sim => "sim",
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

/// Which driver is wished for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The ring where the kernel lets us, epoll otherwise.
    Auto,
    /// This one or none.
    Only(DriverKind),
}

/// A driver that works, on the thread that will use it.
pub enum Opened {
    /// The ring.
    Uring(Box<Uring>),
    /// The poll set.
    Epoll(Box<Epoll>),
}

/// Opens a driver. The ring that was tried is the one that is used: a second one might not
/// get the memory that the first was given.
///
/// # Errors
/// In words, when the wish cannot be met.
pub fn open(wish: Wish) -> Result<(Opened, Choice), String> {
    let epoll = |reason: String| match Epoll::new() {
        Ok(driver) => {
            Ok((Opened::Epoll(Box::new(driver)), Choice { kind: DriverKind::Epoll, reason }))
        }
        Err(error) => Err(format!("epoll could not be set up: {error}")),
    };
    match wish {
        Wish::Only(DriverKind::Epoll) => return epoll("asked for".into()),
        Wish::Only(DriverKind::Sim) => return Err("a simulated network serves nobody".into()),
        Wish::Auto | Wish::Only(DriverKind::Uring) => {}
    }
    match (Uring::new(), wish) {
        (Ok(driver), _) => {
            let asked = wish != Wish::Auto;
            let reason =
                if asked { "asked for" } else { "the kernel offers all that the ring needs" };
            let choice = Choice { kind: DriverKind::Uring, reason: reason.into() };
            Ok((Opened::Uring(Box::new(driver)), choice))
        }
        (Err(error), Wish::Auto) => epoll(why_not(&error)),
        (Err(error), Wish::Only(_)) => Err(why_not(&error)),
    }
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
