//! The ring itself: set up, fed and entered. Knows requests and completions only.
//!
//! Unsafe because a submitted request names memory and descriptors that must outlive it;
//! the contract is on [`Ring::push`], and `mod.rs` upholds it.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};

use super::super::Wait;

/// Requests queued between two entries; a full queue is submitted early.
const SUBMISSIONS: u32 = 1024;
/// Completions kept between two turns; past them the kernel keeps a list of its own.
const COMPLETIONS: u32 = 8192;

const EINTR: i32 = rustix::io::Errno::INTR.raw_os_error();
const ETIME: i32 = rustix::io::Errno::TIME.raw_os_error();
const EBUSY: i32 = rustix::io::Errno::BUSY.raw_os_error();
const EAGAIN: i32 = rustix::io::Errno::AGAIN.raw_os_error();

pub(super) struct Ring {
    ring: IoUring,
}

impl Ring {
    /// Sets a ring up with what a shard needs, or says what is missing.
    ///
    /// DEFER_TASKRUN is worth 22 to 55 % of a request's CPU (no interrupt per
    /// completion) and needs kernel 6.1; it asks that one thread alone submits.
    pub(super) fn new() -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_cqsize(COMPLETIONS)
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .dontfork()
            .build(SUBMISSIONS)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let needed = [
            opcode::AcceptMulti::CODE,
            opcode::RecvMulti::CODE,
            opcode::Send::CODE,
            opcode::SendMsg::CODE,
            opcode::AsyncCancel::CODE,
            opcode::PollAdd::CODE,
            opcode::MsgRingData::CODE,
        ];
        let params = ring.params();
        if !needed.iter().all(|code| probe.is_supported(*code))
            || !params.is_feature_ext_arg()
            || !params.is_feature_nodrop()
        {
            return Err(rustix::io::Errno::INVAL.into());
        }
        Ok(Self { ring })
    }

    pub(super) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.ring.submitter()
    }

    /// The number of its descriptor, by which other rings send messages to it.
    pub(super) fn number(&self) -> i32 {
        self.ring.as_raw_fd()
    }

    /// Queues a request.
    ///
    /// # Safety
    /// Whatever memory and descriptor `entry` names stays valid, and the memory unmoved
    /// and (for sends) unchanged, until the request's last completion has been reaped.
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: the caller's contract is the one of the queue.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.submit()?;
        }
    }

    /// Submits what is queued without waiting.
    pub(super) fn submit(&mut self) -> io::Result<()> {
        tolerate(self.ring.submit())
    }

    /// Submits, waits for a completion, and moves all there are to `into`.
    pub(super) fn turn(&mut self, wait: Wait, into: &mut Vec<cqueue::Entry>) -> io::Result<()> {
        let ready = !self.ring.completion().is_empty();
        let result = match wait {
            _ if ready => self.enter(0),
            Wait::Poll => self.enter(0),
            Wait::Forever => self.ring.submit_and_wait(1),
            Wait::AtMost(ns) => {
                let span =
                    Timespec::new().sec(ns / 1_000_000_000).nsec((ns % 1_000_000_000) as u32);
                let args = SubmitArgs::new().timespec(&span);
                self.ring.submitter().submit_with_args(1, &args)
            }
        };
        tolerate(result)?;
        into.extend(self.ring.completion());
        Ok(())
    }

    /// Enters without waiting, and lets the kernel run what it deferred to us.
    fn enter(&mut self, want: u32) -> io::Result<usize> {
        const GETEVENTS: u32 = 1;
        let queued = self.ring.submission().len() as u32;
        // SAFETY: no signal mask or argument is passed; the queued entries were vouched for.
        unsafe { self.ring.submitter().enter::<u8>(queued, want, GETEVENTS, None) }
    }
}

/// Interruptions, time-outs and a momentarily full completion queue are no failures: the
/// next turn goes on where this one stopped.
fn tolerate(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(e) if matches!(e.raw_os_error(), Some(EINTR | ETIME | EBUSY | EAGAIN)) => Ok(()),
        Err(e) => Err(e),
    }
}
