//! Requests that stay with the kernel: what listens, receives, watches and wakes.

#![forbid(unsafe_code)]

use std::os::fd::AsRawFd;

use io_uring::{opcode, squeue, types};

use super::complete::Op;
use super::table::{Conn, Receive};
use super::{GROUP, PIECE_GROUP, Uring};
use crate::runtime::{ConnKey, RECEIVE_BUFFERS};

impl Uring {
    /// Watches for a reset, which goes on when the connection receives again.
    pub(super) fn watch(&mut self, key: ConnKey) {
        let fits = |conn: &&mut Conn| !conn.closing && !conn.releasing;
        let Some(conn) = self.conn(key).filter(fits) else {
            return;
        };
        if conn.broken {
            // One that receives again hears of it by that, after what has come before.
            if !conn.wanted {
                let failed = conn.failed(key);
                self.pending.push(failed);
            }
            return;
        }
        if std::mem::replace(&mut conn.watched, true) {
            return;
        }
        let fd = types::Fd(conn.fd.as_raw_fd());
        self.in_flight += 1;
        // Again and again, since the peer's end in order is told as well.
        let entry = opcode::PollAdd::new(fd, libc::POLLERR as u32).multi(true).build();
        self.push(entry, Op::Watch, key);
    }

    pub(super) fn unwatch(&mut self, key: ConnKey) {
        if self.conn(key).is_some_and(|conn| conn.watched) {
            let entry = opcode::AsyncCancel::new(Op::Watch.token(key)).build();
            self.push(entry, Op::Cancel, key);
        }
    }

    fn arm_accept(&mut self, index: usize) {
        if let Some(Some(listener)) = self.listeners.get_mut(index) {
            listener.armed = true;
            let fd = types::Fd(listener.fd.as_raw_fd());
            let entry = opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build();
            self.push(entry, Op::Accept, ConnKey { index: index as u32, generation: 0 });
        }
    }

    /// A listener accepts no more, and is closed when the kernel has let go of it.
    pub(super) fn disarm_accept(&mut self, index: usize) {
        match &self.listeners[index] {
            Some(listener) if listener.armed => {
                let key = ConnKey { index: index as u32, generation: 0 };
                let entry = opcode::AsyncCancel::new(Op::Accept.token(key)).build();
                self.push(entry, Op::Cancel, key);
            }
            _ => self.listeners[index] = None,
        }
    }

    pub(super) fn arm_receive(&mut self, key: ConnKey) {
        if let Some(conn) = self.conn(key)
            && conn.wanted
            && !conn.closing
            && conn.dialled.is_none()
            && conn.receive == Receive::Quiet
        {
            conn.receive = Receive::Armed;
            let fd = types::Fd(conn.fd.as_raw_fd());
            let pieces = conn.pieces;
            self.in_flight += 1;
            let entry = if pieces {
                let piece = opcode::Recv::new(fd, std::ptr::null_mut(), 0).buf_group(PIECE_GROUP);
                piece.build().flags(squeue::Flags::BUFFER_SELECT)
            } else {
                opcode::RecvMulti::new(fd, GROUP).build()
            };
            self.push(entry, Op::Receive, key);
        }
    }

    /// What has to be armed before the kernel is entered.
    pub(super) fn prepare(&mut self) {
        for id in self.loans.drain(..) {
            let ring = if id < RECEIVE_BUFFERS { &mut self.buffers } else { &mut self.pieces };
            ring.give_unless_kept(id);
        }
        for ring in [&mut self.buffers, &mut self.pieces] {
            ring.take_back();
            ring.publish();
        }
        while let Some(key) = self.watches.pop() {
            self.watch(key);
        }
        while let Some(key) = self.starved.pop() {
            self.arm_receive(key);
        }
        if !self.wake_armed {
            self.wake_armed = true;
            let fd = types::Fd(self.waker.fd().as_raw_fd());
            let entry = opcode::PollAdd::new(fd, libc::POLLIN as u32).multi(true).build();
            self.push(entry, Op::Wake, ConnKey { index: 0, generation: 0 });
        }
    }

    pub(super) fn arm_listeners(&mut self) {
        for index in 0..self.listeners.len() {
            if matches!(&self.listeners[index], Some(listener) if !listener.armed) {
                self.arm_accept(index);
            }
        }
    }
}
