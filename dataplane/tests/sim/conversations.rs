//! The conversations recorded from a real server, played in process on one to three shards.
//!
//! The same files as in `tests/conversations` and `tests/conversations_own`, and the same code reads
//! them; only the talking is done here, over the simulated network. None is left out.

use std::collections::BTreeMap;
use std::path::Path;

use dataplane::runtime::sim::Read;
use shards::time::Nanos;

use super::format::{self, Exchange, Section, Step};
use super::resp::{self, Value};
use super::trace::Trace;
use super::world::World;

/// A connection of a conversation.
struct Talk {
    link: usize,
    inbox: Vec<u8>,
}

impl Talk {
    fn connect(world: &mut World<'_>) -> Self {
        let link = world.node.net.borrow_mut().connect().expect("the node listens");
        Self { link, inbox: Vec::new() }
    }

    /// Sends a request and lets everything happen.
    fn send(&mut self, world: &mut World<'_>, args: &[Vec<u8>]) {
        let bytes = resp::request(args);
        let mut sent = 0;
        loop {
            sent += world.node.net.borrow_mut().write(self.link, &bytes[sent..]);
            world.settle();
            self.read(world);
            let gone = world.node.net.borrow().room(self.link) == 0;
            if sent == bytes.len() || gone {
                return;
            }
        }
    }

    /// Reads what has come; `false` when no more will.
    fn read(&mut self, world: &mut World<'_>) -> bool {
        loop {
            let before = self.inbox.len();
            let end = world.node.net.borrow_mut().read(self.link, usize::MAX, &mut self.inbox);
            world.settle(); // there is room for more
            if self.inbox.len() == before {
                return end == Read::Open;
            }
        }
    }

    /// The next reply; `None` when the connection is closed.
    fn reply(&mut self, world: &mut World<'_>) -> Option<Value> {
        let open = self.read(world);
        match resp::parse(&self.inbox) {
            Some((value, len)) => {
                self.inbox.drain(..len);
                Some(value)
            }
            None => {
                assert!(!open, "no reply, and the connection is open");
                None
            }
        }
    }

    fn call(&mut self, world: &mut World<'_>, words: &str) -> Value {
        let args: Vec<Vec<u8>> = words.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        self.send(world, &args);
        self.reply(world).expect("an answer")
    }
}

/// Whether a reply is what was written.
fn fits(exchange: &Exchange, protocol: u8, reply: &str) -> bool {
    let expected = &exchange.expected;
    let third = expected.resp3.as_ref().filter(|_| protocol == 3);
    let wanted = third.or(expected.resp2.as_ref()).expect("a reply is written");
    if expected.pattern { format::matches(wanted, reply) } else { wanted == reply }
}

fn play(world: &mut World<'_>, section: &Section, protocol: u8, wrong: &mut Vec<String>) -> usize {
    let mut talks: BTreeMap<&str, Talk> = BTreeMap::new();
    let mut played = 0;
    assert_eq!(Talk::connect(world).call(world, "FLUSHALL"), Value::ok());
    for step in &section.steps {
        let exchange = match step {
            Step::Text(_) => continue,
            Step::Wait { ms } => {
                world.node.net.borrow_mut().pass(Nanos(ms * Nanos::MILLISECOND.0));
                world.settle();
                continue;
            }
            Step::Exchange(exchange) => exchange,
        };
        let talk = talks.entry(&exchange.connection).or_insert_with(|| {
            let mut talk = Talk::connect(world);
            if protocol == 3 {
                talk.call(world, "HELLO 3");
            }
            talk
        });
        talk.send(world, &exchange.args);
        played += 1;
        if exchange.silent {
            talk.read(world);
            assert!(talk.inbox.is_empty(), "line {}: no reply was expected", exchange.line);
            continue;
        }
        let reply = talk.reply(world);
        let reply = reply.map_or("closed".into(), |value| resp::shown(value, exchange.any_order));
        if !fits(exchange, protocol, &reply) {
            wrong.push(format!(
                "line {} (RESP{protocol}): {}\n  got {reply}",
                exchange.line, exchange.words
            ));
        }
    }
    played
}

#[test]
fn conversations_hold_in_process() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests");
    let folders = ["conversations", "conversations_own"].map(|folder| tests.join(folder));
    let listed = folders.into_iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let mut files: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut wrong, mut played) = (Vec::new(), 0);
    for path in &files {
        let file = format::parse(&std::fs::read_to_string(path).unwrap());
        let name = path.file_name().unwrap().to_string_lossy();
        for shards in 1..=3 {
            let mut trace = Trace::new(false);
            let mut world = World::quiet(shards, shards.into(), &mut trace);
            for section in &file.sections {
                for protocol in [2, 3] {
                    if section.only.is_none_or(|only| only == protocol) {
                        let mut here = Vec::new();
                        played += play(&mut world, section, protocol, &mut here);
                        wrong.extend(
                            here.iter().map(|text| format!("{name}, {shards} shards, {text}")),
                        );
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {played} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(played > 5_000, "{played} were played");
}
