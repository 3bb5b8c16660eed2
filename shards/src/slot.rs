//! Which slot a key belongs to: CRC16 of the key, or of its hash tag, mod 16,384.
//!
//! The rule is Redis Cluster's (<https://valkey.io/topics/cluster-spec/>): when the key
//! holds `{...}` with something between the first `{` and the first `}` after it, only that
//! is hashed. The CRC is CRC-16/XMODEM (polynomial 0x1021), eight bytes a step by tables.

#![forbid(unsafe_code)]

use crate::ids::SlotId;
use crate::word::mark;

/// The slot of a key.
pub fn slot_of(key: &[u8]) -> SlotId {
    SlotId::of_crc(crc16(hashed_part(key)))
}

/// The part of the key that decides its slot.
fn hashed_part(key: &[u8]) -> &[u8] {
    let Some(open) = find(key, b'{') else { return key };
    let rest = &key[open + 1..];
    match find(rest, b'}') {
        None | Some(0) => key,
        Some(close) => &rest[..close],
    }
}

/// First position of a byte, eight bytes a step.
fn find(bytes: &[u8], wanted: u8) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let marks = mark(u64::from_le_bytes(*word), wanted);
        if marks != 0 {
            return Some(i * 8 + marks.trailing_zeros() as usize / 8);
        }
    }
    let tail = rest.iter().position(|byte| *byte == wanted)?;
    Some(words.len() * 8 + tail)
}

/// CRC-16/XMODEM.
pub fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let (blocks, rest) = bytes.as_chunks::<8>();
    for b in blocks {
        let first = b[0] ^ (crc >> 8) as u8;
        let second = b[1] ^ crc as u8;
        crc = TABLES[7][first as usize]
            ^ TABLES[6][second as usize]
            ^ TABLES[5][b[2] as usize]
            ^ TABLES[4][b[3] as usize]
            ^ TABLES[3][b[4] as usize]
            ^ TABLES[2][b[5] as usize]
            ^ TABLES[1][b[6] as usize]
            ^ TABLES[0][b[7] as usize];
    }
    for byte in rest {
        crc = crc << 8 ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    crc
}

/// `TABLES[n][b]` is the CRC of byte `b` followed by `n` zero bytes.
static TABLES: [[u16; 256]; 8] = tables();

const fn tables() -> [[u16; 256]; 8] {
    let mut tables = [[0u16; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut n = 1;
    while n < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[n - 1][byte];
            tables[n][byte] = crc << 8 ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        n += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bit_by_bit(bytes: &[u8]) -> u16 {
        let mut crc = 0u16;
        for byte in bytes {
            crc ^= u16::from(*byte) << 8;
            for _ in 0..8 {
                crc = if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 };
            }
        }
        crc
    }

    #[test]
    fn known_values() {
        assert_eq!(crc16(b"123456789"), 0x31C3); // the cluster specification's own example
        assert_eq!(slot_of(b"foo").get(), 12182);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"foo{}{bar}").get(), crc16(b"foo{}{bar}") % 16384);
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        assert_eq!(slot_of(b"foo{bar}{zap}"), slot_of(b"bar"));
        assert_eq!(slot_of(b"a-long-prefix-before{tag}"), slot_of(b"tag"));
    }

    proptest! {
        #[test]
        fn tables_agree_with_the_definition(bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            prop_assert_eq!(crc16(&bytes), bit_by_bit(&bytes));
        }

        #[test]
        fn find_is_position(bytes in prop::collection::vec(0..4u8, 0..40), wanted in 0..4u8) {
            prop_assert_eq!(find(&bytes, wanted), bytes.iter().position(|b| *b == wanted));
        }
    }
}
