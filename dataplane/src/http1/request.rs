//! The head of a request: its line, and what its fields say.

use super::bytes::{self, TOKEN};
use super::facts::Facts;
use super::fields::{Fields, Span};
use super::host::{self, Authority};
use super::scan::{self, Scan, Stop};
use super::target::{self, Form, Target};
use super::{Framing, Limits, Refusal, Version};

/// Longest method. The longest registered one has 16 bytes.
const MAX_METHOD: usize = 32;
const _: () = assert!(2 + MAX_METHOD < scan::PREFIX, "a method is judged within the prefix");

/// The methods that somebody here treats differently; names are case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the method it is called after")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
    /// Any other.
    Other,
}

impl Method {
    fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }
}

/// The head of a request that keeps all rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Its bytes, an empty line before it included; the body begins there.
    pub len: usize,
    /// As received.
    pub name: Span,
    /// What `name` is.
    pub method: Method,
    /// What it is for.
    pub target: Target,
    /// Who is asked, without the port: from the target in absolute form, else from Host; an
    /// IPv6 address with its brackets. Empty where a request of HTTP/1.0 does not say.
    pub host: Span,
    /// The port asked for.
    pub port: Option<u16>,
    /// Host and port as Host is to be written.
    pub authority: Span,
    /// The version of the message.
    pub version: Version,
    /// Where its body ends; never with the connection.
    pub body: Framing,
    /// Whether the client leaves its connection open after the answer.
    pub keep_alive: bool,
    /// The client waits for status 100 before it sends the body.
    pub expects_continue: bool,
    /// The client takes trailers (`TE: trailers`).
    pub accepts_trailers: bool,
    /// The protocols that the client offers to go on with.
    pub upgrade: Option<Span>,
    /// How often a TRACE or OPTIONS may still be forwarded. At 0 it MUST be answered here
    /// (RFC 9110 section 7.6.2).
    pub max_forwards: Option<u32>,
}

/// Reads the head of a request that begins at the first of `bytes`; `None` while it has not
/// ended. `fields` are then those of the head, and `scan` is as new.
///
/// # Errors
/// When the bytes are no request, could be understood in two ways, or pass `limits`. The same
/// head gets the same refusal however it is cut.
#[inline]
pub fn request(
    bytes: &[u8],
    scan: &mut Scan,
    limits: &Limits,
    fields: &mut Fields,
) -> Result<Option<RequestHead>, Refusal> {
    let mut facts = Facts::default();
    match scan::head(bytes, scan, limits, fields, &mut facts, request_line)? {
        None => Ok(None),
        Some((line, len)) => conclude(bytes, &line, &facts, len, fields).map(Some),
    }
}

/// What a request line says.
struct Line {
    name: Span,
    method: Method,
    target: Target,
    authority: Option<Authority>,
    version: Version,
}

/// What the line and the fields say together.
#[inline(always)]
fn conclude(
    window: &[u8],
    line: &Line,
    facts: &Facts,
    len: usize,
    fields: &mut Fields,
) -> Result<RequestHead, Refusal> {
    let version = line.version;
    let body = facts.framing(version)?;
    let asked = match facts.host {
        Some(span) => Some(host::authority(window, span)?),
        // RFC 9112 section 3.2: MUST be answered 400.
        None if version == Version::Http11 => return Err(Refusal::HostMissing),
        None => None,
    };
    // RFC 9112 section 3.2.2: the target's host counts, and Host MUST be written anew from it.
    let asked = line.authority.or(asked);
    if !line.target.plain {
        target::check_percents(line.target.path.of(window))?;
    }
    facts.nominate(window, fields);
    let counts = matches!(line.method, Method::Trace | Method::Options);
    let nobody = Span::default();
    Ok(RequestHead {
        len,
        name: line.name,
        method: line.method,
        target: line.target,
        host: asked.map_or(nobody, |asked| asked.host),
        port: asked.and_then(|asked| asked.port),
        authority: asked.map_or(nobody, |asked| asked.whole),
        version,
        body,
        keep_alive: facts.persists(version),
        // RFC 9110 section 10.1.1: MUST be ignored in HTTP/1.0.
        expects_continue: facts.expects_continue && version == Version::Http11,
        accepts_trailers: facts.accepts_trailers && version == Version::Http11,
        upgrade: facts.upgrade(version),
        max_forwards: facts.max_forwards.filter(|_| counts),
    })
}

/// `method SP target SP version CRLF`, and one empty line before it at most (RFC 9112
/// sections 3 and 2.2).
#[inline(always)]
fn request_line(window: &[u8], limits: &Limits) -> Result<(Line, usize), Stop> {
    let start = if window.starts_with(b"\r\n") { 2 } else { 0 };
    let space = match window.get(start..start + 4) {
        Some(b"GET ") => start + 3,
        _ => bytes::run(window, start, TOKEN).0,
    };
    let after = space + 1;
    if space == start
        || space - start > MAX_METHOD
        || window.get(space) != Some(&b' ')
        || window.get(after) != Some(&b'/')
    {
        return slow_line(window, start, limits);
    }
    let (target, end) = target::origin(window, after);
    let version = match window.get(end..).and_then(|rest| rest.first_chunk::<11>()) {
        Some(b" HTTP/1.1\r\n") => Version::Http11,
        Some(b" HTTP/1.0\r\n") => Version::Http10,
        _ => return slow_line(window, start, limits),
    };
    let next = end + 11;
    let method = Method::of(&window[start..space]);
    if next - start > limits.line_bytes || method == Method::Connect {
        return slow_line(window, start, limits);
    }
    let name = Span::new(start, space);
    Ok((Line { name, method, target, authority: None, version }, next))
}

/// Any request line, or what is wrong with it.
#[cold]
#[inline(never)]
fn slow_line(window: &[u8], start: usize, limits: &Limits) -> Result<(Line, usize), Stop> {
    let name = method(window, start)?;
    let within = &window[..window.len().min(start + limits.line_bytes)];
    let Some(line) = scan::until_lf(within, start) else {
        let full = within.len() == start + limits.line_bytes;
        return Err(if full { Refusal::LineTooLong.into() } else { Stop::Short { at: 0 } });
    };
    let next = start + line.len() + 1;
    let text = scan::line_text(line)?;
    let from = start + name.len as usize + 1;
    let Some(rest) = text.get(from - start..) else { return Err(Refusal::RequestLine.into()) };
    let space = rest.iter().position(|byte| *byte == b' ').ok_or(Refusal::RequestLine)?;
    if space == 0 {
        return Err(Refusal::EmptyTarget.into());
    }
    let method = Method::of(name.of(window));
    let span = Span::new(from, from + space);
    let (connect, options) = (method == Method::Connect, method == Method::Options);
    let version = version(&rest[space + 1..])?;
    let (target, authority) = target::any(window, span, connect, options)?;
    Ok((Line { name, method, target, authority, version }, next))
}

/// A method and the space after it, as far as they are there: a client that does not speak
/// HTTP is told so at its first bytes.
fn method(window: &[u8], start: usize) -> Result<Span, Stop> {
    let (end, _) = bytes::run(&window[..window.len().min(start + MAX_METHOD + 1)], start, TOKEN);
    if end - start > MAX_METHOD {
        return Err(Refusal::MethodTooLong.into());
    }
    match window.get(end) {
        None => Err(Stop::Short { at: 0 }),
        Some(b' ') if end > start => Ok(Span::new(start, end)),
        Some(b'\n') => Err(Refusal::BareLf.into()),
        // A CR may still be the first half of the empty line that is allowed.
        Some(b'\r') if end == 0 && window.len() == 1 => Err(Stop::Short { at: 0 }),
        Some(b'\r') if end > start => Err(Refusal::RequestLine.into()),
        Some(_) => Err(Refusal::Method.into()),
    }
}

/// RFC 9112 section 2.3: `HTTP/` and two digits, in this case.
///
/// RFC 9110 section 2.5 would have 1.2 to 1.9 treated as 1.1. Nobody speaks them, and the
/// servers behind us disagree on them: 505, as for 2.0.
pub(super) fn version(text: &[u8]) -> Result<Version, Refusal> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Refusal::VersionUnsupported)
        }
        _ if text.iter().any(|byte| bytes::is_ows(*byte)) => Err(Refusal::RequestLine),
        _ => Err(Refusal::VersionSyntax),
    }
}

/// Whether a target in this form is looked up by its path.
impl Form {
    /// Origin and absolute form are; `*` and CONNECT are not.
    pub fn has_path(self) -> bool {
        matches!(self, Self::Origin | Self::Absolute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<RequestHead>, Refusal> {
        let limits = Limits::default();
        request(bytes, &mut Scan::default(), &limits, &mut Fields::new(&limits))
    }

    #[test]
    fn a_plain_request_is_read() {
        let bytes = b"GET /a/b?c=d HTTP/1.1\r\nHost: example.com:8080\r\nAccept: */*\r\n\r\nrest";
        let head = read(bytes).unwrap().unwrap();
        assert_eq!(head.len, bytes.len() - 4);
        assert_eq!((head.method, head.version), (Method::Get, Version::Http11));
        assert_eq!(head.target.path(bytes), b"/a/b");
        assert_eq!(head.target.query.unwrap().of(bytes), b"c=d");
        assert_eq!((head.host.of(bytes), head.port), (b"example.com".as_slice(), Some(8080)));
        assert_eq!((head.body, head.keep_alive), (Framing::None, true));
    }
}
