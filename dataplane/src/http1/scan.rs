//! A head, line by line, in one pass.
//!
//! Owns the field line's grammar and how an unfinished head is resumed. A line is judged once
//! its LF is there and not before, so that a head gets the same answer however it is cut; and
//! no byte is looked at more than a few times, so that one byte at a time costs no more than
//! all at once.

use super::bytes::{self, TOKEN, UNDERSCORE};
use super::facts::Facts;
use super::fields::{Field, Fields, Span};
use super::names::Known;
use super::{Limits, Refusal};

/// How far an unfinished head has been looked at. A connection keeps it until the head ends;
/// it is in its first state again when a head was read or refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Where the first line begins that has no end yet.
    at: u32,
    /// Beyond `at` there is no LF before this.
    looked: u32,
    /// Field lines before `at`.
    fields: u32,
}

/// Why the scanner stopped before the end of a head.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stop {
    /// The line that begins there has no LF yet.
    Short {
        at: usize,
    },
    Bad(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Bad(refusal)
    }
}

/// A start line's prefix is looked at from its first byte on, and always within so many.
pub(super) const PREFIX: usize = 64;

/// Reads a head whose first line `start_line` understands: it returns that line and the offset
/// after its LF. Returns the line and the length of the head; what the fields say is in `facts`.
#[inline(always)]
pub(super) fn head<L>(
    bytes: &[u8],
    scan: &mut Scan,
    limits: &Limits,
    fields: &mut Fields,
    facts: &mut Facts,
    start_line: impl Fn(&[u8], &Limits) -> Result<(L, usize), Stop>,
) -> Result<Option<(L, usize)>, Refusal> {
    let window = &bytes[..bytes.len().min(limits.head_bytes)];
    if scan.looked != 0 && !resume(window, scan, limits, fields)? {
        return Ok(None);
    }
    fields.clear();
    let stop = match start_line(window, limits) {
        Ok((line, at)) => match field_lines(window, at, 0, limits, fields, facts) {
            Ok(len) => {
                *scan = Scan::default();
                return Ok(Some((line, len)));
            }
            Err(stop) => stop,
        },
        Err(stop) => stop,
    };
    stopped(stop, window, scan, 0, limits, fields).map(|()| None)
}

/// Whether the head ends in `window`: then all of it is scanned again, this time for its fields.
#[cold]
fn resume(
    window: &[u8],
    scan: &mut Scan,
    limits: &Limits,
    fields: &mut Fields,
) -> Result<bool, Refusal> {
    let looked = scan.looked as usize;
    debug_assert!(looked <= window.len(), "a head does not shrink");
    let in_start = scan.at == 0;
    let watched = window.len() >= limits.head_bytes
        || in_start && (looked < PREFIX || window.len() >= limits.line_bytes);
    if !watched && !window[looked.min(window.len())..].contains(&b'\n') {
        scan.looked = window.len() as u32;
        return Ok(false);
    }
    if in_start {
        return Ok(true);
    }
    fields.clear();
    let (at, before) = (scan.at as usize, scan.fields as usize);
    match field_lines(window, at, before, limits, fields, &mut Facts::default()) {
        Ok(_) => Ok(true),
        Err(stop) => stopped(stop, window, scan, before, limits, fields).map(|()| false),
    }
}

/// Remembers where an unfinished head stopped, or refuses it.
#[cold]
fn stopped(
    stop: Stop,
    window: &[u8],
    scan: &mut Scan,
    before: usize,
    limits: &Limits,
    fields: &Fields,
) -> Result<(), Refusal> {
    let refusal = match stop {
        Stop::Short { at } if window.len() < limits.head_bytes => {
            let fields = (before + fields.len()) as u32;
            *scan = Scan { at: at as u32, looked: window.len() as u32, fields };
            return Ok(());
        }
        Stop::Short { .. } => Refusal::HeadTooLarge,
        Stop::Bad(refusal) => refusal,
    };
    *scan = Scan::default();
    Err(refusal)
}

/// Field lines from `at` to the empty line; returns the offset after that. `before` lines were
/// read earlier.
#[inline(always)]
fn field_lines(
    window: &[u8],
    mut at: usize,
    before: usize,
    limits: &Limits,
    fields: &mut Fields,
    facts: &mut Facts,
) -> Result<usize, Stop> {
    loop {
        let (field, next) = match field_line(window, at)? {
            Line::Field { field, next } => (field, next),
            Line::End { next } => return Ok(next),
        };
        if before + fields.len() == limits.fields {
            return Err(Refusal::TooManyFields.into());
        }
        facts.note(window, &field);
        fields.push(field);
        at = next;
    }
}

/// One line of a head or of trailers.
pub(super) enum Line {
    Field {
        field: Field,
        /// Offset after its LF.
        next: usize,
    },
    /// The empty line.
    End { next: usize },
}

/// The line that begins at `at`.
#[inline(always)]
pub(super) fn field_line(window: &[u8], at: usize) -> Result<Line, Stop> {
    let (colon, classes) = bytes::token_run(window, at);
    if colon == at || window.get(colon) != Some(&b':') {
        if window.get(at..at + 2) == Some(b"\r\n") {
            return Ok(Line::End { next: at + 2 });
        }
        return Err(fault(window, at));
    }
    let mut start = colon + 1;
    while window.get(start).is_some_and(|byte| bytes::is_ows(*byte)) {
        start += 1;
    }
    let cr = bytes::value_end(window, start);
    if window.get(cr..cr + 2) != Some(b"\r\n") {
        return Err(fault(window, at));
    }
    let mut end = cr;
    while end > start && bytes::is_ows(window[end - 1]) {
        end -= 1;
    }
    let name = &window[at..colon];
    let known = Known::of(window, at, colon);
    // RFC 9110 section 17.10: CGI and its heirs turn '-' into '_', so that the two collide.
    if classes & UNDERSCORE != 0 && Known::twin_of(name) != Known::Other {
        return Err(Refusal::UnderscoreTwin.into());
    }
    let (name, value) = (Span::new(at, colon), Span::new(start, end));
    let field = Field { name, value, known, hop: known.is_hop() };
    Ok(Line::Field { field, next: cr + 2 })
}

/// What is wrong with the line that begins at `at` and is no field line.
#[cold]
fn fault(window: &[u8], at: usize) -> Stop {
    let Some(line) = until_lf(window, at) else { return Stop::Short { at } };
    let text = match line_text(line) {
        Ok(text) => text,
        Err(refusal) => return refusal.into(),
    };
    // RFC 9112 section 5.2: a server MUST refuse it or replace it. Section 2.2 says the same of
    // white space before the first field line.
    if text.first().is_some_and(|byte| bytes::is_ows(*byte)) {
        return Refusal::ObsFold.into();
    }
    let Some(colon) = text.iter().position(|byte| *byte == b':') else {
        return Refusal::NoColon.into();
    };
    let name = &text[..colon];
    let refusal = match name.last() {
        None => Refusal::EmptyName,
        // RFC 9112 section 5.1: a server MUST refuse it with 400.
        Some(last) if bytes::is_ows(*last) => Refusal::SpaceBeforeColon,
        Some(_) if !bytes::all(name, TOKEN) => Refusal::FieldName,
        Some(_) => Refusal::FieldValue,
    };
    refusal.into()
}

/// The line that begins at `at`, without its LF; none while that has not come.
pub(super) fn until_lf(window: &[u8], at: usize) -> Option<&[u8]> {
    let rest = window.get(at..)?;
    Some(&rest[..rest.iter().position(|byte| *byte == b'\n')?])
}

/// A line without its CRLF. `line` ends before the LF.
pub(super) fn line_text(line: &[u8]) -> Result<&[u8], Refusal> {
    // RFC 9112 section 2.2: a recipient MAY take LF alone for the end of a line. It does not
    // have to, and two readers that differ here are what smuggling lives on.
    let text = line.strip_suffix(b"\r").ok_or(Refusal::BareLf)?;
    // Same section: a bare CR is invalid, or is replaced by SP.
    if text.contains(&b'\r') { Err(Refusal::BareCr) } else { Ok(text) }
}
