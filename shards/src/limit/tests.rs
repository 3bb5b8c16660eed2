//! Many buckets in little room: what is forgotten never admits more than what is remembered.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::store::Hasher;

fn limiter(buckets: u32) -> Limiter {
    Limiter::new(buckets, Arc::default())
}

fn name<'a>(hasher: &Hasher, bytes: &'a [u8]) -> Name<'a> {
    Name::new(bytes, hasher.hash(bytes)).unwrap()
}

/// What a decision tells.
fn told(decision: &Decision<'_>) -> (Verdict, Tokens, Nanos) {
    (decision.verdict, decision.remaining(), decision.reset_after())
}

proptest! {
    /// Against unbounded memory, with clients that retry at the first allowed nanosecond.
    #[test]
    fn forgetting_changes_nothing(
        capacity in 1..12u32,
        steps in prop::collection::vec((0..40u8, 0..60u64, 0..5u32, any::<bool>()), 1..400),
    ) {
        let rate = Rate::new(3, Nanos(100), Tokens(4)).unwrap();
        let hasher = Hasher::new(1);
        let mut limiter = limiter(capacity);
        let mut all: HashMap<u8, Bucket> = HashMap::new();
        let mut handles: HashMap<u8, Handle> = HashMap::new();
        let mut now = Nanos(0);
        for (who, gap, cost, sweeps) in steps {
            now = now.after(Nanos(gap));
            if sweeps {
                limiter.tick(now);
                limiter.table.sweep(now, 3);
            }
            let bytes = [who];
            let name = name(&hasher, &bytes);
            let remembered = all.entry(who).or_default();
            for _ in 0..2 {
                let mut copy = *remembered;
                let model = copy.hit(&rate, now, Tokens(cost));
                let known = handles.get(&who).copied();
                let by_handle = known.and_then(|h| limiter.hit_at(h, &rate, Tokens(cost), now));
                let seen = by_handle.unwrap_or_else(|| limiter.hit(name, &rate, Tokens(cost), now));
                handles.extend(seen.place.map(|place| (who, place)));
                prop_assert!(limiter.len() <= capacity as usize);
                if seen.verdict == Verdict::NoRoom {
                    // Nothing was taken, and there was indeed no room.
                    prop_assert!(remembered.is_full(now) && model.verdict == Verdict::Admit);
                    break;
                }
                prop_assert_eq!(told(&seen), told(&model));
                if cost > 0 {
                    *remembered = copy;
                }
                let Verdict::Refuse { retry_after } = seen.verdict else { break };
                now = now.after(retry_after);
            }
            let owing = all.values().filter(|bucket| !bucket.is_full(now)).count();
            prop_assert!(owing <= limiter.len(), "what owes is remembered");
        }
        let stats = &limiter.stats;
        if stats.limit_full.get() > 0 {
            prop_assert!(limiter.len() == capacity as usize || limiter.table.reclaimed > 0);
        }
    }

    /// Without room is only who finds every place taken by one that owes.
    #[test]
    fn there_is_no_room_only_when_all_owe(
        capacity in 1..9u32, steps in prop::collection::vec((0..30u8, 0..40u64), 1..200),
    ) {
        let rate = Rate::new(1, Nanos(90), Tokens(1)).unwrap();
        let hasher = Hasher::new(1);
        let mut limiter = limiter(capacity);
        let mut full_at: HashMap<u8, u64> = HashMap::new();
        let mut now = 0;
        for (who, gap) in steps {
            now += gap;
            let bytes = [who];
            let verdict = limiter.hit(name(&hasher, &bytes), &rate, Tokens(1), Nanos(now)).verdict;
            let owing = full_at.values().filter(|at| **at > now).count();
            match verdict {
                Verdict::Admit => _ = full_at.insert(who, now + 90),
                Verdict::Refuse { retry_after } => {
                    prop_assert_eq!(now + retry_after.0, full_at[&who]);
                }
                Verdict::NoRoom => prop_assert_eq!(owing, capacity as usize),
                Verdict::Never => prop_assert!(false),
            }
        }
    }
}

#[test]
fn looks_and_refusals_for_good_take_no_room() {
    let rate = Rate::new(1, Nanos::SECOND, Tokens(3)).unwrap();
    let hasher = Hasher::new(1);
    let mut limiter = limiter(4);
    for (cost, expect) in [(0, Verdict::Admit), (4, Verdict::Never), (u32::MAX, Verdict::Never)] {
        let decision = limiter.hit(name(&hasher, b"a"), &rate, Tokens(cost), Nanos(5));
        assert_eq!(told(&decision), (expect, Tokens(3), Nanos(0)));
        assert_eq!((decision.place, limiter.len()), (None, 0));
    }
    let taken = limiter.hit(name(&hasher, b"a"), &rate, Tokens(2), Nanos(5)).place.unwrap();
    for _ in 0..3 {
        let look = limiter.hit_at(taken, &rate, Tokens(0), Nanos(5)).unwrap();
        assert_eq!(told(&look), (Verdict::Admit, Tokens(1), Nanos(2 * Nanos::SECOND.0)));
    }
    let stats = &limiter.stats;
    let counted = [&stats.limit_looks, &stats.limit_never, &stats.limit_admitted];
    assert_eq!(counted.map(|counter| counter.get()), [4, 2, 1]);
}

#[test]
fn a_limit_replaced_at_run_time_holds_at_once() {
    let rate = |tokens, burst| Rate::new(tokens, Nanos::SECOND, Tokens(burst)).unwrap();
    let policies = |rate| Arc::new(Policies::new(vec![(b"api".as_slice().into(), rate)]).unwrap());
    let hasher = Hasher::new(1);
    let mut limiter = limiter(16);
    let (client, own) = (name(&hasher, b"api:192.0.2.7"), rate(9, 9));
    assert_eq!(limiter.rate_of(client), None);
    limiter.set_policies(policies(rate(1, 2)));
    let first = limiter.rate_of(client).unwrap();
    assert_eq!(limiter.hit(client, &first, Tokens(2), Nanos(0)).verdict, Verdict::Admit);
    limiter.set_policies(policies(rate(10, 20)));
    let second = limiter.rate_of(client).unwrap();
    let verdict = limiter.hit(client, &second, Tokens(1), Nanos(0)).verdict;
    assert_eq!(verdict, Verdict::Refuse { retry_after: Nanos(100_000_000) });
    assert_eq!(limiter.rate_of(name(&hasher, b"apis")), None);
    assert_ne!(second, own);
}

#[test]
fn sweeps_are_paced() {
    let rate = Rate::new(1, Nanos(10), Tokens(1)).unwrap();
    let hasher = Hasher::new(1);
    let mut limiter = limiter(4_096);
    let names: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    for text in &names {
        limiter.hit(name(&hasher, text.as_bytes()), &rate, Tokens(1), Nanos(0));
    }
    let mut left = Vec::new();
    for step in 0..10 {
        limiter.tick(Nanos(10 + step * SWEEP_PAUSE.0 / 2));
        left.push(limiter.len());
    }
    assert_eq!(left, [744, 744, 488, 488, 232, 232, 0, 0, 0, 0]);
    limiter.report();
    assert_eq!(limiter.stats.limit_reclaimed.get(), 1_000);
    assert_eq!(limiter.stats.limit_buckets.get(), 0);
    assert!(limiter.stats.limit_memory_bytes.get() >= 1_000 * 128);
}
