//! The files under tests/conversations: what they say, read and written.
//!
//! Owns the text format and knows no server. A comment or blank line stays where it is when
//! a file is recorded anew.
//!
//! ```text
//! # recorded from: valkey-server 9.1.2       first line: who gave the replies
//! == title                                   a section: fresh connections, empty databases
//! == title [resp2]                           a section for one protocol only
//! > SET "a b" 1                              a request, quoted as redis-cli does
//! < +OK                                      its reply
//! b> GET k                                   the same on a connection named b
//! < "v"
//! 3< "v"                                     RESP3's reply where it is another
//! > CLIENT ID
//! <? :*                                      a reply written by hand, * for anything
//! >~ KEYS *                                  elements come in any order
//! >! CLIENT REPLY OFF                        a request that gets no reply
//! wait 20                                    milliseconds
//! ```

use std::fmt::Write as _;

/// What one request must be answered with.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    pub resp2: Option<String>,
    /// Where it differs from RESP2's.
    pub resp3: Option<String>,
    /// Written by hand: a pattern that is kept when the rest is recorded.
    pub pattern: bool,
}

#[derive(Clone, Debug)]
pub struct Exchange {
    pub connection: String,
    pub args: Vec<Vec<u8>>,
    /// As it stands in the file.
    pub words: String,
    pub any_order: bool,
    pub silent: bool,
    pub expected: Expected,
    pub line: usize,
}

#[derive(Clone, Debug)]
pub enum Step {
    Exchange(Exchange),
    Wait { ms: u64 },
    Text(String),
}

#[derive(Clone, Debug)]
pub struct Section {
    pub title: String,
    /// 2 or 3 for one protocol only.
    pub only: Option<u8>,
    pub steps: Vec<Step>,
}

/// A whole file.
#[derive(Clone, Debug)]
pub struct File {
    pub recorded_from: Option<String>,
    pub preamble: Vec<String>,
    pub sections: Vec<Section>,
}

const RECORDED: &str = "# recorded from: ";

pub fn parse(text: &str) -> File {
    let mut file = File { recorded_from: None, preamble: Vec::new(), sections: Vec::new() };
    for (number, line) in text.lines().enumerate() {
        if let Some(from) = line.strip_prefix(RECORDED) {
            file.recorded_from = Some(from.to_owned());
        } else if let Some(title) = line.strip_prefix("== ") {
            file.sections.push(section(title));
        } else if let Some(section) = file.sections.last_mut() {
            take(section, line, number + 1);
        } else {
            file.preamble.push(line.to_owned());
        }
    }
    file
}

fn section(title: &str) -> Section {
    let only = match title.rsplit_once(" [resp") {
        Some((_, "2]")) => Some(2),
        Some((_, "3]")) => Some(3),
        _ => None,
    };
    Section { title: title.to_owned(), only, steps: Vec::new() }
}

fn take(section: &mut Section, line: &str, number: usize) {
    if let Some(ms) = line.strip_prefix("wait ") {
        let ms = ms.parse().unwrap_or_else(|_| panic!("line {number}: milliseconds"));
        return section.steps.push(Step::Wait { ms });
    }
    let reply =
        line.strip_prefix("3<").map(|r| (true, r)).or(line.strip_prefix('<').map(|r| (false, r)));
    if let Some((third, rest)) = reply {
        let Some(Step::Exchange(exchange)) =
            section.steps.iter_mut().rev().find(|step| matches!(step, Step::Exchange(_)))
        else {
            panic!("line {number}: a reply to nothing");
        };
        let expected = &mut exchange.expected;
        expected.pattern |= rest.starts_with('?');
        let text = rest.trim_start_matches('?').trim_start().to_owned();
        *(if third { &mut expected.resp3 } else { &mut expected.resp2 }) = Some(text);
        return;
    }
    match line.split_once('>') {
        Some((name, rest)) if !line.starts_with('#') && !name.contains(' ') => {
            section.steps.push(Step::Exchange(exchange(name, rest, number)));
        }
        _ => {
            assert!(line.is_empty() || line.starts_with('#'), "line {number}: what is {line:?}?");
            section.steps.push(Step::Text(line.to_owned()));
        }
    }
}

fn exchange(name: &str, rest: &str, line: usize) -> Exchange {
    let any_order = rest.starts_with('~');
    let silent = rest.starts_with('!');
    let words = rest.trim_start_matches(['~', '!']).trim().to_owned();
    let args = split(&words).unwrap_or_else(|| panic!("line {line}: quotes"));
    assert!(!args.is_empty(), "line {line}: a request without a command");
    let expected = Expected::default();
    Exchange { connection: name.to_owned(), args, words, any_order, silent, expected, line }
}

/// Splits as redis-cli does: `"..."` knows \n \r \t \xHH, `'...'` knows none.
pub fn split(words: &str) -> Option<Vec<Vec<u8>>> {
    let (mut args, mut bytes) = (Vec::new(), words.bytes().peekable());
    loop {
        while bytes.next_if(|b| *b == b' ').is_some() {}
        let Some(first) = bytes.peek().copied() else { return Some(args) };
        let mut arg = Vec::new();
        if first == b'"' || first == b'\'' {
            bytes.next();
            loop {
                match bytes.next()? {
                    byte if byte == first => break,
                    b'\\' if first == b'"' => arg.push(match bytes.next()? {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'x' => {
                            let digits = [bytes.next()?, bytes.next()?];
                            let text = std::str::from_utf8(&digits).ok()?;
                            u8::from_str_radix(text, 16).ok()?
                        }
                        other => other,
                    }),
                    byte => arg.push(byte),
                }
            }
        } else {
            while let Some(byte) = bytes.next_if(|b| *b != b' ') {
                arg.push(byte);
            }
        }
        args.push(arg);
    }
}

/// The file's text; `parse` of it gives the same file.
pub fn write(file: &File) -> String {
    let mut out = String::new();
    if let Some(from) = &file.recorded_from {
        let _ = writeln!(out, "{RECORDED}{from}");
    }
    for line in &file.preamble {
        let _ = writeln!(out, "{line}");
    }
    for section in &file.sections {
        let _ = writeln!(out, "== {}", section.title);
        for step in &section.steps {
            match step {
                Step::Text(text) => _ = writeln!(out, "{text}"),
                Step::Wait { ms } => _ = writeln!(out, "wait {ms}"),
                Step::Exchange(exchange) => write_exchange(&mut out, exchange),
            }
        }
    }
    out
}

fn write_exchange(out: &mut String, exchange: &Exchange) {
    let mark = match (exchange.any_order, exchange.silent) {
        (true, _) => "~",
        (_, true) => "!",
        _ => "",
    };
    let _ = writeln!(out, "{}>{mark} {}", exchange.connection, exchange.words);
    let hand = if exchange.expected.pattern { "?" } else { "" };
    if let Some(reply) = &exchange.expected.resp2 {
        let _ = writeln!(out, "<{hand} {reply}");
    }
    if let Some(reply) = &exchange.expected.resp3 {
        let _ = writeln!(out, "3<{hand} {reply}");
    }
}

/// Whether `text` is `pattern`, in which `*` stands for anything. Linear in each star's reach.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().expect("split gives at least one part");
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
