//! What commands may ask of the node: other clients, facts, counts.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use shards::command::{CommandError, Host, NodeFacts, Traffic};
use shards::ids::ClientId;
use shards::session::Session;
use shards::settings::Settings;

use super::conn::Conn;
use crate::publish::{Publisher, UpdateError};
use crate::runtime::Driver;
use crate::telemetry::LoopStats;

/// A view of the server while one connection is taken out of its table.
pub(super) struct View<'a, D> {
    pub(super) conns: &'a [Option<Box<Conn>>],
    pub(super) driver: &'a D,
    pub(super) facts: &'a NodeFacts,
    pub(super) stats: &'a LoopStats,
    pub(super) publisher: &'a Publisher<Settings>,
    pub(super) own: Traffic,
    pub(super) kills: &'a mut BTreeSet<ClientId>,
}

/// The view of a server, of which only these fields are borrowed.
macro_rules! view {
    ($server:ident, $own:expr) => {
        $crate::cache_server::host::View {
            conns: &$server.conns,
            driver: &$server.driver,
            facts: &$server.facts,
            stats: &$server.stats,
            publisher: &$server.publisher,
            own: $own,
            kills: &mut $server.kills,
        }
    };
}
pub(super) use view;

pub(super) fn traffic(conn: &Conn, driver: &impl Driver) -> Traffic {
    Traffic {
        unread: conn.input.unread.len(),
        unsent: conn.pending_output(),
        received: conn.received,
        sent: conn.sent,
        descriptor: driver.number(conn.key).unwrap_or(-1),
    }
}

impl<D: Driver> Host for View<'_, D> {
    fn facts(&self) -> &NodeFacts {
        self.facts
    }

    fn each_client(&self, visit: &mut dyn FnMut(&Session, Traffic)) {
        for conn in self.conns.iter().flatten().filter(|conn| conn.closing.is_none()) {
            if self.kills.contains(&conn.session.id) {
                continue; // as good as gone
            }
            visit(&conn.session, traffic(conn, self.driver));
        }
    }

    fn own_traffic(&self) -> Traffic {
        self.own
    }

    fn change_settings(
        &mut self,
        change: &mut dyn FnMut(&Settings) -> Result<Settings, CommandError>,
    ) -> Result<Settings, CommandError> {
        let mut made = None;
        let changed = self.publisher.update(|old| {
            let new = change(old)?;
            made = Some(new.clone());
            Ok(new)
        });
        match (changed, made) {
            (Ok(_), Some(made)) => Ok(made),
            (Err(UpdateError::Change(error)), _) => Err(error),
            _ => Err(CommandError::Text(
                "ERR CONFIG SET failed - earlier changes have not reached all shards; try again",
            )),
        }
    }

    fn kill(&mut self, client: ClientId) {
        self.kills.insert(client);
    }

    fn connections_accepted(&self) -> u64 {
        self.stats.accepted_connections.get()
    }

    fn connections_refused(&self) -> u64 {
        self.stats.refused_clients.get() + self.stats.refused_descriptors.get()
    }

    fn resident_bytes(&self) -> u64 {
        resident_bytes()
    }
}

/// Resident memory of the process, 0 where /proc does not tell.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}
