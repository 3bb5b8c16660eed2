//! SIGHUP: the configuration is read anew and published, or refused whole.
//!
//! Owns what has to be remembered between two generations. What is wrong is logged, each error
//! with its place, and the node goes on with what it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use controlplane::resources::model::Keyspace;
use dataplane::proxy::{Desk, Endpoints, Served};
use dataplane::publish::{Publisher, UpdateError};
use dataplane::runtime::Waker;
use shards::config::Snapshot;
use shards::settings::Settings;

use crate::args::ServeOptions;
use crate::config;

/// How long shards may take to let go of old generations.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often they are looked at meanwhile.
const PAUSE: Duration = Duration::from_millis(5);

/// What the metrics page shows of configurations.
#[derive(Debug, Default)]
pub(crate) struct ConfigStats {
    pub(crate) generation: AtomicU64,
    pub(crate) published: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// See the module's text.
pub(crate) struct Reload {
    pub(crate) options: ServeOptions,
    pub(crate) endpoints: Endpoints,
    pub(crate) served: Publisher<Served>,
    pub(crate) settings: Publisher<Settings>,
    /// The node's listeners, by their ports in the configuration.
    pub(crate) ports: Vec<Option<u16>>,
    pub(crate) keyspace: Keyspace,
    pub(crate) access_log: Option<Desk>,
    pub(crate) stats: Arc<ConfigStats>,
    pub(crate) wakers: Vec<Waker>,
}

impl Reload {
    /// Reads and publishes, or says why not.
    pub(crate) fn reload(&mut self) {
        if let Some(log) = &self.access_log {
            log.reopen();
        }
        let generation = self.stats.generation.load(Ordering::Relaxed) + 1;
        match self.try_reload(generation) {
            Ok(summary) => {
                self.stats.generation.store(generation, Ordering::Relaxed);
                self.stats.published.fetch_add(1, Ordering::Relaxed);
                tracing::info!("configuration {generation} is published: {summary}");
            }
            Err(why) => {
                self.stats.refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!("SIGHUP: the configuration stays as it was: {why}");
            }
        }
    }

    fn try_reload(&mut self, generation: u64) -> Result<String, String> {
        let loaded = config::load(&self.options, generation).map_err(|f| config::described(&f))?;
        self.check_ports(&loaded.snapshot)?;
        let mut next = Some(self.endpoints.serve(loaded.snapshot, &self.ports)?);
        let end = Instant::now() + PATIENCE;
        // The value is taken only when there is room for it, and nobody else publishes.
        while let Err(error) = self.served.update(|_| next.take().ok_or(())) {
            if !matches!(error, UpdateError::TooManyLive) || Instant::now() > end {
                return Err("earlier ones have not reached all shards yet; try again".into());
            }
            std::thread::sleep(PAUSE);
        }
        self.wakers.iter().for_each(Waker::wake);
        self.apply_keyspace(loaded.keyspace)?;
        Ok(loaded.summary.to_string())
    }

    /// Sockets are opened at start, so that a change of ports needs one.
    fn check_ports(&self, snapshot: &Snapshot) -> Result<(), String> {
        let missing = |port: &Option<u16>| port.is_some() && !self.ports.contains(port);
        let mut ports = snapshot.ports().map(|(_, port)| port);
        match ports.find(missing).flatten() {
            Some(port) => Err(format!(
                "a Gateway listens on port {port}, which was not among its ports when the node \
                 was started; start it anew for that"
            )),
            None => Ok(()),
        }
    }

    /// What documents say of the cache, when they say something else than before.
    fn apply_keyspace(&mut self, keyspace: Keyspace) -> Result<(), String> {
        if keyspace == self.keyspace {
            return Ok(());
        }
        let changed = self.settings.update(|old| {
            let mut new = old.clone();
            keyspace.apply(&mut new)?;
            Ok::<_, &'static str>(new)
        });
        match changed {
            Ok(_) => {}
            Err(UpdateError::Change(why)) => return Err(format!("Keyspace default: {why}")),
            Err(UpdateError::TooManyLive) => {
                return Err("earlier settings have not reached all shards yet; try again".into());
            }
        }
        self.keyspace = keyspace;
        self.wakers.iter().for_each(Waker::wake);
        Ok(())
    }
}
