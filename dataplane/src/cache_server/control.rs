//! How the control side tells a shard to end, and reads what it measures.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use shards::ids::ClientId;
use shards::stats::ShardStats;

use crate::proxy::CauseCounts;
use crate::runtime::Waker;
use crate::telemetry::{LoopStats, Mailbox, ProxyStats, Stages};

/// What a shard is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Serve.
    Run,
    /// Accept no more, finish what is under way, end.
    Drain,
    /// End.
    Stop,
}

/// Who is a client of the node, whichever shard accepted it: touched when a connection comes
/// or goes.
#[derive(Debug, Default)]
pub(super) struct Census {
    numbered: AtomicU64,
    open: AtomicU64,
}

impl Census {
    /// Counts a client in and numbers it, if there are fewer than `most`.
    pub(super) fn admit(&self, most: u64) -> Option<ClientId> {
        let (all, one_more) = (Ordering::Relaxed, |open| (open < most).then_some(open + 1));
        self.open.fetch_update(all, all, one_more).ok()?;
        Some(ClientId(self.numbered.fetch_add(1, all) + 1))
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    /// One has gone.
    pub(super) fn leave(&self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Both sides' handle on one shard.
#[derive(Debug, Default)]
pub struct Control {
    order: AtomicU8,
    /// Whether the shard takes no clients any more.
    pub(super) closed: AtomicBool,
    /// The node's clients, where this is its first shard.
    pub(super) census: Census,
    /// The clients of its proxy.
    pub(super) proxy_census: Census,
    /// Counts of the loop.
    pub loop_stats: Arc<LoopStats>,
    /// Counts of the proxy.
    pub proxy_stats: Arc<ProxyStats>,
    /// Its answers by cause, and what it broke off.
    pub causes: Arc<CauseCounts>,
    /// Counts of the shard.
    pub shard_stats: Arc<ShardStats>,
    /// Where histograms are asked for.
    pub stages: Mailbox<Stages>,
}

impl Control {
    /// Gives an order; an earlier and stronger one stays.
    pub fn give(&self, order: Order, waker: &Waker) {
        self.order.fetch_max(order as u8, Ordering::Relaxed);
        waker.wake();
    }

    /// Whether the node has no client, where this is its first shard.
    pub(super) fn is_deserted(&self) -> bool {
        self.census.is_empty() && self.proxy_census.is_empty()
    }

    /// What has been ordered.
    pub fn order(&self) -> Order {
        match self.order.load(Ordering::Relaxed) {
            0 => Order::Run,
            1 => Order::Drain,
            _ => Order::Stop,
        }
    }
}
