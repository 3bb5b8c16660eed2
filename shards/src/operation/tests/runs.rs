//! Runs: requests of one connection at several homes, as if each had come alone and in order.

use proptest::prelude::*;

use crate::command::{Place, lookup, place};
use crate::ids::ClientId;
use crate::session::Session;

use super::super::*;
use super::node::Node;
use super::scripts::{OneShard, Server};
use super::seat::{Begun, Client, ClientNo, DATABASES, LONG_ARGUMENT, NOW, arguments, shard};
use super::tree::Tree;

type Words = Vec<Vec<u8>>;

fn words(line: &str) -> Words {
    line.split(' ').map(Vec::from).collect()
}

impl Node {
    /// Some requests at once; all replies come together, those of silent ones left out.
    fn ask_run(&mut self, number: ClientNo, lines: &[(Words, bool)]) {
        let Client { seat: at, session, .. } = &mut self.clients[number.0];
        let seat = &mut self.seats[usize::from(at.0)];
        let hasher = *seat.shard.hasher();
        let request = |(words, silent): &(Words, bool)| {
            let (spec, args) = (lookup(&words[0]).unwrap(), arguments(&seat.blobs, words));
            let Place::At(home) = place(&seat.shard, session, spec, &args.as_args(), None) else {
                panic!("a request of a run has one home: {words:?}");
            };
            // As from a connection: known of some and not of others.
            let known = spec.keys.first > 0 && words.len() % 2 == 1;
            let first = known.then(|| hasher.hash(&words[spec.keys.first as usize]));
            RunRequest { spec, args, first, home, silent: *silent }
        };
        let requests = lines.iter().map(request).collect();
        seat.begun += 1;
        let id = OpId { shard: *at, number: seat.begun };
        let start =
            Start { id, partition: self.partition, databases: DATABASES, noise: 0, only: None };
        let (operation, step) = Operation::of_run(start, session, requests);
        seat.operations.insert(id.number, Begun { client: number, operation, watch: Vec::new() });
        self.advance(id, step);
    }

    fn answer_run(&mut self, client: ClientNo, lines: &[(Words, bool)]) -> Vec<u8> {
        self.ask_run(client, lines);
        loop {
            if let Some(reply) = self.take_reply(client) {
                return reply;
            }
            assert!(self.step(), "never answered");
        }
    }
}

/// Requests with one home each, of few keys: right ones, wrong ones, long values.
fn request() -> impl Strategy<Value = Words> {
    let key = || (0..12u8).prop_map(|n| format!("k{n}"));
    let long = (LONG_ARGUMENT..3 * LONG_ARGUMENT).prop_map(|len| "v".repeat(len));
    prop_oneof![
        (key(), 0..100u8).prop_map(|(key, n)| words(&format!("SET {key} {n}"))),
        (key(), long.clone()).prop_map(|(key, long)| words(&format!("SET {key} {long}"))),
        (key(), long).prop_map(|(key, long)| words(&format!("APPEND {key} {long}"))),
        key().prop_map(|key| words(&format!("GET {key}"))),
        key().prop_map(|key| words(&format!("INCR {key}"))),
        key().prop_map(|key| words(&format!("DEL {key}"))),
        key().prop_map(|key| words(&format!("GETDEL {key}"))),
        key().prop_map(|key| words(&format!("OBJECT ENCODING {key}"))),
        key().prop_map(|key| words(&format!("EXPIRE {key} never"))),
        key().prop_map(|key| words(&format!("MSET {key} 1 {key} 2"))),
    ]
}

proptest! {
    #[test]
    fn a_run_answers_as_its_requests_one_by_one(
        shards in 1..6u16,
        seed: u64,
        runs in prop::collection::vec(prop::collection::vec((request(), any::<bool>()), 1..40), 1..6),
    ) {
        let mut alone = OneShard {
            shard: shard(),
            sessions: [1, 2].map(|n| Session::new(ClientId(n), true, NOW)),
        };
        let mut node = Node::new(shards, seed);
        let client = node.connect();
        for run in &runs {
            let replies = run.iter().map(|(words, silent)| (alone.answer(0, words), silent));
            let heard = replies.filter(|(_, silent)| !**silent).flat_map(|(reply, _)| reply);
            let expected: Vec<u8> = heard.collect();
            let answered = node.answer_run(client, run);
            prop_assert!(answered == expected, "{run:?}");
            node.drain();
        }
    }
}

/// How often a reader saw a write of a run, and after it not an earlier one of that run.
fn overtaken(shards: u16, seed: u64, holds: bool) -> usize {
    const KEYS: usize = 8;
    let mut node = Node::new(shards, seed);
    node.holds = holds;
    let (writer, reader) = (node.connect(), node.connect());
    let (mut runs, mut writes, mut reads, mut overtaken) = (0, true, true, 0);
    // The key that was read, and what it held, while an earlier one is looked at.
    let mut seen: Option<(usize, usize)> = None;
    let mut looked_at = 0;
    while runs < 24 {
        if std::mem::take(&mut writes) {
            runs += 1;
            let line = |n| (words(&format!("SET k{n} {runs}")), false);
            node.ask_run(writer, &(0..KEYS).map(line).collect::<Vec<_>>());
        }
        if std::mem::take(&mut reads) {
            looked_at = match seen {
                Some((later, _)) => node.random() % later,
                None => 1 + node.random() % (KEYS - 1),
            };
            node.ask(reader, &words(&format!("GET k{looked_at}")));
        }
        node.step();
        writes = node.take_reply(writer).is_some();
        if let Some(reply) = node.take_reply(reader) {
            reads = true;
            let value = match Tree::of(&reply) {
                Tree::Null => 0,
                value => String::from_utf8_lossy(value.bytes()).parse().unwrap(),
            };
            match seen.take() {
                Some((_, later)) => overtaken += usize::from(value < later),
                None => seen = Some((looked_at, value)),
            }
        }
    }
    node.drain();
    overtaken
}

#[test]
fn nobody_sees_a_later_write_of_a_run_and_not_an_earlier_one() {
    let seen = |holds| (0..64).map(|seed| overtaken(2 + seed as u16 % 4, seed, holds)).sum();
    assert_eq!(seen(true), 0);
    let without: usize = seen(false);
    assert!(without > 0, "without holds it is seen");
}
