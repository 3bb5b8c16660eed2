//! How connections come and go, and how the whole server ends.

#![forbid(unsafe_code)]

use std::io;

use rustix::io::Errno;
use shards::session::{Face, Session};
use shards::time::Nanos;

use super::CacheServer;
use super::conn::{Conn, Gate, Reason};
use super::control::Order;
use super::output::conn_of;
use crate::mesh::parcel::{Handed, Service};
use crate::proxy::Cause;
use crate::runtime::{ConnKey, Driver, Socket, make_room};

/// How long requests under way may take once the server has been told to end.
const DRAIN: Nanos = Nanos(30_000_000_000);

/// Connections taken over in one turn: about 150 us.
const ACCEPTS_PER_TURN: usize = 64;

impl<D: Driver> CacheServer<D> {
    pub(super) fn conn(&mut self, key: ConnKey) -> Option<&mut Conn> {
        conn_of(&mut self.conns, key)
    }

    /// Takes some of those over that have connected.
    pub(super) fn accept_some(&mut self) {
        for _ in 0..self.arrivals.len().min(ACCEPTS_PER_TURN) {
            if let Some((socket, service)) = self.arrivals.pop_front() {
                self.accept(socket, service);
            }
        }
    }

    /// A client has connected. One of a cluster stays with the shard that it has chosen.
    fn accept(&mut self, socket: Socket, service: Service) {
        let Service::Cache(face) = service else { return self.accept_proxied(socket, service) };
        self.stats.accepted_connections.add(1);
        if self.draining.is_some() {
            self.stats.refused_draining.add(1);
            return;
        }
        let first = &self.node[0];
        let room = self.proxy.as_ref().map_or(u64::MAX, |proxy| proxy.descriptors());
        let room = room.saturating_sub(first.proxy_census.len());
        let most = u64::from(self.shard.settings.maxclients).min(room);
        let Some(client) = self.node[0].census.admit(most) else {
            self.stats.refused_clients.add(1);
            return socket.refuse(b"-ERR max number of clients reached\r\n");
        };
        let handed = Handed { socket, client, service };
        match face {
            Face::Standalone => self.place(handed),
            Face::Cluster => {
                self.stats.cluster_connections.add(1);
                self.adopt(handed, face);
            }
        }
    }

    /// The same for a client of the proxy.
    fn accept_proxied(&mut self, socket: Socket, service: Service) {
        let Some(proxy) = &mut self.proxy else { return };
        if self.draining.is_some() {
            return proxy.refuse(socket, Cause::Draining);
        }
        match self.node[0].proxy_census.admit(proxy.most_clients(self.node[0].census.len())) {
            Some(client) => self.place(Handed { socket, client, service }),
            None => proxy.refuse(socket, Cause::TooManyClients),
        }
    }

    /// Takes a connection over that this shard is to serve.
    pub(super) fn take_over(&mut self, handed: Handed) {
        match handed.service {
            Service::Cache(face) => self.adopt(handed, face),
            Service::Proxy(listener) => self.adopt_proxied(handed.socket, listener),
        }
    }

    /// Takes a client of the cache over.
    pub(super) fn adopt(&mut self, handed: Handed, face: Face) {
        let Handed { socket, client: id, .. } = handed;
        socket.keep_alive(self.shard.settings.tcp_keepalive);
        let (peer, local) = socket.addresses();
        let key = match self.driver.open(socket) {
            Ok(key) => key,
            Err(error) => {
                self.stats.departed_connections.add(1);
                self.node[0].census.leave();
                return tracing::warn!(%error, "a connection could not be taken over");
            }
        };
        let open = self.shard.settings.requirepass.is_empty();
        let mut session = Session::new(id, open, self.now);
        (session.face, session.peer, session.local) = (face, peer, local);
        let index = key.index as usize;
        if self.conns.len() <= index {
            make_room(&mut self.conns, index + 1);
            self.conns.resize_with(index + 1, || None);
        }
        self.conns[index] = Some(Box::new(Conn::new(key, session)));
        self.clients += 1;
    }

    /// Accepting failed; the driver tries again after a pause.
    pub(super) fn accept_failed(&mut self, error: &io::Error) {
        let full = [Errno::MFILE, Errno::NFILE]
            .contains(&Errno::from_io_error(error).unwrap_or(Errno::IO));
        if full {
            self.stats.refused_descriptors.add(1);
            self.make_room();
        } else {
            self.stats.refused_accepts.add(1);
        }
        if self.now.mono.since(self.complained).0 >= Nanos::SECOND.0 {
            self.complained = self.now.mono;
            if full {
                tracing::warn!(
                    "out of file descriptors: clients wait; raise `ulimit -n` or LimitNOFILE"
                );
            } else {
                tracing::warn!(%error, "accepting failed");
            }
        }
    }

    /// The peer will send no more: what it sent is answered, then it goes.
    pub(super) fn peer_ended(&mut self, key: ConnKey) {
        let Some(place) = self.conns.get_mut(key.index as usize) else { return };
        let Some(mut conn) = place.take_if(|conn| conn.key == key) else { return };
        conn.ended = true;
        // What waits to be parsed is answered first, and then ends the connection itself.
        let done = conn.lingering || conn.is_open() && !conn.waiting;
        self.conns[key.index as usize] = Some(conn);
        if done {
            self.end_if_done(key);
        }
    }

    /// Closes a connection whose peer has ended and that has nothing left to do.
    pub(super) fn end_if_done(&mut self, key: ConnKey) {
        let Some(conn) = self.conn(key) else { return };
        if conn.lingering {
            let reason = conn.closing.unwrap_or(Reason::Peer);
            return self.close(key, reason);
        }
        if conn.ended && conn.is_open() && !conn.waiting && conn.closing.is_none() {
            // An unfinished request cannot be finished any more.
            conn.closing = Some(Reason::Peer);
            conn.gate = Gate::Shut;
            if !conn.dirty {
                conn.dirty = true;
                self.dirty.push(key);
            }
        }
    }

    /// Ends a connection now.
    pub(super) fn close(&mut self, key: ConnKey, reason: Reason) {
        let Some(place) = self.conns.get_mut(key.index as usize) else { return };
        let Some(mut conn) = place.take_if(|conn| conn.key == key) else { return };
        self.clients -= 1;
        self.stats.departed_connections.add(1);
        self.node[0].census.leave();
        self.pending_output -= conn.charged;
        self.paused -= usize::from(conn.paused);
        if let Some(timer) = conn.timer.take() {
            self.wheel.cancel(timer);
        }
        shards::command::leave(&mut self.shard, &mut conn.session);
        self.pool.put(std::mem::take(&mut conn.input.unread));
        self.pool.put(std::mem::take(&mut conn.reply.bytes));
        let stats = &self.stats;
        let counter = match reason {
            Reason::Peer => &stats.closed_peer,
            Reason::Failed => &stats.closed_failed,
            Reason::Quit => &stats.closed_quit,
            Reason::Drained => &stats.closed_drained,
            Reason::Protocol => &stats.closed_protocol,
            Reason::Query => &stats.closed_query,
            Reason::Http => &stats.closed_http,
            Reason::Output => &stats.closed_output,
            Reason::Idle => &stats.closed_idle,
            Reason::Killed => &stats.closed_killed,
            Reason::Memory => &stats.closed_memory,
        };
        counter.add(1);
        self.driver.close(key);
    }

    /// Looks at what the control side wants; `true` to end now.
    pub(super) fn obey(&mut self) -> bool {
        match self.control.order() {
            Order::Run => false,
            Order::Stop => true,
            Order::Drain => {
                if self.draining.is_none() {
                    self.driver.stop_listening();
                    self.draining = Some(self.now.mono.after(DRAIN));
                    // What the kernel had received by now comes with the next turn, which is
                    // the first that lets go of anybody.
                }
                false
            }
        }
    }

    /// Whether the kernel holds bytes of a connection that have not been read: a driver may
    /// read them a part a turn, and closing over them would take earlier replies back.
    fn has_more_to_read(&self, key: ConnKey) -> bool {
        self.driver.unreceived(key) > 0
    }

    /// Lets go of all clients with nothing under way; `true` when none is left.
    pub(super) fn drain(&mut self) -> bool {
        let keys: Vec<ConnKey> = self
            .conns
            .iter()
            .flatten()
            .filter(|conn| conn.closing.is_none())
            .map(|c| c.key)
            .collect();
        for key in keys {
            if self.has_more_to_read(key) {
                continue;
            }
            let Some(conn) = self.conn(key) else { continue };
            let halfway = conn.session.transaction.is_some() && conn.input.is_empty();
            if conn.is_idle() || halfway && !conn.sending && conn.reply.is_empty() {
                conn.closing = Some(Reason::Drained);
                conn.gate = Gate::Shut;
                self.close(key, Reason::Drained);
            }
        }
        self.drain_proxy();
        self.all_done()
    }
}
