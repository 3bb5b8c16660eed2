//! Where HTTP clients connect: the default listener, and those of Gateways on its host.
//!
//! Owns which sockets are opened and what each is in a configuration. One socket is both where a
//! Gateway names the default listener's port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use shards::config::Snapshot;

use crate::doors::{Taken, address_of};

/// Where the default listener is when nobody says.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// A socket that HTTP clients connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listener {
    address: SocketAddr,
    is_default: bool,
}

/// All of them; the default one, if there is one, is the first.
#[derive(Clone, Debug)]
pub(crate) struct Listeners(Vec<Listener>);

/// The same with their sockets, in the same order.
pub(crate) struct Bound {
    pub(crate) listeners: Listeners,
    pub(crate) sockets: Vec<TcpListener>,
    /// Why there is no default one.
    pub(crate) missing: Option<String>,
}

impl Bound {
    /// Binds what a configuration asks for. Ports of Gateways are bound on the host of `http`.
    /// Nobody has to have the default port free who has not asked for it.
    ///
    /// # Errors
    /// One line for the operator.
    pub(crate) fn open(
        http: Option<SocketAddr>,
        config: &Snapshot,
        taken: &mut Taken,
    ) -> Result<Self, String> {
        let default = http.unwrap_or(DEFAULT);
        let mut bound = Self { listeners: Listeners(vec![]), sockets: vec![], missing: None };
        for (_, port) in config.ports() {
            let Some(port) = port else { continue };
            let what = format!("a Gateway's listener on port {port}");
            let mut address = default;
            address.set_port(port);
            let socket = taken.listen(&what, address).map_err(|why| format!("{what}: {why}"))?;
            bound.add(socket, address == default)?;
        }
        // After them, so that a port 0 takes none of theirs.
        if !bound.listeners.0.iter().any(|listener| listener.is_default) {
            let wanted = http.is_some() || config.port(None).is_some() && config.rules() > 0;
            match taken.listen("--http", default) {
                Ok(socket) => bound.add(socket, true)?,
                Err(why) if wanted => return Err(format!("--http: {why}")),
                Err(why) => bound.missing = Some(why),
            }
        }
        Ok(bound)
    }

    fn add(&mut self, socket: TcpListener, is_default: bool) -> Result<(), String> {
        let at = if is_default { 0 } else { self.sockets.len() };
        self.listeners.0.insert(at, Listener { address: address_of(&socket)?, is_default });
        self.sockets.insert(at, socket);
        Ok(())
    }
}

impl Listeners {
    /// Where they are.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().map(|listener| listener.address)
    }

    /// What each is in a configuration: the port of a Gateway, or the default one.
    pub(crate) fn ports_in(&self, config: &Snapshot) -> Vec<Option<u16>> {
        let port_in = |listener: &Listener| {
            let number = Some(listener.address.port());
            if listener.is_default && config.port(number).is_none() { None } else { number }
        };
        self.0.iter().map(port_in).collect()
    }
}
