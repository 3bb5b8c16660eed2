//! From a name to its command: one probe of a table that the compiler fills.

#![forbid(unsafe_code)]

use super::spec::CommandSpec;
use super::table::COMMANDS;
use crate::word::lower;

/// Entries of the table, a power of two well above the number of commands.
const SIZE: usize = 1024;
/// Mark of an empty entry.
const EMPTY: u8 = u8::MAX;
/// Longest name looked up.
const LONGEST: usize = 32;

const _: () = assert!(COMMANDS.len() < EMPTY as usize, "a command's number fits a byte");

static TABLE: [u8; SIZE] = fill();

/// A name as numbers: its length, and its first and last eight bytes in lower case, or what there
/// is of them. No two names of at most [`TOLD`] bytes have the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Folded {
    len: usize,
    first: u64,
    last: u64,
}

/// Names up to this length are told apart by [`Folded`].
const TOLD: usize = 16;

impl Folded {
    #[inline]
    const fn of(name: &[u8]) -> Self {
        let (first, last) = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
            (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
            _ => match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
                (Some(first), Some(last)) => {
                    (u32::from_le_bytes(*first) as u64, u32::from_le_bytes(*last) as u64)
                }
                _ => match name {
                    [] => (0, 0),
                    [first, second, .., last] => {
                        (*first as u64, (*second as u64) << 8 | *last as u64)
                    }
                    [first, last] => (*first as u64, *last as u64),
                    [only] => (*only as u64, 0),
                },
            },
        };
        Self { len: name.len(), first: lower(first), last: lower(last) }
    }

    /// Where the search for it begins.
    #[inline]
    const fn place(self) -> usize {
        let mixed = (self.first ^ self.last.rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((mixed >> 44) as usize ^ self.len) % SIZE
    }
}

static FOLDED: [Folded; COMMANDS.len()] = {
    let mut all = [Folded { len: 0, first: 0, last: 0 }; COMMANDS.len()];
    let mut number = 0;
    while number < COMMANDS.len() {
        all[number] = Folded::of(COMMANDS[number].name.as_bytes());
        number += 1;
    }
    all
};

const fn fill() -> [u8; SIZE] {
    let mut table = [EMPTY; SIZE];
    let mut number = 0;
    while number < COMMANDS.len() {
        let mut at = Folded::of(COMMANDS[number].name.as_bytes()).place();
        while table[at] != EMPTY {
            at = (at + 1) % SIZE;
        }
        table[at] = number as u8;
        number += 1;
    }
    table
}

/// The command of that name, in any case.
pub fn lookup(name: &[u8]) -> Option<&'static CommandSpec> {
    find(name).filter(|spec| !spec.is_subcommand)
}

/// The command or, as `container|name`, the subcommand of that name.
pub(super) fn find(name: &[u8]) -> Option<&'static CommandSpec> {
    if name.len() > LONGEST {
        return None;
    }
    let folded = Folded::of(name);
    let mut at = folded.place();
    while TABLE[at] != EMPTY {
        let number = usize::from(TABLE[at]);
        let spec = &COMMANDS[number];
        let same = || name.len() <= TOLD || spec.name.as_bytes().eq_ignore_ascii_case(name);
        if FOLDED[number] == folded && same() {
            return Some(spec);
        }
        at = (at + 1) % SIZE;
    }
    None
}

/// The subcommand of a container.
pub(super) fn subcommand(parent: &CommandSpec, name: &[u8]) -> Option<&'static CommandSpec> {
    let mut full = [0; LONGEST];
    let len = parent.name.len() + 1 + name.len();
    if len > LONGEST {
        return None;
    }
    full[..parent.name.len()].copy_from_slice(parent.name.as_bytes());
    full[parent.name.len()] = b'|';
    full[parent.name.len() + 1..len].copy_from_slice(name);
    find(&full[..len])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What differs by more than the case of letters is not the same.
        #[test]
        fn finds_what_a_search_finds(
            number in 0..COMMANDS.len(), changes in prop::collection::vec(any::<(u8, u8)>(), 0..3),
        ) {
            let mut name = COMMANDS[number].name.as_bytes().to_vec();
            for (at, byte) in changes {
                let at = usize::from(at) % name.len();
                name[at] = if byte & 1 == 0 { name[at] ^ 0x20 } else { byte };
            }
            let expected = COMMANDS.iter().find(|c| c.name.as_bytes().eq_ignore_ascii_case(&name));
            let found = find(&name);
            prop_assert_eq!(found.map(|c| c.name), expected.map(|c| c.name));
        }
    }
}
