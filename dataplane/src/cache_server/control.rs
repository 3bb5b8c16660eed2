//! How the control side tells a shard to end, and reads what it measures.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use shards::stats::ShardStats;

use crate::runtime::Waker;
use crate::telemetry::{LoopStats, Mailbox, Stages};

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

/// Both sides' handle on one shard.
#[derive(Debug, Default)]
pub struct Control {
    order: AtomicU8,
    /// Whether the shard has let go of all its clients.
    pub(super) done: AtomicBool,
    /// Counts of the loop.
    pub loop_stats: Arc<LoopStats>,
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

    /// What has been ordered.
    pub fn order(&self) -> Order {
        match self.order.load(Ordering::Relaxed) {
            0 => Order::Run,
            1 => Order::Drain,
            _ => Order::Stop,
        }
    }
}
