//! Ends a shard's sleep from another thread: an eventfd that its driver watches, or the flag
//! that a simulated one looks at.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// A handle to wake one driver. Clones ring the same bell.
#[derive(Clone, Debug)]
pub struct Waker(Bell);

#[derive(Clone, Debug)]
enum Bell {
    Kernel(EventFd),
    Simulated(Arc<AtomicBool>),
}

impl Waker {
    /// Wakes the driver now, or keeps it from its next sleep. Any thread.
    pub fn wake(&self) {
        match &self.0 {
            Bell::Kernel(fd) => fd.ring(),
            Bell::Simulated(flag) => flag.store(true, Ordering::Release),
        }
    }

    /// Wakes whoever looks at the flag.
    pub(super) fn simulated(flag: Arc<AtomicBool>) -> Self {
        Self(Bell::Simulated(flag))
    }
}

/// The bell of a driver that waits in the kernel.
#[derive(Clone, Debug)]
pub(super) struct EventFd(Arc<OwnedFd>);

impl EventFd {
    pub(super) fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(fd)))
    }

    fn ring(&self) {
        // A full counter (EAGAIN) means that it is rung already.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    /// Takes the ring back; the driver's thread.
    pub(super) fn clear(&self) {
        let mut count = [0u8; 8];
        let _ = rustix::io::read(&*self.0, &mut count[..]);
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(super) fn waker(&self) -> Waker {
        Waker(Bell::Kernel(self.clone()))
    }
}
