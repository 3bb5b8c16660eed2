//! The store against a plain map.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::ids::ClientId;
use crate::slot::slot_of;
use crate::time::Nanos;

fn store(seed: u64) -> Store {
    Store::new(StoreConfig { databases: 4, seed, stats: Arc::default() })
}

fn at_ms(ms: u64) -> Now {
    Now { mono: Nanos(ms * 1_000_000), wall_us: ms * 1_000 }
}

type Model = BTreeMap<(u8, Vec<u8>), (Vec<u8>, Option<u64>)>;

#[derive(Clone, Debug)]
enum Op {
    Set { db: u8, key: u16, len: usize, ttl: Option<u16>, keep: bool },
    WriteAt { db: u8, key: u16, offset: usize, len: usize },
    Expire { db: u8, key: u16, ttl: Option<u16> },
    Remove { db: u8, key: u16 },
    Get { db: u8, key: u16 },
    Copy { db: u8, key: u16, to: u16 },
    Lend { db: u8, key: u16 },
    TakeBack,
    Swap(u8, u8),
    Flush(u8),
    DropSlot(u16),
    Tick,
    Pass(u16),
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..200usize, 2 => 0..20_000usize, 1 => Just((1 << 20) + 5)]
}

fn ops() -> impl Strategy<Value = Op> {
    let (db, key) = (0..2u8, 0..40u16);
    let ttl = prop::option::of(1..500u16);
    prop_oneof![
        6 => (db.clone(), key.clone(), lengths(), ttl.clone(), any::<bool>())
            .prop_map(|(db, key, len, ttl, keep)| Op::Set { db, key, len, ttl, keep }),
        2 => (db.clone(), key.clone(), lengths(), lengths())
            .prop_map(|(db, key, offset, len)| Op::WriteAt { db, key, offset, len }),
        2 => (db.clone(), key.clone(), ttl).prop_map(|(db, key, ttl)| Op::Expire { db, key, ttl }),
        3 => (db.clone(), key.clone()).prop_map(|(db, key)| Op::Remove { db, key }),
        3 => (db.clone(), key.clone()).prop_map(|(db, key)| Op::Get { db, key }),
        2 => (db.clone(), key.clone(), key.clone())
            .prop_map(|(db, key, to)| Op::Copy { db, key, to }),
        1 => (db.clone(), key.clone()).prop_map(|(db, key)| Op::Lend { db, key }),
        1 => Just(Op::TakeBack),
        1 => (db.clone(), db.clone()).prop_map(|(a, b)| Op::Swap(a, b)),
        1 => db.prop_map(Op::Flush),
        1 => key.prop_map(Op::DropSlot),
        2 => Just(Op::Tick),
        3 => (0..300u16).prop_map(Op::Pass),
    ]
}

/// Short keys, keys past 255 bytes, keys past 4 KiB, and a third with one hash tag.
fn key_of(n: u16) -> Vec<u8> {
    match n % 8 {
        0 => format!("{n}{}", "k".repeat(300)).into_bytes(),
        1 => format!("{n}{}", "K".repeat(5_000)).into_bytes(),
        2..5 => format!("{{tag}}{n}").into_bytes(),
        _ => n.to_string().into_bytes(),
    }
}

fn value_of(key: u16, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(31) ^ key as u8).collect()
}

/// A store and what should be in it.
struct World {
    store: Store,
    model: Model,
    now: u64,
    /// Values that replies hold.
    lent: Vec<Blob>,
}

impl World {
    fn moment(&self) -> Now {
        at_ms(self.now)
    }

    fn apply(&mut self, op: Op) {
        let now = self.now;
        self.model.retain(|_, (_, expiry)| expiry.is_none_or(|at| at > now));
        match op {
            Op::Set { db, key, len, ttl, keep } => self.set(db, key, len, ttl, keep),
            Op::WriteAt { db, key, offset, len } => self.write_at(db, key, offset, len),
            Op::Expire { db, key, ttl } => self.expire(db, key, ttl),
            Op::Remove { db, key } => self.remove(db, key),
            Op::Get { db, key } => self.get(db, key),
            Op::Copy { db, key, to } => self.copy(db, key, to),
            Op::Lend { db, key } => self.lend(db, key),
            Op::TakeBack => self.lent.clear(),
            Op::Swap(a, b) => self.swap(a, b),
            Op::Flush(db) => {
                self.store.flush(DbId(db));
                self.model.retain(|(other, _), _| *other != db);
            }
            Op::DropSlot(key) => self.drop_slot(slot_of(&key_of(key))),
            Op::Tick => {
                self.store.tick(self.moment(), 1_000_000);
            }
            Op::Pass(ms) => self.now += u64::from(ms),
        }
    }

    fn set(&mut self, db: u8, key: u16, len: usize, ttl: Option<u16>, keep: bool) {
        let (name, value) = (key_of(key), value_of(key, len));
        let at = ttl.map(|ttl| self.now + u64::from(ttl));
        let old = self.model.get(&(db, name.clone())).and_then(|(_, expiry)| *expiry);
        let (expiry, expect) = match (keep, at) {
            (true, _) => (Expiry::Keep, old),
            (_, Some(at)) => (Expiry::At(UnixMs(at)), Some(at)),
            _ => (Expiry::Never, None),
        };
        let (at, now) = (self.store.hasher().key(&name), self.moment());
        self.store.set(DbId(db), at, NewValue::Bytes(&value), expiry, now).unwrap();
        self.model.insert((db, name), (value, expect));
    }

    fn write_at(&mut self, db: u8, key: u16, offset: usize, len: usize) {
        let (name, bytes) = (key_of(key), value_of(key + 1, len));
        let (at, now) = (self.store.hasher().key(&name), self.moment());
        let wrote = self.store.write_at(DbId(db), at, offset, &bytes, now);
        let (value, _) = self.model.entry((db, name)).or_default();
        value.resize(value.len().max(offset + len), 0);
        value[offset..offset + len].copy_from_slice(&bytes);
        assert_eq!(wrote, Ok(value.len()));
    }

    fn expire(&mut self, db: u8, key: u16, ttl: Option<u16>) {
        let name = key_of(key);
        let expiry = ttl.map(|ttl| self.now + u64::from(ttl));
        let (at, now) = (self.store.hasher().key(&name), self.moment());
        let known = self.store.set_expiry(DbId(db), at, expiry.map(UnixMs), now);
        let entry = self.model.get_mut(&(db, name));
        assert_eq!(known, Ok(entry.is_some()));
        if let Some((_, old)) = entry {
            *old = expiry;
        }
    }

    fn remove(&mut self, db: u8, key: u16) {
        let (name, now) = (key_of(key), self.moment());
        let removed = self.store.remove(DbId(db), self.store.hasher().key(&name), now);
        assert_eq!(removed, self.model.remove(&(db, name)).is_some());
    }

    fn get(&mut self, db: u8, key: u16) {
        let name = key_of(key);
        let (at, now) = (self.store.hasher().key(&name), self.moment());
        let expect = self.model.get(&(db, name.clone()));
        let info = self.store.entry(DbId(db), at, now);
        assert_eq!(info.map(|i| i.expiry), expect.map(|(_, at)| at.map(UnixMs)));
        let found = self.store.get(DbId(db), at, now, true);
        assert_eq!(found.map(Value::bytes), expect.map(|(value, _)| &value[..]));
    }

    /// What COPY and RENAME do to a long value: two keys share it.
    fn copy(&mut self, db: u8, key: u16, to: u16) {
        let (from, to) = (key_of(key), key_of(to));
        let (hasher, now) = (self.store.hasher(), self.moment());
        let Some(Value::Blob(blob)) = self.store.get(DbId(db), hasher.key(&from), now, true) else {
            return;
        };
        let value = NewValue::Blob(blob.clone());
        self.store.set(DbId(1 - db), hasher.key(&to), value, Expiry::Never, now).unwrap();
        let value = self.model[&(db, from)].0.clone();
        self.model.insert((1 - db, to), (value, None));
    }

    fn lend(&mut self, db: u8, key: u16) {
        let (name, now) = (key_of(key), self.moment());
        let found = self.store.get(DbId(db), self.store.hasher().key(&name), now, true);
        if let Some(Value::Blob(blob)) = found {
            self.lent.push(blob.slice(blob.len() / 2..blob.len()));
        }
    }

    fn swap(&mut self, a: u8, b: u8) {
        self.store.swap(DbId(a), DbId(b));
        let swapped = std::mem::take(&mut self.model).into_iter().map(|((db, name), entry)| {
            let db = if db == a {
                b
            } else if db == b {
                a
            } else {
                db
            };
            ((db, name), entry)
        });
        self.model = swapped.collect();
    }

    fn drop_slot(&mut self, slot: SlotId) {
        while !self.store.drop_slot(slot, 3) {}
        assert_eq!(self.store.slot_len(slot), 0);
        self.model.retain(|(_, name), _| slot_of(name) != slot);
    }
}

/// Keys and values of a database, by scanning.
fn scanned(store: &Store, db: DbId, now: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut seen, mut cursor) = (Vec::new(), ScanCursor(0));
    loop {
        (cursor, _) = store.scan(
            db,
            ScanRange { from: cursor, last: SlotId::LAST, expired: false },
            7,
            300,
            at_ms(now),
            &mut |key, value| {
                seen.push((key.bytes().to_vec(), value.bytes().to_vec()));
            },
        );
        if cursor == ScanCursor(0) {
            seen.sort();
            return seen;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn behaves_like_a_map(
        ops in prop::collection::vec(ops(), 1..120),
        weak in any::<bool>(),
    ) {
        let mut store = store(7);
        if weak {
            store.hasher.hash_mask = 3 << 62; // four tags for all keys
        }
        let mut world = World { store, model: Model::new(), now: 1_000_000, lent: Vec::new() };
        for op in ops {
            world.apply(op);
        }
        let World { mut store, mut model, mut now, lent } = world;
        model.retain(|_, (_, expiry)| expiry.is_none_or(|at| at > now));
        for db in 0..2 {
            let expect: Vec<_> = model
                .iter()
                .filter(|((other, _), _)| *other == db)
                .map(|((_, name), (value, _))| (name.clone(), value.clone()))
                .collect();
            prop_assert_eq!(scanned(&store, DbId(db), now), expect);
        }
        // All that expired is found without being asked for, and all memory comes back.
        now += 1_000_000;
        for _ in 0..1_000 {
            store.tick(at_ms(now), 100);
        }
        model.retain(|_, (_, expiry)| expiry.is_none());
        prop_assert_eq!(store.len(DbId(0)) + store.len(DbId(1)), model.len());
        store.flush_all();
        while store.tick(at_ms(now), 100) == NextTick::Soon {}
        prop_assert_eq!(store.memory_used() == 0, lent.is_empty(), "what is lent is in use");
        drop(lent);
        while store.tick(at_ms(now), 100) == NextTick::Soon {}
        prop_assert_eq!((store.memory_used(), store.memory_waiting()), (0, 0));
    }
}

#[test]
fn a_scan_sees_what_stays_while_the_rest_changes() {
    let mut store = store(3);
    let (hasher, now) = (store.hasher(), at_ms(1));
    let set = |store: &mut Store, name: &str| {
        let key = hasher.key(name.as_bytes());
        store.set(DbId(0), key, NewValue::Bytes(b"v"), Expiry::Never, now).unwrap();
    };
    for n in 0..3_000 {
        set(&mut store, &format!("{{one}}stays{n}"));
        set(&mut store, &format!("stays{n}"));
    }
    let (mut seen, mut cursor, mut round) = (Vec::new(), ScanCursor(0), 0);
    loop {
        let mut visit = |key: Value<'_>, _: Value<'_>| seen.push(key.bytes().to_vec());
        (cursor, _) = store.scan(
            DbId(0),
            ScanRange { from: cursor, last: SlotId::LAST, expired: false },
            10,
            1_000,
            now,
            &mut visit,
        );
        for n in 0..40 {
            // Grows first, shrinks later, both in the crowded slot and everywhere.
            let name = format!("{{one}}{}", round % 150 * 40 + n);
            if round / 150 % 2 == 0 {
                set(&mut store, &name);
            } else {
                store.remove(DbId(0), hasher.key(name.as_bytes()), now);
            }
        }
        round += 1;
        if cursor == ScanCursor(0) {
            break;
        }
    }
    let mut stayed: Vec<_> =
        seen.iter().filter(|key| key.windows(5).any(|part| part == b"stays")).collect();
    assert_eq!(stayed.len(), 6_000, "each once");
    stayed.sort();
    stayed.dedup();
    assert_eq!(stayed.len(), 6_000, "all of them");
}

#[test]
fn one_slot_may_hold_very_many_keys() {
    let mut store = store(11);
    let (hasher, now) = (store.hasher(), at_ms(1));
    let name = |n: u32| format!("{{hot}}{n}").into_bytes();
    let count = 60_000;
    for n in 0..count {
        let name = name(n);
        let value = NewValue::Bytes(&name);
        store.set(DbId(0), hasher.key(&name), value, Expiry::Never, now).unwrap();
    }
    let slot = slot_of(b"hot");
    assert_eq!(store.slot_len(slot), count as usize);
    for n in 0..count {
        let name = name(n);
        let found = store.get(DbId(0), hasher.key(&name), now, true);
        assert_eq!(found.map(Value::bytes), Some(&name[..]));
    }
    for n in (0..count).filter(|n| n % 100 != 0) {
        assert!(store.remove(DbId(0), hasher.key(&name(n)), now));
    }
    assert_eq!(scanned(&store, DbId(0), 1).len(), store.slot_len(slot));
    assert_eq!(store.slot_len(slot), 600);
}

#[test]
fn small_databases_expire_to_the_millisecond_unasked() {
    let mut store = store(5);
    let hasher = store.hasher();
    for n in 0..10u64 {
        let name = n.to_string();
        let expiry = Expiry::At(UnixMs(1_000 + n * 100));
        let key = hasher.key(name.as_bytes());
        store.set(DbId(0), key, NewValue::Bytes(b"v"), expiry, at_ms(1)).unwrap();
    }
    for n in 0..10u64 {
        store.tick(at_ms(999 + n * 100), 1_000);
        assert_eq!(store.len(DbId(0)), 10 - n as usize);
        store.tick(at_ms(1_000 + n * 100), 1_000);
        assert_eq!(store.len(DbId(0)), 9 - n as usize);
    }
    assert_eq!(store.stats.expired_keys.get(), 10);
}

#[test]
fn a_hint_serves_its_own_database_only_and_only_while_nothing_moves() {
    let mut store = store(5);
    let (key, now) = (store.hasher().key(b"k"), at_ms(1));
    store.set(DbId(0), key, NewValue::Bytes(b"zero"), Expiry::Never, now).unwrap();
    store.set(DbId(1), key, NewValue::Bytes(b"one"), Expiry::Never, now).unwrap();
    let hinted = Key { hint: store.prefetch_entry(DbId(0), key.at), ..key };
    assert_ne!(hinted.hint, Hint::default());
    for (db, expect) in [(0, &b"zero"[..]), (1, b"one")] {
        assert_eq!(store.get(DbId(db), hinted, now, true).map(Value::bytes), Some(expect));
    }
    assert!(store.remove(DbId(0), key, now));
    assert!(store.get(DbId(0), hinted, now, true).is_none(), "the bytes are still there");
    store.set(DbId(0), key, NewValue::Bytes(b"zero"), Expiry::Never, now).unwrap();
    let hinted = Key { hint: store.prefetch_entry(DbId(0), key.at), ..key };
    store.flush(DbId(0));
    while store.tick(now, 100) == NextTick::Soon {}
    assert!(store.get(DbId(0), hinted, now, true).is_none(), "its memory is gone");
}

#[test]
fn the_idlest_goes_first() {
    let mut store = store(9);
    let hasher = store.hasher();
    for n in 0..2_000u64 {
        let key = n.to_string();
        let key = hasher.key(key.as_bytes());
        store.set(DbId(0), key, NewValue::Bytes(b"v"), Expiry::Never, at_ms(n * 1_000)).unwrap();
    }
    let now = at_ms(3_000_000);
    for _ in 0..1_000 {
        assert_eq!(store.evict_one(EvictionPolicy::AllKeysLru, 5, now), Eviction::Done);
    }
    let old = (0..1_000u64)
        .filter(|n| store.entry(DbId(0), hasher.key(n.to_string().as_bytes()), now).is_some())
        .count();
    assert!(old < 220, "{old} of the older half survived; a blind choice would leave 500");
    assert_eq!(store.evict_one(EvictionPolicy::VolatileLru, 5, now), Eviction::NoneLeft);
    assert_eq!(store.evict_one(EvictionPolicy::NoEviction, 5, now), Eviction::NoneLeft);
}

#[test]
fn watches_break_by_every_kind_of_change() {
    let changes: [fn(&mut Store, Key<'_>); 7] = [
        |s, k| s.set(DbId(0), k, NewValue::Bytes(b"w"), Expiry::Keep, at_ms(2)).unwrap(),
        |s, k| assert!(s.remove(DbId(0), k, at_ms(2))),
        |s, k| assert_eq!(s.write_at(DbId(0), k, 1, b"x", at_ms(2)), Ok(2)),
        |s, k| assert_eq!(s.set_expiry(DbId(0), k, None, at_ms(2)), Ok(true)),
        |s, _| s.flush(DbId(0)),
        |s, _| s.swap(DbId(0), DbId(1)),
        |s, _| assert!(matches!(s.tick(at_ms(9_000), 100), NextTick::Soon | NextTick::Idle)),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut store = store(1);
        let key = store.hasher().key(b"k");
        let expiry = Expiry::At(UnixMs(5_000));
        store.set(DbId(0), key, NewValue::Bytes(b"v"), expiry, at_ms(1)).unwrap();
        store.watches.watch(ClientId(1), DbId(0), key);
        store.watches.watch(ClientId(2), DbId(1), store.hasher().key(b"other"));
        assert!(!store.watches.is_broken(ClientId(1)));
        change(&mut store, key);
        assert!(store.watches.is_broken(ClientId(1)), "change {n}");
        store.watches.unwatch(ClientId(1));
        assert!(!store.watches.is_broken(ClientId(1)));
    }
}

#[test]
fn a_claim_takes_no_memory() {
    let store = store(1);
    let mut builders: Vec<_> =
        (0..100).map(|n| store.blobs().builder((1 << 20) + n * 1_000).unwrap()).collect();
    builders.extend((0..100).map(|n| store.blobs().builder((32 << 10) + n).unwrap()));
    assert_eq!(store.memory_used(), 0);
    for builder in &mut builders {
        builder.extend(&[1; 1_000]);
    }
    assert_eq!(store.memory_used(), 200_000);
    drop(builders);
    assert_eq!(store.memory_used(), 0);
}

#[test]
fn what_may_go_is_found_however_little_of_it_there_is() {
    let mut store = store(9);
    let (hasher, now) = (store.hasher(), at_ms(1));
    let set = |store: &mut Store, name: String, expiry: Expiry| {
        let key = hasher.key(name.as_bytes());
        store.set(DbId(0), key, NewValue::Bytes(b"v"), expiry, now).unwrap();
    };
    (0..200_000).for_each(|n| set(&mut store, format!("{{one}}{n}"), Expiry::Never));
    (0..200_000).for_each(|n| set(&mut store, format!("stays{n}"), Expiry::Never));
    (0..100).for_each(|n| set(&mut store, format!("goes{n}"), Expiry::At(UnixMs(1_000_000))));
    for n in 0..100 {
        assert_eq!(store.evict_one(EvictionPolicy::VolatileLru, 5, now), Eviction::Done, "{n}");
        assert_eq!(store.expires(DbId(0)), 99 - n);
    }
    assert_eq!(store.evict_one(EvictionPolicy::VolatileLru, 5, now), Eviction::NoneLeft);
    assert_eq!(store.len(DbId(0)), 400_000);
}

#[test]
fn slots_where_nothing_expires_any_more_are_soon_not_looked_at() {
    let mut store = store(9);
    let (hasher, now) = (store.hasher(), at_ms(1));
    let name = |n: u32| n.to_string().into_bytes();
    for n in 0..30_000 {
        let (key, expiry) = (name(n), Expiry::At(UnixMs(1_000_000)));
        store.set(DbId(0), hasher.key(&key), NewValue::Bytes(b"v"), expiry, now).unwrap();
    }
    for n in 10..30_000 {
        store.set_expiry(DbId(0), hasher.key(&name(n)), None, now).unwrap();
    }
    let calls = (0..)
        .take_while(|_| store.evict_one(EvictionPolicy::VolatileTtl, 5, now) != Eviction::NoneLeft);
    assert!(calls.count() < 60, "ten to go, and what 30,000 entries take to look at");
    assert_eq!(store.len(DbId(0)), 29_990);
}

#[test]
fn a_candidate_that_does_not_expire_any_more_stays() {
    let (mut store, now) = (store(9), at_ms(1));
    let keys = [&b"a"[..], b"b"].map(|name| store.hasher().key(name));
    for key in keys {
        let (value, expiry) = (NewValue::Bytes(&[1; 300]), Expiry::At(UnixMs(1_000_000)));
        store.set(DbId(0), key, value, expiry, now).unwrap();
    }
    assert_eq!(store.evict_one(EvictionPolicy::VolatileLru, 64, now), Eviction::Done);
    let left = keys.into_iter().find(|key| store.entry(DbId(0), *key, now).is_some()).unwrap();
    store.set_expiry(DbId(0), left, None, now).unwrap();
    assert_eq!(store.evict_one(EvictionPolicy::VolatileLru, 64, now), Eviction::NoneLeft);
    assert_eq!(store.len(DbId(0)), 1);
}

#[test]
fn a_store_may_end_amid_everything() {
    let mut store = store(1);
    let (key, now) = (store.hasher().key(b"k"), at_ms(1));
    for len in [100_000, 3 << 20] {
        let value = NewValue::Blob(arrived(&store, len));
        store.set(DbId(0), key, value, Expiry::At(UnixMs(9)), now).unwrap();
        store.memory.taken(); // so that the flush pays for nothing
        store.flush_all();
    }
    let (builder, lent) = (store.blob(2 << 20).unwrap(), arrived(&store, 2 << 20));
    assert_eq!(store.ruins.len(), 2);
    drop(store);
    drop((builder, lent));
}

#[test]
fn overwriting_long_values_for_ever_takes_a_bounded_amount() {
    let mut store = store(1);
    let (key, now) = (store.hasher().key(b"k"), at_ms(1));
    let value = vec![1; 2 << 20];
    for _ in 0..200 {
        for _ in 0..2 {
            let mut builder = store.blob(value.len()).unwrap();
            builder.extend(&value);
            let value = NewValue::Blob(builder.freeze());
            store.set(DbId(0), key, value, Expiry::Never, now).unwrap();
        }
        store.tick(now, 100);
        let all = store.memory_used() + store.memory_waiting();
        assert!(all <= 6 << 20, "the value, and what a turn brought: {all}");
    }
}

#[test]
fn flushing_again_and_again_takes_nothing() {
    let mut store = store(1);
    let (key, now) = (store.hasher().key(b"k"), at_ms(1));
    for n in 0..100_000 {
        if n % 100 == 0 {
            store.set(DbId(3), key, NewValue::Bytes(b"v"), Expiry::Never, now).unwrap();
        }
        store.flush_all();
        assert!(store.ruins.len() < 4);
    }
}

/// A value of so many bytes, as a client's comes in.
fn arrived(store: &Store, len: usize) -> Blob {
    let mut builder = store.blob(len).unwrap();
    builder.extend(&vec![1; len]);
    builder.freeze()
}

#[test]
fn a_long_value_counts_for_each_key_that_holds_it_and_once_while_only_a_reply_does() {
    const LEN: usize = 2 << 20;
    let mut store = store(1);
    let (hasher, now) = (store.hasher(), at_ms(1));
    let put = |store: &mut Store, db: u8, name: &str, blob: &Blob| {
        let (key, value) = (hasher.key(name.as_bytes()), NewValue::Blob(blob.clone()));
        store.set(DbId(db), key, value, Expiry::Never, now).unwrap();
    };
    let values = |store: &Store| store.memory_used() / LEN;
    let lent = arrived(&store, LEN);
    assert_eq!(values(&store), 1, "it has arrived");
    put(&mut store, 0, "a", &lent);
    assert_eq!(values(&store), 1);
    put(&mut store, 0, "b", &lent);
    put(&mut store, 1, "c", &lent);
    assert_eq!(values(&store), 3);
    store.flush(DbId(0));
    assert_eq!(values(&store), 1);
    assert!(store.remove(DbId(1), hasher.key(b"c"), now));
    assert_eq!(values(&store), 1, "a reply holds it");
    while store.tick(now, 100) == NextTick::Soon {}
    assert_eq!((values(&store), store.memory_waiting()), (1, 0));
    drop(lent);
    assert_eq!((values(&store), store.memory_waiting()), (0, LEN));
    while store.tick(now, 100) == NextTick::Soon {}
    store.flush_all();
    while store.tick(now, 100) == NextTick::Soon {}
    assert_eq!((store.memory_used(), store.memory_waiting()), (0, 0));
}

#[test]
fn a_value_that_grows_is_not_copied_again_and_again() {
    let mut store = store(1);
    let (key, now) = (store.hasher().key(b"k"), at_ms(1));
    let value = NewValue::Blob(arrived(&store, 20 << 20));
    store.set(DbId(0), key, value, Expiry::Never, now).unwrap();
    store.memory.taken();
    let mut len = 20 << 20;
    for n in 0..1_000 {
        let part = [n as u8; 10_000];
        len = store.write_at(DbId(0), key, len, &part, now).unwrap();
    }
    assert!(store.memory.taken() <= 10_000_000, "what was appended, and no copies");
    let value = store.get(DbId(0), key, now, false).unwrap().bytes();
    assert!(value[..20 << 20].iter().all(|byte| *byte == 1));
    assert!(
        value[20 << 20..].chunks(10_000).enumerate().all(|(n, part)| part == [n as u8; 10_000])
    );
}

/// Filling and flushing in turns, with values of all lengths and many short keys.
#[test]
fn while_memory_waits_the_whole_does_not_grow() {
    let mut store = store(1);
    let (hasher, now) = (store.hasher(), at_ms(1));
    let all = |store: &Store| store.memory_used() + store.memory_waiting();
    let mut most = 0;
    for round in 0..60 {
        for n in 0..200u32 {
            let name = n.to_string();
            let len = 40 << (n % 16);
            let key = hasher.key(name.as_bytes());
            let value = NewValue::Blob(arrived(&store, len));
            store.set(DbId(0), key, value, Expiry::Never, now).unwrap();
        }
        for n in 0..3_000u32 {
            let name = n.to_string();
            let key = hasher.key(name.as_bytes());
            store.set(DbId(1), key, NewValue::Bytes(b"v"), Expiry::Never, now).unwrap();
        }
        if round == 0 {
            most = all(&store);
        }
        store.flush_all();
        store.tick(now, 100);
        assert!(all(&store) <= most * 5 / 4, "{round}: {} of {most}", all(&store));
    }
}
