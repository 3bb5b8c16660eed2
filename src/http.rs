//! The proxy's part of starting a node: what each shard's proxy begins with; the access log.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use dataplane::cache_server::Control;
use dataplane::proxy::{Desk, Endpoints, Pen, Served, Setup, access_log};
use dataplane::publish::{Publisher, publication};
use shards::config::Snapshot;

use crate::listeners::Bound;

/// What serves the shards' proxies and outlives them.
pub(crate) struct Proxies {
    pub(crate) served: Publisher<Served>,
    setups: std::vec::IntoIter<Setup>,
}

impl Proxies {
    /// One proxy for each shard.
    pub(crate) fn new(
        http: Bound,
        config: Snapshot,
        endpoints: &mut Endpoints,
        node: &[Arc<Control>],
        pens: Option<Vec<Pen>>,
        (files, seed): (u64, u64),
    ) -> Result<Self, String> {
        let ports = http.listeners.ports_in(&config);
        let served = publication(endpoints.serve(config, &ports)?);
        let mut sockets = Some(http.sockets.into_iter().map(OwnedFd::from).collect());
        let mut pens = pens.into_iter().flatten();
        let setups = node.iter().zip(0..).map(|(control, n)| Setup {
            listeners: sockets.take().unwrap_or_default(),
            first_listener: None,
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

/// The access log's thread; writes what is left when it is dropped.
pub(crate) struct AccessLog {
    desk: Desk,
    /// Hears when its thread has ended.
    ended: Receiver<()>,
}

/// How long the last lines may take: a pipe that nobody reads may take none for ever.
const LAST_LINES: Duration = Duration::from_secs(1);

impl AccessLog {
    /// Starts it.
    ///
    /// # Errors
    /// One line for the operator.
    fn start(path: &Path, shards: usize) -> Result<(Self, Vec<Pen>), String> {
        let failed = |error: io::Error| format!("--access-log {}: {error}", path.display());
        drop(open(path).map_err(failed)?); // a wrong name is known at once
        let (pens, writer, desk) = access_log(shards).map_err(failed)?;
        let path: PathBuf = path.to_owned();
        let (ends, ended) = mpsc::channel();
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || {
                writer.run(|| open(&path));
                drop(ends);
            })
            .map_err(failed)?;
        Ok((Self { desk, ended }, pens))
    }

    /// Starts one if the user wants it; with the shards' ends.
    ///
    /// # Errors
    /// One line for the operator.
    pub(crate) fn of(
        path: Option<&Path>,
        shards: usize,
    ) -> Result<(Option<Self>, Option<Vec<Pen>>), String> {
        let started = path.map(|path| Self::start(path, shards)).transpose()?;
        Ok(started.unzip())
    }

    /// What opens the file anew after it has been moved away.
    pub(crate) fn desk(&self) -> Desk {
        self.desk.clone()
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.desk.close();
        // Disconnected, which is its end, or too late.
        let _ = self.ended.recv_timeout(LAST_LINES);
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
