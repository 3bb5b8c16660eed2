//! Which endpoint of a backend gets a request, and which ones get none for a while.
//!
//! Owns the choice (least requests by power of two choices, or round robin) and passive
//! ejection. Sees numbers of endpoints only: no addresses, no connections, no clock, no
//! randomness of its own.
//!
//! ```text
//!            FAILURES in a row                 its time is up
//! serving --------------------> ejected ----------------------> serving, on probation:
//!    ^                                                              the next failure ejects
//!    |------------------- a success resets both counts -------------|
//! ```
//!
//! Least requests: of two endpoints drawn at random the one with fewer requests under way
//! (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::time::Nanos;

/// Failures in a row after which an endpoint gets no requests (Envoy's
/// `consecutive_gateway_failure` has the same default).
pub const FAILURES: u32 = 5;
/// How long the first ejection lasts; the n-th in a row lasts n times that.
pub const EJECTION: Nanos = Nanos(10_000_000_000);
/// The longest ejection.
pub const LONGEST_EJECTION: Nanos = Nanos(300_000_000_000);

/// How requests are spread over a backend's endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Of two drawn at random, the one with fewer requests of this shard under way.
    LeastRequest,
    /// One after the other.
    RoundRobin,
}

/// What is known of one endpoint on the whole node. Shards write it only when an endpoint
/// fails, or works again.
#[derive(Debug, Default)]
pub struct Health {
    /// Failures since the last success.
    failures: AtomicU32,
    /// Ejections since the last success.
    ejections: AtomicU32,
    /// Until when it gets no requests, on the monotonic clock; 0 for not at all.
    out_until: AtomicU64,
}

impl Health {
    /// Whether it is ejected now.
    pub fn is_out(&self, now: Nanos) -> bool {
        self.out_until.load(Ordering::Relaxed) > now.0
    }

    /// It has answered.
    pub fn succeeded(&self) {
        // Looked at first, so that the word stays shared while all is well.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.ejections.store(0, Ordering::Relaxed);
        }
    }

    /// It has failed: could not be reached, broke off, took too long, or said that its own
    /// gateway failed. Says whether it is ejected for that.
    pub fn failed(&self, now: Nanos) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < FAILURES || self.is_out(now) {
            return false; // what was under way when it was ejected says nothing new
        }
        let ejections = u64::from(self.ejections.fetch_add(1, Ordering::Relaxed)) + 1;
        let span = EJECTION.0.saturating_mul(ejections).min(LONGEST_EJECTION.0);
        self.out_until.store(now.0.saturating_add(span), Ordering::Relaxed);
        true
    }
}

/// The endpoints of one backend, `0..len`, as a chooser sees them.
pub trait Candidates {
    /// How many there are.
    fn len(&self) -> usize;
    /// Whether one gets no requests.
    fn is_out(&self, n: usize) -> bool;
    /// Requests under way at one.
    fn load(&self, n: usize) -> u32;
    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Chooses one of the endpoints; `None` only when there is none. `turn` counts the choices of
/// the backend so far, `random` is drawn anew for each. An endpoint that is ejected, or that
/// has just failed (`not`), is chosen only when all are: some answer is likelier than none.
pub fn choose(
    policy: Policy,
    all: &impl Candidates,
    turn: u64,
    random: u64,
    not: Option<usize>,
) -> Option<usize> {
    let len = all.len();
    if len == 0 {
        return None;
    }
    let fits = |n: usize| Some(n) != not && !all.is_out(n);
    let first = match policy {
        Policy::RoundRobin => (turn % len as u64) as usize,
        Policy::LeastRequest => of_two(all, random, fits),
    };
    // The neighbours of one that does not fit, in a ring.
    let fitting = (0..len).map(|step| (first + step) % len).find(|n| fits(*n));
    let other = || (0..len).map(|step| (first + step) % len).find(|n| Some(*n) != not);
    fitting.or_else(other).or(Some(first))
}

fn of_two(all: &impl Candidates, random: u64, fits: impl Fn(usize) -> bool) -> usize {
    let len = all.len();
    let (low, high) = (random & 0xffff_ffff, random >> 32);
    let one = scaled(low, len);
    if len == 1 {
        return one;
    }
    // The second is another one: an offset of 1 to len - 1 from the first.
    let two = (one + 1 + scaled(high, len - 1)) % len;
    match (fits(one), fits(two)) {
        (true, false) => one,
        (false, true) => two,
        _ if all.load(two) < all.load(one) => two,
        _ => one,
    }
}

/// 32 random bits, as a number below `len` (Lemire's multiplication).
fn scaled(bits: u64, len: usize) -> usize {
    ((bits * len as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Table<'a> {
        out: &'a [bool],
        load: &'a [u32],
    }

    impl Candidates for Table<'_> {
        fn len(&self) -> usize {
            self.out.len()
        }
        fn is_out(&self, n: usize) -> bool {
            self.out[n]
        }
        fn load(&self, n: usize) -> u32 {
            self.load[n]
        }
    }

    fn random(seed: &mut u64) -> u64 {
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *seed ^ *seed >> 29
    }

    #[test]
    fn round_robin_goes_round_and_skips_the_ejected() {
        let table = Table { out: &[false, true, false], load: &[9, 0, 0] };
        let chosen: Vec<_> =
            (0..6).map(|turn| choose(Policy::RoundRobin, &table, turn, 0, None).unwrap()).collect();
        assert_eq!(chosen, [0, 2, 2, 0, 2, 2]);
        assert_eq!(choose(Policy::RoundRobin, &table, 0, 0, Some(0)), Some(2), "not this one");
    }

    /// With n requests under way the busiest of ten endpoints has few more than its share;
    /// drawn at random alone it would have about 1.6 times that.
    #[test]
    fn least_request_levels_the_load() {
        let mut load = [0u32; 10];
        let mut seed = 1;
        for _ in 0..1_000 {
            let table = Table { out: &[false; 10], load: &load };
            let n = choose(Policy::LeastRequest, &table, 0, random(&mut seed), None).unwrap();
            load[n] += 1;
        }
        assert!(load.iter().all(|n| (96..=104).contains(n)), "{load:?}");
    }

    #[test]
    fn a_single_endpoint_is_chosen_even_when_it_has_failed() {
        for policy in [Policy::LeastRequest, Policy::RoundRobin] {
            let table = Table { out: &[true], load: &[0] };
            assert_eq!(choose(policy, &table, 7, u64::MAX, Some(0)), Some(0));
            let none = Table { out: &[], load: &[] };
            assert_eq!(choose(policy, &none, 7, 7, None), None);
        }
    }

    #[test]
    fn five_failures_in_a_row_eject_longer_each_time() {
        let (health, second) = (Health::default(), Nanos::SECOND.0);
        let at = |seconds: u64| Nanos(seconds * second);
        for _ in 0..FAILURES - 1 {
            assert!(!health.failed(at(1)));
        }
        health.succeeded();
        for n in 1..=FAILURES {
            assert_eq!(health.failed(at(2)), n == FAILURES, "after a success counting begins anew");
        }
        assert!(health.is_out(at(11)) && !health.is_out(at(12)));
        assert!(!health.failed(at(3)), "it is out already");
        assert!(health.failed(at(12)), "on probation one failure is enough");
        assert!(health.is_out(at(31)) && !health.is_out(at(32)));
        health.succeeded();
        assert!(!health.failed(at(40)));
    }

    proptest! {
        /// Whoever is chosen fits, unless none does, and then it is at least not the one that
        /// has just failed, unless there is no other.
        #[test]
        fn the_chosen_fits(
            out in prop::collection::vec(any::<bool>(), 1..9), bits: u64, turn: u64, not in 0..9usize,
        ) {
            let load = vec![0; out.len()];
            let table = Table { out: &out, load: &load };
            for policy in [Policy::LeastRequest, Policy::RoundRobin] {
                let n = choose(policy, &table, turn, bits, Some(not)).unwrap();
                let some_fit = (0..out.len()).any(|n| !out[n] && n != not);
                prop_assert!(n < out.len());
                prop_assert!(!some_fit || !out[n] && n != not);
                prop_assert!(n != not || out.len() == 1);
            }
        }
    }
}
