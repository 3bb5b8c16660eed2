//! The target of a request, in the four forms of RFC 9112 section 3.2.

use super::Refusal;
use super::bytes::{self, ODD, QUERY};
use super::fields::Span;
use super::host::{self, Authority};

/// Which form a target came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `/path?query`.
    Origin,
    /// `http://host/path?query`; its host counts, whatever Host says.
    Absolute,
    /// `*`, for OPTIONS only.
    Asterisk,
    /// `host:port`, for CONNECT only.
    Authority,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// In which form it came.
    pub form: Form,
    /// As received; may be empty in absolute form. See [`Target::path`].
    pub path: Span,
    /// Without its question mark.
    pub query: Option<Span>,
    /// The path has no percent sign and no dot: it is routable as it is.
    pub plain: bool,
}

impl Target {
    /// The path, never empty: `/` where an absolute target has none (RFC 9112 section 3.2.1),
    /// `*` in asterisk form; empty only in authority form.
    pub fn path<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        if self.path.is_empty() && self.form == Form::Absolute { b"/" } else { self.path.of(bytes) }
    }
}

/// A target that begins with `/` at `at`, and where it ends.
#[inline(always)]
pub(super) fn origin(window: &[u8], at: usize) -> (Target, usize) {
    let (path, classes) = bytes::path_run(window, at);
    let (query, end) = match window.get(path) {
        Some(b'?') => {
            let (end, _) = bytes::run(window, path + 1, QUERY);
            (Some(Span::new(path + 1, end)), end)
        }
        _ => (None, path),
    };
    let plain = classes & ODD == 0;
    (Target { form: Form::Origin, path: Span::new(at, path), query, plain }, end)
}

/// A whole target in any form. CONNECT takes authority form only, and OPTIONS alone takes `*`.
pub(super) fn any(
    window: &[u8],
    span: Span,
    connect: bool,
    options: bool,
) -> Result<(Target, Option<Authority>), Refusal> {
    let text = span.of(window);
    if text.contains(&b'#') {
        return Err(Refusal::Fragment);
    }
    if !bytes::all(text, QUERY) {
        return Err(Refusal::Target);
    }
    let (start, end) = (span.start as usize, span.start as usize + text.len());
    if connect {
        // RFC 9112 section 3.2.3: host and port, both.
        let authority = host::authority(window, span)?;
        authority.port.ok_or(Refusal::Target)?;
        let path = Span::new(end, end);
        return Ok((
            Target { form: Form::Authority, path, query: None, plain: true },
            Some(authority),
        ));
    }
    if text == b"*" {
        // RFC 9112 section 3.2.4.
        let target = Target { form: Form::Asterisk, path: span, query: None, plain: true };
        return if options { Ok((target, None)) } else { Err(Refusal::Target) };
    }
    if text[0] == b'/' {
        return whole(window, start, end).map(|target| (target, None));
    }
    let scheme = [b"http://".as_slice(), b"https://"].into_iter();
    let scheme = scheme.map(<[u8]>::len).zip([b"http://".as_slice(), b"https://"]);
    let found = scheme.into_iter().find(|(len, name)| {
        text.get(..*len).is_some_and(|prefix| prefix.eq_ignore_ascii_case(name))
    });
    let (skip, _) = found.ok_or(Refusal::Target)?;
    let rest = &text[skip..];
    let len = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let authority = host::authority(window, Span::new(start + skip, start + skip + len))?;
    let target = Target { form: Form::Absolute, ..whole(window, start + skip + len, end)? };
    Ok((target, Some(authority)))
}

/// Path and query from one offset to another.
fn whole(window: &[u8], start: usize, end: usize) -> Result<Target, Refusal> {
    let (target, stop) = origin(&window[..end], start);
    if stop == end { Ok(target) } else { Err(Refusal::Target) }
}

/// Percent encodings of a path: whole, and none of NUL.
#[cold]
pub(super) fn check_percents(path: &[u8]) -> Result<(), Refusal> {
    let mut rest = path;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let digits = rest.get(at + 1..at + 3).ok_or(Refusal::PercentEncoding)?;
        match (bytes::hex(digits[0]), bytes::hex(digits[1])) {
            (Some(0), Some(0)) => return Err(Refusal::PathNul),
            (Some(_), Some(_)) => rest = &rest[at + 3..],
            _ => return Err(Refusal::PercentEncoding),
        }
    }
    Ok(())
}
