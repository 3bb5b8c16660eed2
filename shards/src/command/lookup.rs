//! From a name to its command: one probe of a table that the compiler fills.

#![forbid(unsafe_code)]

use super::spec::CommandSpec;
use super::table::COMMANDS;

/// Entries of the table, a power of two well above the number of commands.
const SIZE: usize = 1024;
/// Mark of an empty entry.
const EMPTY: u8 = u8::MAX;
/// Longest name looked up.
const LONGEST: usize = 32;

const _: () = assert!(COMMANDS.len() < EMPTY as usize, "a command's number fits a byte");

static TABLE: [u8; SIZE] = fill();

const fn hash(name: &[u8]) -> usize {
    let mut hash = name.len() as u32;
    let mut i = 0;
    while i < name.len() {
        // Setting the bit folds letters to lower case; what else it folds, `==` tells apart.
        hash = (hash ^ (name[i] | 0x20) as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    (hash ^ hash >> 15) as usize % SIZE
}

const fn fill() -> [u8; SIZE] {
    let mut table = [EMPTY; SIZE];
    let mut number = 0;
    while number < COMMANDS.len() {
        let mut at = hash(COMMANDS[number].name.as_bytes());
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
    let mut at = hash(name);
    while TABLE[at] != EMPTY {
        let spec = &COMMANDS[usize::from(TABLE[at])];
        if spec.name.as_bytes().eq_ignore_ascii_case(name) {
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
