//! RESP2 and RESP3 values: reading and writing them, and one line of text for each.
//!
//! Owns the test's own idea of the protocol, so that the node is never checked with its own
//! code. Reads only what is whole.

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    /// RESP2's `$-1`.
    NullBulk,
    /// RESP2's `*-1`.
    NullArray,
    /// RESP3's `_`.
    Null,
    Array(Vec<Value>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Double(String),
    Bool(bool),
    Big(String),
    Verbatim(Vec<u8>),
}

impl Value {
    pub fn text(&self) -> String {
        match self {
            Self::Simple(bytes) | Self::Error(bytes) | Self::Bulk(bytes) => {
                String::from_utf8_lossy(bytes).into_owned()
            }
            Self::Verbatim(bytes) => String::from_utf8_lossy(&bytes[4..]).into_owned(),
            other => panic!("no text in {}", render(other)),
        }
    }

    pub fn int(&self) -> i64 {
        match self {
            Self::Int(n) => *n,
            other => panic!("no integer: {}", render(other)),
        }
    }

    pub fn items(&self) -> &[Value] {
        match self {
            Self::Array(items) | Self::Set(items) | Self::Push(items) => items,
            other => panic!("no list: {}", render(other)),
        }
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    pub fn ok() -> Self {
        Self::Simple(b"OK".to_vec())
    }
}

/// The first value of `bytes` and its length; `None` while it is not whole.
pub fn parse(bytes: &[u8]) -> Option<(Value, usize)> {
    let mut at = 0;
    let value = value(bytes, &mut at)?;
    Some((value, at))
}

fn line<'a>(bytes: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let end = bytes[*at..].windows(2).position(|pair| pair == b"\r\n")? + *at;
    let line = &bytes[*at..end];
    *at = end + 2;
    Some(line)
}

fn number(line: &[u8]) -> i64 {
    let text = std::str::from_utf8(line).expect("a number is ASCII");
    text.parse().unwrap_or_else(|_| panic!("the server sent {text:?} for a number"))
}

fn blob(bytes: &[u8], at: &mut usize, len: usize) -> Option<Vec<u8>> {
    let blob = bytes.get(*at..*at + len)?.to_vec();
    let end = bytes.get(*at + len..*at + len + 2)?;
    assert_eq!(end, b"\r\n", "a bulk ends with CRLF");
    *at += len + 2;
    Some(blob)
}

fn list(bytes: &[u8], at: &mut usize, len: i64) -> Option<Vec<Value>> {
    (0..len).map(|_| value(bytes, at)).collect()
}

fn value(bytes: &[u8], at: &mut usize) -> Option<Value> {
    let head = line(bytes, at)?;
    let (kind, rest) = head.split_first().expect("a reply begins with its type");
    let text = || String::from_utf8_lossy(rest).into_owned();
    Some(match kind {
        b'+' => Value::Simple(rest.to_vec()),
        b'-' => Value::Error(rest.to_vec()),
        b':' => Value::Int(number(rest)),
        b'$' if rest == b"-1" => Value::NullBulk,
        b'$' => Value::Bulk(blob(bytes, at, number(rest) as usize)?),
        b'*' if rest == b"-1" => Value::NullArray,
        b'*' => Value::Array(list(bytes, at, number(rest))?),
        b'~' => Value::Set(list(bytes, at, number(rest))?),
        b'>' => Value::Push(list(bytes, at, number(rest))?),
        b'%' => {
            let flat = list(bytes, at, number(rest) * 2)?;
            Value::Map(flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
        }
        b'_' => Value::Null,
        b',' => Value::Double(text()),
        b'#' => Value::Bool(rest == b"t"),
        b'(' => Value::Big(text()),
        b'=' => Value::Verbatim(blob(bytes, at, number(rest) as usize)?),
        other => panic!("no reply begins with {:?}", *other as char),
    })
}

/// A request as clients send it.
pub fn request<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// One line that shows every difference in type and content.
pub fn render(value: &Value) -> String {
    let many = |open: &str, items: &[Value]| {
        format!("{open}{}]", items.iter().map(render).collect::<Vec<_>>().join(" "))
    };
    match value {
        Value::Simple(bytes) => format!("+{}", String::from_utf8_lossy(bytes)),
        Value::Error(bytes) => format!("-{}", String::from_utf8_lossy(bytes)),
        Value::Int(n) => format!(":{n}"),
        Value::Bulk(bytes) => quote(bytes),
        Value::NullBulk => "$-1".into(),
        Value::NullArray => "*-1".into(),
        Value::Null => "_".into(),
        Value::Array(items) => many("[", items),
        Value::Set(items) => many("~[", items),
        Value::Push(items) => many(">[", items),
        Value::Map(pairs) => {
            let pairs: Vec<_> =
                pairs.iter().map(|(k, v)| format!("{}={}", render(k), render(v))).collect();
            format!("%{{{}}}", pairs.join(" "))
        }
        Value::Double(text) => format!(",{text}"),
        Value::Bool(yes) => format!("#{}", if *yes { "t" } else { "f" }),
        Value::Big(text) => format!("({text}"),
        Value::Verbatim(bytes) => format!("={}", quote(bytes)),
    }
}

fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in bytes {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'"' | b'\\' => out.extend(['\\', *byte as char]),
            b' '..=b'~' => out.push(*byte as char),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out + "\""
}

/// The line of a value whose lists come in any order, if they do.
pub fn shown(value: Value, any_order: bool) -> String {
    if any_order { render(&sorted(value)) } else { render(&value) }
}

fn sorted(value: Value) -> Value {
    let by_text = |mut items: Vec<Value>| {
        items.sort_by_key(render);
        items
    };
    match value {
        Value::Array(items) => Value::Array(by_text(items.into_iter().map(sorted).collect())),
        Value::Set(items) => Value::Set(by_text(items.into_iter().map(sorted).collect())),
        Value::Map(mut pairs) => {
            pairs.sort_by_key(|(key, _)| render(key));
            Value::Map(pairs)
        }
        other => other,
    }
}
