//! Where HTTP clients connect: the default listener, and those of Gateways on its host.
//!
//! Owns which sockets are open, what each is in a configuration, and whether an address leads
//! back to one of them. One socket is both where a Gateway names the default listener's port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use dataplane::proxy::{CLOSED, Endpoints, Served};
use shards::config::Snapshot;

use crate::args::Listen;
use crate::doors::{Taken, address_of};

/// Where the default listener is when nobody says.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Sockets that a node opens at the most, one after the other: each has a number of its own.
const MOST: usize = 60_000;

/// Why a configuration without Gateways is none for a node whose HTTP port is off.
const NO_DEFAULT: &str = "--http off: there are routes, and no Gateway that says where they \
                          listen; leave it out, or add a Gateway";

/// A socket that HTTP clients connect to.
#[derive(Clone, Debug)]
struct Listener {
    address: SocketAddr,
    is_default: bool,
    /// None once it is closed: its number stays, since clients that came to it may.
    socket: Option<Arc<OwnedFd>>,
}

/// All of them, in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listeners(Vec<Listener>);

impl Listeners {
    /// Those of the first configuration, and why there is no default one. Nobody has to have the
    /// default port free who has not asked for it, and who has switched it off has Gateways'
    /// ports alone.
    ///
    /// # Errors
    /// One line for the operator.
    pub(crate) fn open(
        http: Option<Listen>,
        config: &Snapshot,
        taken: &mut Taken,
    ) -> Result<(Self, Option<String>), String> {
        let mut listeners = Self::default().follow(http, config, taken)?;
        let mut missing = None;
        if http != Some(Listen::Off) && !listeners.has_default() {
            // After the others, so that a port 0 takes none of theirs.
            match listeners.bind(default_of(http), true, "--http", taken) {
                Ok(()) => {}
                Err(why) if http.is_some() => return Err(format!("--http: {why}")),
                Err(why) => missing = Some(why),
            }
        }
        listeners.0.sort_by_key(|listener| !listener.is_default); // which is told first
        Ok((listeners, missing))
    }

    /// The same for another configuration: ports of Gateways that have gone are closed, and new
    /// ones are bound, on the host of `http`. The default one, once open, stays.
    ///
    /// # Errors
    /// One line for the operator.
    pub(crate) fn follow(
        &self,
        http: Option<Listen>,
        config: &Snapshot,
        taken: &mut Taken,
    ) -> Result<Self, String> {
        let default = default_of(http);
        let mut next = self.clone();
        for listener in next.0.iter_mut().filter(|listener| !listener.is_default) {
            if config.port(Some(listener.address.port())).is_none() && listener.socket.is_some() {
                listener.socket = None;
                taken.forget(listener.address);
            }
        }
        for port in config.ports().filter_map(|(_, port)| port) {
            if next.addresses().any(|address| address.port() == port) {
                continue;
            }
            let what = format!("a Gateway's listener on port {port}");
            let address = SocketAddr::new(default.ip(), port);
            let is_default = address == default && http != Some(Listen::Off);
            let bound = next.bind(address, is_default, &what, taken);
            bound.map_err(|why| format!("{what}: {why}"))?;
        }
        let has_routes = config.port(None).is_some() && config.rules() > 0;
        if has_routes && !next.has_default() {
            if http == Some(Listen::Off) {
                return Err(NO_DEFAULT.into());
            }
            let bound = next.bind(default, true, "--http", taken);
            bound.map_err(|why| format!("--http: {why}"))?;
        }
        Ok(next)
    }

    fn bind(
        &mut self,
        address: SocketAddr,
        is_default: bool,
        what: &str,
        taken: &mut Taken,
    ) -> Result<(), String> {
        if self.0.len() >= MOST {
            return Err(format!("{MOST} listeners have been opened; start the node anew"));
        }
        let socket = taken.listen(what, address)?;
        let address = address_of(&socket)?;
        let socket = Some(Arc::new(OwnedFd::from(socket)));
        self.0.push(Listener { address, is_default, socket });
        Ok(())
    }

    fn has_default(&self) -> bool {
        self.0.iter().any(|listener| listener.is_default)
    }

    fn are_open(&self) -> impl Iterator<Item = &Listener> {
        self.0.iter().filter(|listener| listener.socket.is_some())
    }

    /// Where they are.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.are_open().map(|listener| listener.address)
    }

    /// Where those are that the others have not.
    pub(crate) fn beyond(&self, others: &Self) -> impl Iterator<Item = SocketAddr> {
        self.addresses().filter(|address| !others.addresses().any(|other| other == *address))
    }

    /// A generation to serve on them.
    ///
    /// # Errors
    /// As for [`Endpoints::serve`].
    pub(crate) fn serve(
        &self,
        config: Snapshot,
        endpoints: &mut Endpoints,
    ) -> Result<Served, String> {
        let port_in = |listener: &Listener| match Some(listener.address.port()) {
            _ if listener.socket.is_none() => CLOSED,
            number if listener.is_default && config.port(number).is_none() => None,
            number => number,
        };
        let ports: Vec<Option<u16>> = self.0.iter().map(port_in).collect();
        let sockets = self.0.iter().map(|listener| listener.socket.clone()).collect();
        Ok(endpoints.serve(config, &ports)?.listening(sockets))
    }

    /// The listener that connections to an address come to, if one of them does.
    pub(crate) fn reached_by(&self, address: SocketAddr) -> Option<SocketAddr> {
        self.addresses().find(|at| at.port() == address.port() && hears(at.ip(), address.ip()))
    }
}

fn default_of(http: Option<Listen>) -> SocketAddr {
    match http {
        Some(Listen::At(address)) => address,
        Some(Listen::Off) | None => DEFAULT,
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
