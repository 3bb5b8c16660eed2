//! Operations on a simulated node: the same replies as of one shard, and isolation.

mod actors;
mod isolation;
mod lines;
mod looks;
mod memory;
mod node;
mod runs;
mod scripts;
mod seat;
mod tree;

use crate::command::{COMMANDS, Flags, Spread};

/// What concerns several shards is divided; the rest says why it need not be.
#[test]
fn every_command_of_many_keys_or_of_all_has_its_way_over_shards() {
    for spec in COMMANDS {
        let (name, keys) = (spec.name, spec.keys);
        let many = keys.first != 0 && keys.first != keys.last;
        let one_place = matches!(spec.spread, Spread::Home | Spread::Connection);
        assert!(!many || !one_place, "{name} has several keys and runs in one place");
        let one = keys.first != 0 && !many;
        assert_eq!(one, spec.spread == Spread::Home, "{name}: one key, one home");
        let data = spec.flags.has(Flags::WRITE) || spec.flags.has(Flags::READONLY);
        if data && keys.first == 0 {
            let spread = spec.spread;
            assert!(matches!(spread, Spread::Everywhere(_) | Spread::Cursor), "{name}: {spread:?}");
        }
        if spec.flags.has(Flags::CONTAINER) {
            assert_eq!(spec.spread, Spread::Connection, "{name}: its subcommands have their own");
        }
    }
}

/// A command that is put off between steps says so, and no other stands in EXEC's way.
#[test]
fn long_commands_are_those_that_walk_over_keys() {
    let long = COMMANDS.iter().filter(|spec| spec.flags.has(Flags::LONG));
    assert!(long.map(|spec| spec.name).eq(["keys", "scan", "cluster"]));
}
