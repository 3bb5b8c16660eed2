//! The proxy's part of starting a node: its listeners, its configuration, its access log.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use dataplane::cache_server::Control;
use dataplane::net;
use dataplane::proxy::{Desk, Endpoints, Pen, Served, Setup, access_log};
use dataplane::publish::{Publisher, publication};
use shards::config::Snapshot;

/// The listeners of a node, by their port in the configuration; the default one is the first.
pub(crate) struct Listeners {
    pub(crate) addresses: Vec<SocketAddr>,
    ports: Vec<Option<u16>>,
    sockets: Vec<TcpListener>,
    /// Why there is no default one.
    pub(crate) missing: Option<String>,
}

/// Where the default listener is when nobody says.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

impl Listeners {
    /// Binds what a configuration asks for. Ports of Gateways are bound on the host of `http`.
    /// Nobody has to have the default port free who has not asked for it.
    ///
    /// # Errors
    /// One line for the operator.
    pub(crate) fn open(http: Option<SocketAddr>, config: &Snapshot) -> Result<Self, String> {
        let named = config.ports().filter_map(|(_, number)| number);
        let ports = std::iter::once(None).chain(named.map(Some));
        let mut listeners =
            Self { addresses: Vec::new(), ports: Vec::new(), sockets: Vec::new(), missing: None };
        let default = http.unwrap_or(DEFAULT);
        for port in ports {
            let address = port.map_or(default, |port| SocketAddr::new(default.ip(), port));
            match (net::listen_on(address), port) {
                (Ok(socket), _) => {
                    listeners.addresses.push(crate::doors::address_of(&socket)?);
                    listeners.sockets.push(socket);
                    listeners.ports.push(port);
                }
                (Err(why), None) if http.is_none() && config.rules() == 0 => {
                    listeners.missing = Some(why);
                }
                (Err(why), None) => return Err(format!("--http: {why}")),
                (Err(why), Some(port)) => {
                    return Err(format!("a Gateway's listener on port {port}: {why}"));
                }
            }
        }
        Ok(listeners)
    }

    /// Their ports in the configuration.
    pub(crate) fn ports(&self) -> Vec<Option<u16>> {
        self.ports.clone()
    }

    fn descriptors(self) -> Vec<OwnedFd> {
        self.sockets.into_iter().map(OwnedFd::from).collect()
    }
}

/// What serves the shards' proxies and outlives them.
pub(crate) struct Proxies {
    pub(crate) served: Publisher<Served>,
    setups: std::vec::IntoIter<Setup>,
}

impl Proxies {
    /// One proxy for each shard.
    pub(crate) fn new(
        listeners: Listeners,
        config: Snapshot,
        endpoints: &mut Endpoints,
        node: &[Arc<Control>],
        pens: Option<Vec<Pen>>,
        (files, seed): (u64, u64),
    ) -> Result<Self, String> {
        let served = publication(endpoints.serve(config, &listeners.ports)?);
        let mut sockets = Some(listeners.descriptors());
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
