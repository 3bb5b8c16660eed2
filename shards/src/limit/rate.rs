//! How fast a bucket refills and how much it holds.
//!
//! Owns the arithmetic of debts: a debt is a time, and a token costs `period / tokens`
//! nanoseconds of it, which need not be whole. What is left of a nanosecond is counted in
//! parts of which `tokens` make one, so that nothing is ever rounded: a rate of 3 per second
//! admits exactly 3 in every second for ever.

#![forbid(unsafe_code)]

use crate::time::Nanos;

/// A number of tokens: the price of a hit, or the size of a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tokens(pub u32);

/// The most that a bucket holds: less than can be asked for, so that a hit can be dearer than any.
pub const MOST_TOKENS: Tokens = Tokens(u32::MAX - 1);

/// Why a rate cannot be built. Who asked for it is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateError {
    /// Tokens, period and burst must all be at least 1.
    Zero,
    /// A full bucket must refill within 2^63 ns (292 years), tokens must be below 2^63, and the
    /// burst at most [`MOST_TOKENS`].
    TooLarge,
}

impl RateError {
    /// What was expected.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Zero => "tokens, period and burst must be at least 1",
            Self::TooLarge => {
                "a burst is below 4294967295, and an empty bucket is full again within 292 years"
            }
        }
    }
}

/// A debt: whole nanoseconds, and parts of one of which the rate's `tokens` make one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Debt {
    pub(super) ns: u64,
    /// Below the rate's `tokens`.
    pub(super) parts: u64,
}

impl Debt {
    pub(super) const ZERO: Self = Self { ns: 0, parts: 0 };

    /// Whole nanoseconds until it is paid.
    pub(super) const fn rounded_up(self) -> u64 {
        self.ns + (self.parts > 0) as u64
    }
}

/// See the module's text. Shared by all buckets of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// `tokens / period` in lowest terms.
    tokens: u64,
    period: u64,
    burst: Tokens,
    /// What one token costs.
    one: Debt,
    /// What a full bucket may owe.
    capacity: Debt,
}

impl Rate {
    /// `tokens` every `period`, and at most `burst` at once.
    ///
    /// # Errors
    /// See [`RateError`].
    pub const fn new(tokens: u64, period: Nanos, burst: Tokens) -> Result<Self, RateError> {
        if tokens == 0 || period.0 == 0 || burst.0 == 0 {
            return Err(RateError::Zero);
        }
        let common = gcd(tokens, period.0);
        let (tokens, period) = (tokens / common, period.0 / common);
        if tokens > i64::MAX as u64 || burst.0 > MOST_TOKENS.0 {
            return Err(RateError::TooLarge);
        }
        if period as u128 * burst.0 as u128 / tokens as u128 > i64::MAX as u128 {
            return Err(RateError::TooLarge);
        }
        let one = price(tokens, period, 1);
        let capacity = price(tokens, period, burst.0);
        Ok(Self { tokens, period, burst, one, capacity })
    }

    /// The most that may be taken at once.
    pub const fn burst(&self) -> Tokens {
        self.burst
    }

    /// What a full bucket may owe.
    pub(super) const fn capacity(&self) -> Debt {
        self.capacity
    }

    /// Parts of a nanosecond.
    pub(super) const fn parts(&self) -> u64 {
        self.tokens
    }

    /// What so many tokens cost, at most a burst.
    #[inline]
    pub(super) const fn price(&self, cost: Tokens) -> Debt {
        debug_assert!(cost.0 <= self.burst.0, "dearer than a full bucket");
        match cost.0 {
            1 => self.one,
            _ if self.tokens == 1 => Debt { ns: self.period * cost.0 as u64, parts: 0 },
            _ => price(self.tokens, self.period, cost.0),
        }
    }

    /// Two debts together.
    #[inline]
    pub(super) const fn sum(&self, a: Debt, b: Debt) -> Debt {
        debug_assert!(a.parts < self.tokens && b.parts < self.tokens, "parts make no whole");
        let parts = a.parts + b.parts;
        let carry = parts >= self.tokens;
        Debt {
            ns: a.ns + b.ns + carry as u64,
            parts: if carry { parts - self.tokens } else { parts },
        }
    }

    /// What `a` is more than `b`, which is not more.
    #[inline]
    pub(super) const fn difference(&self, a: Debt, b: Debt) -> Debt {
        let borrow = a.parts < b.parts;
        let parts = if borrow { a.parts + self.tokens - b.parts } else { a.parts - b.parts };
        Debt { ns: a.ns - b.ns - borrow as u64, parts }
    }

    /// Whole tokens that a bucket with such a debt has left.
    pub(super) fn remaining(&self, debt: Debt) -> Tokens {
        if debt >= self.capacity {
            return Tokens(0);
        }
        let free = self.difference(self.capacity, debt);
        let small = free.ns.checked_mul(self.tokens).and_then(|n| n.checked_add(free.parts));
        let whole = match small {
            Some(units) => units / self.period,
            None => {
                let units = u128::from(free.ns) * u128::from(self.tokens) + u128::from(free.parts);
                (units / u128::from(self.period)) as u64
            }
        };
        Tokens(whole as u32) // at most a burst
    }
}

/// What `cost` tokens cost; the caller knows that it fits 63 bits.
const fn price(tokens: u64, period: u64, cost: u32) -> Debt {
    let units = period as u128 * cost as u128;
    Debt { ns: (units / tokens as u128) as u64, parts: (units % tokens as u128) as u64 }
}

const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Nanos = Nanos(86_400 * Nanos::SECOND.0);

    #[test]
    fn what_makes_no_rate_is_an_error() {
        for (tokens, period, burst, expect) in [
            (0, 1, 1, RateError::Zero),
            (1, 0, 1, RateError::Zero),
            (1, 1, 0, RateError::Zero),
            (1, 1, u32::MAX, RateError::TooLarge),
            (u64::MAX, 2, 1, RateError::TooLarge),
            (1, u64::MAX, 1, RateError::TooLarge),
            (1, DAY.0, u32::MAX - 1, RateError::TooLarge),
        ] {
            let built = Rate::new(tokens, Nanos(period), Tokens(burst));
            assert_eq!(built, Err(expect), "{tokens} {period} {burst}");
        }
    }

    #[test]
    fn odd_and_large_rates_are_none() {
        for (tokens, period, burst) in [
            (1_000_003, DAY.0, 1_000_003),
            (1, 1, u32::MAX - 1),
            (i64::MAX as u64, 2, 7),
            (1, i64::MAX as u64, 1),
            (3, 7, 1),
        ] {
            let rate = Rate::new(tokens, Nanos(period), Tokens(burst)).unwrap();
            assert_eq!(rate.remaining(Debt::ZERO), Tokens(burst), "{tokens} {period}");
            assert_eq!(rate.remaining(rate.capacity()), Tokens(0));
            assert_eq!(rate.remaining(rate.price(Tokens(1))), Tokens(burst - 1));
        }
    }
}
