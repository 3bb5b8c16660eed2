//! Each shard is a node of a cluster on a port of its own: it serves its slots, sends clients
//! elsewhere for the rest, and tells them where.

#![forbid(unsafe_code)]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;
use shards::ids::ShardId;
use shards::partition::Partition;
use shards::slot::slot_of;
use support::resp::{self, Value};
use support::{Client, Node, Options, eventually};

const SOON: Duration = Duration::from_secs(5);

fn start(driver: &str, shards: u16) -> Node {
    let node = Node::start_with(Options::driver(driver).arg("--shards").arg(shards.to_string()));
    assert_eq!(node.cluster.len(), usize::from(shards), "a port for each: {:?}", node.cluster);
    node
}

fn home(shards: u16, key: &str) -> usize {
    Partition::new(shards).expect("shards").home(slot_of(key.as_bytes())).0.into()
}

/// Start, end, ip, port and identity of each range of CLUSTER SLOTS.
fn slots(client: &mut Client) -> Vec<(i64, i64, String, u16, String)> {
    let reply = client.call("CLUSTER SLOTS");
    let range = |range: &Value| {
        let [start, end, at] = range.items() else { panic!("one node a range: {range:?}") };
        let at = at.items();
        (start.int(), end.int(), at[0].text(), at[1].int() as u16, at[2].text())
    };
    reply.items().iter().map(range).collect()
}

fn all_nodes_tell_the_same(driver: &str) {
    for shards in [1, 2, 3] {
        let node = start(driver, shards);
        let mut told = BTreeSet::new();
        let mut identities = BTreeSet::new();
        for shard in 0..shards {
            let mut client = node.cluster_client(shard.into());
            let ranges = slots(&mut client);
            assert_eq!(ranges.len(), usize::from(shards));
            let mut next = 0;
            for (n, (start, end, ip, port, id)) in ranges.iter().enumerate() {
                assert_eq!(*start, next, "ranges touch");
                next = end + 1;
                assert_eq!(SocketAddr::new(ip.parse().expect("an ip"), *port), node.cluster[n]);
                assert!(id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
            }
            assert_eq!(next, 16384, "every slot is somebody's");
            let me = client.call("CLUSTER MYID").text();
            assert_eq!(me, ranges[usize::from(shard)].4);
            identities.insert(me.clone());
            identities.insert(client.call("CLUSTER MYSHARDID").text());
            lists_the_same_nodes(&mut client, &ranges, &me);
            told.insert(format!("{ranges:?}"));
            assert_eq!(client.command(&["CLUSTER", "REPLICAS", &me]).items(), []);
            assert_eq!(client.command(&["CLUSTER", "COUNT-FAILURE-REPORTS", &me]).int(), 0);
            let info = client.call("CLUSTER INFO").text();
            assert!(info.contains(&format!("cluster_known_nodes:{shards}\r\n")), "{info}");
            assert!(info.contains("cluster_state:ok\r\n"), "{info}");
        }
        assert_eq!(told.len(), 1, "{shards} shards: all say the same");
        assert_eq!(identities.len(), 2 * usize::from(shards), "each has its own");
    }
}

/// CLUSTER NODES and CLUSTER SHARDS agree with CLUSTER SLOTS.
fn lists_the_same_nodes(client: &mut Client, ranges: &[(i64, i64, String, u16, String)], me: &str) {
    let text = client.call("CLUSTER NODES").text();
    let shards = client.call("CLUSTER SHARDS");
    assert_eq!((text.lines().count(), shards.items().len()), (ranges.len(), ranges.len()));
    let groups = ranges.iter().zip(text.lines()).zip(shards.items());
    for (((start, end, ip, port, id), line), group) in groups {
        let myself = if id == me { "myself," } else { "" };
        let expected = format!("{id} {ip}:{port}@0 {myself}master - 0 0 0 connected {start}-{end}");
        assert_eq!(line, expected);
        let group = group.items();
        assert_eq!(group[1].items(), [Value::Int(*start), Value::Int(*end)]);
        let fields = group[3].items()[0].items();
        assert_eq!(
            (fields[1].text(), fields[3].int() as u16, fields[5].text()),
            (id.clone(), *port, ip.clone())
        );
    }
}

/// A key of another shard is answered MOVED to where it is served; the standalone port sees
/// what was written there.
fn moved_leads_to_the_key(driver: &str) {
    for shards in [1, 2, 3] {
        let node = start(driver, shards);
        let mut nodes: Vec<Client> =
            (0..shards).map(|shard| node.cluster_client(shard.into())).collect();
        let mut redirected = 0;
        for n in 0..300 {
            let key = format!("key:{n}");
            let home = home(shards, &key);
            for (shard, client) in nodes.iter_mut().enumerate() {
                let reply = client.command(&["SET", &key, &n.to_string()]);
                if shard == home {
                    assert_eq!(reply, Value::ok());
                } else {
                    let slot = slot_of(key.as_bytes()).get();
                    assert_eq!(reply.text(), format!("MOVED {slot} {}", node.cluster[home]));
                    redirected += 1;
                }
            }
            assert_eq!(node_get(&node, &key), n.to_string());
        }
        assert_eq!(node.metric("corelane_redirected_total") as u64, redirected);
        assert_eq!(redirected, 300 * u64::from(shards - 1));
        let crossed = nodes[0].call("MGET key:1 key:2");
        assert!(crossed.text().starts_with("CROSSSLOT "), "{crossed:?}");
        assert_eq!(node.metric("corelane_refused_cross_slot_total") as u64, 1);
    }
}

fn node_get(node: &Node, key: &str) -> String {
    node.client().command(&["GET", key]).text()
}

/// All keys that SCAN finds, each once, until the cursor is 0.
fn scan(client: &mut Client) -> BTreeSet<String> {
    let (mut cursor, mut found) = ("0".to_owned(), BTreeSet::new());
    for _ in 0..1_000 {
        let reply = client.command(&["SCAN", &cursor, "COUNT", "37"]);
        for key in reply.items()[1].items() {
            assert!(found.insert(key.text()), "{key:?} twice");
        }
        cursor = reply.items()[0].text();
        if cursor == "0" {
            return found;
        }
    }
    panic!("SCAN does not end: at cursor {cursor} with {} keys", found.len());
}

/// What has no key concerns the shard's own part of database 0.
fn a_node_knows_its_own_keys_alone(driver: &str) {
    for shards in [1, 2, 3] {
        let node = start(driver, shards);
        let mut all = node.client();
        for n in 0..1_000 {
            all.call(&format!("SET key:{n} v"));
        }
        all.call("SELECT 3");
        all.call("MSET key:0 three other three {key:1}2 three");
        for shard in 0..usize::from(shards) {
            let mut client = node.cluster_client(shard);
            let keys = (0..1_000).map(|n| format!("key:{n}"));
            let own: BTreeSet<String> = keys.filter(|key| home(shards, key) == shard).collect();
            assert!(!own.is_empty());
            assert_eq!(scan(&mut client), own, "SCAN on {shard} of {shards}");
            let keys = client.call("KEYS *");
            assert_eq!(keys.items().iter().map(Value::text).collect::<BTreeSet<_>>(), own);
            assert_eq!(client.call("DBSIZE").int(), own.len() as i64);
            assert!(own.contains(&client.call("RANDOMKEY").text()));
            let info = client.call("INFO keyspace").text();
            let line = format!("# Keyspace\r\ndb0:keys={},expires=0,avg_ttl=0\r\n", own.len());
            assert_eq!(info, line);
            for key in own.iter().take(20) {
                let slot = slot_of(key.as_bytes()).get().to_string();
                let there: Vec<Value> =
                    client.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]).items().to_vec();
                assert!(there.iter().any(|found| found.text() == *key));
                let count = client.command(&["CLUSTER", "COUNTKEYSINSLOT", &slot]).int();
                assert_eq!(count, there.len() as i64);
            }
        }
        flushing_one_leaves_the_others(&node, shards, &mut all);
    }
}

fn flushing_one_leaves_the_others(node: &Node, shards: u16, all: &mut Client) {
    let last = usize::from(shards) - 1;
    let mut client = node.cluster_client(last);
    let gone = client.call("DBSIZE").int();
    assert_eq!(client.call("FLUSHALL"), Value::ok());
    assert_eq!(client.call("DBSIZE").int(), 0);
    assert_eq!(all.call("DBSIZE").int(), 3, "database 3 is not the cluster's");
    all.call("SELECT 0");
    assert_eq!(all.call("DBSIZE").int(), 1_000 - gone);
}

/// One slot with very many keys is counted, and listed to the number that is asked for.
fn a_slot_with_many_keys(driver: &str) {
    const KEYS: usize = 50_000;
    for shards in [1, 3] {
        let node = start(driver, shards);
        let mut client = node.cluster_client(home(shards, "{tag}"));
        for chunk in 0..KEYS / 500 {
            let mut words = vec!["MSET".to_owned()];
            for n in 0..500 {
                words.extend([format!("{{tag}}:{}", chunk * 500 + n), "v".to_owned()]);
            }
            assert_eq!(client.command(&words), Value::ok());
        }
        let slot = slot_of(b"tag").get().to_string();
        let count = client.command(&["CLUSTER", "COUNTKEYSINSLOT", &slot]).int();
        assert_eq!(count, KEYS as i64);
        for (asked, expected) in [("1000000", KEYS), ("7", 7), ("12345", 12_345), ("0", 0)] {
            // A pipeline: what follows waits for the list.
            let mut script = resp::request(&["CLUSTER", "GETKEYSINSLOT", &slot, asked]);
            script.extend(resp::request(&["PING"]));
            client.send(&script);
            let reply = client.reply();
            let found: BTreeSet<_> = reply.items().iter().map(Value::text).collect();
            assert_eq!((found.len(), reply.items().len()), (expected, expected), "{asked}");
            assert!(found.iter().all(|key| key.starts_with("{tag}:")));
            assert_eq!(client.reply().text(), "PONG");
        }
    }
}

fn which_face_it_is(driver: &str) {
    let node = start(driver, 2);
    for (mut client, mode, enabled, port) in [
        (node.client(), "standalone", "0", node.resp.port()),
        (node.cluster_client(0), "cluster", "1", node.cluster[0].port()),
        (node.cluster_client(1), "cluster", "1", node.cluster[1].port()),
    ] {
        let hello = client.call("HELLO");
        let at =
            hello.items().iter().position(|v| *v == Value::Bulk(b"mode".to_vec())).expect("a mode");
        assert_eq!(hello.items()[at + 1].text(), mode);
        let info = client.call("INFO").text();
        let lines = [
            format!("redis_mode:{mode}"),
            format!("cluster_enabled:{enabled}"),
            format!("tcp_port:{port}"),
        ];
        for line in lines {
            assert!(info.lines().any(|l| l == line), "{line} in:\n{info}");
        }
    }
}

/// Clients of a cluster are clients of the node: numbered, listed, closed and limited with all.
fn its_clients_are_the_nodes(driver: &str) {
    for shards in [1, 2] {
        let node = start(driver, shards);
        let mut first = node.client();
        let mut clients: Vec<Client> =
            (0..4).map(|n| node.cluster_client(n % usize::from(shards))).collect();
        clients.push(node.client());
        let ids: Vec<i64> = clients.iter_mut().map(|c| c.call("CLIENT ID").int()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 5, "no two alike: {ids:?}");
        for client in [&mut first, &mut node.cluster_client(0)] {
            let list = client.call("CLIENT LIST").text();
            for id in &ids {
                let start = format!("id={id} ");
                assert!(list.lines().any(|line| line.starts_with(&start)), "{id}:\n{list}");
            }
            for address in &node.cluster {
                assert!(list.contains(&format!("laddr={address} ")), "{list}");
            }
        }
        eventually("the node knows that one has gone", SOON, || {
            first.call("INFO clients").text().contains("connected_clients:6\r\n")
        });
        first.call("CONFIG SET maxclients 6");
        for address in node.cluster.iter().chain([&node.resp]) {
            let refused = Client::connect(*address).until_closed();
            assert_eq!(refused, b"-ERR max number of clients reached\r\n");
        }
        assert_eq!(first.command(&["CLIENT", "KILL", "ID", &ids[1].to_string()]).int(), 1);
        assert_eq!(clients[1].until_closed(), b"");
        let last = usize::from(shards) - 1;
        let mut again = node.cluster_client(last);
        assert_eq!(again.call("PING").text(), "PONG", "its place is free again");
        assert_eq!(first.command(&["CLIENT", "KILL", "ID", &ids[4].to_string()]).int(), 1);
        assert_eq!(node.client().call("PING").text(), "PONG");
    }
}

/// A client is told the address under which it has reached the node.
fn addresses_are_those_reached(driver: &str) {
    let password = Some("secret".to_owned());
    let options = Options { password, ..Options::driver(driver) };
    let options = options.arg("--shards").arg("2").arg("--cluster").arg("0.0.0.0:0");
    let node = Node::start_with(options);
    for ip in ["127.0.0.1", "127.0.0.2"] {
        let ports: Vec<u16> = node.cluster.iter().map(SocketAddr::port).collect();
        let mut client = Client::connect(SocketAddr::new(ip.parse().expect("an ip"), ports[0]));
        client.call("AUTH secret");
        let told: Vec<_> = slots(&mut client).into_iter().map(|range| (range.2, range.3)).collect();
        assert_eq!(told, [(ip.to_owned(), ports[0]), (ip.to_owned(), ports[1])]);
        let key = (0..).map(|n| format!("k{n}")).find(|key| home(2, key) == 1).expect("endless");
        let moved = client.command(&["GET", &key]).text();
        assert!(moved.ends_with(&format!(" {ip}:{}", ports[1])), "{moved}");
        let nodes = client.call("CLUSTER NODES").text();
        assert_eq!(nodes.matches(&format!(" {ip}:")).count(), 2, "{nodes}");
    }
}

fn a_password_guards_it_too(driver: &str) {
    let password = Some("secret".to_owned());
    let node = Node::start_with(Options { password, ..Options::driver(driver) });
    let mut stranger = Client::connect(node.cluster[0]);
    for words in ["CLUSTER SLOTS", "GET key", "CLUSTER KEYSLOT key", "READONLY"] {
        assert_eq!(stranger.call(words).text(), "NOAUTH Authentication required.", "{words}");
    }
    assert_eq!(node.cluster_client(0).call("CLUSTER SLOTS").items().len(), node.cluster.len());
}

/// SIGTERM closes all ports at once and answers what cluster clients have sent.
fn ending_finishes_what_is_under_way(driver: &str) {
    for shards in [1, 3] {
        let mut node = start(driver, shards);
        let mut idle: Vec<Client> =
            (0..usize::from(shards)).map(|shard| node.cluster_client(shard)).collect();
        let mut client = node.cluster_client(home(shards, "big"));
        let value = "v".repeat(1 << 20);
        assert_eq!(client.command(&["SET", "big", &value]), Value::ok());
        client.send(&resp::request(&["GET", "big"]).repeat(32));
        std::thread::sleep(Duration::from_millis(100));
        node.signal(Signal::TERM);
        for address in &node.cluster {
            eventually("no port takes clients any more", SOON, || {
                Client::try_connect(*address).is_err()
            });
        }
        assert!(node.try_wait().is_none(), "it does not end with replies unsent");
        for n in 0..32 {
            assert_eq!(client.reply().text().len(), value.len(), "reply {n}");
        }
        assert_eq!(client.until_closed(), b"");
        idle.iter_mut().for_each(|client| assert_eq!(client.until_closed(), b""));
        assert_eq!(node.wait(SOON).code(), Some(0));
    }
}

on_each_driver!(
    all_nodes_tell_the_same,
    moved_leads_to_the_key,
    a_node_knows_its_own_keys_alone,
    a_slot_with_many_keys,
    which_face_it_is,
    its_clients_are_the_nodes,
    addresses_are_those_reached,
    a_password_guards_it_too,
    ending_finishes_what_is_under_way,
);

/// The ranges that tests take for the shards' are those that the node tells.
#[test]
fn ranges_are_the_partitions() {
    let node = start("epoll", 3);
    let partition = Partition::new(3).expect("three shards");
    for (n, (start, end, ..)) in slots(&mut node.cluster_client(0)).iter().enumerate() {
        let range = partition.slots(ShardId(n as u16));
        let ends = (range.start().get().into(), range.end().get().into());
        assert_eq!((*start, *end), ends);
    }
}
