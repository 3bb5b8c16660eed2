//! Eight bytes of text in one word (Hacker's Delight, section 6-1).

#![forbid(unsafe_code)]

/// The lowest bit of each byte.
pub const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest.
pub const HIGH: u64 = ONES << 7;

/// Marks in the highest bit bytes that are `wanted`: the lowest mark is exact, and there is none
/// where no byte is.
#[inline]
pub const fn mark(word: u64, wanted: u8) -> u64 {
    let differs = word ^ (ONES * wanted as u64);
    differs.wrapping_sub(ONES) & !differs & HIGH
}

/// Capital letters made small.
#[inline]
pub const fn lower(word: u64) -> u64 {
    // In seven bits each, so that no sum carries into the next byte.
    let low = word & !HIGH;
    let from_a = low + ONES * (0x80 - b'A' as u64);
    let beyond_z = low + ONES * (0x7f - b'Z' as u64);
    word | (from_a & !beyond_z & !word & HIGH) >> 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn capital_letters_alone_become_small(bytes in any::<[u8; 8]>()) {
            let folded = lower(u64::from_le_bytes(bytes)).to_le_bytes();
            prop_assert_eq!(folded, bytes.map(|byte| byte.to_ascii_lowercase()));
        }

        #[test]
        fn the_first_mark_is_the_first_byte(bytes in any::<[u8; 8]>(), wanted in 0..4u8) {
            let bytes = bytes.map(|byte| byte % 5);
            let marks = mark(u64::from_le_bytes(bytes), wanted);
            let first = (marks != 0).then(|| marks.trailing_zeros() as usize / 8);
            prop_assert_eq!(first, bytes.iter().position(|byte| *byte == wanted));
        }
    }
}
