//! Values that move between shards while the system refuses memory: whoever is told of an
//! error finds all as it was, and nothing is there twice or lost.

use crate::ids::{DbId, ShardId};
use crate::slot::slot_of;

use super::node::Node;
use super::scripts::Server;
use super::seat::{ClientNo, LONG_ARGUMENT, NOW};

const SHARDS: u16 = 3;
/// Where a value comes from, and where it goes.
const FROM: ShardId = ShardId(0);
const TO: ShardId = ShardId(2);

/// Key of a shard, with a tag so that others can be beside it.
fn key(node: &Node, home: ShardId) -> String {
    let mut names = (0..).map(|n| format!("{{{n}}}"));
    names.find(|name| node.partition.home(slot_of(name.as_bytes())) == home).unwrap()
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(Vec::from).collect()
}

fn value(len: usize) -> String {
    (0..len).map(|n| char::from(b'a' + (n % 23) as u8)).collect()
}

/// What a key is about.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    value: Vec<u8>,
    encoding: Vec<u8>,
    expires: Vec<u8>,
}

/// Where a value goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// A shard that has no memory yet: the entry can be refused.
    Cold,
    /// One that has: only a copy could be refused.
    Warm,
    /// There, too, under a key that needs memory of its own.
    LongName,
}

struct Scene {
    node: Node,
    from: String,
    to: String,
}

impl Scene {
    /// A value that APPEND has been at and that will expire.
    fn new(seed: u64, len: usize, target: Target) -> Self {
        let mut node = Node::new(SHARDS, seed);
        node.connect();
        let (from, mut to) = (key(&node, FROM), key(&node, TO));
        let beside = format!("{to}beside");
        if target == Target::LongName {
            to.push_str(&"n".repeat(5_000));
        }
        let mut scene = Self { node, from, to };
        let long = value(len);
        for line in ["SET * 1", "SET * 2", "DEL *"] {
            if target != Target::Cold {
                scene.say(&line.replace('*', &beside));
            }
        }
        for line in ["SET * +", "APPEND * end", "PEXPIREAT * 1800000000000"] {
            let line = line.replace('*', &scene.from).replace('+', &long);
            scene.say(&line);
        }
        scene
    }

    fn say(&mut self, line: &str) -> Vec<u8> {
        let reply = self.node.answer(0, &words(line));
        self.node.drain();
        reply
    }

    fn seen(&mut self, key: &str) -> Option<Seen> {
        (self.say(&format!("EXISTS {key}")) == b":1\r\n").then(|| Seen {
            value: self.say(&format!("GET {key}")),
            encoding: self.say(&format!("OBJECT ENCODING {key}")),
            expires: self.say(&format!("PEXPIRETIME {key}")),
        })
    }

    /// Says something while so many requests for memory are refused at the two homes.
    fn say_refused(&mut self, line: &str, at_from: u32, at_to: u32) -> Vec<u8> {
        for (home, refusals) in [(FROM, at_from), (TO, at_to)] {
            self.node.seats[usize::from(home.0)].shard.store.refuse_memory(refusals);
        }
        let reply = self.say(line);
        for seat in &self.node.seats {
            seat.shard.store.refuse_memory(0);
        }
        reply
    }

    fn used(&self, home: ShardId) -> usize {
        self.node.seats[usize::from(home.0)].shard.store.memory_used()
    }
}

const LENGTHS: [usize; 4] = [40, 9_000, LONG_ARGUMENT, 2 << 20];

/// Every number of refusals at either home, with and without something at the destination.
fn nothing_is_lost(command: &str, options: &str, copies: bool, overwrites: bool) {
    let (mut refused, mut done) = (0, 0);
    for (len, n) in LENGTHS.into_iter().flat_map(|len| (0..32).map(move |n| (len, n))) {
        let (at_from, at_to, there) = (n % 4, n / 4 % 4, overwrites && n >= 16);
        let target = match n % 2 {
            _ if there => Target::Warm,
            0 => Target::LongName,
            _ => Target::Cold,
        };
        let mut scene = Scene::new(u64::from(n), len, target);
        let (from, to) = (scene.from.clone(), scene.to.clone());
        if there {
            scene.say(&format!("SET {to} old"));
        }
        let (before, old, used) = (scene.seen(&from), scene.seen(&to), scene.used(FROM));
        assert_eq!((before.is_some(), old.is_some()), (true, there));
        let line = format!("{command} {from} {to}{options}");
        let reply = scene.say_refused(&line, at_from, at_to);
        let told = format!("{line:.60}, {len} bytes, refused {at_from} and {at_to} times");
        let (source, target) = (scene.seen(&from), scene.seen(&to));
        if reply.starts_with(b"-OOM ") {
            refused += 1;
            assert_eq!((&source, &target), (&before, &old), "{told}");
            assert_eq!(scene.used(FROM), used, "{told}");
        } else {
            done += 1;
            assert!(reply == b"+OK\r\n" || reply == b":1\r\n", "{told}: {reply:?}");
            assert_eq!(
                (&source, &target),
                (if copies { &before } else { &None }, &before),
                "{told}"
            );
        }
    }
    assert!(refused > 10 && done > 10, "{command}: {refused} refused, {done} done");
}

#[test]
fn a_rename_that_is_refused_has_changed_nothing() {
    nothing_is_lost("RENAME", "", false, true);
}

#[test]
fn a_renamenx_that_is_refused_has_changed_nothing() {
    nothing_is_lost("RENAMENX", "", false, false);
}

#[test]
fn a_copy_that_is_refused_has_changed_nothing() {
    nothing_is_lost("COPY", "", true, false);
    nothing_is_lost("COPY", " REPLACE", true, true);
}

/// Nothing is asked for at home, however long the value is: neither to hand it over nor to put
/// it back.
#[test]
fn a_long_value_is_handed_over_as_it_lies() {
    for len in [LONG_ARGUMENT, 2 << 20] {
        for at_to in [0, 1] {
            let mut scene = Scene::new(7, len, Target::LongName);
            let (from, to) = (scene.from.clone(), scene.to.clone());
            let place = |scene: &mut Scene, home: ShardId, key: &str| {
                let store = &mut scene.node.seats[usize::from(home.0)].shard.store;
                let key = store.hasher().key(key.as_bytes());
                let value = store.get(DbId(0), key, NOW, false);
                value.map(|value| value.bytes().as_ptr().addr())
            };
            let before = place(&mut scene, FROM, &from);
            let reply = scene.say_refused(&format!("RENAME {from} {to}"), 1_000, at_to);
            assert_eq!(reply.starts_with(b"-OOM "), at_to == 1, "{reply:?}");
            let (home, key) = if reply == b"+OK\r\n" { (TO, &to) } else { (FROM, &from) };
            assert_eq!(place(&mut scene, home, key), before, "{len} bytes: {reply:?}");
        }
    }
}

/// A value that two keys share is copied, which can be refused.
#[test]
fn a_shared_value_is_copied_or_stays() {
    for at_from in [0, 1] {
        let mut scene = Scene::new(3, 2 << 20, Target::Warm);
        let (from, to) = (scene.from.clone(), scene.to.clone());
        let twin = format!("{from}twin");
        scene.say(&format!("COPY {from} {twin}"));
        let before = scene.seen(&from);
        let reply = scene.say_refused(&format!("RENAME {from} {to}"), at_from, 0);
        assert_eq!(reply.starts_with(b"-OOM "), at_from == 1, "{reply:?}");
        let left = if at_from == 1 { &to } else { &from };
        let there = if at_from == 1 { &from } else { &to };
        assert_eq!((scene.seen(left), scene.seen(there)), (None, before.clone()));
        assert_eq!(scene.seen(&twin), before);
    }
}

/// A refused move is no change to who watches the key.
#[test]
fn who_watches_a_key_that_was_not_moved_goes_on() {
    let mut scene = Scene::new(11, LONG_ARGUMENT, Target::LongName);
    let (from, to) = (scene.from.clone(), scene.to.clone());
    let ClientNo(other) = scene.node.connect();
    for line in [format!("WATCH {from} {to}"), "MULTI".into(), format!("STRLEN {from}")] {
        scene.node.answer(other, &words(&line));
    }
    let reply = scene.say_refused(&format!("RENAME {from} {to}"), 0, 9);
    assert!(reply.starts_with(b"-OOM "), "{reply:?}");
    let len = format!("*1\r\n:{}\r\n", LONG_ARGUMENT + 3);
    assert_eq!(scene.node.answer(other, &words("EXEC")), len.as_bytes());
}
