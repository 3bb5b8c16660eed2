//! Text of conversations: what a line stands for, as bytes to send or as a pattern to meet.
//!
//! ```text
//! \r \n \t \0 \\ \xHH        one byte each
//! \{N*TEXT}                  TEXT, N times
//! ...\                       at the end of a line: no CRLF follows
//! {date}                     in a pattern: a date of IMF-fixdate (RFC 9110 section 5.6.7)
//! {id} {id:NAME}             a request's id; one NAME is one id, another NAME another one
//! {chunks:TEXT}              TEXT in chunks, however it is cut
//! {number}                   in a pattern: decimal digits
//! ```
//!
//! Short forms, each a whole line; `HOST` is `x.test` where it is left out, `-` for none:
//!
//! ```text
//! @get PATH [HOST]           a plain GET: as a client sends it, or as it has to arrive behind
//! @via [HOST] [VERSION]      what is added to a request
//! @ok TEXT                   200 with a length: as a server sends it, or as it has to come back
//! @ok-close TEXT             the same where our connection to the client ends with it
//! @back [VERSION]            what is added to an answer that has no date
//! @dated [VERSION]           what is added to one that has
//! @problem STATUS CAUSE [close] [old] [head] [id=ID] [+FIELD: VALUE]...
//!                            an answer of our own
//! ```

use std::sync::atomic::{AtomicUsize, Ordering};

/// Part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Bytes(Vec<u8>),
    Date,
    /// Of this name, if it has one.
    Id(Option<String>),
    Chunks(Vec<u8>),
    /// Digits; how many bytes there are between `Mark` and `Marked`.
    Number,
    Mark,
    Marked,
    /// One sentence.
    Sentence,
}

/// Host of short forms.
const HOST: &str = "x.test";

/// The bytes that `line` stands for when it is sent.
pub fn sent(line: &str) -> Vec<u8> {
    let mut words = line.split(' ');
    match words.next().unwrap_or_default() {
        "@get" => {
            let path = words.next().expect("@get PATH");
            let host = words.next().unwrap_or(HOST);
            unescape(&format!("GET {path} HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n"))
        }
        "@ok" => ok(&line["@ok".len()..], "").concat(),
        form if form.starts_with('@') => panic!("{form} cannot be sent"),
        _ => with_end(line, unescape),
    }
}

/// The pattern that `line` stands for when it is expected.
pub fn expected(line: &str) -> Vec<Piece> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[0] {
        "@get" => {
            let host = words.get(2).copied().unwrap_or(HOST);
            let line = format!("GET {} HTTP/1.1\\r\\nHost: {host}\\r\\n", words[1]);
            let mut head = vec![Piece::Bytes(unescape(&line))];
            head.extend(via(host, "1.1"));
            head.extend(pieces("\r\n"));
            head
        }
        "@via" => via(words.get(1).unwrap_or(&HOST), words.get(2).unwrap_or(&"1.1")),
        "@back" => back(words.get(1).unwrap_or(&"1.1")),
        "@dated" => pieces(&format!("Via: {} corelane\r\n", words.get(1).unwrap_or(&"1.1"))),
        "@ok" => answered(&line["@ok".len()..], ""),
        "@ok-close" => answered(&line["@ok-close".len()..], "Connection: close\r\n"),
        "@problem" => problem(line),
        form if form.starts_with('@') => panic!("{form} is no short form"),
        _ => with_end(line, patterns),
    }
}

/// The cause that an answer of our own names, if `line` is one.
pub fn cause(line: &str) -> Option<&str> {
    let mut words = line.split(' ');
    (words.next() == Some("@problem")).then(|| words.nth(1).expect("@problem STATUS CAUSE"))
}

/// A line's text with its CRLF, unless it ends with one backslash.
fn with_end<T: Extend<P> + IntoIterator<Item = P>, P>(
    line: &str,
    understand: impl Fn(&str) -> T,
) -> T {
    let open = line.ends_with('\\') && !line.ends_with("\\\\");
    let text = if open { &line[..line.len() - 1] } else { line };
    let mut all = understand(text);
    if !open {
        all.extend(understand("\\r\\n"));
    }
    all
}

/// What a server answers: head, and content.
fn ok(text: &str, fields: &str) -> [Vec<u8>; 2] {
    let content = unescape(text.strip_prefix(' ').unwrap_or(text));
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{fields}\r\n", content.len());
    [head.into_bytes(), content]
}

/// The same as a client gets it.
fn answered(text: &str, fields: &str) -> Vec<Piece> {
    let [mut head, content] = ok(text, fields);
    head.truncate(head.len() - 2);
    let mut all = vec![Piece::Bytes(head)];
    all.extend(back("1.1"));
    all.push(Piece::Bytes([b"\r\n", &content[..]].concat()));
    all
}

fn via(host: &str, version: &str) -> Vec<Piece> {
    let (mut named, mut forwarded) = (String::new(), String::new());
    if host != "-" {
        let quote = if host.contains(':') { "\"" } else { "" };
        named = format!("X-Forwarded-Host: {host}\r\n");
        forwarded = format!(";host={quote}{host}{quote}");
    }
    let mut all = pieces(&format!(
        "Via: {version} corelane\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n\
         {named}Forwarded: for=127.0.0.1;proto=http{forwarded}\r\nX-Request-Id: "
    ));
    all.extend([Piece::Id(None), Piece::Bytes(b"\r\n".to_vec())]);
    all
}

fn back(version: &str) -> Vec<Piece> {
    let mut all = pieces(&format!("Via: {version} corelane\r\nDate: "));
    all.extend([Piece::Date, Piece::Bytes(b"\r\n".to_vec())]);
    all
}

/// The form of our own answers: RFC 9457, with a sentence, the request's id and where to look.
fn problem(line: &str) -> Vec<Piece> {
    /// Each answer has an id of its own.
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let (line, fields) = line.split_once(" +").unwrap_or((line, ""));
    let words: Vec<&str> = line.split(' ').collect();
    let (status, cause, options) = (words[1], words[2], &words[3..]);
    let title = reason(status);
    let given = options.iter().find_map(|option| option.strip_prefix("id="));
    let id = given.map_or_else(
        || Piece::Id(Some(format!("our answer {}", NEXT.fetch_add(1, Ordering::Relaxed)))),
        |given| Piece::Bytes(given.as_bytes().to_vec()),
    );
    let fields: String =
        fields.split(" +").filter(|f| !f.is_empty()).map(|f| format!("{f}\r\n")).collect();
    let connection = match options {
        all if all.contains(&"close") => "Connection: close\r\n",
        all if all.contains(&"old") => "Connection: keep-alive\r\n",
        _ => "",
    };
    let mut all = pieces(&format!("HTTP/1.1 {status} {title}\r\nDate: "));
    all.push(Piece::Date);
    all.extend(pieces(
        "\r\nContent-Type: application/problem+json\r\nCache-Control: no-store\r\nX-Request-Id: ",
    ));
    all.push(id.clone());
    all.extend(pieces(&format!("\r\n{fields}{connection}Content-Length: ")));
    all.extend([Piece::Number, Piece::Bytes(b"\r\n\r\n".to_vec())]);
    if options.contains(&"head") {
        return all;
    }
    all.push(Piece::Mark);
    all.extend(pieces(&format!(
        "{{\"type\":\"urn:corelane:{cause}\",\"title\":\"{title}\",\"status\":{status},\"detail\":\""
    )));
    all.push(Piece::Sentence);
    all.extend(pieces("\",\"request_id\":\""));
    all.push(id);
    all.extend(pieces("\",\"more\":\""));
    all.push(Piece::Sentence);
    all.extend(pieces("\"}\n"));
    all.push(Piece::Marked);
    all
}

/// RFC 9110 section 15, RFC 5842, RFC 6585.
fn reason(status: &str) -> &'static str {
    match status {
        "400" => "Bad Request",
        "404" => "Not Found",
        "408" => "Request Timeout",
        "414" => "URI Too Long",
        "417" => "Expectation Failed",
        "429" => "Too Many Requests",
        "431" => "Request Header Fields Too Large",
        "500" => "Internal Server Error",
        "501" => "Not Implemented",
        "502" => "Bad Gateway",
        "503" => "Service Unavailable",
        "504" => "Gateway Timeout",
        "505" => "HTTP Version Not Supported",
        "508" => "Loop Detected",
        other => panic!("no answer of our own has the status {other}"),
    }
}

fn pieces(text: &str) -> Vec<Piece> {
    vec![Piece::Bytes(text.as_bytes().to_vec())]
}

/// A pattern with its placeholders.
fn patterns(text: &str) -> Vec<Piece> {
    let (mut all, mut rest) = (Vec::new(), text);
    while let Some((from, to, piece)) = placeholder(rest) {
        all.push(Piece::Bytes(unescape(&rest[..from])));
        all.push(piece);
        rest = &rest[to..];
    }
    all.push(Piece::Bytes(unescape(rest)));
    all
}

/// The first placeholder: from where to where.
fn placeholder(text: &str) -> Option<(usize, usize, Piece)> {
    text.match_indices('{').find_map(|(from, _)| {
        let escaped = text[..from].ends_with('\\');
        let to = from + closing(&text[from..])? + 1;
        let piece = match text[from + 1..to - 1].split_once(':') {
            _ if escaped => return None,
            None if &text[from..to] == "{date}" => Piece::Date,
            None if &text[from..to] == "{id}" => Piece::Id(None),
            None if &text[from..to] == "{number}" => Piece::Number,
            Some(("id", name)) => Piece::Id(Some(name.to_owned())),
            Some(("chunks", content)) => Piece::Chunks(unescape(content)),
            _ => return None,
        };
        Some((from, to, piece))
    })
}

/// Where the brace is closed that `text` begins with.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0;
    text.bytes().position(|byte| {
        open += i32::from(byte == b'{') - i32::from(byte == b'}');
        open == 0
    })
}

/// Escapes resolved.
pub fn unescape(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let (bytes, len) = escape(&rest[at + 1..]);
        out.extend(bytes);
        rest = &rest[at + 1 + len..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// What stands behind a backslash, and how long that is.
fn escape(text: &str) -> (Vec<u8>, usize) {
    let one = |byte| (vec![byte], 1);
    match text.as_bytes().first() {
        Some(b'r') => one(b'\r'),
        Some(b'n') => one(b'\n'),
        Some(b't') => one(b'\t'),
        Some(b'0') => one(0),
        Some(b'\\') => one(b'\\'),
        Some(b'x') => (vec![u8::from_str_radix(&text[1..3], 16).expect("\\xHH")], 3),
        Some(b'{') => {
            let end = text.find('}').expect("\\{N*TEXT}");
            let (times, what) = text[1..end].split_once('*').expect("\\{N*TEXT}");
            let times = times.parse().expect("\\{N*TEXT}, N a number");
            (unescape(what).repeat(times), end + 1)
        }
        _ => panic!("no escape: \\{text:.5}"),
    }
}
