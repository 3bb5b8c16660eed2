//! docs/CONFIGURATION.md, from the schema.

use std::fmt::Write as _;

use super::explain::needed;
use super::kinds::KINDS;
use super::schema::{Field, Shape};

/// What is said before the kinds, and after them; prose that no schema has.
const HEAD: &str = include_str!("reference/head.md");
const TAIL: &str = include_str!("reference/tail.md");

/// The page.
#[must_use]
pub fn reference_markdown() -> String {
    let mut page = HEAD.to_owned();
    for kind in KINDS {
        let _ = write!(page, "\n## {}\n`{}`. {}\n\n", kind.name, kind.api, kind.about);
        let _ = write!(page, "```yaml\n{}```\n\n", kind.example);
        page += "| field | type | | |\n| --- | --- | --- | --- |\n";
        rows(&mut page, "", kind.fields);
        let mut missing = Vec::new();
        not_yet(&mut missing, "", kind.fields);
        if !missing.is_empty() {
            let _ = write!(page, "\nNot yet: {}.\n", missing.join(", "));
        }
    }
    page + TAIL
}

fn is_there(field: &&Field) -> bool {
    !matches!(field.shape, Shape::NotYet(_))
}

/// The path to what is in a field.
fn within(path: &str, shape: &Shape) -> String {
    match shape {
        Shape::List { .. } => format!("{path}[]."),
        _ => format!("{path}."),
    }
}

fn rows(page: &mut String, parent: &str, fields: &[Field]) {
    for field in fields.iter().filter(is_there) {
        let (path, shape) = (format!("{parent}{}", field.name), field.shape);
        let expected = match shape {
            Shape::Object(_) | Shape::Open(_) | Shape::Texts | Shape::Bool => String::new(),
            Shape::List { of: Shape::Object(_), least } if least > 0 => " At least one.".into(),
            Shape::List { of: Shape::Object(_), .. } => String::new(),
            Shape::OneOf { now: [""], .. } => " Always `\"\"`.".into(),
            Shape::OneOf { now: [only], .. } => format!(" Always `{only}`."),
            Shape::OneOf { now, .. } => {
                let words: Vec<_> = now.iter().map(|word| format!("`{word}`")).collect();
                format!(" One of {}.", words.join(", "))
            }
            _ => format!(" {}.", capital(&shape.expected())),
        };
        let about = format!("{}{expected}", field.about).replace('|', "\\|");
        let _ =
            writeln!(page, "| `{path}` | {} | {} | {about} |", shape.type_name(), needed(field));
        rows(page, &within(&path, &shape), shape.fields());
    }
}

/// Fields and words that the API has and this version lacks.
fn not_yet(missing: &mut Vec<String>, parent: &str, fields: &[Field]) {
    for field in fields {
        let path = format!("{parent}{}", field.name);
        match field.shape {
            Shape::NotYet(instead) => missing.push(format!("`{path}` ({instead})")),
            Shape::OneOf { later, .. } => {
                missing.extend(later.iter().map(|word| format!("`{path}: {word}`")));
            }
            shape => not_yet(missing, &within(&path, &shape), shape.fields()),
        }
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}

#[cfg(test)]
mod tests {
    /// `CORELANE_UPDATE=1 cargo test` writes the page anew.
    #[test]
    fn the_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFIGURATION.md");
        let page = super::reference_markdown();
        if std::env::var_os("CORELANE_UPDATE").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == page,
            "docs/CONFIGURATION.md is stale: CORELANE_UPDATE=1 cargo test -p controlplane"
        );
    }
}
