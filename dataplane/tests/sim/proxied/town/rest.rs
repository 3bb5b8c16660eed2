//! What happens when nothing can move: those that dally go on, or time passes; and who waits must
//! have somebody to wait for.

use shards::time::Nanos;

use super::super::book::brief;
use super::super::client::Client;
use super::super::server::{Calls, Conn};
use super::Town;

/// The longest time-out of an exchange, and some: 60 s for who takes nothing of his answer, which
/// count from the first look at him, and that is as long after the answer.
const LONGEST: Nanos = Nanos(125 * Nanos::SECOND.0);

/// Who can be told to go on.
enum Dallier {
    Client(usize),
    Conn(usize, usize),
    Ignored(usize),
}

impl Town<'_> {
    /// Nothing can move: what was held back moves on, somebody who dallies does, or time passes.
    pub(super) fn rest(&mut self) -> Result<(), String> {
        if !self.held.is_empty() || !self.stalled.is_empty() {
            self.held.clear();
            self.stalled.clear();
            return Ok(());
        }
        for client in &self.clients {
            if client.waits() && !self.is_excused(client) {
                return Err(self.stuck(client));
            }
        }
        self.nothing_is_overdue()?;
        let dalliers = self.dalliers();
        let next = self.node.next_deadline();
        let urges =
            next.is_none() || self.book.healed.is_some() || self.rng.chance(self.plan.urges);
        if !dalliers.is_empty() && urges {
            let n = self.rng.below(dalliers.len());
            self.urge(&dalliers[n]);
            return Ok(());
        }
        let Some(at) = next else {
            return Err("nothing can happen any more".into());
        };
        let span = at.since(self.now());
        self.trace.tell(format_args!("-- {span:?} pass"));
        self.node.net.borrow_mut().pass(Nanos(span.0.max(1)));
        Ok(())
    }

    /// Who waits is told in time that others dally.
    fn nothing_is_overdue(&mut self) -> Result<(), String> {
        let now = self.now();
        self.clients.iter_mut().for_each(|client| client.rest(&self.book, now));
        for client in &self.clients {
            let due = client.due(&self.book).is_some_and(|due| due < now);
            let quiet = now.since(self.quiet_since) > LONGEST;
            if client.waits_for_answer() && (due || quiet) {
                return Err(format!("no time-out has ended this: {}", self.stuck(client)));
            }
        }
        Ok(())
    }

    /// Whether somebody dallies for whom a client waits.
    fn is_excused(&self, client: &Client) -> bool {
        let Some(n) = client.at_hand() else { return client.dallies() };
        let servers = self.book.servers_of(n, self.now());
        let net = self.node.net.borrow();
        // What a server has not read may be that request.
        let stalls = |conn: &Conn| {
            let unread = net.has_news(conn.link) && servers.contains(&conn.server);
            conn.stalled && (unread || conn.request() == Some(n))
        };
        client.dallies()
            || client.has_broken_off(&self.book)
            || self.servers.iter().any(|server| server.conns.iter().any(stalls))
            || servers.iter().any(|server| !self.servers[*server].ignored.is_empty())
    }

    fn dalliers(&self) -> Vec<Dallier> {
        let clients = self.clients.iter().enumerate().filter(|(_, client)| client.dallies());
        let mut all: Vec<Dallier> = clients.map(|(n, _)| Dallier::Client(n)).collect();
        for (n, server) in self.servers.iter().enumerate() {
            let stalled = server.conns.iter().enumerate().filter(|(_, conn)| conn.stalled);
            all.extend(stalled.map(|(m, _)| Dallier::Conn(n, m)));
            all.extend(server.ignored.first().map(|_| Dallier::Ignored(n)));
        }
        all
    }

    fn urge(&mut self, dallier: &Dallier) {
        match dallier {
            Dallier::Client(n) => self.clients[*n].go_on(),
            Dallier::Conn(n, m) => self.servers[*n].conns[*m].stalled = false,
            Dallier::Ignored(n) => {
                let server = &mut self.servers[*n];
                let link = server.ignored.remove(0);
                server.called.push(link);
                server.calls = Calls::Taken;
            }
        }
    }

    fn stuck(&self, client: &Client) -> String {
        let n = client.at_hand();
        let entry = n.map(|n| &self.book.entries[n]);
        format!(
            "nothing can move, and client {} waits for {n:?}: {:?}, {:?}\n{:#?}",
            client.number,
            entry.map(|entry| &entry.asked),
            entry.map(|entry| entry.attempts.iter().map(brief).collect::<Vec<_>>()),
            self.node.leftovers()
        )
    }
}
