//! One bucket against arithmetic without any rounding.

use proptest::prelude::*;

use super::*;

fn rate(tokens: u64, period: u64, burst: u32) -> Rate {
    Rate::new(tokens, Nanos(period), Tokens(burst)).unwrap()
}

/// Plays hits of one token at the given milliseconds; `A` admitted, `r` refused.
#[track_caller]
fn check(tokens: u64, burst: u32, at_ms: &[u64], expect: &str) {
    let rate = rate(tokens, Nanos::SECOND.0, burst);
    let mut bucket = Bucket::default();
    let seen: String = at_ms
        .iter()
        .map(|ms| match bucket.hit(&rate, Nanos(ms * 1_000_000), Tokens(1)).verdict {
            Verdict::Admit => 'A',
            Verdict::Refuse { .. } => 'r',
            Verdict::Never | Verdict::NoRoom => 'n',
        })
        .collect();
    assert_eq!(seen, expect);
}

#[test]
fn burst_then_steady_rate() {
    check(2, 3, &[0, 0, 0, 0, 499, 500, 501, 1000], "AAArrArA");
}

#[test]
fn a_clock_that_steps_back_refills_nothing() {
    check(1, 1, &[5000, 0, 4999, 5999, 6000], "ArrrA");
}

#[test]
fn three_a_second_are_three_in_every_second() {
    let rate = rate(3, Nanos::SECOND.0, 1);
    let (mut bucket, mut now, mut admitted) = (Bucket::default(), Nanos(0), 0);
    while now < Nanos(1_000_000 * Nanos::SECOND.0) {
        let Verdict::Admit = bucket.hit(&rate, now, Tokens(1)).verdict else { panic!("{now:?}") };
        admitted += 1;
        let Verdict::Refuse { retry_after } = bucket.hit(&rate, now, Tokens(1)).verdict else {
            panic!("{now:?}")
        };
        now = now.after(retry_after);
    }
    // A retry comes at whole nanoseconds, so each is late by less than one.
    assert!((2_999_997..=3_000_000).contains(&admitted), "{admitted}");
}

/// The same bucket as a debt in units of which `tokens` are paid a nanosecond and a token costs
/// `period`, in lowest terms or not, with room to spare.
#[derive(Clone, Copy, Default)]
struct Exact {
    debt: u128,
    as_of: u128,
}

impl Exact {
    /// Verdict, whole tokens left, nanoseconds until it is full.
    fn hit(&mut self, (t, p, burst): (u64, u64, u32), now: u64, cost: u32) -> (Verdict, u32, u64) {
        let (tokens, period, now) = (u128::from(t), u128::from(p), u128::from(now));
        let capacity = period * u128::from(burst);
        self.debt = self.debt.saturating_sub((now - self.as_of) * tokens);
        self.as_of = now;
        let after = self.debt + period * u128::from(cost);
        let verdict = if cost > burst {
            Verdict::Never
        } else if after > capacity {
            let wait = (after - capacity).div_ceil(tokens);
            Verdict::Refuse { retry_after: Nanos(wait as u64) }
        } else {
            self.debt = after;
            Verdict::Admit
        };
        let remaining = (capacity - self.debt) / period;
        (verdict, remaining as u32, self.debt.div_ceil(tokens) as u64)
    }
}

/// Rates of all sizes: small ones, prime ones, faster than the clock, of years.
fn rates() -> impl Strategy<Value = (u64, u64, u32)> {
    prop_oneof![
        (1..50u64, 1..5_000u64, 1..9u32),
        (1..2_000_000u64, Just(86_400_000_000_000), 1..2_000_000u32),
        (1..u64::MAX / 4, 1..1_000u64, 1..2_000_000u32),
        (1..5u64, 1..i64::MAX as u64 / 9, 1..9u32),
    ]
}

proptest! {
    /// A client that retries at the first allowed nanosecond gets, in every interval, at most
    /// the burst plus what the interval refills; a nanosecond earlier it gets none.
    #[test]
    fn bound_holds_and_retry_is_exact(
        (tokens, period, burst) in rates(),
        steps in prop::collection::vec((0..400u64, 1..4u32), 1..60),
    ) {
        let rate = rate(tokens, period, burst);
        let (mut bucket, mut now, mut admitted) = (Bucket::default(), 0u64, Vec::new());
        for (gap, cost) in steps {
            now += gap;
            let mut decision = bucket.hit(&rate, Nanos(now), Tokens(cost));
            if let Verdict::Refuse { retry_after } = decision.verdict {
                let at = now + retry_after.0;
                if at > u64::MAX / 4 { break }
                let early = bucket.clone().hit(&rate, Nanos(at - 1), Tokens(cost)).verdict;
                prop_assert_eq!(early, Verdict::Refuse { retry_after: Nanos(1) });
                now = at;
                decision = bucket.hit(&rate, Nanos(now), Tokens(cost));
            }
            match decision.verdict {
                Verdict::Admit => admitted.push((now, u128::from(cost))),
                Verdict::Never => prop_assert!(cost > burst),
                verdict => prop_assert!(false, "{verdict:?} at its own time"),
            }
        }
        let (tokens, period, burst) = (u128::from(tokens), u128::from(period), u128::from(burst));
        for (i, &(from, _)) in admitted.iter().enumerate() {
            let mut sum = 0;
            for &(to, cost) in &admitted[i..] {
                sum += cost;
                // sum <= burst + tokens * (to - from) / period, without rounding
                prop_assert!(sum * period <= burst * period + tokens * u128::from(to - from));
            }
        }
    }

    /// Every number that a bucket tells is the exact one.
    #[test]
    fn it_says_what_exact_arithmetic_says(
        rate_of in rates(),
        steps in prop::collection::vec((0..3u64, 0..u64::MAX / 1_000, 0..5u32, 0..3u32), 1..80),
    ) {
        let rate = rate(rate_of.0, rate_of.1, rate_of.2);
        let token = rate_of.1.div_ceil(rate_of.0);
        let (mut bucket, mut exact, mut now) = (Bucket::default(), Exact::default(), 0u64);
        for (kind, noise, small, size) in steps {
            // No time, a few nanoseconds, or about a token's.
            now += [0, noise % 7, noise % token.saturating_mul(2).max(2)][kind as usize];
            if now > u64::MAX / 4 { break }
            let burst = rate_of.2;
            let cost = [small, burst / 2 + small, burst.saturating_sub(2) + small][size as usize];
            let decision = bucket.hit(&rate, Nanos(now), Tokens(cost));
            let seen = (decision.verdict, decision.remaining().0, decision.reset_after().0);
            prop_assert_eq!(seen, exact.hit(rate_of, now, cost));
            prop_assert_eq!(bucket.is_full(Nanos(now)), exact.debt == 0);
        }
    }

    /// A bucket that meets another rate is as empty as it was, to the nanosecond and never less.
    #[test]
    fn what_is_owed_keeps_its_share_under_another_rate(
        choices in prop::collection::vec(rates(), 2..4),
        steps in prop::collection::vec((0..4usize, 0..2_000_000u64, 1..4u32), 1..60),
    ) {
        let rates: Vec<Rate> = choices.iter().map(|(t, p, b)| rate(*t, *p, *b)).collect();
        let (mut bucket, mut now, mut last) = (Bucket::default(), 0, rates[0]);
        for (n, gap, cost) in steps {
            now += gap;
            let next = rates[n % rates.len()];
            let owed = |debt: Debt| u128::from(debt.rounded_up());
            let may = |rate: &Rate| u128::from(rate.capacity().rounded_up());
            let (old, new) = (owed(bucket.look(&last, Nanos(now))), owed(bucket.look(&next, Nanos(now))));
            prop_assert!(new * may(&last) >= old * may(&next), "nothing is forgotten");
            prop_assert!(new * may(&last) < old * may(&next) + may(&last), "but a nanosecond");
            prop_assert!(new <= may(&next), "an empty one is as empty as any");
            let before = bucket;
            bucket.hit(&next, Nanos(now), Tokens(cost));
            if cost <= next.burst().0 {
                last = next;
            } else {
                prop_assert_eq!(bucket, before, "what is never admitted changes nothing");
            }
        }
    }
}

#[test]
fn a_raised_limit_pays_at_its_own_speed() {
    let (slow, fast) = (rate(1, 3_600 * Nanos::SECOND.0, 10), rate(100, Nanos::SECOND.0, 20));
    let mut bucket = Bucket::default();
    assert_eq!(bucket.hit(&slow, Nanos(0), Tokens(10)).verdict, Verdict::Admit);
    // Empty under one is empty under the other, and refused hits count from then on.
    let verdict = bucket.hit(&fast, Nanos(0), Tokens(1)).verdict;
    assert_eq!(verdict, Verdict::Refuse { retry_after: Nanos(10_000_000) });
    let later = Nanos(10_000_000);
    assert_eq!(bucket.hit(&fast, later, Tokens(1)).verdict, Verdict::Admit);
    assert_eq!(bucket.hit(&fast, Nanos(210_000_000), Tokens(20)).verdict, Verdict::Admit);
}

#[test]
fn a_lowered_limit_admits_its_own_burst_at_once_and_no_more() {
    let (wide, narrow) = (rate(1_000, Nanos::SECOND.0, 1_000), rate(1, Nanos::SECOND.0, 10));
    let mut bucket = Bucket::default();
    bucket.hit(&wide, Nanos(0), Tokens(500));
    let half = bucket.hit(&narrow, Nanos(0), Tokens(5));
    assert_eq!((half.verdict, half.remaining()), (Verdict::Admit, Tokens(0)));
}
