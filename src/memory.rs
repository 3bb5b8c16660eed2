//! Gives memory back to the system after bursts. Lives on the control side, since that takes its
//! time.

use std::sync::Arc;
use std::time::Duration;

use dataplane::cache_server::Control;

/// How often shards are looked at.
pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// See the module's text.
pub(crate) struct Memory {
    node: Arc<[Arc<Control>]>,
    bursts: u64,
    /// Looks to be left out, so that it is not done over and over.
    rest: u32,
}

impl Memory {
    pub(crate) fn new(node: Arc<[Arc<Control>]>) -> Self {
        Self { node, bursts: 0, rest: 0 }
    }

    /// Gives memory back if a shard has had a burst since the last look.
    pub(crate) fn look(&mut self) {
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        let bursts = self.node.iter().map(|control| control.proxy_stats.bursts.get()).sum();
        if std::mem::replace(&mut self.bursts, bursts) != bursts {
            dataplane::memory::give_back();
            self.rest = 2;
        }
    }
}
