//! A client of one node of three, in process.

use super::super::tests::Alone;
use super::super::{Flow, NodeFacts, dispatch, lookup};
use super::*;
use crate::command::OwnedArgs;
use crate::ids::ClientId;
use crate::partition::Partition;
use crate::settings::Settings;
use crate::time::{Nanos, Now};

const NOW: Now = Now { mono: Nanos(5_000_000_000), wall_us: 1_700_000_000_000_000 };

struct Client {
    shard: Shard,
    session: Session,
    host: Alone,
    now: Now,
}

impl Client {
    /// Of shard 1 of 3, which has the slots 5462 to 10922.
    fn new(local: &str) -> Self {
        let shard = Shard::new(Settings::default(), 42, Default::default());
        let shard = shard.in_node(ShardId(1), Partition::new(3).unwrap());
        let mut session = Session::new(ClientId(1), true, NOW);
        (session.face, session.local) = (Face::Cluster, local.parse().ok());
        let node = |port| ClusterNode { id: String::new(), shard_id: String::new(), port };
        let cluster = [7000, 7001, 7002].map(node).into();
        let host = Alone::default();
        let facts = NodeFacts { cluster, ..host.facts().clone() };
        Self { shard, session, host: host.with(facts), now: NOW }
    }

    fn say(&mut self, line: &str) -> String {
        let parts: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let (args, spec) = (OwnedArgs::of(&parts), lookup(parts[0]));
        let mut reply = Reply::new(self.session.protocol);
        let Self { shard, session, host, now } = self;
        let flow = dispatch(shard, session, host, spec, &args.as_args(), *now, &mut reply);
        if let Flow::Pending(mut op) = flow {
            while !op.step(shard, *now, 7, &mut reply) {}
        }
        String::from_utf8_lossy(&reply.bytes).replace("\r\n", " ").trim_end().to_string()
    }
}

const CROSSED: &str = "-CROSSSLOT Keys in request don't hash to the same slot";

fn check(lines: &[(&str, &str)]) {
    let mut client = Client::new("127.0.0.1:7001");
    for (line, expected) in lines {
        assert_eq!(client.say(line), *expected, "{line}");
    }
}

#[test]
fn other_slots_and_several_of_them() {
    // a: 15495, b: 3300, c: 7365, {c}2: 7365, h: 11694, d: 11298, g: 7233.
    check(&[
        ("SET c 1", "+OK"),
        ("GET b", "-MOVED 3300 127.0.0.1:7000"),
        ("GET a", "-MOVED 15495 127.0.0.1:7002"),
        ("MGET c {c}2", "*2 $1 1 $-1"),
        ("MGET c b", CROSSED),
        ("MGET c g", CROSSED),
        ("MGET b {b}2", "-MOVED 3300 127.0.0.1:7000"),
        ("MGET a b", CROSSED),
        ("OBJECT ENCODING a", "-MOVED 15495 127.0.0.1:7002"),
        ("OBJECT ENCODING c", "$3 int"),
        ("PING", "+PONG"),
    ]);
}

#[test]
fn refusals_come_first() {
    check(&[
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("GETT a", "-ERR unknown command 'GETT', with args beginning with: 'a'"),
        ("OBJECT X a", "-ERR unknown subcommand 'X'. Try OBJECT HELP."),
        ("MULTI", "+OK"),
        ("WATCH a", "-ERR Command 'watch' not allowed inside a transaction"),
    ]);
}

#[test]
fn transactions() {
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    check(&[
        ("MULTI", "+OK"),
        ("SET c 1", "+QUEUED"),
        ("SET a 1", "-MOVED 15495 127.0.0.1:7002"),
        ("EXEC", aborted),
        ("MULTI", "+OK"),
        ("SET c 1", "+QUEUED"),
        ("PING", "+QUEUED"),
        ("SET g 1", "+QUEUED"),
        ("EXEC", CROSSED),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("MULTI", "+OK"),
        ("SET c 1", "+QUEUED"),
        ("SET {c}2 1", "+QUEUED"),
        ("EXEC", "*2 +OK +OK"),
    ]);
}

#[test]
fn the_address_is_the_one_reached() {
    for (local, expected) in [
        ("192.0.2.7:7001", "-MOVED 3300 192.0.2.7:7000"),
        ("[::1]:7001", "-MOVED 3300 ::1:7000"),
        ("[::ffff:127.0.0.1]:7001", "-MOVED 3300 127.0.0.1:7000"),
        ("nowhere", "-MOVED 3300 :7000"),
    ] {
        assert_eq!(Client::new(local).say("GET b"), expected, "{local}");
    }
}

#[test]
fn each_is_counted() {
    let mut client = Client::new("127.0.0.1:7001");
    client.say("GET a");
    client.say("MGET c g");
    client.say("MGET c g");
    let stats = &client.shard.stats;
    let counts = [&stats.redirected, &stats.refused_cross_slot, &stats.errors, &stats.commands];
    assert_eq!(counts.map(|count| count.get()), [1, 2, 3, 0]);
    let info = client.say("INFO errorstats");
    assert!(info.contains("errorstat_CROSSSLOT:count=2 errorstat_MOVED:count=1"), "{info}");
}

#[test]
fn one_server_with_all_keys_sends_nobody_away() {
    let mut client = Client::new("127.0.0.1:6379");
    client.session.face = Face::Standalone;
    assert_eq!(client.say("GET b"), "$-1");
    assert_eq!(client.say("MGET a b c"), "*3 $-1 $-1 $-1");
    assert_eq!(client.say("ASKING"), "-ERR This instance has cluster support disabled");
}

/// Nothing has looked for them yet: they are counted and listed, as in Redis, until they are met.
#[test]
fn expired_keys_of_a_slot() {
    let mut client = Client::new("127.0.0.1:7001");
    client.say("SET c 1 PX 10");
    client.say("SET {c}2 1");
    client.now.wall_us += 20_000;
    assert_eq!(client.say("CLUSTER COUNTKEYSINSLOT 7365"), ":2");
    let listed = client.say("CLUSTER GETKEYSINSLOT 7365 10");
    assert!(listed.starts_with("*2 ") && listed.contains("$1 c"), "{listed}");
    assert_eq!(client.say("KEYS *"), "*1 $4 {c}2");
    assert_eq!(client.say("GET c"), "$-1");
    assert_eq!(client.say("CLUSTER GETKEYSINSLOT 7365 10"), "*1 $4 {c}2");
    assert_eq!(client.say("CLUSTER COUNTKEYSINSLOT 7365"), ":1");
}
