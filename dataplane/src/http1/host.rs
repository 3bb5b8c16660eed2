//! Host and port of a request: who is asked.
//!
//! Narrower than RFC 3986 section 3.2.2 on purpose: no percent encoding and no sub-delimiters
//! (`Host: a,b` is what two Host fields look like after they were joined), no IPvFuture, no
//! zone. DNS names and addresses need none of them.

use std::net::Ipv6Addr;

use super::Refusal;
use super::bytes;
use super::fields::Span;

/// An authority without user information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    /// Without the port; an IPv6 address with its brackets.
    pub(super) host: Span,
    pub(super) port: Option<u16>,
    /// Host and port, as they are to be written.
    pub(super) whole: Span,
}

/// Reads `host [":" port]`. An empty host is refused (RFC 9110 section 4.2.1).
#[inline]
pub(super) fn authority(window: &[u8], span: Span) -> Result<Authority, Refusal> {
    let text = span.of(window);
    let start = span.start as usize;
    let host = match text.first() {
        Some(b'[') => bracketed(text)?,
        // It may look beyond the span, where the next byte is none of a host.
        _ => (bytes::host_run(window, start) - start).min(text.len()),
    };
    if host == 0 {
        return Err(Refusal::Host);
    }
    let (port, end) = match &text[host..] {
        [] => (None, host),
        // RFC 3986 section 3.2.3: an empty port is the default one, and is not written.
        [b':'] => (None, host),
        [b':', digits @ ..] => (Some(port(digits)?), text.len()),
        _ => return Err(Refusal::Host),
    };
    Ok(Authority {
        host: Span::new(start, start + host),
        port,
        whole: Span::new(start, start + end),
    })
}

/// Length of an IPv6 address in brackets at the beginning.
#[cold]
fn bracketed(text: &[u8]) -> Result<usize, Refusal> {
    let end = text.iter().position(|byte| *byte == b']').ok_or(Refusal::Host)?;
    let address = std::str::from_utf8(&text[1..end]).map_err(|_| Refusal::Host)?;
    address.parse::<Ipv6Addr>().map_err(|_| Refusal::Host)?;
    Ok(end + 1)
}

fn port(digits: &[u8]) -> Result<u16, Refusal> {
    if digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::Host);
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    match u16::try_from(number) {
        Ok(0) | Err(_) => Err(Refusal::Host),
        Ok(port) => Ok(port),
    }
}
