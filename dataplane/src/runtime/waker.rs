//! Ends a shard's sleep from another thread: an eventfd that its driver watches, or the flag
//! that a simulated one looks at.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

/// A handle to wake one driver. Clones ring the same bell.
#[derive(Clone, Debug)]
pub struct Waker(Bell);

#[derive(Clone, Debug)]
enum Bell {
    Kernel {
        eventfd: EventFd,
        /// The ring that waits for it, if a ring does: open as long as its shard runs.
        ring: Option<i32>,
    },
    Simulated(Arc<AtomicBool>),
}

impl Waker {
    /// Wakes the driver now, or keeps it from its next sleep. Any thread.
    pub fn wake(&self) {
        match &self.0 {
            Bell::Kernel { eventfd, .. } => eventfd.ring(),
            Bell::Simulated(flag) => flag.store(true, Ordering::Release),
        }
    }

    /// The descriptor of the ring that is to be woken, for a message from another.
    pub(super) fn ring(&self) -> Option<i32> {
        match &self.0 {
            Bell::Kernel { ring, .. } => *ring,
            Bell::Simulated(_) => None,
        }
    }

    /// Wakes whoever looks at the flag.
    pub(super) fn simulated(flag: Arc<AtomicBool>) -> Self {
        Self(Bell::Simulated(flag))
    }
}

/// The bell of a thread that waits in the kernel.
#[derive(Clone, Debug)]
pub(crate) struct EventFd(Arc<OwnedFd>);

impl EventFd {
    pub(crate) fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(fd)))
    }

    pub(crate) fn ring(&self) {
        // A full counter (EAGAIN) means that it is rung already.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    /// Sleeps until it is rung.
    pub(crate) fn wait(&self) {
        let mut fds = [PollFd::new(&*self.0, PollFlags::IN)];
        // An interruption is a wake-up like any other.
        let _ = poll(&mut fds, None);
    }

    /// Takes the ring back; the owner's thread.
    pub(crate) fn clear(&self) {
        let mut count = [0u8; 8];
        let _ = rustix::io::read(&*self.0, &mut count[..]);
    }

    #[cfg(test)]
    pub(super) fn is_rung(&self) -> bool {
        let mut fds = [PollFd::new(&*self.0, PollFlags::IN)];
        let none = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&none)).is_ok_and(|ready| ready == 1)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(super) fn waker(&self, ring: Option<i32>) -> Waker {
        Waker(Bell::Kernel { eventfd: self.clone(), ring })
    }
}
