//! Pipelined requests for several shards that would wait for each other, sent as one operation.
//!
//! A write waits until what its connection has under way elsewhere is done (`Abroad`), so that a
//! pipeline of writes to keys of many homes would take a round trip for each. Owns the choice
//! of when and how many go together instead (`shards::operation`, runs).

#![forbid(unsafe_code)]

use shards::command::{CommandSpec, Flags, Place, Spread, place, resolve};
use shards::ids::ShardId;
use shards::operation::{Operation, RunRequest, Start};

use super::CacheServer;
use super::across::{Begun, Delayed};
use super::batch::{Batch, MOST, Queued};
use super::conn::{Conn, Gate};
use super::route::{Request, is_write, note_command, takes_no_reply};
use crate::runtime::Driver;

/// What lies first among the requests that a connection has waiting.
pub(super) enum Ahead {
    /// Some that are to go together: the home of each.
    Run(Vec<ShardId>),
    /// At least so many that need not wait for each other.
    Single(usize),
}

impl<D: Driver> CacheServer<D> {
    /// Whether a request is better kept for a run: a write that goes to another shard, with one
    /// behind it that would have to wait for it.
    pub(super) fn starts_run(
        &self,
        conn: &Conn,
        batch: &Batch,
        request: &Request<'_>,
        next: Option<&Queued>,
    ) -> bool {
        let (Some(spec), Some(first), Some(next)) = (request.spec, request.first, next) else {
            return false;
        };
        let home = self.shard.partition.home(first.slot);
        is_write(spec)
            && home != self.shard.id
            && next.key != 0
            && home != self.shard.partition.home(next.at.slot)
            && batch.origins[next.origin as usize].conn == conn.key
            && conn.abroad.is_empty()
            && self.single_home(conn, spec, request) == Some(home)
    }

    /// Where all of a request's keys are, if it needs nothing else.
    fn single_home(
        &self,
        conn: &Conn,
        spec: &'static CommandSpec,
        request: &Request<'_>,
    ) -> Option<ShardId> {
        let first = request.first.map(|at| at.slot);
        let sessions = matches!(resolve(spec, &request.args).spread, Spread::Watch | Spread::Exec);
        match place(&self.shard, &conn.session, spec, &request.args, first) {
            Place::At(home) if !sessions => Some(home),
            _ => None,
        }
    }

    /// Looks at what a connection has waiting.
    pub(super) fn look_ahead(&self, conn: &Conn) -> Ahead {
        if !conn.abroad.is_empty() {
            return Ahead::Single(1);
        }
        // Of all of them; nothing is allocated while there is but one.
        let (mut only, mut homes, mut count) = (None, Vec::new(), 0);
        for delayed in conn.behind.iter().take(MOST) {
            let Delayed::Request { spec: Some(spec), args, first } = delayed else { break };
            let request = Request { spec: Some(spec), args: args.as_args(), first: *first };
            let Some(home) = self.single_home(conn, spec, &request) else { break };
            if count == 0 && (home == self.shard.id || !spec.flags.has(Flags::WRITE)) {
                return Ahead::Single(1);
            }
            let only = *only.get_or_insert(home);
            if home != only || !homes.is_empty() {
                homes.resize(count, only);
                homes.push(home);
            }
            count += 1;
        }
        if homes.is_empty() || cfg!(corelane_mutant = "no_runs") {
            return Ahead::Single(count);
        }
        Ahead::Run(homes)
    }

    /// Begins a run of the first requests that a connection has waiting.
    pub(super) fn begin_run(&mut self, conn: &mut Conn, homes: Vec<ShardId>) {
        let noise = self.noise();
        let Some(across) = &mut self.across else { return };
        let (shard, session) = (&self.shard, &mut conn.session);
        self.stats.runs.add(1);
        self.stats.run_requests.add(homes.len() as u64);
        let mut requests = Vec::with_capacity(homes.len());
        for home in homes {
            let next = conn.behind.pop_front();
            let Some(Delayed::Request { spec: Some(spec), args, first }) = next else {
                debug_assert!(false, "what has a home is a known command");
                next.into_iter().for_each(|next| conn.behind.push_front(next));
                break;
            };
            note_command(session, spec, &args.as_args());
            let silent = takes_no_reply(session);
            requests.push(RunRequest { spec, args, first, home, silent });
        }
        let id = across.next_op();
        let number = id.number;
        let start = Start {
            id,
            partition: shard.partition,
            databases: shard.store.databases(),
            noise,
            only: None,
        };
        let (operation, step) = Operation::of_run(start, session, requests);
        let begun = Begun {
            operation,
            client: session.id,
            conn: conn.key,
            silent: false,
            specs: Vec::new(),
            watch: Vec::new(),
        };
        across.operations.insert(number, begun);
        across.steps.push_back((number, step));
        conn.gate = Gate::Wide;
    }
}
