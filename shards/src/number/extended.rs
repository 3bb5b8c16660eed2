//! The numbers of INCRBYFLOAT, which in Redis are C's `long double` on x86: 64 bits of
//! mantissa, printed with 17 decimals and without trailing zeros.
//!
//! Done in integers, so that the answers are the same on every machine.

#![forbid(unsafe_code)]

use super::big::{Big, Digits};

/// Mantissa bits of x86's extended precision.
const MANTISSA: i64 = 64;
/// Largest exponent of two of a finite number, counted from the mantissa's lowest bit.
const MAX_EXPONENT: i64 = 16_383 - 63;
/// Below this numbers are denormal; they print as 0 with 17 decimals anyway.
const MIN_EXPONENT: i64 = -16_445;
/// Texts from this length on are no numbers to Redis.
const MAX_TEXT: usize = 5 << 10;
/// Digits after the point that Redis prints.
const DECIMALS: usize = 17;
const ONE: u128 = 10u128.pow(DECIMALS as u32);

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
        let mut mantissa = u128::from(big.window(drop));
        let half = drop > 0 && big.window(drop - 1) & 1 == 1;
        if half && (more || mantissa & 1 == 1 || big.any_below(drop - 1)) {
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
        let mut digits = Digits::new(10);
        let (mut scale, mut point, mut any) = (exponent, false, false);
        for byte in number {
            match byte {
                b'0'..=b'9' => {
                    any = true;
                    digits.push(u64::from(byte - b'0'));
                    scale -= i64::from(point);
                }
                b'.' if !point => point = true,
                _ => return None,
            }
        }
        any.then_some(())?;
        Self::scaled(negative, digits.finish(), scale)
    }

    /// `digits * 10^scale`
    fn scaled(negative: bool, digits: Big, scale: i64) -> Option<Self> {
        let zero = Self { negative, mantissa: 0, exponent: 0 };
        if digits.is_zero() {
            return Some(zero);
        }
        let places = digits.bits() * 3 / 10 + scale;
        if !(-5_000..=5_000).contains(&places) {
            return None; // past the largest number or the smallest
        }
        // The power of two in 10^scale goes to the exponent.
        let fives = Big::power_of_five(scale.unsigned_abs() as u32);
        if scale >= 0 {
            return Self::round(negative, &digits.times(&fives), scale, false);
        }
        // A quotient of a few bits more than the mantissa has, and whether there is more.
        let shift = fives.bits() - digits.bits() + MANTISSA + 2;
        let (whole, more) = if shift >= 0 {
            (digits.shifted_left(shift), false)
        } else {
            (digits.shifted_right(-shift), digits.any_below(-shift))
        };
        let (quotient, rest) = whole.divided_by(&fives);
        Self::round(negative, &Big::of(quotient), scale - shift, rest || more)?.not_zero()
    }

    /// What was not written as zero must not become it, as in Redis.
    fn not_zero(self) -> Option<Self> {
        (self.mantissa != 0).then_some(self)
    }

    /// The sum, or `None` where it would be infinite.
    pub fn plus(self, other: Self) -> Option<Self> {
        let base = self.exponent.min(other.exponent);
        let mut a = Big::of(self.mantissa.into()).shifted_left(self.exponent - base);
        let mut b = Big::of(other.mantissa.into()).shifted_left(other.exponent - base);
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
    let (mut gathered, mut point, mut any) = (Digits::new(16), false, false);
    for byte in digits {
        match (*byte as char).to_digit(16) {
            Some(digit) => {
                any = true;
                gathered.push(digit.into());
                exponent -= if point { 4 } else { 0 };
            }
            None if *byte == b'.' && !point => point = true,
            None => return None,
        }
    }
    any.then_some(())?;
    let big = gathered.finish();
    if big.is_zero() {
        return Some(Extended { negative, mantissa: 0, exponent: 0 });
    }
    Extended::round(negative, &big, exponent, false)?.not_zero()
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
        let sign = if self.negative && self.mantissa != 0 { "-" } else { "" };
        if self.exponent >= 0 {
            let whole = Big::of(self.mantissa.into()).shifted_left(self.exponent);
            return write!(f, "{sign}{}", whole.digits());
        }
        let scaled = u128::from(self.mantissa) * ONE; // below 2^121
        let kept = round_shift(scaled, -self.exponent);
        let (whole, decimals) = (kept / ONE, format!("{:0DECIMALS$}", kept % ONE));
        let decimals = decimals.trim_end_matches('0');
        let sign = if kept == 0 { "" } else { sign };
        let point = if decimals.is_empty() { "" } else { "." };
        write!(f, "{sign}{whole}{point}{decimals}")
    }
}

/// `n / 2^by` to nearest, ties to even.
fn round_shift(n: u128, by: i64) -> u128 {
    if by >= 128 {
        return 0; // n is below 2^127
    }
    let (kept, half) = (n >> by, 1 << (by - 1));
    let rest = n & (half * 2 - 1);
    kept + u128::from(rest > half || rest == half && kept & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        assert_eq!(Extended::parse(b"-0").unwrap().to_string(), "0");
        for beyond in ["1e5000", "1.2e4932", "1e-5000", "-1e-4951", "0x1p-16447"] {
            assert!(Extended::parse(beyond.as_bytes()).is_none(), "{beyond}");
        }
        assert!(Extended::parse(b"4e-4951").is_some(), "the smallest");
        let largest = Extended::parse(b"1.1e4932").unwrap();
        assert!(largest.plus(largest).is_none());
        for bad in ["", "-", ".", "e5", "1e", "1x", " 1", "nan", "inf", "0x", "0x1p", "1.2.3"] {
            assert!(Extended::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn the_longest_numbers_are_quick() {
        let started = std::time::Instant::now();
        let (long, large) = (format!("0.{}", "7".repeat(5_000)), "1e4900");
        for _ in 0..100 {
            for text in [&long, large] {
                let number = Extended::parse(text.as_bytes()).unwrap();
                assert!(!number.plus(number).unwrap().to_string().is_empty());
            }
        }
        assert!(started.elapsed().as_secs() < 1, "about 0.2 ms each");
    }

    proptest! {
        /// Whole numbers of up to 64 bits are exact.
        #[test]
        fn whole_numbers_are_exact(a in -1i64 << 61..1 << 61, b in -1i64 << 61..1 << 61) {
            let sum = Extended::parse(a.to_string().as_bytes()).unwrap();
            let sum = sum.plus(Extended::parse(b.to_string().as_bytes()).unwrap()).unwrap();
            prop_assert_eq!(sum.to_string(), (a + b).to_string());
        }
    }
}
