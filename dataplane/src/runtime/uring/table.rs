//! The ring driver's connections by their keys.
//!
//! Owns descriptors, and what the kernel holds of each connection; one is let go of once that
//! is nothing.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::send::Message;
use super::{GENERATIONS, Uring, dial};
use crate::runtime::{ConnKey, Payload, make_room};

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
    /// Whether the caller wants its descriptor back.
    pub(super) releasing: bool,
    pub(super) closing: bool,
}

pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) conn: Option<Conn>,
}

impl Uring {
    pub(super) fn descriptor(&self, key: ConnKey) -> Option<BorrowedFd<'_>> {
        let slot = self.slots.get(key.index as usize)?;
        let conn = slot.conn.as_ref().filter(|_| slot.generation == key.generation)?;
        Some(conn.fd.as_fd())
    }

    pub(super) fn conn(&mut self, key: ConnKey) -> Option<&mut Conn> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.conn.as_mut() } else { None }
    }

    /// Takes a descriptor into the table.
    pub(super) fn admit(&mut self, fd: OwnedFd, dialled: Option<Box<dial::Address>>) -> ConnKey {
        let index = self.free.pop().unwrap_or_else(|| {
            let one_more = self.slots.len() + 1;
            make_room(&mut self.slots, one_more);
            self.slots.push(Slot { generation: 0, conn: None });
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        slot.conn = Some(Conn {
            fd,
            receive: Receive::Quiet,
            pieces: false,
            wanted: true,
            sending: None,
            message: None,
            dialled,
            watched: false,
            releasing: false,
            closing: false,
        });
        ConnKey { index, generation: slot.generation }
    }

    /// Lets go of a connection that is closed or released once the kernel holds no request of it.
    pub(super) fn settle(&mut self, key: ConnKey) {
        let Some(conn) = self.conn(key) else { return };
        let quiet = conn.receive == Receive::Quiet && conn.sending.is_none() && !conn.watched;
        let over = conn.closing || conn.releasing;
        if over && quiet && conn.dialled.is_none() {
            let slot = &mut self.slots[key.index as usize];
            let conn = slot.conn.take();
            slot.generation = (slot.generation + 1) % GENERATIONS;
            self.free.push(key.index);
            if let Some(conn) = conn.filter(|conn| !conn.closing) {
                self.released.push((key, conn.fd));
            }
        }
    }
}
