//! The head of a response: its line, and what its fields say.

use super::bytes;
use super::facts::Facts;
use super::fields::{Fields, Span};
use super::request::{Method, version};
use super::scan::{self, Scan, Stop};
use super::{Framing, Limits, Refusal, Version};

/// The request that a response answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its method: an answer to HEAD has no body.
    pub method: Method,
    /// It was forwarded with Upgrade, so that 101 may come.
    pub upgrade: bool,
}

/// The head of a response that keeps all rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Its bytes; the body begins there.
    pub len: usize,
    /// From 100 to 599.
    pub status: u16,
    /// May be empty.
    pub reason: Span,
    /// The version of the message.
    pub version: Version,
    /// Where its body ends.
    pub body: Framing,
    /// What Content-Length says, which to HEAD and in 304 is the length of what is not there.
    pub length: Option<u64>,
    /// Whether the connection can carry another request when the body has ended.
    pub keep_alive: bool,
    /// The protocol that the connection goes on with; only with status 101.
    pub upgrade: Option<Span>,
}

impl ResponseHead {
    /// Whether another head follows for the same request (RFC 9110 section 15.2).
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}

/// Reads the head of a response that begins at the first of `bytes`; `None` while it has not
/// ended. `fields` are then those of the head, and `scan` is as new.
///
/// # Errors
/// When the bytes are no response, could be understood in two ways, or pass `limits`. The same
/// head gets the same refusal however it is cut.
#[inline]
pub fn response(
    bytes: &[u8],
    scan: &mut Scan,
    limits: &Limits,
    fields: &mut Fields,
    to: Asked,
) -> Result<Option<ResponseHead>, Refusal> {
    let mut facts = Facts::default();
    match scan::head(bytes, scan, limits, fields, &mut facts, status_line)? {
        None => Ok(None),
        Some((line, len)) => conclude(bytes, &line, &facts, len, fields, to).map(Some),
    }
}

/// What a status line says.
struct Line {
    version: Version,
    status: u16,
    reason: Span,
}

#[inline(always)]
fn conclude(
    window: &[u8],
    line: &Line,
    facts: &Facts,
    len: usize,
    fields: &mut Fields,
    to: Asked,
) -> Result<ResponseHead, Refusal> {
    let said = match facts.framing(line.version)? {
        Framing::None => Framing::UntilClose, // RFC 9112 section 6.3, item 8
        framing => framing,
    };
    // RFC 9112 section 6.3, item 1: no body, whatever the fields say.
    let bare = line.status < 200 || matches!(line.status, 204 | 304) || to.method == Method::Head;
    let body = if bare { Framing::None } else { said };
    let switches = line.status == 101;
    let upgrade = facts.upgrade(line.version).filter(|_| switches);
    if switches && (!to.upgrade || upgrade.is_none()) {
        return Err(Refusal::SwitchUnasked);
    }
    facts.nominate(window, fields);
    let keep_alive = facts.persists(line.version) && body != Framing::UntilClose && !switches;
    Ok(ResponseHead {
        len,
        status: line.status,
        reason: line.reason,
        version: line.version,
        body,
        length: facts.length(),
        keep_alive,
        upgrade,
    })
}

/// `version SP status SP reason CRLF` (RFC 9112 section 4).
#[inline(always)]
fn status_line(window: &[u8], limits: &Limits) -> Result<(Line, usize), Stop> {
    let Some(
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', a, b, c, b' '],
    ) = window.first_chunk::<13>()
    else {
        return slow_line(window, limits);
    };
    let end = bytes::value_end(window, 13);
    let (Some(status), Some(b"\r\n")) = (status([*a, *b, *c]), window.get(end..end + 2)) else {
        return slow_line(window, limits);
    };
    if end + 2 > limits.line_bytes {
        return slow_line(window, limits);
    }
    let version = if *minor == b'1' { Version::Http11 } else { Version::Http10 };
    Ok((Line { version, status, reason: Span::new(13, end) }, end + 2))
}

fn status(digits: [u8; 3]) -> Option<u16> {
    // RFC 9110 section 15: what is not from 100 to 599 is invalid.
    let all = digits.iter().all(u8::is_ascii_digit);
    let number = digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit & 0x0f));
    Some(number).filter(|number| all && (100..600).contains(number))
}

/// Any status line, or what is wrong with it.
#[cold]
#[inline(never)]
fn slow_line(window: &[u8], limits: &Limits) -> Result<(Line, usize), Stop> {
    const PREFIX: &[u8] = b"HTTP/";
    let known = window.len().min(PREFIX.len());
    // What does not speak HTTP is known by its first bytes.
    if window[..known] != PREFIX[..known] {
        return Err(Refusal::VersionSyntax.into());
    }
    let within = &window[..window.len().min(limits.line_bytes)];
    let Some(line) = scan::until_lf(within, 0) else {
        let full = within.len() == limits.line_bytes;
        return Err(if full { Refusal::LineTooLong.into() } else { Stop::Short { at: 0 } });
    };
    let text = scan::line_text(line)?;
    let space = text.iter().position(|byte| *byte == b' ').ok_or(Refusal::StatusLine)?;
    let version = version(&text[..space])?;
    let rest = &text[space + 1..];
    let digits = rest.first_chunk::<3>().ok_or(Refusal::Status)?;
    let status = status(*digits).ok_or(Refusal::Status)?;
    let reason = match &rest[3..] {
        // The space is said to be sent even before no reason (RFC 9112 section 4), and is left
        // out by many. Nothing hangs on it.
        [] => Span::new(text.len(), text.len()),
        [b' ', reason @ ..] if reason.iter().all(|byte| bytes::in_value(*byte)) => {
            Span::new(space + 5, text.len())
        }
        [b' ', ..] => return Err(Refusal::Reason.into()),
        _ => return Err(Refusal::Status.into()),
    };
    Ok((Line { version, status, reason }, line.len() + 1))
}
