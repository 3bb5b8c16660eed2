//! The server's end of a simulated connection before a driver has it.
//!
//! Owns a number and what became of it. It travels between shards as a descriptor does, so it
//! is `Send` and reaches the network only through what both share.

#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// The port that simulated servers listen on.
const SERVER_PORT: u16 = 6379;
/// Ports of clients count from here.
const CLIENT_PORTS: u16 = 20_000;

/// See the module's text.
#[derive(Debug)]
pub struct SimSocket {
    number: u32,
    fate: Arc<Fate>,
}

/// What became of a connection before a driver took it, as the network learns it.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// Dropped: the server has closed it.
    pub(super) dropped: AtomicBool,
    /// What it was told before.
    pub(super) told: OnceLock<&'static [u8]>,
}

impl SimSocket {
    /// The end of connection `number`, and its fate for the network to look at.
    pub(super) fn new(number: u32) -> (Self, Arc<Fate>) {
        let fate = Arc::new(Fate::default());
        (Self { number, fate: fate.clone() }, fate)
    }

    /// Which connection it is.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// The client's and the server's address.
    pub(in crate::runtime) fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        let at = |port| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        (at(CLIENT_PORTS + self.number as u16 % CLIENT_PORTS), at(SERVER_PORT))
    }

    /// The last words to the client; the end of the connection follows.
    pub(in crate::runtime) fn refuse(self, text: &'static [u8]) {
        // Set once, since the socket is gone afterwards.
        let _ = self.fate.told.set(text);
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.fate.dropped.store(true, Ordering::Release);
    }
}
