//! What a server still has under way: nothing, once all clients are answered and gone.
//!
//! Owns no state; looks into everybody's.

#![forbid(unsafe_code)]

use super::CacheServer;
use super::across::Across;
use crate::runtime::Driver;

/// What is counted; all of it is 0 at rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Clients, and those that are being taken over.
    pub clients: usize,
    /// Clients that are stopped from sending.
    pub paused: usize,
    /// Bytes of replies not taken.
    pub pending_output: usize,
    /// Connections with something to parse, to send, or amid a long command.
    pub busy: usize,
    /// Keys that somebody watches: 1 if there are any.
    pub watches: usize,
    /// Operations over several shards that began here, and what they want done.
    pub operations: usize,
    /// Parts of operations that take steps, here for anybody.
    pub running: usize,
    /// Operations and single commands that hold something here, and those in line.
    pub holds: usize,
    /// Commands that wait for holds to end.
    pub parked: usize,
    /// Other shards' requests without an answer.
    pub guests: usize,
    /// Parcels that have not come back.
    pub parcels: usize,
    /// Messages that have not left.
    pub messages: usize,
    /// Long values that other shards read.
    pub lent: usize,
    /// Bytes that others wait for.
    pub wanted: u64,
}

impl<D: Driver> CacheServer<D> {
    /// What is under way now.
    pub fn leftovers(&self) -> Leftovers {
        let own = Leftovers {
            clients: self.clients + self.arrivals.len(),
            paused: self.paused,
            pending_output: self.pending_output,
            busy: self.dirty.len() + self.waiting.len() + self.long.len() + self.kills.len(),
            watches: usize::from(!self.shard.store.watches.is_empty()),
            messages: self.shard.farewells.len() + self.shard.pleas.len(),
            ..Leftovers::default()
        };
        match &self.across {
            Some(across) => with_others(across, own),
            None => own,
        }
    }

    /// Bytes that the shard's data take.
    pub fn memory_used(&self) -> usize {
        self.shard.store.memory_used()
    }

    /// Refuses the next so many requests for memory, as the system might; says how many
    /// refusals asked for earlier have not happened.
    pub fn refuse_memory(&self, requests: u32) -> u32 {
        self.shard.store.refuse_memory(requests)
    }
}

fn with_others(across: &Across, own: Leftovers) -> Leftovers {
    let (granted, in_line) = across.home.counts();
    Leftovers {
        operations: across.operations.len()
            + across.steps.len()
            + across.own_tasks.len()
            + across.departing.len()
            + across.own_answers.len(),
        running: across.running.len(),
        holds: granted + in_line,
        parked: across.parking.len(),
        guests: across.guests.len(),
        parcels: across.mesh.away(),
        messages: own.messages
            + across.mesh.unsaid()
            + across.settled.len()
            + usize::from(!across.returns.is_empty()),
        lent: across.lender.out(),
        busy: own.busy + across.awake.len() + across.thirsty.len(),
        wanted: across.wanted,
        ..own
    }
}
