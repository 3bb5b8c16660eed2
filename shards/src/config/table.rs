//! Hash tables within the archive: open addressing, at most half full, built once.
//!
//! Owns the hash and the probe. The hash is the same in every process, which is safe here: what
//! is in a table comes from the operator, and a stranger's key that is in no table costs a probe
//! or two, whatever it hashes to.

#![forbid(unsafe_code)]

use super::archive::{ArchivedSlot, NONE, Slot};

const A: u64 = 0x9e37_79b9_7f4a_7c15;
const B: u64 = 0xd6e8_feb8_6659_fd93;
/// Sets the bit that tells small letters from capitals; what it does to others, it does to all.
const SMALL: u64 = 0x2020_2020_2020_2020;

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn hash(seed: u64, bytes: &[u8], case: u64) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = fold(seed ^ A, bytes.len() as u64 ^ B);
    for word in words {
        state = fold(state ^ (u64::from_le_bytes(*word) | case), B);
    }
    let mut last = 0;
    for &byte in rest {
        last = last << 8 | u64::from(byte);
    }
    fold(state ^ (last | case), A)
}

/// Of these bytes; the result can be the seed of what follows them.
pub(crate) fn hash_exact(seed: u64, bytes: &[u8]) -> u64 {
    hash(seed, bytes, 0)
}

/// Of these bytes in small letters.
pub(crate) fn hash_any_case(seed: u64, bytes: &[u8]) -> u64 {
    hash(seed, bytes, SMALL)
}

/// A table of these hashes; the first names row 0.
pub(crate) fn build(hashes: &[u64]) -> Vec<Slot> {
    let empty = Slot { tag: 0, row: NONE };
    let mut table = vec![empty; (hashes.len() * 2).next_power_of_two()];
    let mask = table.len() - 1;
    for (row, &hash) in hashes.iter().enumerate() {
        let mut at = hash as usize & mask;
        while table[at].row != NONE {
            at = (at + 1) & mask;
        }
        table[at] = Slot { tag: (hash >> 32) as u32, row: row as u32 };
    }
    table
}

/// The row with that hash for which `is` holds.
pub(crate) fn find(table: &[ArchivedSlot], hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
    let mask = table.len().wrapping_sub(1);
    let tag = (hash >> 32) as u32;
    // No longer than the table, so that one without an empty place ends, too.
    for step in 0..table.len() {
        let slot = &table[(hash as usize).wrapping_add(step) & mask];
        let row = slot.row.to_native();
        if row == NONE {
            return None;
        }
        if slot.tag.to_native() == tag && is(row) {
            return Some(row);
        }
    }
    None
}
