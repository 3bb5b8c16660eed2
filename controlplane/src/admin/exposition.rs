//! Writes Prometheus' text format
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>, version 0.0.4).

#![forbid(unsafe_code)]

use std::fmt::{Display, Write};

/// The format's media type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page being written, one family after the other.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    family: String,
}

impl Page {
    /// Begins a family; the samples that follow belong to it. Beginning the family that
    /// was begun last goes on with it.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        if self.family == name {
            return;
        }
        self.family = name.to_string();
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string cannot fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One sample of the family, whose name may have a suffix.
    pub fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.text, "{}{suffix}", self.family);
        for (n, (name, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let open = if n == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{name}=\"{value}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }

    /// The page.
    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_samples_and_escapes() {
        let mut page = Page::default();
        page.family("a_total", "counter", "Things\ncounted.");
        page.sample("", &[], 1);
        page.family("a_total", "counter", "again");
        page.sample("_x", &[("k", "v\"\\\n"), ("l", "w")], 0.5);
        assert_eq!(
            page.finish(),
            "# HELP a_total Things\\ncounted.\n# TYPE a_total counter\na_total 1\n\
             a_total_x{k=\"v\\\"\\\\\\n\",l=\"w\"} 0.5\n"
        );
    }
}
