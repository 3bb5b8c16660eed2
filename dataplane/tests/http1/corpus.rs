//! The files of cases: their format is told in `cases/README.md`.

use std::fs;
use std::path::Path;

/// One message, and what must become of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    /// Its name, unique in all files.
    pub(crate) name: String,
    /// Which rule it is about.
    pub(crate) rfc: String,
    /// `ok`, `more`, or a status and a reason.
    pub(crate) want: String,
    /// What must be understood.
    pub(crate) sees: Vec<(String, Vec<u8>)>,
    /// For responses: the request's method, and perhaps `upgrade`.
    pub(crate) to: String,
    /// The message.
    pub(crate) bytes: Vec<u8>,
}

/// All cases of one file in `folder`.
pub(crate) fn load(folder: &Path, file: &str) -> Vec<Case> {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut cases: Vec<Case> = Vec::new();
    for (nth, line) in text.lines().enumerate() {
        let at = || format!("{file}:{}", nth + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("== ") {
            cases.push(Case { name: name.to_owned(), ..Case::default() });
            continue;
        }
        let case = cases.last_mut().unwrap_or_else(|| panic!("{}: no case yet", at()));
        if let Some(bytes) = line.strip_prefix("> ") {
            case.bytes.extend(unescape(bytes.as_bytes(), &at()));
        } else if let Some((key, value)) = line.split_once(':') {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match key {
                "rfc" => case.rfc = value.to_owned(),
                "want" => case.want = value.to_owned(),
                "to" => case.to = value.to_owned(),
                "sees" => {
                    let (key, value) = value.split_once('=').expect("KEY=VALUE");
                    case.sees.push((key.to_owned(), unescape(value.as_bytes(), &at())));
                }
                _ => panic!("{}: unknown key {key}", at()),
            }
        } else {
            panic!("{}: a line that is nothing", at());
        }
    }
    for case in &cases {
        assert!(!case.rfc.is_empty() && !case.want.is_empty(), "{file}: {} is whole", case.name);
    }
    cases
}

fn unescape(mut text: &[u8], at: &str) -> Vec<u8> {
    let mut out = Vec::new();
    while let [first, rest @ ..] = text {
        text = rest;
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        let [kind, rest @ ..] = text else { panic!("{at}: an escape without a letter") };
        text = rest;
        match kind {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b'\\' => out.push(b'\\'),
            b'x' => {
                let digits = std::str::from_utf8(&text[..2]).expect("two digits");
                out.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
                text = &text[2..];
            }
            b'{' => {
                let star = text.iter().position(|byte| *byte == b'*').expect("N*TEXT");
                let end = text.iter().position(|byte| *byte == b'}').expect("a closing brace");
                let count = std::str::from_utf8(&text[..star]).expect("digits");
                let times: usize = count.parse().expect("a number");
                out.extend(unescape(&text[star + 1..end], at).repeat(times));
                text = &text[end + 1..];
            }
            other => panic!("{at}: no escape is {}", char::from(*other)),
        }
    }
    out
}
