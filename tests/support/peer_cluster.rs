//! A real cluster to record from and compare with: Valkey nodes that share the slots as the
//! shards of our node do.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use shards::ids::ShardId;
use shards::partition::Partition;

use super::node::fresh_dir;
use super::peer::free_address;
use super::{Client, eventually, tools};

/// How long nodes may take to know each other.
const GOSSIP: Duration = Duration::from_secs(30);

/// Nodes in the order of their slots; ended on drop.
pub struct PeerCluster {
    nodes: Vec<PeerNode>,
}

struct PeerNode {
    child: Child,
    dir: PathBuf,
    addr: SocketAddr,
}

impl PeerCluster {
    /// Starts so many nodes and waits until all serve.
    pub fn start(nodes: u16) -> Self {
        let partition = Partition::new(nodes).expect("a number of shards");
        let cluster = Self { nodes: (0..nodes).map(|_| PeerNode::start()).collect() };
        for (node, shard) in cluster.nodes.iter().zip((0..nodes).map(ShardId)) {
            let slots = partition.slots(shard);
            let (first, last) = (slots.start().get(), slots.end().get());
            node.ok(&format!("CLUSTER ADDSLOTSRANGE {first} {last}"));
            if nodes > 1 {
                node.ok(&format!("CLUSTER SET-CONFIG-EPOCH {}", shard.0 + 1)); // each has its own
            }
        }
        let (first, others) = cluster.nodes.split_first().expect("one at least");
        for other in others {
            let (ip, port) = (other.addr.ip(), other.addr.port());
            first.ok(&format!("CLUSTER MEET {ip} {port} {}", other.bus_port()));
        }
        let known = format!("cluster_known_nodes:{nodes}\r\n");
        for node in &cluster.nodes {
            eventually("the real cluster serves", GOSSIP, || {
                let info = Client::connect(node.addr).call("CLUSTER INFO").text();
                let size = format!("cluster_size:{nodes}\r\n");
                [&known, &size, "cluster_state:ok\r\n"].iter().all(|line| info.contains(*line))
            });
        }
        cluster
    }

    /// Where the nodes listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.addr).collect()
    }
}

impl PeerNode {
    fn start() -> Self {
        // Another process may take a port meanwhile: then the next one.
        (0..5).find_map(|_| Self::try_start()).expect("one of five tries finds free ports")
    }

    fn try_start() -> Option<Self> {
        let (addr, bus, dir) = (free_address(), free_address(), fresh_dir());
        let mut command = Command::new(tools::valkey_server());
        command.args(["--port", &addr.port().to_string(), "--bind", "127.0.0.1"]);
        command.args(["--cluster-enabled", "yes", "--cluster-port", &bus.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(&dir);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut node = Self { child: command.spawn().expect("start valkey"), dir, addr };
        let mut gone = false;
        eventually("the real node listens", Duration::from_secs(10), || {
            gone = node.child.try_wait().expect("wait").is_some();
            gone || Client::try_connect(addr).is_ok()
        });
        (!gone).then_some(node)
    }

    fn ok(&self, words: &str) {
        let reply = Client::connect(self.addr).call(words);
        assert_eq!(reply, super::Value::ok(), "{words}");
    }

    fn bus_port(&self) -> u16 {
        let text = Client::connect(self.addr).call("CONFIG GET cluster-port");
        text.items()[1].text().parse().expect("a port")
    }
}

impl Drop for PeerNode {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
