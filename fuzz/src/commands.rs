//! The command layer: any requests, in any order, get one well-formed reply each.

use std::sync::Arc;

use shards::command::{Args, ClusterNode, CommandError, Flow, Host, NodeFacts, OwnedArgs, Shard, Traffic, dispatch, lookup};
use shards::ids::{ClientId, ShardId};
use shards::partition::Partition;
use shards::reply::Reply;
use shards::session::{Face, ReplyMode, Session};
use shards::settings::Settings;
use shards::time::{Nanos, Now};

use crate::resp_parser::requests;

/// A node with nobody else on it.
struct Alone {
    facts: NodeFacts,
    settings: Settings,
}

impl Host for Alone {
    fn facts(&self) -> &NodeFacts {
        &self.facts
    }
    fn each_client(&self, _: &mut dyn FnMut(&Session, Traffic)) {}
    fn own_traffic(&self) -> Traffic {
        Traffic::default()
    }
    fn change_settings(
        &mut self,
        change: &mut dyn FnMut(&Settings) -> Result<Settings, CommandError>,
    ) -> Result<Settings, CommandError> {
        self.settings = change(&self.settings)?;
        Ok(self.settings.clone())
    }
    fn kill(&mut self, _: ClientId) {}
    fn connections_accepted(&self) -> u64 {
        1
    }
    fn connections_refused(&self) -> u64 {
        0
    }
    fn resident_bytes(&self) -> u64 {
        0
    }
}

fn node(port: u16) -> ClusterNode {
    ClusterNode { id: "1".repeat(40), shard_id: "2".repeat(40), port }
}

fn alone() -> Alone {
    let facts = NodeFacts {
        version: "0".into(),
        driver: "none",
        port: 0,
        pid: 1,
        run_id: "0".repeat(40),
        started: 0,
        executable: String::new(),
        os: String::new(),
        shards: 1,
        cluster: Arc::from([node(7000), node(7001)]),
    };
    Alone { facts, settings: Settings::default() }
}

/// See the module's text. Two clients take turns; the first byte says how fast time goes, and
/// by its highest bit whether they are clients of a cluster of which this shard is the second
/// node of two.
pub fn commands(data: &[u8]) {
    let Some((&pace, input)) = data.split_first() else { return };
    let limits =
        dataplane::resp::Limits { args: 64, bulk: 4096, large: u32::MAX, unauthenticated: false };
    let (requests, _) = requests(input, &[input.len()], limits);
    let settings =
        Settings { proto_max_bulk_len: 1 << 20, maxmemory: 64 << 20, ..Settings::default() };
    let mut now = Now { mono: Nanos(1_000_000_000), wall_us: 1_700_000_000_000_000 };
    let mut shard = Shard::new(settings, 42, Arc::default());
    let mut sessions = [1, 2].map(|id| Session::new(ClientId(id), true, now));
    if pace & 0x80 != 0 {
        shard = shard.in_node(ShardId(1), Partition::new(2).expect("two shards"));
        sessions.iter_mut().for_each(|session| session.face = Face::Cluster);
    }
    let mut host = alone();
    for (turn, request) in requests.iter().filter(|request| !request.is_empty()).enumerate() {
        let session = &mut sessions[turn / 3 % 2];
        let parts: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
        let owned = OwnedArgs::of(&parts);
        execute(&mut shard, session, &mut host, owned.as_args(), now);
        now.mono.0 += u64::from(pace) * 1_000_000;
        now.wall_us += u64::from(pace) * 1_000;
        shard.store.tick(now, 16);
        shard.limiter.tick(now.mono);
    }
}

fn execute(shard: &mut Shard, session: &mut Session, host: &mut Alone, args: Args<'_>, now: Now) {
    let name = args.get(0).expect("a request that is not empty");
    let spec = lookup(name);
    // As the data plane does: the first key's entry is looked for beforehand.
    let first = spec.map_or(0, |spec| usize::from(spec.keys.first as u8));
    let args = match args.get(first).filter(|_| first > 0) {
        Some(key) => {
            let at = shard.store.hasher().key(key).at;
            shard.store.prefetch_line(session.db, at);
            let hint = shard.store.prefetch_entry(session.db, at);
            args.with_key(first as u32, at, hint)
        }
        None => args,
    };
    let mut reply = Reply::new(session.protocol);
    let before = session.replies == ReplyMode::On;
    if let Flow::Pending(mut op) = dispatch(shard, session, host, spec, &args, now, &mut reply) {
        while !op.step(shard, now, 7, &mut reply) {}
    }
    let spoken = before && session.replies == ReplyMode::On;
    if reply.blobs.is_empty() {
        let mut rest = reply.bytes.as_slice();
        let mut count = 0;
        while !rest.is_empty() {
            rest = skip(rest);
            count += 1;
        }
        assert!(count == 1 || (!spoken && count == 0), "one reply each, not {count}");
    }
}

/// What comes after the first value; panics where it is none.
fn skip(bytes: &[u8]) -> &[u8] {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a line that ends");
    let (line, rest) = (&bytes[..end], &bytes[end + 2..]);
    let number = || -> i64 {
        let text = std::str::from_utf8(&line[1..]).expect("ASCII");
        text.parse().expect("a number")
    };
    match line[0] {
        b'+' | b'-' | b'_' | b',' | b'#' | b'(' => {
            assert!(!line.contains(&b'\n') && !line.contains(&b'\r'), "one line");
            rest
        }
        b':' => {
            number();
            rest
        }
        b'$' | b'=' if number() >= 0 => {
            let len = number() as usize;
            assert_eq!(&rest[len..len + 2], b"\r\n", "a bulk of its length");
            &rest[len + 2..]
        }
        b'*' | b'~' | b'>' if number() >= 0 => (0..number()).fold(rest, |rest, _| skip(rest)),
        b'%' => (0..2 * number()).fold(rest, |rest, _| skip(rest)),
        b'$' | b'*' if number() == -1 => rest,
        other => panic!("no value begins with {:?}", other as char),
    }
}
