//! SIGHUP: the configuration is read anew and published, or refused whole.
//!
//! Owns what has to be remembered between two generations. What is wrong is logged, each error
//! with its place, and the node goes on with what it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use controlplane::Summary;
use controlplane::resources::model::Keyspace;
use dataplane::proxy::{Desk, Endpoints, Served};
use dataplane::publish::{Publisher, UpdateError};
use dataplane::runtime::Waker;
use shards::settings::Settings;

use crate::args::ServeOptions;
use crate::config;
use crate::doors::Taken;
use crate::listeners::Listeners;

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
    pub(crate) listeners: Listeners,
    pub(crate) taken: Taken,
    /// How many there were in the last one.
    pub(crate) documents: usize,
    /// The last one that was applied.
    pub(crate) keyspace: Keyspace,
    pub(crate) access_log: Option<Desk>,
    pub(crate) stats: Arc<ConfigStats>,
    pub(crate) wakers: Vec<Waker>,
}

/// What a reading has come to.
struct Read {
    served: Served,
    listeners: Listeners,
    taken: Taken,
    keyspace: Keyspace,
    summary: Summary,
}

impl Reload {
    /// Reads and publishes, or says why not.
    pub(crate) fn reload(&mut self) {
        if let Some(log) = &self.access_log {
            log.reopen();
        }
        let generation = self.stats.generation.load(Ordering::Relaxed) + 1;
        let read = self.read(generation);
        let read = read.map_err(|why| format!("the configuration stays as it was: {why}"));
        match read.and_then(|loaded| self.publish(loaded, generation)) {
            Ok(summary) => {
                self.stats.published.fetch_add(1, Ordering::Relaxed);
                tracing::info!("configuration {generation} is published: {summary}");
            }
            Err(why) => {
                self.stats.refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!("SIGHUP: {why}");
            }
        }
        dataplane::memory::give_back(); // many times what stays of the documents
    }

    /// Reads the files, and checks all that could be against them.
    fn read(&mut self, generation: u64) -> Result<Read, String> {
        let loaded = config::load(&self.options, generation).map_err(|f| config::described(&f))?;
        if let (0, [first, ..]) = (loaded.summary.documents, &self.options.config[..])
            && self.documents > 0
        {
            // A file that is just being written, most likely.
            return Err(format!("{}: no document in it, and there were some", first.display()));
        }
        let mut listeners = self.listeners.follow(self.options.http, &loaded.snapshot)?;
        config::refuse_own(&loaded, &listeners)?;
        let mut copy = self.settings.subscribe().get().clone();
        loaded.keyspace.apply(&mut copy).map_err(|why| format!("Keyspace default: {why}"))?;
        // Last: who connects to a port that is taken back is reset.
        let mut taken = self.taken.clone();
        listeners.bind(&mut taken)?;
        let served = listeners.serve(loaded.snapshot, &mut self.endpoints)?;
        let (keyspace, summary) = (loaded.keyspace, loaded.summary);
        Ok(Read { served, listeners, taken, keyspace, summary })
    }

    fn publish(&mut self, read: Read, generation: u64) -> Result<String, String> {
        let mut next = Some(read.served);
        let end = Instant::now() + PATIENCE;
        // The value is taken only when there is room for it, and nobody else publishes.
        while let Err(error) = self.served.update(|_| next.take().ok_or(())) {
            if !matches!(error, UpdateError::TooManyLive) || Instant::now() > end {
                return Err("the configuration stays as it was: earlier ones have not reached \
                    all shards yet; try again"
                    .into());
            }
            std::thread::sleep(PAUSE);
        }
        // A generation has been seen from here on, whatever becomes of the rest.
        self.stats.generation.store(generation, Ordering::Relaxed);
        self.wakers.iter().for_each(Waker::wake);
        (self.taken, self.documents) = (read.taken, read.summary.documents);
        self.change_listeners(read.listeners);
        self.apply_keyspace(read.keyspace).map_err(|why| {
            format!("the routes are published as configuration {generation}, but {why}")
        })?;
        Ok(read.summary.to_string())
    }

    /// Frees generations that no shard holds any more, some time after the last one has come.
    pub(crate) fn collect(&self) {
        let live = self.served.live();
        if live > 1 {
            self.served.collect();
            if self.served.live() < live {
                dataplane::memory::give_back();
            }
        }
    }

    /// Says what has changed. Sockets that are no more are closed when no shard holds the
    /// generation before.
    fn change_listeners(&mut self, next: Listeners) {
        for opened in next.beyond(&self.listeners) {
            tracing::info!("http listening on http://{opened}");
        }
        let before = std::mem::replace(&mut self.listeners, next);
        let closed = before.beyond(&self.listeners);
        drop(before);
        if closed.is_empty() {
            return;
        }
        let end = Instant::now() + PATIENCE;
        while self.served.live() > 1 && Instant::now() < end {
            std::thread::sleep(PAUSE);
            self.served.collect();
        }
        for address in closed {
            if self.served.live() > 1 {
                tracing::warn!("a busy shard may still listen on http://{address}");
            } else {
                tracing::info!("http listening no more on http://{address}");
            }
        }
    }

    /// What documents say of the cache, where they say something else than before.
    fn apply_keyspace(&mut self, keyspace: Keyspace) -> Result<(), String> {
        let flagged = self.options.maxmemory.is_some();
        let mut changes = changes(&self.keyspace, &keyspace);
        if flagged && changes.maxmemory.take().is_some() {
            tracing::warn!("Keyspace default: spec.maxmemory is left as --maxmemory says");
        }
        if changes != Keyspace::default() {
            self.set(&changes)?;
        }
        self.keyspace = keyspace;
        Ok(())
    }

    fn set(&self, changes: &Keyspace) -> Result<(), String> {
        let changed = self.settings.update(|old| {
            let mut new = old.clone();
            changes.apply(&mut new)?;
            Ok::<_, &'static str>(new)
        });
        match changed {
            Ok(_) => {}
            Err(UpdateError::Change(why)) => return Err(format!("Keyspace default: {why}")),
            Err(UpdateError::TooManyLive) => {
                return Err("earlier settings have not reached all shards yet; try again".into());
            }
        }
        self.wakers.iter().for_each(Waker::wake);
        Ok(())
    }
}

/// The fields that say something else than before.
fn changes(before: &Keyspace, now: &Keyspace) -> Keyspace {
    let Keyspace { maxmemory, eviction } = now.clone();
    Keyspace {
        maxmemory: maxmemory.filter(|_| now.maxmemory != before.maxmemory),
        eviction: eviction.filter(|_| now.eviction != before.eviction),
    }
}
