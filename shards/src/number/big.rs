//! Natural numbers of any size, as far as long decimal numbers need them.
//!
//! Owns schoolbook arithmetic on limbs of 64 bits. Digits come and go nineteen at a time,
//! so that a number of five thousand digits, the longest there is, costs some ten thousand
//! multiplications.

#![forbid(unsafe_code)]

/// The largest power of ten in 64 bits, which has the top bit set.
const CHUNK: u64 = 10_000_000_000_000_000_000;
/// Its digits.
const CHUNK_DIGITS: usize = 19;
/// The largest power of five in 64 bits, and its exponent.
const FIVES: (u64, u32) = (5u64.pow(27), 27);

/// Lowest limb first, none of them zero on top.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Big(Vec<u64>);

impl Big {
    pub(super) fn of(n: u128) -> Self {
        let mut big = Self(vec![n as u64, (n >> 64) as u64]);
        big.trim();
        big
    }

    /// 5 to the power of `n`.
    pub(super) fn power_of_five(n: u32) -> Self {
        let mut big = Self::of(5u128.pow(n % FIVES.1));
        (0..n / FIVES.1).for_each(|_| big.scale(FIVES.0, 0));
        big
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// Bits without leading zeros.
    pub(super) fn bits(&self) -> i64 {
        self.0.last().map_or(0, |top| self.0.len() as i64 * 64 - i64::from(top.leading_zeros()))
    }

    /// 64 bits from bit `at` on.
    pub(super) fn window(&self, at: i64) -> u64 {
        let (limb, shift) = ((at / 64) as usize, at % 64);
        let low = self.0.get(limb).map_or(0, |limb| limb >> shift);
        let high = self.0.get(limb + 1).map_or(0, |limb| limb.wrapping_shl(64 - shift as u32));
        if shift == 0 { low } else { low | high }
    }

    /// Whether any bit below bit `at` is set.
    pub(super) fn any_below(&self, at: i64) -> bool {
        let whole = self.0.iter().take((at / 64) as usize).any(|limb| *limb != 0);
        whole || at % 64 != 0 && self.window(at / 64 * 64) << (64 - at % 64) != 0
    }

    /// self * factor + carry
    pub(super) fn scale(&mut self, factor: u64, carry: u64) {
        let mut carry = carry;
        for limb in &mut self.0 {
            let product = u128::from(*limb) * u128::from(factor) + u128::from(carry);
            (*limb, carry) = (product as u64, (product >> 64) as u64);
        }
        if carry != 0 {
            self.0.push(carry);
        }
    }

    pub(super) fn times(&self, other: &Self) -> Self {
        let mut product = vec![0u64; self.0.len() + other.0.len()];
        for (at, factor) in self.0.iter().enumerate() {
            let mut carry = 0u128;
            for (n, limb) in other.0.iter().enumerate() {
                carry += u128::from(*limb) * u128::from(*factor) + u128::from(product[at + n]);
                product[at + n] = carry as u64;
                carry >>= 64;
            }
            product[at + other.0.len()] = carry as u64;
        }
        let mut product = Self(product);
        product.trim();
        product
    }

    pub(super) fn shifted_left(&self, by: i64) -> Self {
        let mut limbs = vec![0; (by / 64) as usize];
        let mut carry = 0u128;
        for limb in &self.0 {
            carry |= u128::from(*limb) << (by % 64);
            limbs.push(carry as u64);
            carry >>= 64;
        }
        limbs.push(carry as u64);
        let mut big = Self(limbs);
        big.trim();
        big
    }

    pub(super) fn shifted_right(&self, by: i64) -> Self {
        let limbs = (by..self.bits()).step_by(64).map(|at| self.window(at)).collect();
        let mut big = Self(limbs);
        big.trim();
        big
    }

    fn double(&mut self) {
        let mut carry = 0;
        for limb in &mut self.0 {
            (*limb, carry) = (*limb << 1 | carry, *limb >> 63);
        }
        if carry != 0 {
            self.0.push(carry);
        }
    }

    pub(super) fn at_least(&self, other: &Self) -> bool {
        let (a, b) = (&self.0, &other.0);
        a.len() > b.len() || a.len() == b.len() && a.iter().rev().ge(b.iter().rev())
    }

    /// Takes away what is not larger.
    pub(super) fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (n, limb) in self.0.iter_mut().enumerate() {
            let take = other.0.get(n).copied().unwrap_or(0);
            let (left, under) = limb.overflowing_sub(take);
            let (left, again) = left.overflowing_sub(borrow.into());
            (*limb, borrow) = (left, under | again);
        }
        debug_assert!(!borrow, "not larger");
        self.trim();
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        let mut carry = 0u128;
        for (n, limb) in self.0.iter_mut().enumerate() {
            carry += u128::from(*limb) + u128::from(other.0.get(n).copied().unwrap_or(0));
            *limb = carry as u64;
            carry >>= 64;
        }
        if carry != 0 {
            self.0.push(carry as u64);
        }
    }

    /// The quotient, which must be below 2^127, and whether anything remains.
    pub(super) fn divided_by(mut self, divisor: &Self) -> (u128, bool) {
        let steps = self.bits() - divisor.bits();
        debug_assert!(steps < 126, "the quotient fits");
        if steps < 0 {
            return (0, !self.is_zero());
        }
        let divisor = divisor.shifted_left(steps);
        let mut quotient = 0;
        for _ in 0..=steps {
            quotient <<= 1;
            if self.at_least(&divisor) {
                self.subtract(&divisor);
                quotient |= 1;
            }
            self.double();
        }
        (quotient, !self.is_zero())
    }

    /// Divides by ten to the nineteenth and returns the remainder.
    fn take_chunk(&mut self) -> u64 {
        let mut rest = 0;
        for limb in self.0.iter_mut().rev() {
            (*limb, rest) = by_chunk(rest, *limb);
        }
        self.trim();
        rest
    }

    /// In decimal.
    pub(super) fn digits(mut self) -> String {
        let mut chunks = vec![self.take_chunk()];
        while !self.is_zero() {
            chunks.push(self.take_chunk());
        }
        let mut text = chunks.pop().map_or(String::new(), |top| top.to_string());
        for chunk in chunks.iter().rev() {
            text.push_str(&format!("{chunk:0CHUNK_DIGITS$}"));
        }
        text
    }
}

/// `high * 2^64 + low` by [`CHUNK`], for `high` below it: two multiplications instead of a
/// division (Möller and Granlund, Improved division by invariant integers, algorithm 4).
fn by_chunk(high: u64, low: u64) -> (u64, u64) {
    const RECIPROCAL: u64 = (u128::MAX / CHUNK as u128 - (1 << 64)) as u64;
    let estimate = u128::from(RECIPROCAL) * u128::from(high);
    let estimate = estimate.wrapping_add(u128::from(high) << 64 | u128::from(low));
    let mut quotient = ((estimate >> 64) as u64).wrapping_add(1);
    let mut rest = low.wrapping_sub(quotient.wrapping_mul(CHUNK));
    if rest > estimate as u64 {
        quotient = quotient.wrapping_sub(1);
        rest = rest.wrapping_add(CHUNK);
    }
    if rest >= CHUNK {
        quotient = quotient.wrapping_add(1);
        rest -= CHUNK;
    }
    (quotient, rest)
}

/// Gathers the digits of a number, highest first.
pub(super) struct Digits {
    radix: u64,
    big: Big,
    /// Digits not yet in `big`, and the power of the radix that they need.
    chunk: u64,
    power: u64,
}

impl Digits {
    pub(super) fn new(radix: u64) -> Self {
        Self { radix, big: Big::default(), chunk: 0, power: 1 }
    }

    pub(super) fn push(&mut self, digit: u64) {
        self.chunk = self.chunk * self.radix + digit;
        self.power *= self.radix;
        if self.power > u64::MAX / self.radix {
            self.spill();
        }
    }

    fn spill(&mut self) {
        let chunk = std::mem::take(&mut self.chunk);
        self.big.scale(std::mem::replace(&mut self.power, 1), chunk);
    }

    pub(super) fn finish(mut self) -> Big {
        self.spill();
        self.big
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str, radix: u32) -> Big {
        let mut digits = Digits::new(radix.into());
        text.chars().for_each(|c| digits.push(c.to_digit(radix).unwrap().into()));
        digits.finish()
    }

    #[test]
    fn powers_of_five() {
        assert_eq!(Big::power_of_five(0).digits(), "1");
        assert_eq!(Big::power_of_five(60), Big::of(5u128.pow(30)).times(&Big::of(5u128.pow(30))));
    }

    proptest! {
        #[test]
        fn digits_come_back(text in "[1-9][0-9]{0,400}") {
            prop_assert_eq!(parse(&text, 10).digits(), text);
        }

        #[test]
        fn small_numbers_are_those_of_the_processor(a: u128, b in 1..u128::MAX, by in 0..127i64) {
            prop_assert_eq!(parse(&format!("{a:x}"), 16), Big::of(a));
            prop_assert_eq!(parse(&a.to_string(), 10), Big::of(a));
            prop_assert_eq!(Big::of(a).bits(), i64::from(128 - a.leading_zeros()));
            prop_assert_eq!(Big::of(a).window(by), (a >> by) as u64);
            prop_assert_eq!(Big::of(a).any_below(by), a & ((1 << by) - 1) != 0);
            prop_assert_eq!(Big::of(a).shifted_right(by), Big::of(a >> by));
            prop_assert_eq!(Big::of(a).shifted_left(by).shifted_right(by), Big::of(a));
            prop_assert_eq!(Big::of(a >> 1).divided_by(&Big::of(b)), ((a >> 1) / b, (a >> 1) % b != 0));
            let (low, high) = (a.min(b), a.max(b));
            let mut sum = Big::of(low);
            sum.add(&Big::of(high));
            prop_assert!(sum.at_least(&Big::of(high)));
            sum.subtract(&Big::of(low));
            prop_assert_eq!(sum, Big::of(high));
        }

        #[test]
        fn products_divide_again(a in "[1-9][0-9]{0,36}", b in "[1-9][0-9]{0,300}") {
            let (a, b) = (parse(&a, 10), parse(&b, 10));
            let a_small: u128 = a.clone().digits().parse().unwrap();
            prop_assert_eq!(a.times(&b).divided_by(&b), (a_small, false));
        }
    }
}
