//! docs/CONFIGURATION.md, from the schema.

use std::fmt::Write as _;

use super::explain::needed;
use super::kinds::KINDS;
use super::schema::{Field, Shape};

const HEAD: &str = "\
# Configuration

Made from the schema in `controlplane/src/resources/kinds`; `CORELANE_UPDATE=1 cargo test -p controlplane` writes it.

A configuration is one or more files of YAML or JSON documents, shaped as in Kubernetes: `corelane serve --config
FILE_OR_DIR`, or `--proxy [HOST/PATH=]URL` for the common case (`--print` shows the documents that it stands for).
`corelane validate -f FILE_OR_DIR` says all that is wrong, with file, line and column; `corelane explain KIND[.field]`
says what is below, and `corelane schema` prints a JSON Schema for editors.

- `metadata` and `status` are accepted as they are. Every other field that is not below is an error. So is a field
  of Gateway API or Kubernetes that this version lacks; those are listed as *not yet*.
- Of a directory the files named `*.yaml`, `*.yml` and `*.json` are read, in the order of their names, without
  hidden files and directories in it. *First in the files* means that order. A link that leads nowhere, a pipe or a
  socket with such a name is an error.
- Query parameters are compared decoded (`+` is a space).
- Paths of routes and of requests are compared in one normal form (RFC 3986 section 6.2.2), which servers get, too:
  escaped letters, digits and `-._~` are decoded, other escapes are written in capitals (`/caf%c3%a9` is `/caf%C3%A9`,
  `/%61dmin` is `/admin`), and the dot segments of a request are resolved. Nothing else is: case counts, `%2F` is no
  slash, and `//` is an empty segment. So `/a` as a prefix has `/a//b`, and `//a` has no prefix but `/`. What the key
  `path` of a RateLimitPolicy counts by is this form without the query: `/a`, `/a/` and `/a//` are three.
- A request whose hostname has no rule that fits goes to the rules of the next less specific hostname; it never goes to
  another listener than the most specific one. A hostname of a route whose requests all come to listeners that the
  route is not attached to is an error.
";

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
    page
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
