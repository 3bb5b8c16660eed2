//! The reference page of all commands, generated from their definitions.

#![forbid(unsafe_code)]

use std::fmt::Write;

use super::spec::{CommandSpec, Flags, Group};
use super::table::COMMANDS;

/// docs/COMMANDS.md.
pub fn reference_markdown() -> String {
    let mut page = String::from(
        "# Commands\n\nGenerated from the command table; do not edit. Each answers the same \
         script as a real server does, or is not here. Arguments: `<name>` a value, `WORD` \
         itself, `[ .. ]` optional, `a | b` one of, `...` repeated.\n",
    );
    let groups = [
        Group::String,
        Group::Generic,
        Group::Transactions,
        Group::Connection,
        Group::Server,
        Group::Cluster,
        Group::Limits,
    ];
    for group in groups {
        let name = group.name();
        let title = name[..1].to_uppercase() + &name[1..];
        // Writing to a string cannot fail.
        let _ = write!(
            page,
            "\n## {title}\n\n| command | does | cost | since |\n| --- | --- | --- | --- |\n"
        );
        let shown = |spec: &&CommandSpec| spec.group == group && !spec.flags.has(Flags::CONTAINER);
        for spec in COMMANDS.iter().filter(shown) {
            let name = spec.name.to_uppercase().replace('|', " ");
            let syntax = spec.syntax.replace('|', "\\|");
            let usage = format!("{name} {syntax}");
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} |",
                usage.trim_end(),
                spec.summary,
                spec.complexity,
                spec.since
            );
        }
    }
    page
}

#[cfg(test)]
mod tests {
    /// `CORELANE_UPDATE=1 cargo test` writes the page anew.
    #[test]
    fn the_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/COMMANDS.md");
        let page = super::reference_markdown();
        if std::env::var_os("CORELANE_UPDATE").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == page,
            "docs/COMMANDS.md is stale: CORELANE_UPDATE=1 cargo test -p shards"
        );
    }
}
