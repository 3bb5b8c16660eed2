//! The node as a cluster: a port for each shard, and who the nodes behind them are.
//!
//! Owns which ports are taken, all or none, and the words about them.

use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};

use shards::command::ClusterNode;

use crate::args::Listen;
use crate::doors::{Taken, address_of};
use crate::serve::random_hex;

/// Where the first shard's port is unless the user says otherwise; the others follow it.
pub(crate) const DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7000);

/// What has become of the wish.
pub(crate) struct Cluster {
    /// One a shard, or none.
    pub(crate) listeners: Vec<TcpListener>,
    /// Where they listen.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Why there are none although nobody said so.
    pub(crate) missing: Option<String>,
}

impl Cluster {
    const NONE: Self = Self { listeners: Vec::new(), addresses: Vec::new(), missing: None };

    /// Listens for all shards or for none. What was not asked for by name may fail.
    ///
    /// # Errors
    /// One line, when ports that were asked for cannot be had.
    pub(crate) fn open(
        wish: Option<Listen>,
        shards: u16,
        taken: &mut Taken,
    ) -> Result<Self, String> {
        let at = match wish {
            Some(Listen::Off) => return Ok(Self::NONE),
            Some(Listen::At(at)) => at,
            None => DEFAULT,
        };
        let mut with_them = taken.clone();
        match (listen(at, shards, &mut with_them), wish) {
            (Ok(listeners), _) => {
                *taken = with_them;
                let addresses = listeners.iter().map(address_of).collect::<Result<_, _>>()?;
                Ok(Self { listeners, addresses, missing: None })
            }
            (Err(why), Some(_)) => Err(format!("--cluster: {why}")),
            (Err(why), None) => Ok(Self { missing: Some(why), ..Self::NONE }),
        }
    }
}

/// The nodes at these addresses, each under identities of its own.
pub(crate) fn nodes(addresses: &[SocketAddr]) -> Result<Vec<ClusterNode>, String> {
    let node = |address: &SocketAddr| {
        Ok(ClusterNode { id: random_hex()?, shard_id: random_hex()?, port: address.port() })
    };
    addresses.iter().map(node).collect()
}

fn listen(first: SocketAddr, shards: u16, taken: &mut Taken) -> Result<Vec<TcpListener>, String> {
    let mut listeners = Vec::new();
    for n in 0..shards {
        let mut address = first;
        if first.port() != 0 {
            let port = first.port().checked_add(n).ok_or_else(|| {
                format!("{shards} ports from {first} on go beyond 65535; choose a lower one")
            })?;
            address.set_port(port);
        }
        listeners.push(taken.listen("--cluster", address)?);
    }
    Ok(listeners)
}

/// `127.0.0.1:7000-7003`; ports that do not follow each other with commas.
pub(crate) fn described(addresses: &[SocketAddr]) -> String {
    let Some(first) = addresses.first() else { return String::new() };
    let mut text = first.to_string();
    let runs = addresses.chunk_by(|a, b| a.port().checked_add(1) == Some(b.port()));
    for (n, run) in runs.enumerate() {
        let (start, end) = (run[0].port(), run[run.len() - 1].port());
        // Writing to a string cannot fail.
        if n > 0 {
            let _ = write!(text, ",{start}");
        }
        if end != start {
            let _ = write!(text, "-{end}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_few_words() {
        for (ports, expected) in [
            (&[7000][..], "127.0.0.1:7000"),
            (&[7000, 7001, 7002], "127.0.0.1:7000-7002"),
            (&[7000, 7002, 7003, 9], "127.0.0.1:7000,7002-7003,9"),
        ] {
            let address = |port: &u16| SocketAddr::new(DEFAULT.ip(), *port);
            let addresses: Vec<_> = ports.iter().map(address).collect();
            assert_eq!(described(&addresses), expected);
        }
    }

    #[test]
    fn all_or_none() {
        // A port that is taken, with one before it that nobody has.
        // Below those that the system gives to connections.
        let first = 20_000 + (std::process::id() % 5_000) as u16 * 2;
        let pair = (first..32_000).find_map(|port| {
            let taken = TcpListener::bind(SocketAddr::new(DEFAULT.ip(), port + 1)).ok()?;
            let below = SocketAddr::new(DEFAULT.ip(), port);
            TcpListener::bind(below).ok()?;
            Some((taken, below))
        });
        let (_taken, below) = pair.expect("two ports");
        assert!(Cluster::open(Some(Listen::At(below)), 2, &mut Taken::default()).is_err());
        drop(TcpListener::bind(below).expect("the first was given back"));
        let beyond = SocketAddr::new(DEFAULT.ip(), 65535);
        let why = Cluster::open(Some(Listen::At(beyond)), 2, &mut Taken::default()).err().unwrap();
        assert!(why.starts_with("--cluster: ") && why.contains("65535"), "{why}");
    }
}
