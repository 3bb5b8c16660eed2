//! Replies in order, against the plain way: each in a place of its own.

use super::*;
use crate::store::{Store, StoreConfig};
use proptest::prelude::*;
use std::sync::Arc;

fn store() -> Store {
    Store::new(StoreConfig { databases: 1, seed: 1, stats: Arc::default() })
}

fn blob(store: &Store, bytes: &[u8]) -> Blob {
    let mut builder = store.blob(bytes.len()).unwrap();
    builder.extend(bytes);
    builder.freeze()
}

/// What goes out, in one piece.
fn flatten(bytes: &[u8], blobs: &[(usize, Blob)]) -> Vec<u8> {
    assert!(blobs.is_sorted_by_key(|(at, _)| *at), "as sends want them");
    let (mut whole, mut from) = (Vec::new(), 0);
    for (at, blob) in blobs {
        whole.extend_from_slice(&bytes[from..*at]);
        whole.extend_from_slice(blob.bytes());
        from = *at;
    }
    whole.extend_from_slice(&bytes[from..]);
    whole
}

/// Plays requests: a capital is sent elsewhere, a small letter is answered here, `=X`
/// fills the hole of `X` with `X`, and `|` shows what is ready.
#[track_caller]
fn check(script: &str, expect: &str) {
    let (mut order, mut ready, mut seen) = (Order::default(), Reply::default(), String::new());
    let mut holes = std::collections::BTreeMap::new();
    let mut chars = script.chars().filter(|c| *c != ' ');
    while let Some(c) = chars.next() {
        match c {
            '|' => {
                seen += std::str::from_utf8(&std::mem::take(&mut ready.bytes)).unwrap();
                seen.push('|');
            }
            '=' => {
                let name = chars.next().unwrap();
                let seq = holes[&name];
                order.fill(seq, name.to_string().as_bytes().into(), &mut ready);
            }
            c if c.is_uppercase() => _ = holes.insert(c, order.open()),
            c => order.out(&mut ready).bytes.push(c as u8),
        }
    }
    assert_eq!(seen, expect);
}

#[test]
fn replies_wait_for_those_before_them() {
    check("a b |", "ab|");
    check("a B | =B |", "a|B|");
    check("a B c | =B | d |", "a|Bc|d|");
    check("A b C d =C | =A |", "|AbCd|");
    check("A B C =B =C | =A | D e =D |", "|ABC|De|");
    check("A b C =A | d =C |", "Ab|Cd|");
    check("A B =A c D =D | =B |", "A|BcD|");
}

#[test]
fn numbers_of_holes_wrap() {
    let (mut order, mut ready) = (Order::default(), Reply::default());
    (order.first, order.next) = (u32::MAX - 1, u32::MAX - 1);
    let holes = [0; 4].map(|_| order.open());
    assert_eq!(order.holes(), 4);
    for (seq, reply) in holes.iter().zip([b"a", b"b", b"c", b"d"]).rev() {
        order.fill(*seq, reply.as_slice().into(), &mut ready);
    }
    assert_eq!(ready.bytes, b"abcd");
    assert!(order.is_empty());
}

#[test]
#[should_panic(expected = "a hole is filled once")]
fn a_hole_filled_early_is_not_filled_again() {
    let (mut order, mut ready) = (Order::default(), Reply::default());
    let (_, late) = (order.open(), order.open());
    order.fill(late, b"1"[..].into(), &mut ready);
    order.fill(late, b"2"[..].into(), &mut ready);
}

#[test]
#[should_panic(expected = "a hole is filled once")]
fn a_closed_hole_is_not_filled_again() {
    let (mut order, mut ready) = (Order::default(), Reply::default());
    let (first, _) = (order.open(), order.open());
    order.fill(first, b"1"[..].into(), &mut ready);
    order.fill(first, b"2"[..].into(), &mut ready);
}

#[test]
fn a_change_of_protocol_reaches_ready() {
    let (mut order, mut ready) = (Order::default(), Reply::new(Protocol::Resp3));
    let seq = order.open();
    assert_eq!(order.out(&mut ready).protocol, Protocol::Resp3);
    order.out(&mut ready).protocol = Protocol::Resp2; // as by RESET
    assert_eq!(order.out(&mut ready).protocol, Protocol::Resp2);
    order.out(&mut ready).protocol = Protocol::Resp3;
    order.fill(seq, ReplyPart::default(), &mut ready);
    assert_eq!(ready.protocol, Protocol::Resp3);
    ready.protocol = Protocol::Resp2;
    order.open();
    assert_eq!(order.out(&mut ready).protocol, Protocol::Resp2);
}

/// A client that always has requests under way: nothing grows, and once warm nothing is
/// allocated, whether replies come in order or not.
#[test]
fn buffers_stay_small_though_it_is_never_empty() {
    let (mut order, mut ready) = (Order::default(), Reply::default());
    let mut owed = VecDeque::new();
    let mut warm = None;
    for turn in 0..5_000 {
        owed.extend([order.open(), order.open(), order.open()]);
        order.out(&mut ready).bulk(&[b'k'; 50]);
        // The last reply comes first, the two before it in the next turn only.
        let fills: &[usize] = if turn == 0 { &[2] } else { &[4, 0, 0] };
        for &i in fills {
            let seq = owed.remove(i).unwrap();
            order.fill(seq, [b'e'; 90].as_slice().into(), &mut ready);
        }
        ready.bytes.clear();
        let behind = order.behind.as_ref().unwrap();
        assert!(order.holes() > 0 && behind.aside.live > 0 && behind.kept.len() > 0);
        assert!(behind.footprint() < 5 * COMPACT_FROM, "{} bytes", behind.footprint());
        if turn == 1_000 {
            warm = Some(behind.footprint());
        }
    }
    assert_eq!(warm, order.behind.as_ref().map(|behind| behind.footprint()));
}

#[test]
fn an_empty_order_gives_large_buffers_back_at_once_and_small_ones_when_asked() {
    let (mut order, mut ready) = (Order::default(), Reply::default());
    for (bytes, keeps) in [(100, true), (RETAINED_BYTES, false), (100, true)] {
        let seq = order.open();
        order.out(&mut ready).bytes.resize(bytes, b'x');
        order.release();
        assert_eq!(order.len(), bytes, "what is kept is not given back");
        order.fill(seq, ReplyPart::default(), &mut ready);
        assert_eq!(order.behind.is_some(), keeps, "{bytes} bytes");
    }
    order.release();
    assert!(order.behind.is_none());
    assert_eq!(ready.bytes.len(), 100 + RETAINED_BYTES + 100);
}

#[derive(Clone, Debug)]
enum Op {
    Local(Body),
    Null,
    Remote,
    Fill(prop::sample::Index, Body),
    Send,
    Hello(bool),
}

/// Lengths of plain bytes, each with a long value behind it or not.
type Body = Vec<(usize, Option<usize>)>;

fn bodies() -> impl Strategy<Value = Body> {
    let len = prop_oneof![4 => 0..20usize, 1 => 0..3000usize];
    prop::collection::vec((len, prop::option::weighted(0.3, 0..5usize)), 0..3)
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => bodies().prop_map(Op::Local),
        1 => Just(Op::Null),
        6 => Just(Op::Remote),
        5 => (any::<prop::sample::Index>(), bodies()).prop_map(|(i, body)| Op::Fill(i, body)),
        1 => Just(Op::Send),
        1 => any::<bool>().prop_map(Op::Hello),
    ]
}

/// A reply of that shape whose bytes differ from those of any other.
fn encode(reply: &mut Reply, body: &Body, tag: &mut u8, store: &Store) {
    for (len, long) in body {
        *tag = tag.wrapping_add(1);
        reply.bytes.resize(reply.bytes.len() + len, *tag);
        if let Some(len) = long {
            *tag = tag.wrapping_add(1);
            reply.blobs.push((reply.bytes.len(), blob(store, &vec![*tag; *len])));
        }
    }
}

/// The plain way: every reply in a place of its own, in the order of requests.
#[derive(Default)]
struct Model {
    replies: Vec<Option<Vec<u8>>>,
    resp3: bool,
}

impl Model {
    /// What must be ready: the longest prefix that is complete.
    fn ready(&self) -> Vec<u8> {
        self.replies.iter().map_while(|reply| reply.clone()).flatten().collect()
    }

    fn done(&self) -> usize {
        self.replies.iter().take_while(|reply| reply.is_some()).count()
    }

    fn open(&self) -> Vec<usize> {
        (0..self.replies.len()).filter(|i| self.replies[*i].is_none()).collect()
    }

    fn check(&self, order: &Order, sent: &[u8], ready: &Reply) -> Result<(), TestCaseError> {
        let out = [sent, &flatten(&ready.bytes, &ready.blobs)].concat();
        prop_assert_eq!(out, self.ready());
        let behind = &self.replies[self.done()..];
        prop_assert_eq!(order.len(), behind.iter().flatten().map(Vec::len).sum::<usize>());
        prop_assert_eq!(order.is_empty(), behind.is_empty());
        Ok(())
    }
}

proptest! {
    #[test]
    fn what_is_ready_is_the_longest_complete_prefix(
        ops in prop::collection::vec(ops(), 0..150),
    ) {
        let store = store();
        let (mut order, mut ready, mut sent) = (Order::default(), Reply::default(), Vec::new());
        let (mut model, mut seqs, mut tag) = (Model::default(), Vec::new(), 0u8);
        for op in ops {
            match op {
                Op::Local(body) => {
                    let mut alone = Reply::default();
                    encode(&mut alone, &body, &mut tag.clone(), &store);
                    model.replies.push(Some(flatten(&alone.bytes, &alone.blobs)));
                    seqs.push(None);
                    encode(order.out(&mut ready), &body, &mut tag, &store);
                }
                Op::Null => {
                    let null = if model.resp3 { "_\r\n" } else { "$-1\r\n" };
                    model.replies.push(Some(null.into()));
                    seqs.push(None);
                    order.out(&mut ready).null();
                }
                Op::Remote => {
                    model.replies.push(None);
                    seqs.push(Some(order.open()));
                }
                Op::Fill(index, body) => {
                    let open = model.open();
                    if open.is_empty() {
                        continue;
                    }
                    let i = *index.get(&open);
                    let mut reply = Reply::default();
                    encode(&mut reply, &body, &mut tag, &store);
                    model.replies[i] = Some(flatten(&reply.bytes, &reply.blobs));
                    let part = ReplyPart { bytes: &reply.bytes, blobs: reply.blobs };
                    order.fill(seqs[i].take().unwrap(), part, &mut ready);
                }
                Op::Send => {
                    sent.extend(flatten(&ready.bytes, &ready.blobs));
                    ready.bytes.clear();
                    ready.blobs.clear();
                }
                Op::Hello(resp3) => {
                    model.resp3 = resp3;
                    order.out(&mut ready).protocol =
                        if resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
                }
            }
            model.check(&order, &sent, &ready)?;
        }
        for i in model.open().into_iter().rev() {
            model.replies[i] = Some(vec![b'.']);
            order.fill(seqs[i].take().unwrap(), b"."[..].into(), &mut ready);
            model.check(&order, &sent, &ready)?;
        }
        prop_assert!(order.is_empty());
        let blobs = ready.blobs;
        drop(blobs);
        prop_assert!(order.behind.is_none_or(|behind| behind.kept.reply.blobs.is_empty()));
    }
}
