//! The proxy's part of starting a node: what each shard's proxy begins with.

use std::sync::Arc;

use dataplane::cache_server::Control;
use dataplane::proxy::{Endpoints, Pen, Served, Setup};
use dataplane::publish::{Publisher, publication};
use shards::config::Snapshot;

use crate::listeners::Listeners;

/// What serves the shards' proxies and outlives them.
pub(crate) struct Proxies {
    pub(crate) served: Publisher<Served>,
    setups: std::vec::IntoIter<Setup>,
}

impl Proxies {
    /// One proxy for each shard.
    pub(crate) fn new(
        listeners: &Listeners,
        config: Snapshot,
        endpoints: &mut Endpoints,
        node: &[Arc<Control>],
        pens: Option<Vec<Pen>>,
        (files, seed): (u64, u64),
    ) -> Result<Self, String> {
        let served = publication(listeners.serve(config, endpoints)?);
        let mut pens = pens.into_iter().flatten();
        let setups = node.iter().zip(0..).map(|(control, n)| Setup {
            listener: None,
            served: served.clone(),
            stats: control.proxy_stats.clone(),
            causes: control.causes.clone(),
            log: pens.next(),
            descriptors: files,
            seed: seed.rotate_left(n),
        });
        let setups: Vec<Setup> = setups.collect();
        Ok(Self { served, setups: setups.into_iter() })
    }

    /// The next shard's.
    pub(crate) fn next(&mut self) -> Option<Setup> {
        self.setups.next()
    }
}
