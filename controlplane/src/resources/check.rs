//! Whether a document is as its schema says.
//!
//! Owns the errors about fields: unknown, missing, of the wrong type, not supported yet. Gathers
//! all of them.

use std::fmt;

use super::diagnostic::nearest;
use super::schema::{Field, Kind, Need, Shape, alternatives, supported};
use super::tree::{Mark, Node, Value};

/// An error within a document.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) at: Mark,
    pub(crate) text: String,
}

/// The way to a field: `spec.rules[0].name`.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, n) => write!(f, "{parent}[{n}]"),
        }
    }
}

/// All that is wrong with the document.
pub(crate) fn check(document: &Node, kind: &Kind) -> Vec<Fault> {
    let mut faults = Vec::new();
    let fields: Vec<&Field> = kind.all_fields().collect();
    object(document, &fields, false, &Path::Root, &mut faults);
    faults
}

fn value(node: &Node, shape: &Shape, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let wrong = || format!("{path}: expected {}, not {}", shape.expected(), node.described());
    let mut ensure = |holds: bool| {
        if !holds {
            faults.push(Fault { at: node.at, text: wrong() });
        }
    };
    match (shape, &node.value) {
        (Shape::Anything | Shape::NotYet(_), _) => {}
        (Shape::Bool, Value::Bool(_)) => {}
        (Shape::Text(format), Value::Text(text)) => ensure((format.accepts)(text)),
        // Unquoted digits are a name as well, where a name may consist of digits.
        (Shape::Text(format), Value::Number(text)) if (format.accepts)(text) => {
            let text = format!("{path}: expected text, not a number; write '{text}' in quotes");
            faults.push(Fault { at: node.at, text });
        }
        (Shape::Whole { least, most }, Value::Number(_)) => {
            ensure(node.whole().is_some_and(|number| (*least..=*most).contains(&number)));
        }
        (Shape::PortOrName, Value::Number(_)) => {
            ensure(node.whole().is_some_and(|number| (1..=65_535).contains(&number)));
        }
        (Shape::PortOrName, Value::Text(text)) => ensure((super::formats::LABEL.accepts)(text)),
        (Shape::Bytes, Value::Number(_)) => ensure(node.whole().is_some()),
        (Shape::Bytes, Value::Text(text)) => {
            ensure(shards::settings::parse_bytes(text).is_some());
        }
        (Shape::OneOf { now, later }, Value::Text(text)) => {
            if !now.contains(&text.as_str()) {
                let text = not_one_of(path, text, now, later);
                faults.push(Fault { at: node.at, text });
            }
        }
        (Shape::List { of, least }, Value::List(items)) => {
            ensure(items.len() >= *least);
            for (n, item) in items.iter().enumerate() {
                value(item, of, &Path::Item(path, n), faults);
            }
        }
        (Shape::Object(fields) | Shape::Open(fields), Value::Map(_)) => {
            let open = matches!(shape, Shape::Open(_));
            object(node, &fields.iter().collect::<Vec<_>>(), open, path, faults);
        }
        (Shape::Texts, Value::Map(entries)) => {
            for entry in entries.iter().filter(|entry| entry.value.text().is_none()) {
                let path = Path::Field(path, &entry.key);
                let text = format!("{path}: expected text, not {}", entry.value.described());
                faults.push(Fault { at: entry.value.at, text });
            }
        }
        _ => ensure(false),
    }
}

fn not_one_of(path: &Path<'_>, text: &str, now: &[&str], later: &[&str]) -> String {
    let expected = alternatives(now);
    if later.contains(&text) {
        return format!("{path}: {text} is not supported yet; expected {expected}");
    }
    let meant = nearest(text, now.iter().copied());
    let meant = meant.map_or_else(String::new, |one| format!("; did you mean {one}?"));
    let shown = if expected.is_empty() { "''" } else { &expected };
    format!("{path}: expected {shown}, not '{}'{meant}", text.escape_debug())
}

fn object(
    node: &Node,
    fields: &[&'static Field],
    open: bool,
    path: &Path<'_>,
    faults: &mut Vec<Fault>,
) {
    for entry in node.entries() {
        let within = Path::Field(path, &entry.key);
        let field = fields.iter().find(|field| field.name == entry.key);
        match field {
            None if open => {}
            None => {
                let meant = nearest(&entry.key, fields.iter().map(|field| field.name));
                let hint = match meant {
                    Some(one) => format!("; did you mean {one}?"),
                    None => {
                        let names: Vec<_> = supported(fields.iter().copied()).collect();
                        format!("; expected {}", alternatives(&names))
                    }
                };
                let text = format!("{within}: unknown field{hint}");
                faults.push(Fault { at: entry.at, text });
            }
            Some(Field { shape: Shape::NotYet(instead), .. }) => {
                let text = format!("{within}: not supported yet; {instead}");
                faults.push(Fault { at: entry.at, text });
            }
            Some(field) => {
                if let Some(node) = entry.present() {
                    value(node, &field.shape, &within, faults);
                }
            }
        }
    }
    for field in fields.iter().filter(|field| field.need == Need::Required) {
        // What has no shape, apiVersion and kind, is looked at where the kind is found.
        if node.get(field.name).is_none() && !matches!(field.shape, Shape::Anything) {
            let path = Path::Field(path, field.name);
            let text = format!("{path} is required: {}", field.shape.expected());
            faults.push(Fault { at: node.at, text });
        }
    }
}
