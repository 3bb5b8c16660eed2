//! Numbers as clients write them and expect them back.
//!
//! Owns Redis' strict reading of integers (`string2ll`); [`Extended`] are those of
//! INCRBYFLOAT.

#![forbid(unsafe_code)]

mod big;
mod extended;

pub use extended::{Extended, is_infinity};

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

    proptest! {
        #[test]
        fn decimal_and_integer_agree(n: i64) {
            let mut digits = [0; 20];
            let text = decimal(n, &mut digits);
            let shown = n.to_string();
            prop_assert_eq!(text, shown.as_bytes());
            prop_assert_eq!(integer(text), Some(n));
        }
    }
}
