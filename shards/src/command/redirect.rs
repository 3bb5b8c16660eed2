//! What a cluster node does not serve: keys of other nodes, and keys of several slots at once.
//!
//! Owns the rule and the words of Redis Cluster (<https://valkey.io/topics/cluster-spec/>,
//! MOVED redirection and multi-key operations). Forwards nothing: who is turned away asks
//! elsewhere.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

use crate::ids::{ShardId, SlotId};
use crate::reply::Reply;
use crate::session::{Face, Session, Transaction};
use crate::slot::slot_of;

use super::spread::Spread;
use super::{Args, CommandSpec, Flags, Host, Shard, transaction};

/// One shard's face as a node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNode {
    /// Forty hexadecimal digits, new with each start.
    pub id: String,
    /// The same of the group of this node and its replicas, of which there are none.
    pub shard_id: String,
    /// Where it listens.
    pub port: u16,
}

/// Why a command is not served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// Its slot is another shard's.
    Moved(SlotId, ShardId),
    /// Its keys are in several slots.
    CrossSlot,
}

/// Whether keys of these slots are served here together.
#[inline]
fn served(shard: &Shard, mut slots: impl Iterator<Item = SlotId>) -> Result<(), Turned> {
    let Some(first) = slots.next() else { return Ok(()) };
    if slots.any(|slot| slot != first) {
        return Err(Turned::CrossSlot);
    }
    let home = shard.partition.home(first);
    if home == shard.id { Ok(()) } else { Err(Turned::Moved(first, home)) }
}

fn slots_of(spec: &CommandSpec, args: &Args<'_>) -> impl Iterator<Item = SlotId> {
    spec.keys
        .positions(args.len())
        .map(|n| args.known_slot(n).unwrap_or_else(|| slot_of(args.at(n))))
}

/// Whether the keys of queued commands, each of which is served here, are in one slot.
fn together(transaction: &Transaction) -> Result<(), Turned> {
    let mut slot = None;
    for (spec, args) in &transaction.queue {
        for other in slots_of(spec, &args.as_args()) {
            if *slot.get_or_insert(other) != other {
                return Err(Turned::CrossSlot);
            }
        }
    }
    Ok(())
}

/// Whether a command outside any transaction is served here, as far as its keys say.
#[inline]
pub(super) fn serves(shard: &Shard, spec: &CommandSpec, args: &Args<'_>) -> bool {
    served(shard, slots_of(spec, args)).is_ok()
}

/// Why a command that might run or be queued is not served to this client, if it is not.
/// Queued commands are judged one by one, and together by EXEC.
pub(super) fn turned_away(
    shard: &Shard,
    session: &Session,
    spec: &CommandSpec,
    args: &Args<'_>,
) -> Option<Turned> {
    if session.face == Face::Standalone {
        return None;
    }
    let verdict = match &session.transaction {
        Some(transaction) if spec.spread == Spread::Exec => {
            if transaction.refused || shard.store.watches.is_broken(session.id) {
                return None; // EXEC has its own answer
            }
            together(transaction)
        }
        Some(_) if spec.flags.has(Flags::NO_MULTI) => return None, // refused for that
        _ => served(shard, slots_of(spec, args)),
    };
    verdict.err()
}

/// Says so, and ends or spoils the transaction that the command would have been part of.
pub(super) fn turn_away(
    shard: &mut Shard,
    session: &mut Session,
    host: &dyn Host,
    spec: &'static CommandSpec,
    turned: Turned,
    reply: &mut Reply,
) {
    let text = match turned {
        Turned::CrossSlot => {
            shard.stats.refused_cross_slot.add(1);
            "CROSSSLOT Keys in request don't hash to the same slot".into()
        }
        Turned::Moved(slot, home) => {
            shard.stats.redirected.add(1);
            let port = host.facts().cluster.get(usize::from(home.0)).map_or(0, |node| node.port);
            format!("MOVED {} {}:{port}", slot.get(), reached(session))
        }
    };
    if spec.spread == Spread::Exec {
        transaction::forget(shard, session);
    } else if let Some(transaction) = &mut session.transaction {
        transaction.refused = true;
    }
    shard.stats.count_error(&text);
    shard.stats.failed_calls.of(spec).add(1);
    reply.error(text.as_bytes());
}

/// The address under which the client has reached this node, without the port; it reaches
/// the others under the same.
pub(super) fn reached(session: &Session) -> String {
    // A socket of both families shows an IPv4 address as one of IPv6.
    let ip = session.local.as_ref().map(SocketAddr::ip);
    ip.map_or_else(String::new, |ip| ip.to_canonical().to_string())
}

#[cfg(test)]
mod tests {
    use super::super::tests::Alone;
    use super::super::{NodeFacts, dispatch, lookup};
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
            Self { shard, session, host: host.with(facts) }
        }

        fn say(&mut self, line: &str) -> String {
            let parts: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let (args, spec) = (OwnedArgs::of(&parts), lookup(parts[0]));
            let mut reply = Reply::new(self.session.protocol);
            let Self { shard, session, host } = self;
            dispatch(shard, session, host, spec, &args.as_args(), NOW, &mut reply);
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
}
