//! What is wrong, and where; and which word was probably meant.

use std::fmt;
use std::sync::Arc;

/// A place in a file; lines and columns count from 1, and 0 is the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    /// As the operator named it.
    pub file: Arc<str>,
    /// In lines.
    pub line: u32,
    /// In characters.
    pub column: u32,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub spot: Spot,
}

/// One thing that is wrong. The operator is to blame, and the text says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// Where.
    pub spot: Spot,
    /// The field and what is wrong with it.
    pub text: String,
}

impl Spot {
    /// A file as a whole.
    #[must_use]
    pub fn file(name: &str) -> Self {
        Self { file: name.into(), line: 0, column: 0 }
    }
}

impl Diagnostic {
    /// What is wrong at a place. Words of the file may be anything: it stays one line.
    #[must_use]
    pub fn new(spot: &Spot, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.contains(char::is_control) {
            let shown = |c: char| match c.is_control() {
                true => c.escape_default().to_string(),
                false => c.into(),
            };
            text = text.chars().map(shown).collect();
        }
        Self { spot: spot.clone(), text }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.spot, self.text)
    }
}

/// The candidate that is closest to the word, if any is close: one letter in three may differ.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let scored = candidates.into_iter().map(|one| (distance(&word, &one.to_lowercase()), one));
    // The first of equals, so that the same words get the same answer.
    let (distance, one) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= word.chars().count().max(3) / 3).then_some(one)
}

/// `; did you mean X?`, or the list of what there is, or nothing.
pub(crate) fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    /// More than these are no help.
    const LISTED: usize = 16;
    let candidates: Vec<&str> = candidates.into_iter().collect();
    match nearest(word, candidates.iter().copied()) {
        Some(one) => format!("; did you mean {one}?"),
        None if candidates.is_empty() || candidates.len() > LISTED => String::new(),
        None => format!("; there is {}", candidates.join(", ")),
    }
}

/// Letters to insert, delete, replace or swap with the next one (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        (before, last) = (last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_probably_meant() {
        let fields = ["name", "matches", "backendRefs", "timeouts"];
        for (word, expect) in [
            ("matchs", Some("matches")),
            ("backendrefs", Some("backendRefs")),
            ("backednRefs", Some("backendRefs")),
            ("nmae", Some("name")),
            ("x", None),
            ("timeout", Some("timeouts")),
            ("headers", None),
        ] {
            assert_eq!(nearest(word, fields), expect, "{word}");
        }
        assert_eq!(hint("zzz", ["a", "b"]), "; there is a, b");
        assert_eq!(hint("zzz", []), "");
    }

    #[test]
    fn distances() {
        for (a, b, expect) in [("", "abc", 3), ("ab", "ba", 1), ("kitten", "sitting", 3)] {
            assert_eq!((distance(a, b), distance(b, a)), (expect, expect), "{a} {b}");
        }
    }
}
