//! A reader of HTTP/1.1 that forgives nothing.
//!
//! Shares no code with what is tested, so that the two cannot agree on a fault: the node's
//! messages must be of the narrowest form that RFC 9112 has, with one way to read them.

#![allow(dead_code, unreachable_pub)] // each test uses its own part

/// A whole message.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The start line.
    pub line: String,
    pub fields: Vec<(String, String)>,
    pub content: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// Bytes of all of it.
    pub len: usize,
}

/// What bytes begin with.
#[derive(Clone, Debug)]
pub enum Found {
    Message(Message),
    /// More has to come; the start line, if that is there.
    More(Option<String>),
    Bad(String),
}

impl Message {
    /// The values of a field.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let same = move |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.fields.iter().filter(same).map(|(_, value)| value.as_str())
    }

    /// The words of the start line.
    pub fn word(&self, n: usize) -> &str {
        self.line.split(' ').nth(n).unwrap_or_default()
    }
}

/// Whose messages are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The node's: a request has what it adds, and nothing that concerns one connection.
    Node,
    /// Another proxy's.
    Other,
}

/// Reads a request, or an answer to one; an answer to HEAD has no content.
pub fn read(bytes: &[u8], request: bool, to_head: bool) -> Found {
    read_from(From::Node, bytes, request, to_head)
}

/// The same from whoever it may be.
pub fn read_from(from: From, bytes: &[u8], request: bool, to_head: bool) -> Found {
    match try_read(from, bytes, request, to_head) {
        Ok(message) => Found::Message(message),
        Err(None) => {
            let end = bytes.windows(2).position(|two| two == b"\r\n");
            Found::More(end.map(|end| String::from_utf8_lossy(&bytes[..end]).into_owned()))
        }
        Err(Some(why)) => Found::Bad(why),
    }
}

/// `Err(None)`: more has to come.
type Result<T> = std::result::Result<T, Option<String>>;

fn bad<T>(why: impl Into<String>) -> Result<T> {
    Err(Some(why.into()))
}

/// The line at the beginning, without its CRLF; neither CR nor LF may stand alone.
fn line(bytes: &[u8]) -> Result<(&[u8], usize)> {
    let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0)) else {
        return Err(None);
    };
    match bytes.get(end..end + 2) {
        Some(b"\r\n") => Ok((&bytes[..end], end + 2)),
        None if bytes[end] == b'\r' => Err(None),
        _ => bad(format!("CR, LF or NUL by itself after {:?}", lossy(&bytes[..end]))),
    }
}

fn lossy(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn is_token(text: &[u8]) -> bool {
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !text.is_empty() && text.iter().all(fits)
}

/// Field lines and the empty line after them.
fn fields(bytes: &[u8], at: &mut usize) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    loop {
        let (text, len) = line(&bytes[*at..])?;
        *at += len;
        if text.is_empty() {
            return Ok(all);
        }
        let colon = text.iter().position(|byte| *byte == b':').unwrap_or(0);
        let (name, value) = (&text[..colon], text.get(colon + 1..).unwrap_or_default());
        let value = match value {
            [b' ', value @ ..] => value,
            _ => return bad(format!("no single space after the name in {:?}", lossy(text))),
        };
        let padded = value.first().or(value.last()).is_some_and(|b| matches!(b, b' ' | b'\t'));
        let control = value.iter().any(|b| *b < 0x20 && *b != b'\t' || *b == 0x7f);
        if !is_token(name) || padded || control {
            return bad(format!("no field line: {:?}", lossy(text)));
        }
        all.push((lossy(name), lossy(value)));
    }
}

fn try_read(from: From, bytes: &[u8], request: bool, to_head: bool) -> Result<Message> {
    let (start, mut at) = line(bytes)?;
    let start = lossy(start);
    if request {
        request_line(&start)?
    } else {
        status_line(&start)?
    }
    let fields = fields(bytes, &mut at)?;
    let mut message = Message { line: start, fields, ..Message::default() };
    let twin = |name: &str| {
        let plain: String = name.chars().filter(|c| !"-_".contains(*c)).collect();
        name.contains('_')
            && ["contentlength", "transferencoding", "host"]
                .contains(&plain.to_ascii_lowercase().as_str())
    };
    if let Some((name, _)) = message.fields.iter().find(|(name, _)| twin(name)) {
        return bad(format!("a twin of a field that frames: {name}"));
    }
    if request && from == From::Node {
        request_fields(&message)?;
    }
    let status = message.word(1).to_owned();
    let bare =
        !request && (to_head || status.starts_with('1') || status == "204" || status == "304");
    content(&mut message, bytes, at, request, bare)?;
    Ok(message)
}

fn request_line(text: &str) -> Result<()> {
    let words: Vec<&str> = text.split(' ').collect();
    let good = words.len() == 3
        && is_token(words[0].as_bytes())
        && words[1].bytes().all(|b| b.is_ascii_graphic())
        && (words[1].starts_with('/') || words[1] == "*")
        && words[2] == "HTTP/1.1";
    if good { Ok(()) } else { bad(format!("no request line: {text:?}")) }
}

fn status_line(text: &str) -> Result<()> {
    let digits = |text: &str| text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
    let mut words = text.splitn(3, ' ');
    let good = words.next() == Some("HTTP/1.1")
        && words.next().is_some_and(digits)
        && words.next().is_some();
    if good { Ok(()) } else { bad(format!("no status line: {text:?}")) }
}

/// What every request to a server has once, and the first is Host.
fn request_fields(message: &Message) -> Result<()> {
    for name in ["Host", "Via", "X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "X-Request-Id"]
    {
        if message.all(name).count() != 1 {
            return bad(format!("{name}, {} times", message.all(name).count()));
        }
    }
    match message.fields.first() {
        Some((name, host)) if name == "Host" && !host.contains([',', '@', ' ', '/']) => {}
        other => return bad(format!("Host is not first, or none: {other:?}")),
    }
    let hops = ["Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Trailer"];
    match hops.into_iter().find(|name| message.all(name).count() > 0) {
        Some(name) => bad(format!("{name} was passed on")),
        None => Ok(()),
    }
}

/// The content, in one framing only.
fn content(
    message: &mut Message,
    bytes: &[u8],
    mut at: usize,
    request: bool,
    bare: bool,
) -> Result<()> {
    let lengths: Vec<&str> = message.all("Content-Length").collect();
    let codings: Vec<&str> = message.all("Transfer-Encoding").collect();
    match (lengths.as_slice(), codings.as_slice()) {
        (_, []) if bare => {}
        ([], []) if request => {}
        ([length], []) => {
            let digits = length.bytes().all(|b| b.is_ascii_digit());
            let shortest = *length == "0" || !length.starts_with('0');
            let Some(n) = length.parse::<usize>().ok().filter(|_| digits && shortest) else {
                return bad(format!("no length: {length:?}"));
            };
            message.content = bytes.get(at..at + n).ok_or(None)?.to_vec();
            at += n;
        }
        ([], ["chunked"]) => (message.content, message.trailers) = chunks(bytes, &mut at)?,
        other => return bad(format!("framed by {other:?}")),
    }
    message.len = at;
    Ok(())
}

type Chunks = (Vec<u8>, Vec<(String, String)>);

fn chunks(bytes: &[u8], at: &mut usize) -> Result<Chunks> {
    let mut all = Vec::new();
    loop {
        let (text, len) = line(&bytes[*at..])?;
        *at += len;
        let digits = text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let shortest = text == b"0" || !text.starts_with(b"0");
        let size = usize::from_str_radix(&lossy(text), 16).ok();
        let Some(size) = size.filter(|_| digits && shortest) else {
            return bad(format!("no chunk size: {:?}", lossy(text)));
        };
        if size == 0 {
            return Ok((all, fields(bytes, at)?));
        }
        let data = bytes.get(*at..*at + size + 2).ok_or(None)?;
        if !data.ends_with(b"\r\n") {
            return bad("no CRLF after a chunk's data");
        }
        all.extend_from_slice(&data[..size]);
        *at += size + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDED: &str = "Via: 1.1 a\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: http\r\n\
                         Forwarded: for=1.2.3.4\r\nX-Request-Id: x\r\n";

    /// `m` a message, `+` more has to come, else why not.
    fn found(text: &str, request: bool) -> String {
        match read(text.replace('+', ADDED).as_bytes(), request, false) {
            Found::Message(message) => format!("m {}", lossy(&message.content)),
            Found::More(_) => "more".into(),
            Found::Bad(why) => why,
        }
    }

    #[track_caller]
    fn check(request: bool, cases: &[(&str, &str)]) {
        for (text, wanted) in cases {
            let got = found(text, request);
            assert!(got.starts_with(wanted), "{text:?} is {got:?}, not {wanted:?}");
        }
    }

    #[test]
    fn requests_are_of_one_form() {
        check(
            true,
            &[
                ("GET / HTTP/1.1\r\nHost: a\r\n+\r\n", "m "),
                ("P / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n+\r\nhi", "m hi"),
                ("P / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n+\r\nh", "more"),
                ("P / HTTP/1.1\r\nHost: a\r\nContent-Length: 02\r\n+\r\nhi", "no length"),
                ("P / HTTP/1.1\r\nHost: a\r\nContent-Length:  2\r\n+\r\nhi", "no field line"),
                ("P / HTTP/1.1\r\nHost: a\r\nContent-Length:2\r\n+\r\nhi", "no single space"),
                ("P / HTTP/1.1\r\nHost: a\r\nContent_Length: 2\r\n+\r\nhi", "a twin"),
                (
                    "P / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n+\r\nhi",
                    "framed by",
                ),
                ("GET  / HTTP/1.1\r\nHost: a\r\n+\r\n", "no request line"),
                ("GET / HTTP/1.0\r\nHost: a\r\n+\r\n", "no request line"),
                ("GET / HTTP/1.1\nHost: a\r\n+\r\n", "CR, LF"),
                ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n+\r\n", "CR, LF"),
                ("GET / HTTP/1.1\r\n+Host: a\r\n\r\n", "Host is not first"),
                ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n+\r\n", "Host, 2 times"),
                ("GET / HTTP/1.1\r\nHost: a\r\nTrailer: a\r\n+\r\n", "Trailer was passed on"),
                ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "Via, 0 times"),
            ],
        );
    }

    #[test]
    fn contents_are_of_one_form() {
        let chunked = |rest: &str| {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            found(&format!("{head}{rest}"), false)
        };
        for (rest, wanted) in [
            ("2\r\nhi\r\n0\r\n\r\n", "m hi"),
            ("2\r\nhi\r\n0\r\n", "more"),
            ("02\r\nhi\r\n0\r\n\r\n", "no chunk size"),
            ("A\r\n0123456789\r\n0\r\n\r\n", "no chunk size"),
            ("2;a\r\nhi\r\n0\r\n\r\n", "no chunk size"),
            ("2\nhi\r\n0\r\n\r\n", "CR, LF"),
            ("2\r\nhi!\n0\r\n\r\n", "no CRLF"),
        ] {
            let got = chunked(rest);
            assert!(got.starts_with(wanted), "{rest:?} is {got:?}, not {wanted:?}");
        }
        check(
            false,
            &[
                ("HTTP/1.1 204 No\r\n\r\n", "m "),
                ("HTTP/1.1 200 OK\r\n\r\n", "framed by"),
                ("HTTP/1.1 2000 OK\r\n\r\n", "no status line"),
            ],
        );
    }
}
