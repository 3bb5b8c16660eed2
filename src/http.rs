//! The proxy's part of starting a node: its listeners, its configuration, its access log.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use dataplane::cache_server::Control;
use dataplane::net;
use dataplane::proxy::{Desk, Endpoints, Pen, Served, Setup, access_log};
use dataplane::publish::{Publisher, publication};
use shards::config::Snapshot;

/// Clients that the proxy takes.
const MOST_CLIENTS: u64 = 100_000;

/// The listeners of a node, by their port in the configuration; the default one is the first.
pub(crate) struct Listeners {
    pub(crate) addresses: Vec<SocketAddr>,
    ports: Vec<Option<u16>>,
    sockets: Vec<TcpListener>,
}

impl Listeners {
    /// Binds what a configuration asks for. Ports of Gateways are bound on the host of `http`.
    ///
    /// # Errors
    /// One line for the operator.
    pub(crate) fn open(http: SocketAddr, config: &Snapshot) -> Result<Self, String> {
        let named = config.ports().filter_map(|(_, number)| number);
        let ports: Vec<Option<u16>> = std::iter::once(None).chain(named.map(Some)).collect();
        let mut listeners = Self { addresses: Vec::new(), ports, sockets: Vec::new() };
        for port in &listeners.ports {
            let address = port.map_or(http, |port| SocketAddr::new(http.ip(), port));
            let socket = net::listen_on(address).map_err(|why| match port {
                None => format!("--http: {why}"),
                Some(port) => format!("a Gateway's listener on port {port}: {why}"),
            })?;
            listeners.addresses.push(crate::serve::address_of(&socket)?);
            listeners.sockets.push(socket);
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
            // Each has a connection of its own to a server, mostly.
            most_clients: MOST_CLIENTS.min(files / 2),
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
    thread: Option<JoinHandle<()>>,
}

impl AccessLog {
    /// Starts it.
    ///
    /// # Errors
    /// One line for the operator.
    pub(crate) fn start(path: &Path, shards: usize) -> Result<(Self, Vec<Pen>), String> {
        let failed = |error: io::Error| format!("--access-log {}: {error}", path.display());
        drop(open(path).map_err(failed)?); // a wrong name is known at once
        let (pens, writer, desk) = access_log(shards).map_err(failed)?;
        let path: PathBuf = path.to_owned();
        let thread = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer.run(|| open(&path)))
            .map_err(failed)?;
        Ok((Self { desk, thread: Some(thread) }, pens))
    }

    /// What opens the file anew after it has been moved away.
    pub(crate) fn desk(&self) -> Desk {
        self.desk.clone()
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.desk.close();
        // It waits for nobody but the disk.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
