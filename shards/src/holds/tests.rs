//! Holds of one shard, against the definition word by word: a list in order of arrival.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

pub(super) fn slot(number: u16) -> SlotId {
    SlotId::new(number).unwrap()
}

pub(super) fn op(number: u64) -> OpId {
    OpId { shard: ShardId(0), number }
}

fn set(slots: &[u16]) -> HoldSet {
    HoldSet::Slots(SlotSet::new(slots.iter().map(|n| slot(*n)).collect()).unwrap())
}

/// Plays requests (`A1,2` for slots 1 and 2, `A*` for all) and releases (`-A`); each gives
/// the operations that it grants.
#[track_caller]
fn check(script: &str, expect: &str) {
    let (mut holds, mut seen) = (Holds::default(), Vec::new());
    for word in script.split(' ') {
        let (name, rest) = word.split_at(1);
        let granted = match (name, rest) {
            ("-", name) => {
                let mut granted = Vec::new();
                holds.release(op(name.as_bytes()[0].into()), &mut granted);
                granted.iter().map(|op| op.number as u8 as char).collect()
            }
            (name, "*") => {
                let granted = holds.request(op(name.as_bytes()[0].into()), HoldSet::All);
                if granted { name.into() } else { String::new() }
            }
            (name, slots) => {
                let slots: Vec<u16> = slots.split(',').map(|n| n.parse().unwrap()).collect();
                let granted = holds.request(op(name.as_bytes()[0].into()), set(&slots));
                if granted { name.into() } else { String::new() }
            }
        };
        seen.push(if granted.is_empty() { ".".to_owned() } else { granted });
    }
    assert_eq!(seen.join(" "), expect);
}

#[test]
fn first_come_first_served() {
    check("A1 B1 C1 -A -B -C", "A . . B C .");
    check("A1,2 B2,3 C3,4 D4 E9 -A -B -C", "A . . . E B C D");
    check("A1 B1 C1 -B -A", "A . . . C");
    check("A1 B1,2 C2 D2 -B -C", "A . . . C D");
    check("A1,2 B2 C1 -A", "A . . BC");
    check("A5,9,5 B9 -A", "A . B");
}

#[test]
fn a_request_for_all_waits_for_all_before_it_and_keeps_all_behind_it() {
    check("A* B1 C2 -A", "A . . BC");
    check("A1 B2 C* D3 -A -B -C", "A B . . . C D");
    check("A1 B* C* D1 -A -B -C -D", "A . . . B C D .");
    check("A1 B* C1 D2 -B -A", "A . . . D C");
    check("A* B* C1 -B -A", "A . . . C");
    check("A* B1 C2 -C -A", "A . . . B");
}

#[test]
fn what_is_held_is_seen() {
    let mut holds = Holds::default();
    assert!(holds.is_idle() && !holds.is_held(slot(0)));
    assert!(holds.request(op(1), set(&[0, 63, 64, 16383])));
    assert!(!holds.is_idle());
    for (number, held) in [(0, true), (1, false), (63, true), (64, true), (16383, true)] {
        assert_eq!(holds.is_held(slot(number)), held, "slot {number}");
    }
    assert!(!holds.request(op(2), HoldSet::All));
    assert!(!holds.is_held(slot(1)), "a request in line holds nothing");
    let mut granted = Vec::new();
    holds.release(op(1), &mut granted);
    assert_eq!(granted, [op(2)]);
    assert!(holds.is_held(slot(1)) && !holds.is_idle());
    holds.release(op(2), &mut granted);
    assert!(holds.is_idle() && !holds.is_held(slot(1)) && !holds.is_held(slot(0)));
}

#[test]
fn sets_are_sorted_without_doubles_and_not_empty() {
    assert_eq!(SlotSet::new(Vec::new()), None);
    let set = SlotSet::new([5, 1, 5, 3].map(slot).into()).unwrap();
    assert_eq!(set.as_slice(), [1, 3, 5].map(slot));
}

#[test]
fn releasing_what_is_not_known_changes_nothing() {
    let (mut holds, mut granted) = (Holds::default(), Vec::new());
    holds.release(op(1), &mut granted);
    holds.request(op(2), set(&[1]));
    holds.release(op(1), &mut granted);
    assert_eq!((holds.granted(), holds.waiting(), granted.len()), (1, 0, 0));
}

#[test]
#[should_panic(expected = "an operation asks a shard once")]
fn an_operation_does_not_wait_for_itself() {
    let mut holds = Holds::default();
    holds.request(op(1), set(&[1]));
    holds.request(op(1), set(&[1]));
}

/// Slots and number of those who share none with one another, `None` for all.
pub(super) type Asked = Option<BTreeSet<u16>>;

fn hold_set(asked: &Asked) -> HoldSet {
    asked.as_ref().map_or(HoldSet::All, |slots| set(&slots.iter().copied().collect::<Vec<_>>()))
}

fn share(a: &Asked, b: &Asked) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => !a.is_disjoint(b),
        _ => true,
    }
}

pub(super) fn asked(slots: u16) -> impl Strategy<Value = Asked> {
    prop_oneof![
        12 => prop::collection::btree_set(0..slots, 1..5).prop_map(Some),
        1 => Just(None),
    ]
}

/// The definition, word by word: a list in order of arrival.
#[derive(Default)]
struct Line(Vec<(OpId, Asked, bool)>);

impl Line {
    /// Grants whoever shares nothing with any earlier one.
    fn grant(&mut self) -> Vec<OpId> {
        let mut granted = Vec::new();
        for i in 0..self.0.len() {
            let (earlier, rest) = self.0.split_at_mut(i);
            let (op, asked, is_granted) = &mut rest[0];
            if !*is_granted && !earlier.iter().any(|(_, other, _)| share(asked, other)) {
                *is_granted = true;
                granted.push(*op);
            }
        }
        granted
    }

    fn holds(&self, slot: u16) -> bool {
        let held = |asked: &Asked| asked.as_ref().is_none_or(|slots| slots.contains(&slot));
        self.0.iter().any(|(_, asked, granted)| *granted && held(asked))
    }
}

proptest! {
    #[test]
    fn holds_are_granted_as_in_a_plain_list(
        steps in prop::collection::vec(
            prop_oneof![
                asked(12).prop_map(Ok),
                any::<prop::sample::Index>().prop_map(Err),
            ],
            1..120,
        ),
    ) {
        let (mut holds, mut line) = (Holds::default(), Line::default());
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Ok(asked) => {
                    let op = op(number as u64);
                    let granted = holds.request(op, hold_set(&asked));
                    line.0.push((op, asked, false));
                    prop_assert_eq!(line.grant(), if granted { vec![op] } else { vec![] });
                }
                Err(index) => {
                    if line.0.is_empty() {
                        continue;
                    }
                    let (op, ..) = line.0.remove(index.index(line.0.len()));
                    let mut granted = vec![op]; // what is there already stays
                    holds.release(op, &mut granted);
                    prop_assert_eq!(&granted[1..], line.grant());
                }
            }
            let granted = line.0.iter().filter(|(.., granted)| *granted).count();
            prop_assert_eq!(holds.granted(), granted);
            prop_assert_eq!(holds.waiting(), line.0.len() - granted);
            prop_assert_eq!(holds.is_idle(), granted == 0);
            for number in 0..13 {
                prop_assert_eq!(holds.is_held(slot(number)), line.holds(number));
            }
        }
    }
}
