//! What the protocol knows of one client: database, names, transaction, modes.
//!
//! Owns no socket and no buffer. Small, since twenty thousand idle ones are normal.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

use crate::command::{CommandSpec, OwnedArgs};
use crate::ids::{ClientId, DbId};
use crate::reply::Protocol;
use crate::time::Now;

/// Whether a client wants replies (CLIENT REPLY).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    /// All of them.
    #[default]
    On,
    /// None.
    Off,
    /// Not the next one's; that comes after `CLIENT REPLY SKIP` itself.
    SkipNext,
    /// Not this one's.
    Skip,
}

/// As what the node answers a client; the port that it has connected to says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Face {
    /// One server with all keys.
    #[default]
    Standalone,
    /// A node of a cluster: this shard's slots, database 0, redirections for the rest.
    Cluster,
}

/// Commands queued between MULTI and EXEC.
#[derive(Debug, Default)]
pub struct Transaction {
    /// In order.
    pub queue: Vec<(&'static CommandSpec, OwnedArgs)>,
    /// Whether one was refused, so that EXEC will refuse all.
    pub refused: bool,
    /// Bytes that the queued arguments hold.
    pub bytes: usize,
}

impl Transaction {
    /// Bytes of the queue and all that it holds.
    pub fn memory(&self) -> usize {
        self.bytes + self.queue.capacity() * size_of::<(&CommandSpec, OwnedArgs)>()
    }
}

/// See the module's text.
#[derive(Debug)]
pub struct Session {
    /// `CLIENT ID`.
    pub id: ClientId,
    /// As what the node answers it.
    pub face: Face,
    /// The selected database.
    pub db: DbId,
    /// The protocol its replies use.
    pub protocol: Protocol,
    /// `CLIENT SETNAME`; empty for none.
    pub name: Box<[u8]>,
    /// `CLIENT SETINFO LIB-NAME`.
    pub library_name: Box<[u8]>,
    /// `CLIENT SETINFO LIB-VER`.
    pub library_version: Box<[u8]>,
    /// Whether it may run commands.
    pub authenticated: bool,
    /// Open transaction.
    pub transaction: Option<Box<Transaction>>,
    /// Watched keys with their databases.
    pub watched: Vec<(DbId, Box<[u8]>)>,
    /// Whether replies are sent.
    pub replies: ReplyMode,
    /// `CLIENT NO-EVICT`.
    pub no_evict: bool,
    /// `CLIENT NO-TOUCH`.
    pub no_touch: bool,
    /// `READONLY`.
    pub readonly: bool,
    /// Peer's address, where it has one.
    pub peer: Option<SocketAddr>,
    /// Own address.
    pub local: Option<SocketAddr>,
    /// When it connected and when it last sent a command.
    pub created: Now,
    /// See `created`.
    pub last_seen: Now,
    /// For CLIENT LIST.
    pub last_command: Option<&'static CommandSpec>,
    /// Commands so far.
    pub commands: u64,
    /// Whether it stands for a client of another shard.
    pub is_guest: bool,
}

impl Session {
    /// A client that has just connected.
    pub fn new(id: ClientId, authenticated: bool, now: Now) -> Self {
        Self {
            id,
            face: Face::Standalone,
            db: DbId(0),
            protocol: Protocol::Resp2,
            name: Box::default(),
            library_name: Box::default(),
            library_version: Box::default(),
            authenticated,
            transaction: None,
            watched: Vec::new(),
            replies: ReplyMode::On,
            no_evict: false,
            no_touch: false,
            readonly: false,
            peer: None,
            local: None,
            created: now,
            last_seen: now,
            last_command: None,
            commands: 0,
            is_guest: false,
        }
    }

    /// Stands for a client of another shard while a command of it runs here.
    pub fn guest(now: Now) -> Self {
        Self { is_guest: true, ..Self::new(ClientId(0), true, now) }
    }

    /// Becomes the stand-in of another client.
    pub fn stand_in(&mut self, client: ClientId, protocol: Protocol, db: DbId, no_touch: bool) {
        debug_assert!(self.is_guest, "a client is nobody's stand-in");
        (self.id, self.protocol, self.db, self.no_touch) = (client, protocol, db, no_touch);
        self.face = Face::Standalone;
        self.watched.clear();
    }

    /// Whether a command may run with no more ado.
    pub fn is_plain(&self) -> bool {
        self.authenticated && self.transaction.is_none() && self.replies == ReplyMode::On
    }
}
