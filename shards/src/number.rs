//! Numbers as clients write them and expect them back.
//!
//! Owns Redis' strict reading of integers (`string2ll`) and the arithmetic of INCRBYFLOAT,
//! which there is that of C's `long double` on x86: 64 bits of mantissa, printed with 17
//! decimals and without trailing zeros. It is done here in integers, so that the answers
//! are the same on every machine.

#![forbid(unsafe_code)]

/// Writes `n` in decimal and returns the digits.
pub fn decimal(n: i64, into: &mut [u8; 20]) -> &[u8] {
    let mut at = into.len();
    let mut rest = n.unsigned_abs();
    loop {
        at -= 1;
        into[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if n < 0 {
        at -= 1;
        into[at] = b'-';
    }
    &into[at..]
}

/// An integer in its one canonical spelling: no plus, no spaces, no leading zeros, no `-0`.
pub fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value = 0u64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u64::from(digit - b'0'); // 19 digits fit
    }
    if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

/// An integer without a sign, in its canonical spelling.
pub fn unsigned(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 || (text.len() > 1 && text[0] == b'0') {
        return None;
    }
    text.iter().try_fold(0u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// A natural number of any size, 32 bits a limb, lowest first, no zero limb on top.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Big(Vec<u32>);

impl Big {
    fn of(n: u64) -> Self {
        Self(vec![n as u32, (n >> 32) as u32]).trimmed()
    }

    fn trimmed(mut self) -> Self {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        self
    }

    fn bits(&self) -> i64 {
        let top = self.0.last().map_or(0, |limb| 32 - limb.leading_zeros());
        (self.0.len() as i64 - 1).max(0) * 32 + i64::from(top)
    }

    fn bit(&self, n: i64) -> bool {
        self.0.get((n / 32) as usize).is_some_and(|limb| limb >> (n % 32) & 1 == 1)
    }

    /// self * factor + carry
    fn scale(&mut self, factor: u32, carry: u32) {
        let mut carry = u64::from(carry);
        for limb in &mut self.0 {
            carry += u64::from(*limb) * u64::from(factor);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry != 0 {
            self.0.push(carry as u32);
        }
    }

    /// Divides by a small number and returns the remainder.
    fn shrink(&mut self, divisor: u32) -> u32 {
        let mut rest = 0u64;
        for limb in self.0.iter_mut().rev() {
            rest = rest << 32 | u64::from(*limb);
            *limb = (rest / u64::from(divisor)) as u32;
            rest %= u64::from(divisor);
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        rest as u32
    }

    fn shifted(&self, left: i64) -> Self {
        let mut limbs = vec![0; (left / 32) as usize];
        let shift = (left % 32) as u32;
        let mut carry = 0u64;
        for limb in &self.0 {
            carry |= u64::from(*limb) << shift;
            limbs.push(carry as u32);
            carry >>= 32;
        }
        limbs.push(carry as u32);
        Self(limbs).trimmed()
    }

    fn at_least(&self, other: &Self) -> bool {
        let (a, b) = (&self.0, &other.0);
        a.len() > b.len() || a.len() == b.len() && a.iter().rev().ge(b.iter().rev())
    }

    fn subtract(&mut self, other: &Self) {
        let mut borrow = 0i64;
        for (i, limb) in self.0.iter_mut().enumerate() {
            let take = i64::from(other.0.get(i).copied().unwrap_or(0)) + borrow;
            let left = i64::from(*limb) - take;
            borrow = i64::from(left < 0);
            *limb = left as u32; // modulo 2^32, which is what the borrow makes up for
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn add(&mut self, other: &Self) {
        let mut carry = 0u64;
        for i in 0..self.0.len().max(other.0.len()) {
            if i == self.0.len() {
                self.0.push(0);
            }
            carry += u64::from(self.0[i]) + u64::from(other.0.get(i).copied().unwrap_or(0));
            self.0[i] = carry as u32;
            carry >>= 32;
        }
        if carry != 0 {
            self.0.push(carry as u32);
        }
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
}

/// Mantissa bits of x86's extended precision.
const MANTISSA: i64 = 64;
/// Largest exponent of two of a finite number, counted from the mantissa's lowest bit.
const MAX_EXPONENT: i64 = 16_383 - 63;
/// Below this numbers are denormal; they print as 0 with 17 decimals anyway.
const MIN_EXPONENT: i64 = -16_445;
/// Texts from this length on are no numbers to Redis.
const MAX_TEXT: usize = 5 << 10;
/// Digits after the point that Redis prints.
const DECIMALS: u32 = 17;

/// A finite x86 extended number: `mantissa * 2^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    negative: bool,
    mantissa: u64,
    exponent: i64,
}

impl Extended {
    /// Rounds `big * 2^exponent` (and a little more if `more`) to nearest, ties to even.
    fn round(negative: bool, big: &Big, exponent: i64, more: bool) -> Option<Self> {
        let drop = (big.bits() - MANTISSA).max(MIN_EXPONENT - exponent).max(0);
        let mut mantissa = 0u128;
        for n in (drop..big.bits()).rev() {
            mantissa = mantissa << 1 | u128::from(big.bit(n));
        }
        let half = drop > 0 && big.bit(drop - 1);
        let rest = more || (0..drop - 1).any(|n| big.bit(n));
        if half && (rest || mantissa & 1 == 1) {
            mantissa += 1;
        }
        let mut exponent = exponent + drop;
        if mantissa >> MANTISSA != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
        let magnitude = exponent + i64::from(128 - mantissa.leading_zeros()) - MANTISSA;
        if mantissa != 0 && magnitude > MAX_EXPONENT {
            return None;
        }
        Some(Self { negative, mantissa: mantissa as u64, exponent })
    }

    /// Reads a decimal number as `strtold` does, without infinities, spaces or hexadecimals.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= MAX_TEXT {
            return None;
        }
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if let [b'0', b'x' | b'X', digits @ ..] = rest {
            return hexadecimal(negative, digits);
        }
        let (number, exponent) = match rest.iter().position(|b| matches!(b, b'e' | b'E')) {
            Some(at) => (&rest[..at], signed_exponent(&rest[at + 1..])?),
            None => (rest, 0),
        };
        let mut digits = Big(Vec::new());
        let (mut scale, mut point, mut any) = (exponent, false, false);
        for byte in number {
            match byte {
                b'0'..=b'9' => {
                    any = true;
                    digits.scale(10, 0);
                    digits.add(&Big::of(u64::from(byte - b'0')));
                    scale -= i64::from(point);
                }
                b'.' if !point => point = true,
                _ => return None,
            }
        }
        if !any {
            return None;
        }
        if digits.is_zero() {
            return Some(Self { negative, mantissa: 0, exponent: 0 });
        }
        let places = digits.bits() * 3 / 10 + scale;
        if places > 5_000 {
            return None; // past the largest number
        }
        if places < -5_000 {
            return Some(Self { negative, mantissa: 0, exponent: 0 });
        }
        if scale >= 0 {
            (0..scale).for_each(|_| digits.scale(10, 0));
            return Self::round(negative, &digits, 0, false);
        }
        let mut divisor = Big::of(1);
        (0..-scale).for_each(|_| divisor.scale(10, 0));
        let shift = (divisor.bits() - digits.bits() + MANTISSA + 2).max(0);
        let mut rest = digits.shifted(shift);
        let mut quotient = Big(Vec::new());
        for n in (0..=rest.bits() - divisor.bits()).rev() {
            let part = divisor.shifted(n);
            if rest.at_least(&part) {
                rest.subtract(&part);
                quotient.add(&Big::of(1).shifted(n));
            }
        }
        Self::round(negative, &quotient, -shift, !rest.is_zero())
    }

    /// The sum, or `None` where it would be infinite.
    pub fn plus(self, other: Self) -> Option<Self> {
        let base = self.exponent.min(other.exponent);
        let mut a = Big::of(self.mantissa).shifted(self.exponent - base);
        let mut b = Big::of(other.mantissa).shifted(other.exponent - base);
        if self.negative == other.negative {
            a.add(&b);
            return Self::round(self.negative, &a, base, false);
        }
        if a.at_least(&b) {
            a.subtract(&b);
            return Self::round(self.negative, &a, base, false);
        }
        b.subtract(&a);
        Self::round(other.negative, &b, base, false)
    }
}

/// Whether a text is an infinity to `strtold`.
pub fn is_infinity(text: &[u8]) -> bool {
    let unsigned = match text {
        [b'-' | b'+', rest @ ..] => rest,
        rest => rest,
    };
    unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity")
}

/// A hexadecimal number with an optional point and power of two: `1.8p3`.
fn hexadecimal(negative: bool, text: &[u8]) -> Option<Extended> {
    let (digits, mut exponent) = match text.iter().position(|b| matches!(b, b'p' | b'P')) {
        Some(at) => (&text[..at], signed_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let (mut big, mut point, mut any) = (Big(Vec::new()), false, false);
    for byte in digits {
        match (*byte as char).to_digit(16) {
            Some(digit) => {
                any = true;
                big.scale(16, 0);
                big.add(&Big::of(u64::from(digit)));
                exponent -= if point { 4 } else { 0 };
            }
            None if *byte == b'.' && !point => point = true,
            None => return None,
        }
    }
    if !any {
        return None;
    }
    if big.is_zero() || exponent < -40_000 {
        return Some(Extended { negative, mantissa: 0, exponent: 0 });
    }
    Extended::round(negative, &big, exponent, false)
}

/// The decimal exponent behind the `e`; absurd ones are cut to what decides anyway.
fn signed_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0i64, |v, d| (v * 10 + i64::from(d - b'0')).min(1_000_000));
    Some(if negative { -value } else { value })
}

impl std::fmt::Display for Extended {
    /// As `%.17Lf` without trailing zeros; minus zero is zero.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut big = Big::of(self.mantissa);
        (0..DECIMALS).for_each(|_| big.scale(10, 0));
        if self.exponent >= 0 {
            big = big.shifted(self.exponent);
        } else {
            let drop = -self.exponent;
            let half = big.bit(drop - 1);
            let rest = (0..drop - 1).any(|n| big.bit(n));
            let mut kept = Big(Vec::new());
            for n in (drop..big.bits().max(drop)).rev() {
                kept.scale(2, 0);
                kept.add(&Big::of(u64::from(big.bit(n))));
            }
            if half && (rest || kept.bit(0)) {
                kept.add(&Big::of(1));
            }
            big = kept;
        }
        let mut digits = Vec::new();
        while !big.is_zero() || digits.len() <= DECIMALS as usize {
            digits.push(char::from(b'0' + big.shrink(10) as u8));
        }
        let (decimals, whole) = digits.split_at(DECIMALS as usize);
        let whole: String = whole.iter().rev().collect();
        let decimals: String = decimals.iter().rev().collect();
        let decimals = decimals.trim_end_matches('0');
        let zero = whole == "0" && decimals.is_empty();
        let sign = if self.negative && !zero { "-" } else { "" };
        let point = if decimals.is_empty() { "" } else { "." };
        write!(f, "{sign}{whole}{point}{decimals}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_have_one_spelling() {
        for (text, expect) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("1.0", None),
        ] {
            assert_eq!(integer(text.as_bytes()), expect, "{text:?}");
        }
    }

    /// Sums as a redis-server 7.0 on x86-64 prints them.
    #[test]
    fn sums_as_long_doubles() {
        for (a, b, expect) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3", "-3.0", "0"),
            ("-1", "0.5", "-0.5"),
            ("1e17", "1e-17", "100000000000000000"),
            ("17179869184", "1.5", "17179869185.5"),
            ("0", "1e-18", "0"),
            ("1", "1e-17", "1.00000000000000001"),
            ("123456789012345678", "0.1", "123456789012345678.1015625"),
            ("0x10", "0x.8p1", "17"),
            ("1e30", "0", "1000000000000000000024696061952"),
        ] {
            let sum = Extended::parse(a.as_bytes()).unwrap();
            let sum = sum.plus(Extended::parse(b.as_bytes()).unwrap()).unwrap();
            assert_eq!(sum.to_string(), expect, "{a} + {b}");
        }
        assert!(Extended::parse(b"1e5000").is_none());
        let largest = Extended::parse(b"1.1e4932").unwrap();
        assert!(largest.plus(largest).is_none());
        for bad in ["", "-", ".", "e5", "1e", "1x", " 1", "nan", "inf", "0x", "0x1p", "1.2.3"] {
            assert!(Extended::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn decimal_and_integer_agree(n: i64) {
            let mut digits = [0; 20];
            let text = decimal(n, &mut digits);
            let shown = n.to_string();
            prop_assert_eq!(text, shown.as_bytes());
            prop_assert_eq!(integer(text), Some(n));
        }

        /// Whole numbers of up to 64 bits are exact.
        #[test]
        fn whole_numbers_are_exact(a in -1i64 << 61..1 << 61, b in -1i64 << 61..1 << 61) {
            let sum = Extended::parse(a.to_string().as_bytes()).unwrap();
            let sum = sum.plus(Extended::parse(b.to_string().as_bytes()).unwrap()).unwrap();
            prop_assert_eq!(sum.to_string(), (a + b).to_string());
        }
    }
}
