//! What the fields of a head say together: framing, host, connection.
//!
//! Owns the rules that no single line can break. They are judged when the head has ended.

use super::bytes;
use super::fields::{Field, Fields, Span};
use super::names::Known;
use super::{Framing, Refusal, Version};

/// Options of all Connection fields together.
const MAX_OPTIONS: u32 = 32;

/// Gathered line by line.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) host: Option<Span>,
    length: Option<u64>,
    coded: bool,
    close: bool,
    keep_alive: bool,
    asks_upgrade: bool,
    options: u32,
    /// Connection names something that is no option of its own.
    nominates: bool,
    upgrade: Option<Span>,
    upgrades: u32,
    pub(super) expects_continue: bool,
    pub(super) accepts_trailers: bool,
    pub(super) max_forwards: Option<u32>,
    /// The first rule that was broken.
    fault: Option<Refusal>,
}

impl Facts {
    /// Takes in one line.
    #[inline(always)]
    pub(super) fn note(&mut self, window: &[u8], field: &Field) {
        match field.known {
            Known::Other => {}
            Known::Host => {
                // RFC 9112 section 3.2: more than one MUST be answered 400.
                if self.host.replace(field.value).is_some() {
                    self.blame(Refusal::HostTwice);
                }
            }
            _ => {
                if let Err(refusal) = self.note_rare(window, field) {
                    self.blame(refusal);
                }
            }
        }
    }

    #[allow(clippy::collapsible_match, reason = "a guard that changes what it looks at")]
    fn note_rare(&mut self, window: &[u8], field: &Field) -> Result<(), Refusal> {
        let value = field.value.of(window);
        match field.known {
            Known::ContentLength => {
                // RFC 9110 section 8.6 lets a recipient take repeated identical values for one,
                // or refuse. What comes twice was put together by somebody: refused.
                if self.length.replace(length(value)?).is_some() {
                    return Err(Refusal::LengthTwice);
                }
            }
            Known::TransferEncoding => {
                if std::mem::replace(&mut self.coded, true) {
                    return Err(Refusal::CodingTwice);
                }
                coding(value)?;
            }
            Known::Connection => return self.note_connection(value),
            Known::Upgrade => {
                self.upgrade = Some(field.value);
                self.upgrades += 1;
            }
            Known::Expect => {
                // RFC 9110 section 10.1.1: any other MAY be answered 417.
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Refusal::Expectation);
                }
                self.expects_continue = true;
            }
            Known::Te => {
                let mut codings = bytes::members(value);
                self.accepts_trailers |= codings.any(|one| one.eq_ignore_ascii_case(b"trailers"));
            }
            Known::MaxForwards => {
                let number = decimal(value).ok_or(Refusal::MaxForwards)?;
                let number = u32::try_from(number.unwrap_or(u64::MAX)).unwrap_or(u32::MAX);
                if self.max_forwards.replace(number).is_some() {
                    return Err(Refusal::MaxForwards);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Options of one Connection field (RFC 9110 section 7.6.1).
    fn note_connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for option in bytes::members(value) {
            self.options += 1;
            if self.options > MAX_OPTIONS || !bytes::all(option, bytes::TOKEN) {
                return Err(Refusal::Connection);
            }
            if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.asks_upgrade = true;
            } else {
                self.nominates = true;
            }
        }
        Ok(())
    }

    /// The first one broken is the one told.
    fn blame(&mut self, refusal: Refusal) {
        self.fault.get_or_insert(refusal);
    }

    /// The number that Content-Length has.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Where the body ends, as far as the fields say it; or the first rule broken.
    #[inline]
    pub(super) fn framing(&self, version: Version) -> Result<Framing, Refusal> {
        if let Some(refusal) = self.fault {
            return Err(refusal);
        }
        match (self.coded, self.length) {
            (false, None) => Ok(Framing::None),
            (false, Some(length)) => Ok(Framing::Length(length)),
            // RFC 9112 section 6.1: the message MUST be treated as if its framing were faulty.
            (true, _) if version == Version::Http10 => Err(Refusal::CodingInOld),
            // Section 6.3: ought to be handled as an error, since it smells of smuggling.
            (true, Some(_)) => Err(Refusal::LengthWithCoding),
            (true, None) => Ok(Framing::Chunked),
        }
    }

    /// Whether the connection goes on after this message (RFC 9112 section 9.3). To a client of
    /// HTTP/1.0 we are the server, no proxy that it chose; so keep-alive may be obeyed.
    #[inline]
    pub(super) fn persists(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }

    /// The protocols offered, where Connection says upgrade, too, and they come in one line.
    #[inline]
    pub(super) fn upgrade(&self, version: Version) -> Option<Span> {
        // RFC 9110 section 7.8: it MUST be ignored in a request of HTTP/1.0.
        let asked = self.asks_upgrade && self.upgrades == 1 && version == Version::Http11;
        self.upgrade.filter(|value| asked && !value.is_empty())
    }

    /// Marks the fields that Connection names.
    #[inline]
    pub(super) fn nominate(&self, window: &[u8], fields: &mut Fields) {
        if self.nominates {
            nominate(window, fields);
        }
    }
}

/// RFC 9110 section 7.6.1: what Connection names MUST be removed. A field for all recipients
/// MUST NOT be named there; where one is, Connection is not obeyed, since that would let a
/// client take away what others put in or rely on.
#[cold]
fn nominate(window: &[u8], fields: &mut Fields) {
    let mut named = [Span::default(); MAX_OPTIONS as usize];
    let mut count = 0;
    for value in fields.all(Known::Connection) {
        for option in bytes::members(value.of(window)) {
            let start = option.as_ptr().addr() - window.as_ptr().addr();
            named[count] = Span::new(start, start + option.len());
            count += 1;
        }
    }
    for option in &named[..count] {
        let option = option.of(window);
        if !Known::of(option, 0, option.len()).is_kept() {
            fields.omit(window, option);
        }
    }
}

/// A Content-Length (RFC 9110 section 8.6): digits, nothing else.
fn length(value: &[u8]) -> Result<u64, Refusal> {
    match decimal(value) {
        Some(Some(number)) => Ok(number),
        Some(None) => Err(Refusal::LengthTooLarge),
        None if value.contains(&b',') => Err(Refusal::LengthTwice),
        None => Err(Refusal::Length),
    }
}

/// A number of digits only; `Some(None)` is one of 2^64 or more.
fn decimal(value: &[u8]) -> Option<Option<u64>> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add =
        |number: u64, digit: &u8| number.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    Some(value.iter().try_fold(0, add))
}

/// A Transfer-Encoding: exactly `chunked` is spoken here.
fn coding(value: &[u8]) -> Result<(), Refusal> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let count = bytes::members(value).filter(|coding| chunked(coding)).count();
    Err(match bytes::members(value).last() {
        // RFC 9112 section 6.1: chunked MUST NOT be applied more than once.
        _ if count > 1 => Refusal::CodingTwice,
        // Section 6.1: a coding that is not understood SHOULD be answered 501.
        Some(last) if chunked(last) && bytes::members(value).count() > 1 => Refusal::CodingUnknown,
        // Section 6.3: chunked that is not last in a request MUST be answered 400.
        _ => Refusal::CodingNotChunked,
    })
}
