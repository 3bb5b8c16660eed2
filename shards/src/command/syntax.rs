//! Reads the syntax line of a command, so that COMMAND DOCS can tell its arguments.
//!
//! ```text
//! line  = item*          item = part ["..."]       part = "<" name ">" | WORD ["<" name ">"]
//!                                                       | "[" alternatives "]"
//!                                                       | "(" alternatives ")"
//! alternatives = line ("|" line)*
//! ```

#![forbid(unsafe_code)]

/// A part of a syntax line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) what: What,
    pub(super) optional: bool,
    pub(super) multiple: bool,
}

/// What a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// `<name>`, perhaps behind a word: `EX <seconds>`.
    Value { name: &'static str, token: Option<&'static str> },
    /// A word by itself.
    Token(&'static str),
    /// One of several.
    OneOf(Vec<Vec<Item>>),
    /// Several that belong together.
    Block(Vec<Item>),
}

/// Parses a syntax line; the table's tests make sure that all of them parse.
pub(super) fn parse(line: &'static str) -> Vec<Item> {
    let mut words = line.split_whitespace().peekable();
    let (mut alternatives, _) = sequence(&mut words);
    debug_assert!(words.peek().is_none() && alternatives.len() == 1, "unbalanced: {line}");
    alternatives.pop().unwrap_or_default()
}

type Words = std::iter::Peekable<std::str::SplitWhitespace<'static>>;

/// Reads alternatives up to a closing bracket or the end.
fn sequence(words: &mut Words) -> (Vec<Vec<Item>>, bool) {
    let mut alternatives = vec![Vec::new()];
    while let Some(word) = words.next() {
        let what = match word {
            "]" | ")" => return (alternatives, true),
            "|" => {
                alternatives.push(Vec::new());
                continue;
            }
            "..." => {
                if let Some(item) = alternatives.last_mut().and_then(|items| items.last_mut()) {
                    item.multiple = true;
                }
                continue;
            }
            "[" | "(" => group(sequence(words).0),
            _ => leaf(word, words),
        };
        let item = Item { what, optional: word == "[", multiple: false };
        alternatives.last_mut().expect("never empty").push(item);
    }
    (alternatives, false)
}

fn group(mut alternatives: Vec<Vec<Item>>) -> What {
    if alternatives.len() > 1 {
        return What::OneOf(alternatives);
    }
    let mut only = alternatives.pop().unwrap_or_default();
    match only.pop() {
        Some(item) if only.is_empty() && !item.multiple => item.what,
        Some(item) => {
            only.push(item);
            What::Block(only)
        }
        None => What::Block(only),
    }
}

fn leaf(word: &'static str, words: &mut Words) -> What {
    let name = |word: &'static str| word.strip_prefix('<')?.strip_suffix('>');
    if let Some(name) = name(word) {
        return What::Value { name, token: None };
    }
    match words.peek().copied().and_then(name) {
        Some(name) => {
            words.next();
            What::Value { name, token: Some(word) }
        }
        None => What::Token(word),
    }
}

/// The type that COMMAND DOCS gives a value of that name.
pub(super) fn kind_of(name: &str) -> &'static str {
    match name {
        "key" | "newkey" | "source" | "destination" => "key",
        "seconds" | "milliseconds" | "increment" | "decrement" | "offset" | "start" | "end"
        | "count" | "index" | "index1" | "index2" | "cursor" | "client-id" | "protover"
        | "destination-db" | "db" | "maxage" | "max-burst" | "count-per-period" | "period"
        | "quantity" => "integer",
        "unix-time-seconds" | "unix-time-milliseconds" => "unix-time",
        "pattern" => "pattern",
        _ => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::COMMANDS;

    #[test]
    fn every_command_has_a_syntax_that_parses() {
        for spec in COMMANDS {
            parse(spec.syntax);
        }
    }

    #[test]
    fn brackets_tokens_and_repetition() {
        let items = parse("<key> ... [ EX <seconds> | KEEPTTL ] ( NX <a> )");
        assert!(items[0].multiple && !items[0].optional);
        let What::OneOf(choices) = &items[1].what else { panic!("{items:?}") };
        assert!(items[1].optional && choices.len() == 2);
        assert_eq!(choices[0][0].what, What::Value { name: "seconds", token: Some("EX") });
        assert_eq!(choices[1][0].what, What::Token("KEEPTTL"));
        assert_eq!(items[2].what, What::Value { name: "a", token: Some("NX") });
    }
}
