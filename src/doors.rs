//! The sockets of a node: bound before anything else is started, and said in its first lines.

use std::net::{SocketAddr, TcpListener};

use core_affinity::CoreId;
use dataplane::net;
use dataplane::runtime::Choice;
use shards::config::Snapshot;
use shards::settings::Settings;

use crate::args::{Listen, ServeOptions};
use crate::cluster::{self, Cluster};
use crate::listeners::Listeners;

/// See the module's text.
pub(crate) struct Doors {
    pub(crate) resp: TcpListener,
    /// One a shard, or none.
    pub(crate) cluster: Vec<TcpListener>,
    pub(crate) http: Listeners,
    pub(crate) admin: Option<TcpListener>,
    pub(crate) taken: Taken,
}

/// Where they are, for who reads the first lines.
pub(crate) struct Addresses {
    pub(crate) resp: SocketAddr,
    pub(crate) cluster: Vec<SocketAddr>,
    /// Why there is none although nobody said so.
    pub(crate) no_cluster: Option<String>,
    pub(crate) http: Vec<SocketAddr>,
    pub(crate) no_http: Option<String>,
    pub(crate) admin: Option<SocketAddr>,
}

/// Binds all of them.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub(crate) fn open(
    options: &ServeOptions,
    config: &Snapshot,
    shards: u16,
) -> Result<(Doors, Addresses), String> {
    let mut taken = Taken::default();
    let resp = taken.listen("--resp", options.resp).map_err(|why| format!("--resp: {why}"))?;
    let (http, no_http) = Listeners::open(options.http, config, &mut taken)?;
    let admin = match options.admin {
        Listen::Off => None,
        Listen::At(at) => {
            Some(taken.listen("--admin", at).map_err(|why| format!("--admin: {why}"))?)
        }
    };
    // Last, so that the default ports of this are nobody's whom the user has named.
    let cluster = Cluster::open(options.cluster, shards, &mut taken)?;
    let addresses = Addresses {
        resp: address_of(&resp)?,
        cluster: cluster.addresses,
        no_cluster: cluster.missing,
        http: http.addresses().collect(),
        no_http,
        admin: admin.as_ref().map(address_of).transpose()?,
    };
    Ok((Doors { resp, cluster: cluster.listeners, http, admin, taken }, addresses))
}

/// What this node listens on so far, and on whose behalf.
#[derive(Clone, Default)]
pub(crate) struct Taken(Vec<(String, SocketAddr)>);

impl Taken {
    /// Binds and listens for a flag, or whatever else `what` names.
    ///
    /// # Errors
    /// One line for the operator; it says so when the port is taken by this node itself.
    pub(crate) fn listen(&mut self, what: &str, at: SocketAddr) -> Result<TcpListener, String> {
        let listener = net::listen_on(at).map_err(|why| match self.holder(at) {
            Some((holder, address)) => {
                format!("cannot listen on {at}: {holder} listens on {address}; choose another")
            }
            None => why,
        })?;
        self.0.push((what.to_owned(), address_of(&listener)?));
        Ok(listener)
    }

    /// It listens there no more.
    pub(crate) fn forget(&mut self, address: SocketAddr) {
        self.0.retain(|(_, there)| *there != address);
    }

    /// Who has that port on that address, or on one that is both.
    fn holder(&self, at: SocketAddr) -> Option<&(String, SocketAddr)> {
        let both = |other: &SocketAddr| {
            let any = other.ip().is_unspecified() || at.ip().is_unspecified();
            other.port() == at.port() && (any || other.ip() == at.ip())
        };
        self.0.iter().find(|(_, address)| both(address))
    }
}

/// Beyond loopback nobody gets in without a password, as in Redis' protected mode.
pub(crate) fn refuse_open(options: &ServeOptions, settings: &Settings) -> Result<(), String> {
    if !options.resp.ip().is_loopback() && settings.requirepass.is_empty() {
        return Err(format!(
            "--resp {}: open to the network without a password; add --requirepass-file or listen \
             on 127.0.0.1",
            options.resp
        ));
    }
    let cluster = match options.cluster {
        Some(Listen::At(address)) => address,
        Some(Listen::Off) | None => cluster::DEFAULT,
    };
    if !cluster.ip().is_loopback() && settings.requirepass.is_empty() {
        return Err(format!(
            "--cluster {cluster}: open to the network without a password; add \
             --requirepass-file or listen on 127.0.0.1"
        ));
    }
    if let Listen::At(admin) = options.admin
        && !admin.ip().is_loopback()
    {
        return Err(format!(
            "--admin {admin}: the admin port has no authentication in this version; listen on \
             127.0.0.1"
        ));
    }
    Ok(())
}

pub(crate) fn address_of(listener: &std::net::TcpListener) -> Result<SocketAddr, String> {
    listener.local_addr().map_err(|error| format!("a listener has no address: {error}"))
}

impl Addresses {
    /// The first lines.
    pub(crate) fn announce(&self, choice: &Choice, cores: &[CoreId], clients: u32) {
        let port = self.resp.port();
        let version = env!("CARGO_PKG_VERSION");
        match cores {
            [core] => println!("corelane {version}, one shard on core {}", core.id),
            cores => {
                let ids: Vec<String> = cores.iter().map(|core| core.id.to_string()).collect();
                println!("corelane {version}, {} shards on cores {}", cores.len(), ids.join(","));
            }
        }
        println!("resp listening on {} (driver {}: {})", self.resp, choice.kind, choice.reason);
        if !self.cluster.is_empty() {
            println!(
                "cluster listening on {}, a port for each shard",
                cluster::described(&self.cluster)
            );
        }
        if let Some(why) = &self.no_cluster {
            println!("no cluster ports: {why} with --cluster");
        }
        for address in &self.http {
            println!("http listening on http://{address}");
        }
        if let Some(why) = &self.no_http {
            println!("no http port: {why} with --http");
        }
        if let Some(admin) = self.admin {
            println!("admin listening on http://{admin}");
        }
        if clients < Settings::default().maxclients {
            println!(
                "at most {clients} clients, for want of open files; raise `ulimit -n` for more"
            );
        }
        println!("try:  redis-cli -p {port} set greeting hello");
        println!("      redis-benchmark -p {port} -t get,set -q");
        if let Some(first) = self.cluster.first() {
            println!("      redis-cli -c -p {} set greeting hello", first.port());
        }
        if let Some(admin) = self.admin {
            println!("      curl -s http://{admin}/metrics | head");
        }
        println!("ready");
    }
}
