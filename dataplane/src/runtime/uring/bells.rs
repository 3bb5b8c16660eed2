//! Wakes other shards by a message from this ring to theirs (MSG_RING), which leaves with the
//! next entry into the kernel and costs neither side a system call of its own.
//!
//! Owns which shards have been rung; where the kernel refuses, the eventfd is rung, from then
//! on at once.

#![forbid(unsafe_code)]

use io_uring::{opcode, squeue, types};

use super::super::Waker;

/// See the module's text.
#[derive(Default)]
pub(super) struct Bells {
    /// Those rung so far: few, each for ever.
    known: Vec<(i32, Waker)>,
    refused: bool,
}

impl Bells {
    /// The request that rings, and its number; none when the bell has been rung otherwise.
    /// `token` is what the other ring is told.
    pub(super) fn ring(&mut self, waker: &Waker, token: u64) -> Option<(squeue::Entry, u32)> {
        let Some(ring) = waker.ring().filter(|_| !self.refused) else {
            waker.wake();
            return None;
        };
        let number = self.known.iter().position(|(known, _)| *known == ring).unwrap_or_else(|| {
            self.known.push((ring, waker.clone()));
            self.known.len() - 1
        });
        let entry = opcode::MsgRingData::new(types::Fd(ring), 0, token, None).build();
        Some((entry.flags(squeue::Flags::SKIP_SUCCESS), number as u32))
    }

    /// The kernel did not pass a message on.
    pub(super) fn refused(&mut self, number: u32) {
        self.refused = true;
        if let Some((_, waker)) = self.known.get(number as usize) {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::super::super::waker::EventFd;
    use super::super::super::{Driver, Event, Wait};
    use super::super::Uring;

    /// Longer than anything here takes, and no reason to hang.
    const PATIENCE: Duration = Duration::from_secs(5);

    fn woken_within_patience(driver: &mut Uring) -> bool {
        let (mut events, since) = (Vec::new(), Instant::now());
        while since.elapsed() < PATIENCE {
            driver.turn(Wait::AtMost(PATIENCE.as_nanos() as u64), &mut events).unwrap();
            if events.iter().any(|event| matches!(event, Event::Woken)) {
                return true;
            }
        }
        false
    }

    #[test]
    fn a_sleeping_ring_is_woken_by_a_message_and_not_by_its_eventfd() {
        let (started, start) = mpsc::channel();
        let sleeper = std::thread::spawn(move || {
            let mut driver = Uring::new().unwrap();
            started.send((driver.waker(), driver.waker.clone())).unwrap();
            let woken = woken_within_patience(&mut driver);
            (woken, driver.wake_armed)
        });
        let (waker, eventfd) = start.recv().unwrap();
        let mut driver = Uring::new().unwrap();
        driver.wake(&waker);
        driver.submit().unwrap();
        assert_eq!(sleeper.join().unwrap(), (true, true));
        assert!(!eventfd.is_rung(), "the message was enough");
        driver.turn(Wait::Poll, &mut Vec::new()).unwrap();
        assert!(!driver.bells.refused);
    }

    #[test]
    fn where_the_kernel_refuses_the_eventfd_is_rung() {
        let eventfd = EventFd::new().unwrap();
        let no_ring = eventfd.fd().as_raw_fd();
        let mut driver = Uring::new().unwrap();
        driver.wake(&eventfd.waker(Some(no_ring)));
        assert!(!eventfd.is_rung());
        driver.turn(Wait::AtMost(PATIENCE.as_nanos() as u64), &mut Vec::new()).unwrap();
        assert!(eventfd.is_rung());
        eventfd.clear();
        driver.wake(&eventfd.waker(Some(no_ring)));
        assert!(eventfd.is_rung(), "it is not tried again");
    }
}
