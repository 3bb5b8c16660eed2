//! Where HTTP clients connect: the default listener, and those of Gateways on its host.
//!
//! Owns which sockets are open, what each is in a configuration, and whether an address leads
//! back to one of them. One socket is both where a Gateway names the default listener's port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use dataplane::proxy::{Endpoints, Served};
use shards::config::Snapshot;

use crate::args::Listen;
use crate::doors::{Taken, address_of};

/// Where the default listener is when nobody says.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Addresses that a node listens on in its life: each has a number of its own, and all are gone
/// through when one comes or goes.
const MOST: usize = 1_024;

/// Why a configuration without Gateways is none for a node whose HTTP port is off.
const NO_DEFAULT: &str = "--http off: there are routes, and no Gateway that says where they \
                          listen; leave it out, or add a Gateway";

/// Where HTTP clients connect.
#[derive(Clone, Debug)]
struct Listener {
    address: SocketAddr,
    is_default: bool,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// To be bound.
    Wanted,
    Open(Arc<OwnedFd>),
    /// Its number stays that of its address, since clients that came to it may still be there.
    Closed,
}

impl Listener {
    fn socket(&self) -> Option<&Arc<OwnedFd>> {
        match &self.state {
            State::Open(socket) => Some(socket),
            State::Wanted | State::Closed => None,
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// On whose behalf it is there.
    fn what(&self) -> String {
        match self.is_default {
            true => "--http".into(),
            false => format!("a Gateway's listener on port {}", self.address.port()),
        }
    }
}

/// All that there are or have been, in the order of their numbers.
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
        let mut listeners = Self::default().follow(http, config)?;
        listeners.bind(taken)?;
        let mut missing = None;
        if http != Some(Listen::Off) && !listeners.has_default() {
            // After the others, so that a port 0 takes none of theirs.
            listeners.want(default_of(http), true)?;
            match listeners.bind(taken) {
                Err(why) if http.is_some() => return Err(why),
                bound => missing = bound.err(),
            }
            listeners.0.retain(|listener| listener.socket().is_some());
        }
        listeners.0.sort_by_key(|listener| !listener.is_default); // which is told first
        Ok((listeners, missing))
    }

    /// What another configuration wants: ports of Gateways that have gone are closed, and new
    /// ones are to be bound, on the host of `http`. The default one, once open, stays.
    ///
    /// # Errors
    /// One line for the operator.
    pub(crate) fn follow(&self, http: Option<Listen>, config: &Snapshot) -> Result<Self, String> {
        let default = default_of(http);
        let mut next = self.clone();
        for listener in next.0.iter_mut().filter(|listener| !listener.is_default) {
            if config.port(Some(listener.address.port())).is_none() {
                listener.state = State::Closed;
            }
        }
        for port in config.ports().filter_map(|(_, port)| port) {
            if !next.addresses().any(|address| address.port() == port) {
                let address = SocketAddr::new(default.ip(), port);
                next.want(address, address == default && http != Some(Listen::Off))?;
            }
        }
        if config.port(None).is_some() && config.rules() > 0 && !next.has_default() {
            if http == Some(Listen::Off) {
                return Err(NO_DEFAULT.into());
            }
            next.want(default, true)?;
        }
        Ok(next)
    }

    fn want(&mut self, address: SocketAddr, is_default: bool) -> Result<(), String> {
        let known = self.0.iter().position(|one| one.is_closed() && one.address == address);
        let new = Listener { address, is_default, state: State::Wanted };
        match known {
            Some(known) => self.0[known] = new,
            None if self.0.len() < MOST => self.0.push(new),
            None => return Err(format!("{MOST} ports have been Gateways'; start the node anew")),
        }
        Ok(())
    }

    /// Binds all that are wanted.
    ///
    /// # Errors
    /// One line for the operator; nothing stays bound that was not when this is dropped.
    pub(crate) fn bind(&mut self, taken: &mut Taken) -> Result<(), String> {
        for closed in self.0.iter().filter(|listener| listener.is_closed()) {
            taken.forget(closed.address);
        }
        for listener in self.0.iter_mut().filter(|one| matches!(one.state, State::Wanted)) {
            let what = listener.what();
            let socket = taken.listen(&what, listener.address);
            let socket = socket.map_err(|why| format!("{what}: {why}"))?;
            listener.address = address_of(&socket)?;
            listener.state = State::Open(Arc::new(socket.into()));
        }
        Ok(())
    }

    fn has_default(&self) -> bool {
        self.0.iter().any(|listener| listener.is_default)
    }

    /// Where they are, or are going to be.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().filter(|listener| !listener.is_closed()).map(|listener| listener.address)
    }

    /// Where those are that the others have not.
    pub(crate) fn beyond(&self, others: &Self) -> Vec<SocketAddr> {
        self.addresses().filter(|one| !others.addresses().any(|other| other == *one)).collect()
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
        let port_in = |listener: &Listener| {
            let number = Some(listener.address.port());
            if listener.is_default && config.port(number).is_none() { None } else { number }
        };
        let ports: Vec<Option<u16>> = self.0.iter().map(port_in).collect();
        let sockets = self.0.iter().map(|listener| listener.socket().cloned()).collect();
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
