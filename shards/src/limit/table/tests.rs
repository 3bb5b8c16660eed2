//! The table by itself: names, handles, and what is forgotten when.

use super::*;
use crate::limit::{Rate, Tokens};
use crate::store::Hasher;

fn owing(until: u64) -> Bucket {
    let rate = Rate::new(1, Nanos(until), Tokens(1)).unwrap();
    let mut bucket = Bucket::default();
    bucket.hit(&rate, Nanos(0), Tokens(1));
    bucket
}

struct Names {
    hasher: Hasher,
    names: Vec<String>,
}

impl Names {
    fn new(count: usize) -> Self {
        Self { hasher: Hasher::new(7), names: (0..count).map(|n| format!("name:{n}")).collect() }
    }

    fn name(&self, n: usize) -> Name<'_> {
        let bytes = self.names[n].as_bytes();
        Name::new(bytes, self.hasher.hash(bytes)).unwrap()
    }
}

#[test]
fn what_owes_is_kept_and_what_owes_nothing_makes_room() {
    let names = Names::new(9);
    let mut table = Table::new(4);
    for n in 0..4 {
        let handle = table.insert(names.name(n), owing(100 + n as u64), Nanos(0)).unwrap();
        assert_eq!(table.find(names.name(n)), Some(handle));
    }
    assert_eq!(table.insert(names.name(4), owing(500), Nanos(99)), None, "all owe something");
    assert_eq!((table.len(), table.reclaimed), (4, 0));
    let first = table.find(names.name(0)).unwrap();
    let fifth = table.insert(names.name(4), owing(500), Nanos(100)).unwrap();
    assert_eq!((table.len(), table.reclaimed), (4, 1), "one gave its place away");
    assert_eq!((first.place, table.at(first)), (fifth.place, None), "an old handle means nothing");
    assert!(table.at(fifth).is_some());
    assert_eq!(table.find(names.name(0)), None);
    for n in 1..5 {
        assert!(table.find(names.name(n)).is_some(), "{n}");
    }
}

#[test]
fn a_sweep_looks_at_so_many_places_and_goes_round() {
    let names = Names::new(100);
    let mut table = Table::new(128);
    for n in 0..100 {
        table.insert(names.name(n), owing(if n % 2 == 0 { 10 } else { 1_000 }), Nanos(0));
    }
    table.sweep(Nanos(9), 1_000);
    assert_eq!(table.len(), 100);
    table.sweep(Nanos(10), 30);
    assert_eq!(table.len(), 85, "fifteen of thirty");
    table.sweep(Nanos(10), 1_000);
    assert_eq!(table.len(), 50, "once around");
    for n in 0..100 {
        assert_eq!(table.find(names.name(n)).is_some(), n % 2 == 1, "{n}");
    }
    table.sweep(Nanos(1_000), 1_000);
    assert_eq!((table.len(), table.reclaimed), (0, 100));
    // The places are used again.
    let places = table.places.len();
    (0..100).for_each(|n| {
        table.insert(names.name(n), owing(5_000), Nanos(1_000)).unwrap();
    });
    assert_eq!(table.places.len(), places);
}

#[test]
fn names_of_all_lengths_are_told_apart() {
    let hasher = Hasher::new(7);
    let mut table = Table::new(1_024);
    let long = "x".repeat(LONGEST_NAME + 1);
    for len in 0..=LONGEST_NAME {
        let bytes = &long.as_bytes()[..len];
        let name = Name::new(bytes, hasher.hash(bytes)).unwrap();
        let handle = table.insert(name, owing(9), Nanos(0)).unwrap();
        assert_eq!(table.find(name), Some(handle));
    }
    assert!(Name::new(long.as_bytes(), hasher.hash(b"")).is_none());
    let longer: usize = (INLINE + 1..=LONGEST_NAME).sum();
    assert_eq!(table.longer_bytes, longer);
    table.sweep(Nanos(9), 1_024);
    assert_eq!((table.longer_bytes, table.len()), (0, 0));
}

#[test]
fn names_that_hash_alike_are_told_apart() {
    let at = Hasher::new(7).hash(b"all the same");
    let texts: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let name = |n: usize| Name::new(texts[n].as_bytes(), at).unwrap();
    let mut table = Table::new(64);
    for n in 0..50 {
        assert_eq!(table.find(name(n)), None);
        table.insert(name(n), owing(10 + n as u64 % 3), Nanos(0)).unwrap();
    }
    table.sweep(Nanos(10), 64);
    for n in 0..50 {
        assert_eq!(table.find(name(n)).is_some(), n % 3 != 0, "{n}");
    }
}

proptest::proptest! {
    #[test]
    fn names_are_the_same_when_their_bytes_are(
        name in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80),
        at in 0..80usize, byte in proptest::prelude::any::<u8>(),
    ) {
        let mut other = name.clone();
        if let Some(changed) = other.get_mut(at) {
            *changed = byte;
        }
        proptest::prop_assert_eq!(are_same(&name, &other), name == other);
    }
}
