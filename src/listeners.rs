//! Where HTTP clients connect: the default listener, and those of Gateways on its host.
//!
//! Owns which sockets are opened, what each is in a configuration, and whether an address leads
//! back to one of them. One socket is both where a Gateway names the default listener's port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use shards::config::Snapshot;

use crate::args::Listen;
use crate::doors::{Taken, address_of};

/// Where the default listener is when nobody says.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Why a configuration without Gateways is none for a node whose HTTP port is off.
pub(crate) const NO_DEFAULT: &str = "--http off: there are routes, and no Gateway that says where they \
                          listen; leave it out, or add a Gateway";

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
    /// Nobody has to have the default port free who has not asked for it, and who has switched it
    /// off has Gateways' ports alone.
    ///
    /// # Errors
    /// One line for the operator.
    pub(crate) fn open(
        http: Option<Listen>,
        config: &Snapshot,
        taken: &mut Taken,
    ) -> Result<Self, String> {
        let (default, is_off) = match http {
            Some(Listen::At(at)) => (at, false),
            Some(Listen::Off) => (DEFAULT, true),
            None => (DEFAULT, false),
        };
        let mut bound = Self { listeners: Listeners(vec![]), sockets: vec![], missing: None };
        for (_, port) in config.ports() {
            let Some(port) = port else { continue };
            let what = format!("a Gateway's listener on port {port}");
            let mut address = default;
            address.set_port(port);
            let socket = taken.listen(&what, address).map_err(|why| format!("{what}: {why}"))?;
            bound.add(socket, address == default && !is_off)?;
        }
        let has_routes = config.port(None).is_some() && config.rules() > 0;
        if is_off {
            return if has_routes { Err(NO_DEFAULT.into()) } else { Ok(bound) };
        }
        // After them, so that a port 0 takes none of theirs.
        if !bound.listeners.0.iter().any(|listener| listener.is_default) {
            let wanted = http.is_some() || has_routes;
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

    /// The listener that connections to an address come to, if one of them does.
    pub(crate) fn reached_by(&self, address: SocketAddr) -> Option<SocketAddr> {
        self.addresses().find(|at| at.port() == address.port() && hears(at.ip(), address.ip()))
    }
}

/// Whether a listener on one address accepts connections to the other.
fn hears(listener: IpAddr, called: IpAddr) -> bool {
    let listener = listener.to_canonical();
    // Who connects to no address in particular gets to the loopback.
    let called = match called.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    };
    match listener {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => called.is_ipv4() && is_local(called),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => is_local(called), // it takes IPv4, too
        one => one == called,
    }
}

/// Whether an address is one of this machine's.
fn is_local(address: IpAddr) -> bool {
    // The kernel sends from an address to itself and to no other. Nothing is sent here: any port.
    let source = || {
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(SocketAddr::new(address, 9)).ok()?;
        socket.local_addr().ok()
    };
    address.is_loopback() || source().is_some_and(|source| source.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(listener: &str, called: &str, expect: bool) {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(hears(address(listener), address(called)), expect, "{called} at {listener}");
    }

    #[test]
    fn who_hears_what() {
        check("127.0.0.1", "127.0.0.1", true);
        check("127.0.0.1", "127.0.0.2", false);
        check("127.0.0.1", "0.0.0.0", true);
        check("127.0.0.1", "::ffff:127.0.0.1", true);
        check("127.0.0.1", "::1", false);
        check("0.0.0.0", "127.255.0.3", true);
        check("0.0.0.0", "192.0.2.1", false);
        check("0.0.0.0", "::1", false);
        check("::", "127.0.0.1", true);
        check("::", "::1", true);
        check("::", "::", true);
        check("::", "2001:db8::1", false);
        check("::ffff:127.0.0.1", "127.0.0.1", true);
    }
}
