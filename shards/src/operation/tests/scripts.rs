//! Nodes of any number of shards answer alike, command by command.
//!
//! Owns random scripts of two clients, who take turns, and what of their replies may differ:
//! the order of KEYS, the pages of SCAN, which key RANDOMKEY picks. All else is the same to
//! the byte. What an operation leaves to do once it has replied overlaps with what follows.

use proptest::prelude::*;

use crate::command::{
    COMMANDS, CommandSpec, Flags, Flow, Group, LONG_STEP, Shard, dispatch, lookup, tests::Alone,
};
use crate::ids::ClientId;
use crate::reply::{Protocol, Reply};
use crate::session::Session;

use super::lines::{LINES, Words, inventory, script};
use super::node::Node;
use super::seat::{ClientNo, NOW, arguments, flat, shard};
use super::tree::Tree;

/// Whoever answers commands.
pub(super) trait Server {
    fn answer(&mut self, client: usize, words: &[Vec<u8>]) -> Vec<u8>;
}

/// One shard that has never heard of others.
pub(super) struct OneShard {
    pub(super) shard: Shard,
    pub(super) sessions: [Session; 2],
}

impl Server for OneShard {
    fn answer(&mut self, client: usize, words: &[Vec<u8>]) -> Vec<u8> {
        let (shard, session) = (&mut self.shard, &mut self.sessions[client]);
        let mut reply = Reply::new(session.protocol);
        let args = arguments(&shard.store.blobs(), words);
        let (spec, mut host) = (lookup(&words[0]), Alone::default());
        let args = args.as_args();
        if let Flow::Pending(mut op) =
            dispatch(shard, session, &mut host, spec, &args, NOW, &mut reply)
        {
            while !op.step(shard, NOW, LONG_STEP, &mut reply) {}
        }
        flat(&reply)
    }
}

impl Server for Node {
    fn answer(&mut self, client: usize, words: &[Vec<u8>]) -> Vec<u8> {
        self.ask(ClientNo(client), words);
        loop {
            if let Some(reply) = self.take_reply(ClientNo(client)) {
                return reply;
            }
            assert!(self.step(), "never answered");
        }
    }
}

/// What a client said and heard, as far as it is the same on any node.
#[derive(Debug, Default)]
struct Talk {
    /// Names of the commands queued since MULTI.
    queued: Option<Vec<&'static CommandSpec>>,
}

impl Talk {
    fn say(&mut self, server: &mut dyn Server, client: usize, words: &[Vec<u8>]) -> Vec<u8> {
        let spec = lookup(&words[0]);
        let name = spec.map_or("", |spec| spec.name);
        let members = match (name, &self.queued) {
            ("randomkey", None) => server.answer(client, &[b"KEYS".into(), b"*".into()]),
            _ => Vec::new(),
        };
        let reply = server.answer(client, words);
        match (name, reply.first(), &mut self.queued) {
            (_, Some(b'-'), _) if name != "exec" => reply,
            ("multi", ..) => {
                self.queued = Some(Vec::new());
                reply
            }
            ("discard", ..) => {
                self.queued = None;
                reply
            }
            ("exec", ..) => match (Tree::of(&reply), self.queued.take()) {
                (Tree::List(items), Some(queued)) => common(items, &queued),
                _ => reply,
            },
            (_, _, Some(queued)) => {
                queued.extend(spec);
                reply
            }
            ("keys", ..) => shown(&Tree::of(&reply).sorted()),
            ("randomkey", ..) => {
                let (picked, members) = (Tree::of(&reply), Tree::of(&members));
                let fits = match picked {
                    Tree::Null => members.list().is_empty(),
                    key => members.list().contains(&key),
                };
                assert!(fits, "none of the keys");
                Vec::new()
            }
            ("scan", ..) => walk(server, client, words, &reply),
            _ => reply,
        }
    }
}

fn shown(tree: &Tree) -> Vec<u8> {
    format!("{tree:?}").into()
}

/// The replies within EXEC's.
fn common(items: Vec<Tree>, queued: &[&'static CommandSpec]) -> Vec<u8> {
    assert_eq!(items.len(), queued.len(), "as many replies as commands");
    let items = items.into_iter().zip(queued).map(|(item, spec)| match (spec.name, item) {
        ("keys", item) => item.sorted(),
        ("scan", Tree::List(_)) => Tree::List(Vec::new()),
        ("randomkey", Tree::Bulk(_)) => Tree::List(Vec::new()),
        (_, item) => item,
    });
    shown(&Tree::List(items.collect()))
}

/// Goes on with a SCAN until its end: all keys, each once.
fn walk(server: &mut dyn Server, client: usize, words: &[Vec<u8>], first: &[u8]) -> Vec<u8> {
    /// A slot that is empty may be a page of its own.
    const MOST_PAGES: usize = 20_000;
    let (mut page, mut keys) = (Tree::of(first), Vec::new());
    for n in 0.. {
        assert!(n < MOST_PAGES, "a walk without an end");
        let (cursor, found) = (page.list()[0].bytes(), page.list()[1].list());
        keys.extend_from_slice(found);
        if cursor == b"0" {
            break;
        }
        let mut words = words.to_vec();
        words[1] = cursor.to_vec();
        page = Tree::of(&server.answer(client, &words));
    }
    keys.sort();
    let count = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), count, "each key once");
    shown(&Tree::List(keys))
}

fn transcript(server: &mut dyn Server, script: &[(usize, Words)]) -> Vec<Vec<u8>> {
    let mut talks = [Talk::default(), Talk::default()];
    script.iter().map(|(client, words)| talks[*client].say(server, *client, words)).collect()
}

fn short(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()
}

#[track_caller]
fn check(script: &[(usize, Words)], seed: u64, protocol: Protocol) {
    let inventory = inventory().into_iter().map(|words| (1, words));
    let script: &[_] = &script.iter().cloned().chain(inventory).collect::<Vec<_>>();
    let sessions = [1, 2].map(|n| Session::new(ClientId(n), true, NOW));
    let mut alone = OneShard { shard: shard(), sessions };
    alone.sessions[0].protocol = protocol;
    let expected = transcript(&mut alone, script);
    for shards in [1, 2, 3, 5] {
        let mut node = Node::new(shards, seed);
        let (first, _) = (node.connect(), node.connect());
        node.session(first).protocol = protocol;
        let replies = transcript(&mut node, script);
        for (((client, words), reply), expected) in script.iter().zip(&replies).zip(&expected) {
            let words: Vec<String> = words.iter().map(|word| short(word)).collect();
            let line = words.join(" ");
            let (reply, expected) = (short(reply), short(expected));
            assert!(
                reply == expected,
                "{shards} shards, client {client}: {line}\n{reply}\nexpected\n{expected}"
            );
        }
        assert!(replies == expected, "{shards} shards: the same at first");
        // They go while a WATCH is under way.
        node.ask(ClientNo(0), &words("WATCH k0 k1 k2 k3"));
        (0..2).for_each(|client| node.disconnect(ClientNo(client)));
        node.drain();
        assert_eq!(node.stray_watches(), [], "{shards} shards: marks of nobody");
    }
}

fn words(line: &str) -> Words {
    line.split(' ').map(Vec::from).collect()
}

/// Lines as they are; those of the second client begin with `other: `.
#[track_caller]
fn check_lines(lines: &str) {
    let lines: Vec<(usize, Words)> = lines
        .lines()
        .map(|line| match line.trim().strip_prefix("other: ") {
            Some(line) => (1, line),
            None => (0, line.trim()),
        })
        .map(|(client, line)| (client, words(line)))
        .collect();
    for seed in 0..8 {
        check(&lines, seed, Protocol::Resp2);
    }
}

#[test]
fn a_key_renamed_to_itself_within_a_transaction_has_not_changed() {
    check_lines(
        "MSET a 1 b 2
         WATCH a
         other: MULTI
         other: RENAME a a
         other: MGET a b c d e
         other: EXEC
         MULTI
         GET a
         EXEC",
    );
}

#[test]
fn expiries_and_marks_go_along_with_a_key() {
    check_lines(
        "SET a 12 EX 1000
         APPEND a 3
         RENAME a b
         OBJECT ENCODING b
         PEXPIRETIME b
         RENAMENX b a
         OBJECT ENCODING a
         COPY a b
         OBJECT ENCODING b
         PEXPIRETIME b
         SET c 12
         COPY c b REPLACE
         OBJECT ENCODING b
         PEXPIRETIME b",
    );
}

#[test]
fn a_scan_goes_on_at_the_next_home_while_more_is_asked_for() {
    for seed in 0..8 {
        let mut node = Node::new(5, seed);
        let client = node.connect();
        for n in 0..40 {
            node.answer(client.0, &words(&format!("SET key{n} v")));
        }
        let mut page = |line| Tree::of(&node.answer(client.0, &words(line)));
        let whole = page("SCAN 0 COUNT 1000");
        assert_eq!((whole.list()[0].number(), whole.list()[1].list().len()), (0, 40));
        let part = page("SCAN 0 COUNT 25");
        let found = part.list()[1].list().len();
        assert!(part.list()[0].number() > 0 && (25..40).contains(&found), "{found}");
    }
}

#[test]
fn a_transaction_ends_though_its_client_has_gone() {
    for seed in 0..8 {
        let mut node = Node::new(3, seed);
        let (first, second) = (node.connect(), node.connect());
        for line in ["WATCH k0 k5", "MULTI", "MSET k0 v k1 v k2 v k3 v", "SELECT 2", "GET k4"] {
            node.answer(first.0, &words(line));
        }
        node.ask(first, &words("EXEC"));
        node.disconnect(first);
        node.drain();
        assert_eq!(node.stray_watches(), []);
        assert_eq!(node.answer(second.0, &words("EXISTS k0 k1 k2 k3")), b":4\r\n");
    }
}

#[test]
fn scripts_have_every_command_on_keys_and_transactions() {
    let names = |line: &&str| {
        let mut words = line.split(' ').map(str::to_lowercase);
        let (first, second) = (words.next().unwrap(), words.next().unwrap_or_default());
        [format!("{first}|{second}"), first]
    };
    let named: Vec<String> = LINES.iter().flat_map(names).collect();
    let about_keys = |spec: &&CommandSpec| {
        let data = [Flags::READONLY, Flags::WRITE, Flags::KEYSPACE];
        matches!(spec.group, Group::Generic | Group::String | Group::Transactions)
            || data.iter().any(|flag| spec.flags.has(*flag))
    };
    for spec in COMMANDS.iter().filter(about_keys) {
        assert!(named.iter().any(|name| name == spec.name), "{} is in no script", spec.name);
    }
}

proptest! {
    #[test]
    fn any_number_of_shards_answers_as_one(
        script in script(),
        seed: u64,
        resp3: bool,
    ) {
        let script: Vec<_> = script.iter().map(|say| (say.client, say.words())).collect();
        check(&script, seed, if resp3 { Protocol::Resp3 } else { Protocol::Resp2 });
    }
}
