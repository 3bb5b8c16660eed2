//! What clients send: parsed where it lies, executed batch by batch, kept where it must wait.

#![forbid(unsafe_code)]

use std::io;

use super::CacheServer;
use super::batch::{self, Fault, Source};
use super::conn::Reason;
use super::intake::{Intake, Parsed};
use super::output::conn_of;
use crate::runtime::{ConnKey, Driver, Loan};

/// Bytes that a client may have unread while it is blocked.
const UNREAD_CREDIT: usize = 64 << 10;
/// Bytes of one request under way, and of what lies behind it (`client-query-buffer-limit`).
pub(super) const QUERY_LIMIT: usize = 1 << 30;

/// What parsing needs of a server, while a connection of it is at hand.
macro_rules! intake {
    ($server:ident) => {
        Intake {
            batch: &mut $server.batch,
            hasher: $server.shard.hasher(),
            store: &$server.shard.store,
            blobs: &$server.blobs,
            pool: &mut $server.pool,
            settings: &$server.shard.settings,
        }
    };
}

impl<D: Driver> CacheServer<D> {
    pub(super) fn received(&mut self, key: ConnKey, loan: Loan) -> io::Result<()> {
        let bytes = self.driver.bytes(loan).len();
        self.stats.receives.add(1);
        self.stats.received_bytes.add(bytes as u64);
        loop {
            let Some(conn) = conn_of(&mut self.conns, key) else { return Ok(()) };
            if conn.closing.is_some() {
                return Ok(()); // nothing more is executed
            }
            conn.session.last_seen = self.now;
            let bytes = self.driver.bytes(loan);
            let fresh = conn.input.is_empty();
            if conn.input.parser.position() == 0 || !fresh {
                conn.received += bytes.len() as u64;
            }
            // Amid a buffer that filled the batch, what is left of it is kept by `fresh`.
            let amid = conn.input.parser.position() > 0;
            if !fresh || !conn.is_open() && !amid {
                return self.more_unread(key, loan);
            }
            let mut intake = intake!(self);
            if intake.fresh(conn, bytes, Source::Loan(loan)) == Parsed::All {
                return self.shut_if_asked(key);
            }
            self.run_full_batch()?;
        }
    }

    /// Executes a full batch, and lets replies leave now and then amid a long turn.
    pub(super) fn run_full_batch(&mut self) -> io::Result<()> {
        self.run_batch(self.now);
        self.let_replies_leave()
    }

    /// Hands replies to the kernel amid a turn, after so many requests.
    pub(super) fn let_replies_leave(&mut self) -> io::Result<()> {
        if self.requests - self.requests_sent >= batch::BEFORE_SENDING {
            self.requests_sent = self.requests;
            self.flush();
            self.flush_mesh();
            self.driver.submit()?;
        }
        Ok(())
    }

    /// Adds received bytes to those unread and parses on, if that may be.
    fn more_unread(&mut self, key: ConnKey, loan: Loan) -> io::Result<()> {
        let Some(conn) = conn_of(&mut self.conns, key) else { return Ok(()) };
        let mut bytes = self.driver.bytes(loan);
        if let Some(large) = &mut conn.input.large {
            bytes = large.take(bytes);
            if !large.is_whole() {
                return Ok(());
            }
            conn.input.large_done();
        }
        conn.input.keep(&mut self.pool, bytes);
        if conn.is_open() && conn.input.held() > QUERY_LIMIT {
            self.batch.refuse(conn, Fault::TooLong);
            return self.shut_if_asked(key);
        }
        if conn.is_open() {
            return self.parse_unread(key);
        }
        // Blocked: the client has to stop sending once it has used up its credit.
        if conn.input.unread.len() > UNREAD_CREDIT {
            self.pause(key);
        }
        Ok(())
    }

    pub(super) fn parse_unread(&mut self, key: ConnKey) -> io::Result<()> {
        loop {
            let Some(conn) = conn_of(&mut self.conns, key) else { return Ok(()) };
            conn.waiting = false;
            if conn.closing.is_some() {
                return Ok(());
            }
            let mut intake = intake!(self);
            let parsed = intake.unread(conn);
            // With the gate open, the rest is an unfinished request: its other bytes must be
            // able to come, or, when the peer has ended, never will.
            let unfinished = conn.is_open() && (conn.paused || conn.ended);
            if parsed == Parsed::All {
                if unfinished {
                    self.run_batch(self.now);
                    self.resume_receiving(key);
                    self.end_if_done(key);
                }
                return self.shut_if_asked(key);
            }
            self.run_full_batch()?;
        }
    }

    fn resume_receiving(&mut self, key: ConnKey) {
        let Some(conn) = conn_of(&mut self.conns, key) else { return };
        if conn.paused && conn.is_open() && !conn.waiting {
            conn.paused = false;
            self.paused -= 1;
            if !conn.ended {
                self.driver.resume(key);
            }
        }
    }

    /// A connection that parsing has condemned goes after its earlier requests are done.
    fn shut_if_asked(&mut self, key: ConnKey) -> io::Result<()> {
        let Some(conn) = conn_of(&mut self.conns, key) else { return Ok(()) };
        let Some(reason) = conn.closing.take() else { return Ok(()) };
        self.run_batch(self.now);
        if let Some(conn) = conn_of(&mut self.conns, key) {
            conn.closing = Some(reason);
            if !conn.dirty {
                conn.dirty = true;
                self.dirty.push(key);
            }
        }
        if reason == Reason::Http {
            self.flush();
            self.close(key, reason);
        }
        Ok(())
    }
}
