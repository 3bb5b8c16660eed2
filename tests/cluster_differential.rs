//! Random scripts get the same replies from our shards as from a real cluster with the same
//! slots: redirections, refusals, transactions and what is held in the end.
//!
//! The seed is printed; `CORELANE_SEED=N` repeats a run.

#![forbid(unsafe_code)]

mod support;

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use shards::partition::Partition;
use shards::slot::slot_of;
use support::peer_cluster::PeerCluster;
use support::resp::{self, Value};
use support::scripts::{Writer, comparable};
use support::{Client, Node, Options};

const SHARDS: u16 = 3;
const SCRIPTS: u64 = 60;
const COMMANDS: usize = 120;

/// Keys for a client of one node: two of its slots with several keys each, and some of others.
fn keys_for(node: usize) -> Vec<String> {
    let partition = Partition::new(SHARDS).expect("shards");
    let is_home = |tag: &String| usize::from(partition.home(slot_of(tag.as_bytes())).0) == node;
    let tags = (0..1_000).map(|n| format!("t{n}"));
    let (own, others): (Vec<_>, Vec<_>) = tags.partition(is_home);
    let mut keys = Vec::new();
    for n in 1..=4 {
        keys.push(format!("{{{}}}{n}", own[0]));
    }
    keys.extend([own[0].clone(), format!("{{{}}}1", own[1]), own[1].clone()]);
    keys.extend([others[0].clone(), format!("{{{}}}1", others[0])]);
    keys
}

/// The next commands: one, or a transaction over one slot, over two, or over any.
fn commands(writer: &mut Writer, keys: &[String]) -> Vec<Vec<String>> {
    if !writer.rng.chance(12) {
        return vec![command(writer, keys)];
    }
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<String>>();
    let mut script = Vec::new();
    if writer.rng.chance(40) {
        let n = writer.rng.below(4);
        script.push(words(&format!("WATCH {}", keys[n])));
    }
    script.push(words("MULTI"));
    let among = match writer.rng.below(10) {
        0..=5 => &keys[..5],
        6..=8 => &keys[..7],
        _ => keys,
    };
    writer.turn_to(among);
    for _ in 0..1 + writer.rng.below(3) {
        let shape =
            writer.rng.pick(&["SET k v", "GET k", "INCR k", "DEL k", "APPEND k v", "DBSIZE"]);
        script.push(writer.words(shape));
    }
    writer.turn_to(keys);
    script.push(words("EXEC"));
    script
}

/// One command, now and then one that only clusters know.
fn command(writer: &mut Writer, keys: &[String]) -> Vec<String> {
    if !writer.rng.chance(12) {
        return writer.command();
    }
    let key = keys[writer.rng.below(keys.len())].clone();
    let slot = slot_of(key.as_bytes()).get().to_string();
    let slot = if writer.rng.chance(15) { writer.words("i").remove(0) } else { slot };
    let words = match writer.rng.below(9) {
        0 => vec!["CLUSTER", "KEYSLOT", &key],
        1 | 2 => vec!["CLUSTER", "COUNTKEYSINSLOT", &slot],
        3 => vec!["CLUSTER", "GETKEYSINSLOT", &slot, "100"],
        4 => vec!["READONLY"],
        5 => vec!["READWRITE"],
        6 => vec!["ASKING"],
        7 => vec!["KEYS", "*"],
        _ => vec!["CLUSTER", "NONSENSE", &key],
    };
    words.into_iter().map(str::to_owned).collect()
}

/// A reply as both must give it: keys in any order, and nodes by their number.
fn shown(words: &[String], reply: Option<Value>, nodes: &[SocketAddr]) -> String {
    let Some(reply) = reply else { return "closed".into() };
    let text = match reply {
        Value::Array(mut items) if items.iter().all(|item| matches!(item, Value::Bulk(_))) => {
            items.sort_by_key(resp::render);
            resp::render(&Value::Array(items))
        }
        // Relative expiries within EXEC are rounded as its commands' are.
        Value::Array(items) => {
            let name = |item: &Value| match item {
                Value::Int(n) if *n > 50_000 => format!(":{} or so", (*n as f64 / 1e6).round()),
                Value::Array(_) => shown(words, Some(item.clone()), nodes),
                item => resp::render(item),
            };
            items.iter().map(name).collect::<Vec<_>>().join(" ")
        }
        reply => comparable(words, &reply),
    };
    match text.strip_prefix("-MOVED ") {
        Some(rest) => {
            let (slot, address) = rest.split_once(' ').expect("slot and address");
            let number = nodes.iter().position(|node| node.to_string() == address);
            format!("-MOVED {slot} to node {}", number.unwrap_or_else(|| panic!("{address}?")))
        }
        None => text,
    }
}

fn fresh(nodes: &[SocketAddr], node: usize, protocol: u64) -> Client {
    for address in nodes {
        assert_eq!(Client::connect(*address).call("FLUSHALL"), Value::ok());
    }
    let mut client = Client::connect(nodes[node]);
    if protocol == 3 {
        client.call("HELLO 3");
    }
    client
}

fn ask(client: &mut Client, words: &[String], nodes: &[SocketAddr]) -> String {
    client.send(&resp::request(words));
    shown(words, client.try_reply().expect("a reply in time"), nodes)
}

/// All keys of each node with their values.
fn keyspace(nodes: &[SocketAddr]) -> Vec<(usize, String, String)> {
    let mut all = Vec::new();
    for (number, address) in nodes.iter().enumerate() {
        let mut client = Client::connect(*address);
        for key in client.call("KEYS *").items() {
            let value = resp::render(&client.command(&["GET", &key.text()]));
            all.push((number, key.text(), value));
        }
    }
    all.sort();
    all
}

/// Plays one script on both; what was said up to the first difference, if there is one.
fn difference(
    ours: &[SocketAddr],
    theirs: &[SocketAddr],
    seed: u64,
    counts: &mut Counts,
) -> Option<String> {
    let node = (seed % u64::from(SHARDS)) as usize;
    let keys = keys_for(node);
    let mut writer = Writer::over(seed, keys.clone());
    let protocol = 2 + seed / u64::from(SHARDS) % 2;
    let (mut our, mut their) = (fresh(ours, node, protocol), fresh(theirs, node, protocol));
    let mut said = Vec::new();
    let mut script = std::collections::VecDeque::new();
    for _ in 0..COMMANDS {
        while script.is_empty() {
            script.extend(commands(&mut writer, &keys));
        }
        let words = script.pop_front().expect("just filled");
        let (a, b) = (ask(&mut our, &words, ours), ask(&mut their, &words, theirs));
        counts.note(&words, &b);
        said.push(format!("  {words:?} -> {b}"));
        if a != b {
            let tail = said[said.len().saturating_sub(25)..].join("\n");
            return Some(format!("{tail}\n  ours: {a}\n  seed {seed}, RESP{protocol}"));
        }
    }
    let (our, their) = (keyspace(ours), keyspace(theirs));
    (our != their).then(|| format!("seed {seed}: ours holds\n  {our:?}\n  and not\n  {their:?}"))
}

/// What the scripts led to: they must be worth comparing.
#[derive(Default)]
struct Counts {
    moved: usize,
    crossed: usize,
    crossed_exec: usize,
    aborted: usize,
    executed: usize,
    fine: usize,
}

impl Counts {
    fn note(&mut self, words: &[String], reply: &str) {
        let exec = words[0].eq_ignore_ascii_case("exec");
        match reply {
            _ if reply.starts_with("-MOVED") => self.moved += 1,
            _ if reply.starts_with("-CROSSSLOT") && exec => self.crossed_exec += 1,
            _ if reply.starts_with("-CROSSSLOT") => self.crossed += 1,
            _ if reply.starts_with("-EXECABORT") => self.aborted += 1,
            _ if reply.starts_with('-') => {}
            _ if exec => self.executed += 1,
            _ => self.fine += 1,
        }
    }
}

fn same_as_a_real_cluster(driver: &str) {
    let options = Options::driver(driver).arg("--shards").arg(SHARDS.to_string());
    let (node, peers) = (Node::start_with(options), PeerCluster::start(SHARDS));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let given = std::env::var("CORELANE_SEED").ok().map(|text| text.parse().expect("a number"));
    let first = given.unwrap_or(now.as_nanos() as u64);
    println!("CORELANE_SEED={first}");
    let mut counts = Counts::default();
    let mut found: Vec<String> = Vec::new();
    for seed in (first..).take(SCRIPTS as usize) {
        found.extend(difference(&node.cluster, &peers.addresses(), seed, &mut counts));
        if found.len() > 4 {
            break;
        }
    }
    let differ = found.len();
    assert!(found.is_empty(), "CORELANE_SEED={first}: {differ} differ:\n{}", found.join("\n\n"));
    let Counts { moved, crossed, crossed_exec, aborted, executed, fine } = counts;
    let least = [(moved, 200), (crossed, 200), (crossed_exec, 5), (aborted, 20), (executed, 50)];
    assert!(fine > 2_000 && least.iter().all(|(n, least)| n >= least), "{least:?}, fine {fine}");
}

on_each_driver!(same_as_a_real_cluster);
