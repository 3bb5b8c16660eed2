//! `corelane explain`: what a kind or a field is, from the schema.

use std::fmt::Write as _;

use super::diagnostic::hint;
use super::kinds::KINDS;
use super::schema::{Field, Kind, Need, Shape, supported};

/// What `KIND[.field...]` is: type, whether it is needed, what is expected, its fields.
///
/// # Errors
/// One line when there is no such kind or field, with the nearest name.
pub fn explain(what: &str) -> Result<String, String> {
    let mut words = what.split('.');
    let named = words.next().unwrap_or_default();
    let kind = kind_named(named)?;
    let mut page = format!("KIND:    {}\nVERSION: {}\n", kind.name, kind.api);
    let (mut fields, mut found): (Vec<&Field>, Option<&Field>) =
        (kind.all_fields().collect(), None);
    let mut path = kind.name.to_owned();
    for word in words {
        let word = word.trim_end_matches("[]");
        let field = *fields.iter().find(|field| field.name == word).ok_or_else(|| {
            let names = supported(fields.iter().copied());
            format!("{path} has no field '{}'{}", word.escape_debug(), hint(word, names))
        })?;
        path = format!("{path}.{word}");
        (found, fields) = (Some(field), field.shape.fields().iter().collect());
    }
    match found {
        Some(field) => {
            let _ =
                writeln!(page, "FIELD:   {path} <{}>, {}", field.shape.type_name(), needed(field));
            let _ = writeln!(page, "\n{}\n{}", wrapped(field.about, 4), expectation(field));
        }
        None => _ = writeln!(page, "\n{}\n", wrapped(kind.about, 4)),
    }
    if !fields.is_empty() {
        page += "FIELDS:\n";
        for field in &fields {
            let shape = field.shape.type_name();
            let _ = writeln!(page, "  {} <{shape}>, {}", field.name, needed(field));
            let _ = writeln!(page, "{}", wrapped(field.about, 6));
        }
    }
    if found.is_none() {
        let _ = write!(page, "\nEXAMPLE:\n{}", indented(kind.example));
    }
    Ok(page)
}

/// `required`, `optional` or its default.
pub(super) fn needed(field: &Field) -> String {
    match (&field.shape, field.need) {
        (Shape::NotYet(_), _) => "an error today".into(),
        (_, Need::Required) => "required".into(),
        (_, Need::Optional) => "optional".into(),
        (_, Need::Default("")) => "default \"\"".into(),
        (_, Need::Default(value)) => format!("default {value}"),
    }
}

/// What a value must be, and what of the API is not there yet; empty where that says nothing.
fn expectation(field: &Field) -> String {
    let mut text = match &field.shape {
        Shape::Anything | Shape::NotYet(_) | Shape::Object(_) | Shape::Open(_) => String::new(),
        Shape::List { of: Shape::Object(_), .. } => String::new(),
        shape => format!("    Expected: {}.\n", shape.expected()),
    };
    if let Shape::OneOf { later, .. } = field.shape
        && !later.is_empty()
    {
        let _ = writeln!(text, "    Not supported yet: {}.", later.join(", "));
    }
    text
}

fn wrapped(text: &str, indent: usize) -> String {
    const WIDTH: usize = 80;
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && indent + line.len() + 1 + word.len() > WIDTH {
            lines.push(std::mem::take(&mut line));
        }
        line = if line.is_empty() { word.into() } else { line + " " + word };
    }
    lines.push(line);
    lines.iter().map(|line| " ".repeat(indent) + line).collect::<Vec<_>>().join("\n")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// All kinds, each with what it is, in one sentence.
#[must_use]
pub fn kinds() -> String {
    let mut page = String::new();
    for kind in KINDS {
        let about = kind.about.split_inclusive(". ").next().unwrap_or(kind.about).trim_end();
        let _ = writeln!(page, "{:<16}{:<32}{about}", kind.name, kind.api);
    }
    page
}

/// The kind of that name, in any case.
pub(super) fn kind_named(name: &str) -> Result<&'static Kind, String> {
    KINDS.into_iter().find(|kind| kind.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
        let names = KINDS.iter().map(|kind| kind.name);
        format!("there is no kind '{}'{}", name.escape_debug(), hint(name, names))
    })
}
