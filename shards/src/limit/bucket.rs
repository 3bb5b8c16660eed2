//! One bucket, exact to the nanosecond.
//!
//! Owns its state and the decision on a hit: no clock (the caller passes `now`), no table, no
//! wire format. This is GCRA (ITU-T I.371 Annex A): what is kept is when the bucket will be
//! full again, so that time pays a debt back without a calculation.
//!
//! ```text
//!          owed (a time)                  what a full bucket may owe
//! 0 ------#------------------------------------|
//!         ^ pays back a nanosecond each ns     ^ a hit that would pass this is refused
//! ```
//!
//! When a bucket meets another rate it is as empty as it was: what is owed keeps its share of
//! what may be owed, rounded up to a nanosecond, from the first hit under the new rate on. So an
//! empty one stays empty and a full one full; no more than the new burst is ever admitted at
//! once, and nothing owed is forgotten.

#![forbid(unsafe_code)]

use super::rate::{Debt, Rate, Tokens};
use super::table::Handle;
use crate::time::Nanos;

/// See the module's text. `Default` is a full one. Clocks stay below 2^63 ns, so that adding a
/// debt to them cannot overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When nothing is owed any more, but for `parts`.
    full_at: u64,
    /// Of a nanosecond more, as the rate counts them.
    parts: u64,
    /// How many of them make one; 0 in a bucket that owes nothing yet.
    parts_each: u64,
    /// What may be owed, rounded up.
    capacity: u64,
}

const _: () = assert!(size_of::<Bucket>() == 32, "half a cache line");

/// What a bucket says to one hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Taken.
    Admit,
    /// Nothing taken. The same hit is admitted this much later and not one nanosecond earlier,
    /// if nobody else takes tokens meanwhile.
    Refuse {
        /// How much later.
        retry_after: Nanos,
    },
    /// Dearer than a full bucket: waiting will never help.
    Never,
    /// Nothing taken: there is no room to remember it in.
    NoRoom,
}

/// A verdict, and what the bucket is like after it.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'r> {
    /// The verdict.
    pub verdict: Verdict,
    /// Where the bucket is, if it owes anything.
    pub place: Option<Handle>,
    pub(super) rate: &'r Rate,
    pub(super) owed: Debt,
}

impl Decision<'_> {
    /// The most that may be taken at once.
    pub fn limit(&self) -> Tokens {
        self.rate.burst()
    }

    /// Whole tokens left.
    pub fn remaining(&self) -> Tokens {
        self.rate.remaining(self.owed)
    }

    /// In what time the bucket is full, if nobody takes tokens meanwhile.
    pub fn reset_after(&self) -> Nanos {
        Nanos(self.owed.rounded_up())
    }
}

impl Bucket {
    /// Takes `cost` tokens at `now`, or says when they can be had.
    ///
    /// A clock that steps back hands out no token twice: what is owed only grows by it.
    #[inline]
    pub fn hit<'r>(&mut self, rate: &'r Rate, now: Nanos, cost: Tokens) -> Decision<'r> {
        let decide = |verdict, owed| Decision { verdict, place: None, rate, owed };
        if cost > rate.burst() {
            return decide(Verdict::Never, self.look(rate, now));
        }
        if !self.counts_as(rate) {
            self.convert(rate, now);
        }
        let owed = self.owed(now);
        let after = rate.sum(owed, rate.price(cost));
        if after > rate.capacity() {
            let wait = rate.difference(after, rate.capacity()).rounded_up();
            return decide(Verdict::Refuse { retry_after: Nanos(wait) }, owed);
        }
        self.owe(after, now);
        decide(Verdict::Admit, after)
    }

    /// What is owed, as another rate counts it; changes nothing.
    pub(super) fn look(mut self, rate: &Rate, now: Nanos) -> Debt {
        if !self.counts_as(rate) {
            self.convert(rate, now);
        }
        self.owed(now)
    }

    /// Whether nothing is owed: such a one is as good as none.
    #[inline]
    pub fn is_full(&self, now: Nanos) -> bool {
        self.owed(now) == Debt::ZERO
    }

    #[inline]
    fn owed(&self, now: Nanos) -> Debt {
        if self.full_at < now.0 {
            return Debt::ZERO;
        }
        Debt { ns: self.full_at - now.0, parts: self.parts }
    }

    fn owe(&mut self, debt: Debt, now: Nanos) {
        self.full_at = now.0.saturating_add(debt.ns);
        self.parts = debt.parts;
    }

    #[inline]
    fn counts_as(&self, rate: &Rate) -> bool {
        self.parts_each == rate.parts() && self.capacity == rate.capacity().rounded_up()
    }

    /// What is owed keeps its share of what may be owed.
    #[cold]
    fn convert(&mut self, rate: &Rate, now: Nanos) {
        let owed = u128::from(self.owed(now).rounded_up());
        let (old, new) = (u128::from(self.capacity), rate.capacity().rounded_up());
        let share = if owed == 0 { 0 } else { (owed * u128::from(new)).div_ceil(old) };
        // At most what may be owed, which a clock that stepped back or the rounding may pass.
        let ns = u64::try_from(share).unwrap_or(u64::MAX);
        let debt = Debt { ns, parts: 0 }.min(rate.capacity());
        *self = Self { parts_each: rate.parts(), capacity: new, ..*self };
        self.owe(debt, now);
    }
}

#[cfg(test)]
mod tests;
