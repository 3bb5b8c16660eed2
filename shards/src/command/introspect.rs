//! COMMAND: what commands there are, told to clients.

#![forbid(unsafe_code)]

use crate::glob;
use crate::reply::Reply;

use super::lookup::{find, lookup};
use super::spec::{CommandSpec, Flags};
use super::syntax::{self, Item, What};
use super::table::COMMANDS;
use super::{CommandError, Context};

type Done = Result<(), CommandError>;

fn top_level() -> impl Iterator<Item = &'static CommandSpec> + Clone {
    COMMANDS.iter().filter(|spec| !spec.is_subcommand)
}

pub(super) fn command(c: &mut Context<'_>) -> Done {
    c.reply.array(top_level().count());
    top_level().for_each(|spec| describe(c.reply, spec));
    Ok(())
}

pub(super) fn count(c: &mut Context<'_>) -> Done {
    c.reply.count(top_level().count());
    Ok(())
}

pub(super) fn info(c: &mut Context<'_>) -> Done {
    if c.args.len() == 2 {
        return command(c);
    }
    c.reply.array(c.args.len() - 2);
    for name in c.args.from(2) {
        match find(name) {
            Some(spec) => describe(c.reply, spec),
            None => c.reply.null(),
        }
    }
    Ok(())
}

/// One command as COMMAND INFO tells it (<https://valkey.io/commands/command/>).
fn describe(reply: &mut Reply, spec: &'static CommandSpec) {
    let names = |reply: &mut Reply, names: &[&str]| {
        reply.set(names.len());
        names.iter().for_each(|name| reply.simple(name));
    };
    reply.array(10);
    reply.bulk(spec.name.as_bytes());
    reply.integer(spec.arity.into());
    names(reply, &spec.flags.names());
    reply.integer(spec.keys.first.into());
    reply.integer(spec.keys.last.into());
    reply.integer(spec.keys.step.into());
    names(reply, &spec.categories());
    reply.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    key_specs(reply, spec);
    reply.array(spec.subcommands().count());
    spec.subcommands().for_each(|sub| describe(reply, sub));
}

fn key_specs(reply: &mut Reply, spec: &CommandSpec) {
    let several = spec.uses.len() > 1;
    reply.set(spec.uses.len());
    for (n, uses) in spec.uses.iter().enumerate() {
        let first = i64::from(spec.keys.first) + n as i64;
        let last = match spec.keys.last {
            _ if several => 0,
            last if last < 0 => i64::from(last),
            last => i64::from(last) - first,
        };
        let varies = uses.ends_with("variable_flags");
        reply.map(3 + usize::from(varies));
        if varies {
            reply.bulk(b"notes");
            reply.bulk(b"RW and ACCESS due to the optional `GET` argument");
        }
        reply.bulk(b"flags");
        key_flags(reply, uses);
        reply.bulk(b"begin_search");
        reply.map(2);
        reply.bulk(b"type");
        reply.bulk(b"index");
        reply.bulk(b"spec");
        reply.map(1);
        reply.bulk(b"index");
        reply.integer(first);
        reply.bulk(b"find_keys");
        reply.map(2);
        reply.bulk(b"type");
        reply.bulk(b"range");
        reply.bulk(b"spec");
        reply.map(3);
        let step = i64::from(spec.keys.step);
        for (name, value) in [("lastkey", last), ("keystep", step), ("limit", 0)] {
            reply.bulk(name.as_bytes());
            reply.integer(value);
        }
    }
}

fn key_flags(reply: &mut Reply, uses: &str) {
    reply.set(uses.split(' ').count());
    uses.split(' ').for_each(|flag| reply.simple(flag));
}

pub(super) fn docs(c: &mut Context<'_>) -> Done {
    let wanted: Vec<&'static CommandSpec> = if c.args.len() == 2 {
        top_level().collect()
    } else {
        c.args.from(2).filter_map(find).collect()
    };
    c.reply.map(wanted.len());
    wanted.into_iter().for_each(|spec| document(c.reply, spec));
    Ok(())
}

fn document(reply: &mut Reply, spec: &'static CommandSpec) {
    let items = syntax::parse(spec.syntax);
    let subcommands = spec.subcommands().count();
    reply.bulk(spec.name.as_bytes());
    reply.map(4 + usize::from(!items.is_empty()) + usize::from(subcommands > 0));
    for (name, value) in [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group.name()),
        ("complexity", spec.complexity),
    ] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    if !items.is_empty() {
        reply.bulk(b"arguments");
        arguments(reply, &items);
    }
    if subcommands > 0 {
        reply.bulk(b"subcommands");
        reply.map(subcommands);
        spec.subcommands().for_each(|sub| document(reply, sub));
    }
}

fn arguments(reply: &mut Reply, items: &[Item]) {
    reply.array(items.len());
    items.iter().for_each(|item| argument(reply, item));
}

fn argument(reply: &mut Reply, item: &Item) {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let mut parts: Vec<Item> = Vec::new();
    match &item.what {
        What::Value { name, token } => {
            let kind = syntax::kind_of(name);
            pairs.extend([("name", *name), ("type", kind), ("display_text", *name)]);
            pairs.extend(token.map(|token| ("token", token)));
        }
        What::Token(word) => {
            pairs.extend([("name", *word), ("type", "pure-token"), ("token", *word)]);
        }
        What::OneOf(choices) => {
            pairs.extend([("name", "choice"), ("type", "oneof")]);
            for choice in choices {
                let what = match &choice[..] {
                    [only] => only.what.clone(),
                    several => What::Block(several.to_vec()),
                };
                parts.push(Item { what, optional: false, multiple: false });
            }
        }
        What::Block(items) => {
            pairs.extend([("name", "block"), ("type", "block")]);
            parts.clone_from(items);
        }
    }
    let flags: Vec<&str> = [(item.optional, "optional"), (item.multiple, "multiple")]
        .into_iter()
        .filter(|(on, _)| *on)
        .map(|(_, name)| name)
        .collect();
    reply.map(pairs.len() + usize::from(!flags.is_empty()) + usize::from(!parts.is_empty()));
    for (name, value) in pairs {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    if !flags.is_empty() {
        reply.bulk(b"flags");
        reply.set(flags.len());
        flags.iter().for_each(|flag| reply.simple(flag));
    }
    if !parts.is_empty() {
        reply.bulk(b"arguments");
        arguments(reply, &parts);
    }
}

pub(super) fn list(c: &mut Context<'_>) -> Done {
    let mut names: Vec<&str> = COMMANDS.iter().map(|spec| spec.name).collect();
    match c.args.len() {
        2 => names.retain(|name| !name.contains('|')),
        5 if c.args.at(2).eq_ignore_ascii_case(b"filterby") => {
            let value = c.args.at(4);
            let lower = String::from_utf8_lossy(value).to_lowercase();
            match c.args.at(3).to_ascii_lowercase().as_slice() {
                b"pattern" => {
                    let pattern = c.pattern(4)?;
                    names.retain(|name| glob::matches(pattern, name.as_bytes(), true));
                }
                b"aclcat" => names.retain(|name| {
                    let category = format!("@{lower}");
                    find(name.as_bytes())
                        .is_some_and(|spec| spec.categories().contains(&category.as_str()))
                }),
                b"module" => names.clear(),
                _ => return Err(CommandError::Syntax),
            }
        }
        _ => return Err(CommandError::Syntax),
    }
    c.reply.array(names.len());
    names.iter().for_each(|name| c.reply.bulk(name.as_bytes()));
    Ok(())
}

/// The command that GETKEYS is asked about, and the numbers of its keys.
fn asked(c: &Context<'_>) -> Result<(&'static CommandSpec, Vec<usize>), CommandError> {
    let mut spec =
        lookup(c.args.at(2)).ok_or(CommandError::Text("ERR Invalid command specified"))?;
    if spec.flags.has(Flags::CONTAINER)
        && let Some(name) = c.args.get(3)
    {
        spec = super::lookup::subcommand(spec, name)
            .ok_or(CommandError::Text("ERR Invalid command specified"))?;
    }
    let len = c.args.len() - 2;
    if spec.keys.first == 0 {
        return Err(CommandError::Text("ERR The command has no key arguments"));
    }
    if !spec.takes(len) {
        return Err(CommandError::Text("ERR Invalid number of arguments specified for command"));
    }
    Ok((spec, spec.keys.positions(len).map(|n| n + 2).collect()))
}

pub(super) fn getkeys(c: &mut Context<'_>) -> Done {
    let (_, numbers) = asked(c)?;
    c.reply.array(numbers.len());
    numbers.into_iter().for_each(|n| c.reply.bulk(c.args.at(n)));
    Ok(())
}

pub(super) fn getkeysandflags(c: &mut Context<'_>) -> Done {
    let (spec, numbers) = asked(c)?;
    c.reply.array(numbers.len());
    for (n, number) in numbers.into_iter().enumerate() {
        c.reply.array(2);
        c.reply.bulk(c.args.at(number));
        let uses = spec.uses.get(n).or(spec.uses.last()).copied().unwrap_or("RO");
        // SET with GET reads as well; that is what the flags of COMMAND INFO allow for.
        let reads = c.args.from(5).any(|word| word.eq_ignore_ascii_case(b"get"));
        let uses = match uses.strip_suffix(" variable_flags") {
            Some(both) if reads => both,
            Some(_) => "OW update",
            None => uses,
        };
        key_flags(c.reply, uses);
    }
    Ok(())
}

/// What HELP of a container says: each subcommand and its summary.
pub(super) fn help(c: &mut Context<'_>) -> Done {
    let parent = c.spec.parent().and_then(|name| lookup(name.as_bytes()));
    let Some(parent) = parent else { return Err(CommandError::Syntax) };
    let title = parent.name.to_uppercase();
    let mut lines =
        vec![format!("{title} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    for sub in parent.subcommands() {
        let name = sub.name.split_once('|').map_or("", |(_, name)| name).to_uppercase();
        lines.push(format!("{name} {}", sub.syntax).trim_end().to_string());
        lines.push(format!("    {}", sub.summary));
    }
    c.reply.array(lines.len());
    lines.iter().for_each(|line| c.reply.simple(line));
    Ok(())
}
