//! From text to trees: YAML 1.2 with several documents a file, of which JSON is a part.
//!
//! Owns the limits on what a file may contain. Knows no schema. The scanner is serde-saphyr's;
//! its events are taken one by one, since every value needs its place, and since what is wrong
//! with one document must not hide what is wrong with the next.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle};

use super::tree::{Entry, Mark, Node, Value};

/// The longest file that is read, in bytes.
pub(crate) const MAX_FILE: u64 = 64 << 20;

/// Values in a file: 10,000 routes have some 300,000. What aliases stand for counts each time,
/// and so does each 64 bytes of a text, so that a small file cannot become a large one.
const MAX_NODES: usize = 2_000_000;

/// Maps and lists within each other; the deepest document has twelve.
const MAX_DEPTH: usize = 64;

/// What is wrong with the text.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) at: Mark,
    pub(crate) text: String,
}

/// What is in a text.
pub(crate) struct Documents {
    pub(crate) whole: Vec<Node>,
    /// What there is of each other one before what is wrong with it.
    pub(crate) broken: Vec<Node>,
    pub(crate) wrong: Vec<Wrong>,
}

/// The documents that could be read, and what is wrong with the others.
pub(crate) fn documents(text: &str) -> Documents {
    let mut parser = Parser::new_from_str(text);
    let mut reader = Reader::default();
    while let Some(event) = parser.next_event() {
        let taken = match event {
            Ok((event, span)) => reader.take(event, mark(span.start.line(), span.start.col())),
            Err(error) => Err(Wrong {
                at: mark(error.marker().line(), error.marker().col()),
                text: format!("not valid YAML: {}", error.info()),
            }),
        };
        if let Err(wrong) = taken {
            reader.abandon(wrong);
            if reader.is_full() || !matches!(parser.proceed_next_document(), Ok(true)) {
                break;
            }
        }
    }
    Documents { whole: reader.documents, broken: reader.broken, wrong: reader.wrong }
}

/// The documents so far.
#[derive(Default)]
struct Reader {
    documents: Vec<Node>,
    broken: Vec<Node>,
    wrong: Vec<Wrong>,
    /// Maps and lists that are not closed yet, outermost first.
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

/// A map or a list that is not closed yet.
struct Open {
    node: Node,
    anchor: usize,
    /// Of a map, the key whose value comes next, and where keys were.
    key: Option<(String, Mark)>,
    keys: HashMap<String, Mark>,
    /// How many values there were before it.
    before: usize,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, at: Mark) -> Result<(), Wrong> {
        match event {
            Event::DocumentStart(..) => self.clear(),
            Event::DocumentEnd => self.documents.extend(self.root.take()),
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.is_some(), at)?;
                if self.wants_key() {
                    return self.key(text.into_owned(), at);
                }
                let size = 1 + text.len() / 64;
                self.put(Node { at, value: scalar(text.into_owned(), style) }, anchor, size)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                refuse_tag(tag.is_some(), at)?;
                self.enter(Node { at, value: Value::List(Vec::new()) }, anchor)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                refuse_tag(tag.is_some(), at)?;
                self.enter(Node { at, value: Value::Map(Vec::new()) }, anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { node, anchor, before, .. }) = self.open.pop() {
                    let size = self.nodes - before;
                    if anchor != 0 {
                        self.anchors.insert(anchor, (node.clone(), size + 1));
                    }
                    self.put(node, 0, 1)?;
                }
            }
            Event::Alias(id) => {
                let known = self.anchors.get(&id).cloned();
                let (node, size) = known.ok_or_else(|| {
                    wrong(at, "an alias within what it stands for is not supported")
                })?;
                self.put(Node { at, ..node }, 0, size)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Begins a document.
    fn clear(&mut self) {
        self.open.clear();
        self.anchors.clear();
        self.root = None;
    }

    /// Notes what is wrong and gives the document up.
    fn abandon(&mut self, wrong: Wrong) {
        self.wrong.push(wrong);
        while let Some(Open { node, .. }) = self.open.pop() {
            // What has just been put in counts already, and there may be no room for more.
            match self.open.last_mut() {
                None => self.broken.push(node),
                Some(outer) => match (&mut outer.node.value, outer.key.take()) {
                    (Value::Map(entries), Some((key, at))) => {
                        entries.push(Entry { key, at, value: node });
                    }
                    (Value::List(items), _) => items.push(node),
                    _ => {}
                },
            }
        }
        self.clear();
    }

    fn is_full(&self) -> bool {
        self.nodes > MAX_NODES
    }

    /// Whether a map's next key comes now.
    fn wants_key(&self) -> bool {
        self.open
            .last()
            .is_some_and(|open| open.key.is_none() && matches!(open.node.value, Value::Map(_)))
    }

    fn key(&mut self, text: String, at: Mark) -> Result<(), Wrong> {
        if let Some(open) = self.open.last_mut() {
            if let Some(first) = open.keys.insert(text.clone(), at) {
                let text = format!("{text} is there twice; the first is in line {}", first.line);
                return Err(Wrong { at, text });
            }
            open.key = Some((text, at));
        }
        Ok(())
    }

    fn enter(&mut self, node: Node, anchor: usize) -> Result<(), Wrong> {
        if self.wants_key() {
            return Err(wrong(node.at, "expected a word as a key, not a map or a list"));
        }
        if self.open.len() == MAX_DEPTH {
            let text = format!("more than {MAX_DEPTH} maps and lists within each other");
            return Err(Wrong { at: node.at, text });
        }
        let (key, keys, before) = (None, HashMap::new(), self.nodes);
        self.open.push(Open { node, anchor, key, keys, before });
        Ok(())
    }

    /// A whole value: into what is open, or as the document.
    fn put(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), Wrong> {
        self.nodes += size;
        if self.is_full() {
            let text = format!("more than {MAX_NODES} values in one file");
            return Err(Wrong { at: node.at, text });
        }
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.node.value, open.key.take()) {
            (Value::Map(entries), Some((key, at))) => entries.push(Entry { key, at, value: node }),
            (Value::List(items), _) => items.push(node),
            _ => return Err(wrong(node.at, "expected a word as a key, not an alias")),
        }
        Ok(())
    }
}

fn wrong(at: Mark, text: &str) -> Wrong {
    Wrong { at, text: text.into() }
}

fn mark(line: usize, column: usize) -> Mark {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Mark { line: count(line), column: count(column).saturating_add(1) }
}

fn refuse_tag(tagged: bool, at: Mark) -> Result<(), Wrong> {
    if tagged { Err(wrong(at, "tags are not supported; quote what is to be text")) } else { Ok(()) }
}

/// What an unquoted word means (YAML 1.2.2 section 10.3.2, core schema).
fn scalar(text: String, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text);
    }
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        number if is_number(number) => Value::Number(text),
        _ => Value::Text(text),
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (other, radix) = (digits.get(2..).unwrap_or(""), digits.get(..2));
    match radix {
        Some("0x") => !other.is_empty() && other.bytes().all(|b| b.is_ascii_hexdigit()),
        Some("0o") => !other.is_empty() && other.bytes().all(|b| (b'0'..=b'7').contains(&b)),
        _ if matches!(digits, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") => true,
        _ => {
            let begins = digits.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit());
            begins && !digits.starts_with("..") && digits.parse::<f64>().is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(node: &Node) -> String {
        let Mark { line, column } = node.at;
        let value = match &node.value {
            Value::List(items) => {
                format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" "))
            }
            Value::Map(entries) => {
                let pair = |e: &Entry| format!("{}:{}", e.key, shown(&e.value));
                format!("{{{}}}", entries.iter().map(pair).collect::<Vec<_>>().join(" "))
            }
            _ => node.described(),
        };
        format!("{value}@{line}:{column}")
    }

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        let Documents { whole, wrong, .. } = documents(text);
        let documents = whole.iter().map(shown);
        let wrong = wrong.iter().map(|w| format!("{}:{} {}", w.at.line, w.at.column, w.text));
        let seen: Vec<String> = documents.chain(wrong).collect();
        assert_eq!(seen, expect, "{text}");
    }

    #[test]
    fn everything_has_its_place() {
        check(
            "a: 1\nb:\n  - x\n  - [y, 'z']\n",
            &["{a:the number 1@1:4 b:['x'@3:5 ['y'@4:6 'z'@4:9]@4:5]@3:3}@1:1"],
        );
        check("{\"a\": {\"b\": [true, null]}}", &["{a:{b:[true@1:14 nothing@1:20]@1:13}@1:7}@1:1"]);
        check("--- 1\n---\n--- yes\n...\n", &["the number 1@1:5", "nothing@2:4", "'yes'@3:5"]);
    }

    #[test]
    fn words_mean_what_the_core_schema_says() {
        check(
            "[0x1f, 0o17, -1, .5, 1e3, 1.2.3, '1', 127.0.0.1, ~, no, 1s, inf]",
            &["[the number 0x1f@1:2 the number 0o17@1:8 the number -1@1:14 the number .5@1:18 \
             the number 1e3@1:22 '1.2.3'@1:27 '1'@1:34 '127.0.0.1'@1:39 nothing@1:50 'no'@1:53 \
             '1s'@1:57 'inf'@1:61]@1:1"],
        );
    }

    #[test]
    fn a_wrong_document_does_not_hide_the_next() {
        let text = "a: [1\n---\nb: 2\n---\nc: 1\nc: 2\n---\nd: !x 1\n---\n[a, b]: 1\n---\ne: 3\n";
        let Documents { whole, broken, wrong } = documents(text);
        let shown = |nodes: &[Node]| nodes.iter().map(shown).collect::<Vec<_>>();
        assert_eq!(shown(&whole), ["{b:the number 2@3:4}@3:1", "{e:the number 3@12:4}@12:1"]);
        assert_eq!(
            shown(&broken),
            ["{a:[]@1:4}@1:1", "{c:the number 1@5:4}@5:1", "{}@8:1", "{}@10:1"],
            "what there was before"
        );
        let lines: Vec<_> = wrong.iter().map(|wrong| wrong.at.line).collect();
        assert_eq!(lines, [1, 6, 8, 10], "{wrong:?}");
    }

    #[test]
    fn aliases_cannot_blow_up() {
        check("a: &x [1]\nb: *x\n", &["{a:[the number 1@1:8]@1:7 b:[the number 1@1:8]@2:4}@1:1"]);
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let all = vec![format!("*a{}", n - 1); 10].join(", ");
            text += &format!("a{n}: &a{n} [{all}]\n");
        }
        let Documents { whole, wrong, .. } = documents(&text);
        assert_eq!((whole.len(), wrong.len()), (0, 1));
        assert_eq!(wrong[0].text, "more than 2000000 values in one file");
        check("a: &a [*a]", &["1:8 an alias within what it stands for is not supported"]);
        let deep = "[".repeat(70) + &"]".repeat(70);
        check(&deep, &["1:65 more than 64 maps and lists within each other"]);
    }
}
