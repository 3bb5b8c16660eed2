//! A document as a tree in which everything has its place.

/// Line and column, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Mark {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: Mark,
    pub(crate) value: Value,
}

/// YAML 1.2's core schema; numbers as they were written.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a map and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Mark,
    pub(crate) value: Node,
}

impl Node {
    /// The value of a key; a null counts as absent, as in Kubernetes.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).and_then(Entry::present)
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, if it is one.
    pub(crate) fn whole(&self) -> Option<u64> {
        match &self.value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// What is in the list; nothing when it is none.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// What is in the map; nothing when it is none.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Whether this holds for the place of the value, or of anything within it.
    pub(crate) fn any(&self, holds: &mut impl FnMut(Mark) -> bool) -> bool {
        holds(self.at)
            || self.items().iter().any(|item| item.any(holds))
            || self.entries().iter().any(|entry| holds(entry.at) || entry.value.any(holds))
    }

    /// For errors: what this is instead of what was expected.
    pub(crate) fn described(&self) -> String {
        match &self.value {
            Value::Null => "nothing".into(),
            Value::Bool(value) => format!("{value}"),
            Value::Number(text) => format!("the number {}", shortened(text)),
            Value::Text(text) => format!("'{}'", shortened(text)),
            Value::List(items) if items.is_empty() => "an empty list".into(),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a map".into(),
        }
    }
}

impl Entry {
    /// The value, unless it is null.
    pub(crate) fn present(&self) -> Option<&Node> {
        Some(&self.value).filter(|node| !matches!(node.value, Value::Null))
    }
}

/// Some of a text, on one line.
pub(crate) fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    let shown: String = text.chars().take(SHOWN).collect();
    let dots = if shown.len() < text.len() { "..." } else { "" };
    shown.escape_debug().to_string() + dots
}
