//! The resumable request parser of one connection.
//!
//! Owns where it stands within one unfinished request. The bytes stay where they are: an
//! argument is a span of the slice that holds the request. Claims reserve nothing until
//! their bytes arrive. Requests are arrays of bulk strings (RESP2 and RESP3 alike) or
//! inline commands (<https://valkey.io/topics/protocol/>).
//!
//! ```text
//! Start --"*n"--> Count(n) --"$len"--> Bulk(len) --bytes--> Count(n-1) ... --> complete
//!   \--other-----> inline line ------------------------------------------------^
//! ```

use std::fmt;

use shards::command::Span;

use super::inline;

/// Longest inline request, and longest line that announces a length, as in Redis.
const MAX_LINE: usize = 64 << 10;
/// Longest decimal that a count or length may have, sign included.
const MAX_DIGITS: usize = 20;

/// What one request may claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arguments of one request.
    pub args: u32,
    /// Bytes of one argument.
    pub bulk: u32,
    /// Bulks from this length on are collected apart ([`Step::Large`]).
    pub large: u32,
    /// Whether these are the limits of a client that has not authenticated.
    pub unauthenticated: bool,
}

impl Limits {
    /// Before authentication: enough for AUTH and HELLO and no more.
    pub const UNAUTHENTICATED: Self =
        Self { args: 10, bulk: 16 << 10, large: u32::MAX, unauthenticated: true };
}

/// Where the parser stopped.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A request ended; its arguments are in the span list, and the next one begins at
    /// `end`. An empty request (`*0` or a blank line) has no spans and no reply.
    Request {
        /// Offset of the first byte after it.
        end: usize,
    },
    /// An inline request whose arguments had to be unquoted: they are here instead.
    Unquoted {
        /// Offset of the first byte after it.
        end: usize,
        /// The arguments, one after the other.
        bytes: Vec<u8>,
        /// Where each lies in `bytes`.
        spans: Vec<Span>,
    },
    /// A long bulk begins at `start`; the caller collects `len` bytes and the CRLF, then
    /// calls [`Parser::large_done`].
    Large {
        /// Offset of the bulk's first byte.
        start: usize,
        /// Its length without the CRLF.
        len: usize,
    },
    /// More bytes are needed.
    More,
}

/// The peer's fault; the connection is closed after the message is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// A count that is no number or out of range.
    MultibulkLength,
    /// More arguments than an unauthenticated client may send.
    UnauthenticatedMultibulk,
    /// A length that is no number or out of range.
    BulkLength,
    /// A longer argument than an unauthenticated client may send.
    UnauthenticatedBulk,
    /// Something else than `$` where an argument should begin.
    ExpectedDollar(u8),
    /// A count that never ends.
    CountTooLong,
    /// A length that never ends.
    LengthTooLong,
    /// An inline request longer than 64 KiB.
    InlineTooLong,
    /// An inline request with an open quote.
    UnbalancedQuotes,
}

impl ProtocolError {
    /// A name for counting.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::MultibulkLength => "multibulk_length",
            Self::UnauthenticatedMultibulk => "unauthenticated_multibulk",
            Self::BulkLength => "bulk_length",
            Self::UnauthenticatedBulk => "unauthenticated_bulk",
            Self::ExpectedDollar(_) => "expected_dollar",
            Self::CountTooLong => "count_too_long",
            Self::LengthTooLong => "length_too_long",
            Self::InlineTooLong => "inline_too_long",
            Self::UnbalancedQuotes => "unbalanced_quotes",
        }
    }
}

impl fmt::Display for ProtocolError {
    /// Valkey's texts (networking.c), since clients match on them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        match self {
            Self::MultibulkLength => f.write_str("invalid multibulk length"),
            Self::UnauthenticatedMultibulk => f.write_str("unauthenticated multibulk length"),
            Self::BulkLength => f.write_str("invalid bulk length"),
            Self::UnauthenticatedBulk => f.write_str("unauthenticated bulk length"),
            Self::ExpectedDollar(got) => {
                // A control byte would break the reply's line.
                let shown = if got.is_ascii_control() { ' ' } else { char::from(*got) };
                write!(f, "expected '$', got '{shown}'")
            }
            Self::CountTooLong => f.write_str("too big mbulk count string"),
            Self::LengthTooLong => f.write_str("too big bulk count string"),
            Self::InlineTooLong => f.write_str("too big inline request"),
            Self::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// Where one unfinished request stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    /// So many arguments are still to come.
    Count(u32),
    /// An argument of that length is coming, and `left` after it.
    Bulk { len: u32, left: u32 },
}

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parser {
    state: State,
    /// Offset of the first byte not yet understood.
    at: usize,
}

impl Parser {
    /// A parser that starts at the first byte of a slice.
    pub fn new() -> Self {
        Self::default()
    }

    /// Offset of the first byte not yet understood.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether a request has begun and not ended.
    pub fn in_request(&self) -> bool {
        self.state != State::Start
    }

    /// The slice's first `n` bytes are gone; spans of the request under way are moved too.
    pub fn rebase(&mut self, n: usize, spans: &mut [Span]) {
        debug_assert!(n <= self.at, "bytes not yet understood cannot be dropped");
        self.at -= n;
        for span in spans.iter_mut().filter(|span| **span != Span::ELSEWHERE) {
            span.start -= n as u32;
        }
    }

    /// The long bulk announced by [`Step::Large`] has been taken out of the stream; the
    /// next byte to understand is at `at`.
    pub fn large_done(&mut self, at: usize) {
        if let State::Bulk { left, .. } = self.state {
            self.state = State::Count(left);
        }
        self.at = at;
    }

    /// Goes on in `input`, which begins where the slice of the last call began. Spans of
    /// the request under way are appended to `spans`.
    ///
    /// # Errors
    /// When the bytes are no request, or claim more than `limits` allow.
    pub fn advance(
        &mut self,
        input: &[u8],
        limits: Limits,
        spans: &mut Vec<Span>,
    ) -> Result<Step, ProtocolError> {
        if self.state == State::Start
            && let Some(end) = short_request(&input[self.at..], self.at, limits, spans)
        {
            self.at = end;
            return Ok(Step::Request { end });
        }
        loop {
            match self.state {
                State::Start => match input.get(self.at) {
                    None => return Ok(Step::More),
                    Some(b'*') => match self.number(input, ProtocolError::CountTooLong)? {
                        None => return Ok(Step::More),
                        Some((count, next)) => {
                            self.at = next;
                            let count = check_count(count, limits)?;
                            if count == 0 {
                                return Ok(Step::Request { end: next });
                            }
                            self.state = State::Count(count);
                        }
                    },
                    Some(_) => return self.inline(input, spans),
                },
                State::Count(0) => {
                    self.state = State::Start;
                    return Ok(Step::Request { end: self.at });
                }
                State::Count(left) => match input.get(self.at) {
                    None => return Ok(Step::More),
                    Some(b'$') => match self.number(input, ProtocolError::LengthTooLong)? {
                        None => return Ok(Step::More),
                        Some((len, next)) => {
                            self.at = next;
                            let len = check_length(len, limits)?;
                            self.state = State::Bulk { len, left: left - 1 };
                            if len >= limits.large {
                                return Ok(Step::Large { start: next, len: len as usize });
                            }
                        }
                    },
                    Some(other) => return Err(ProtocolError::ExpectedDollar(*other)),
                },
                State::Bulk { len, left } => {
                    let end = self.at + len as usize + 2;
                    if input.len() < end {
                        return Ok(Step::More);
                    }
                    // Like Redis, whatever two bytes end a bulk are taken for its CRLF.
                    spans.push(Span { start: self.at as u32, len });
                    self.at = end;
                    self.state = State::Count(left);
                }
            }
        }
    }

    /// The decimal after the type byte and the offset after its CRLF, when all is there.
    /// `Some((None, _))` is a line that is no number.
    fn number(
        &self,
        input: &[u8],
        too_long: ProtocolError,
    ) -> Result<Option<(Option<i64>, usize)>, ProtocolError> {
        let line = &input[self.at + 1..];
        // The common case: one or two digits.
        match line {
            [a @ b'0'..=b'9', b'\r', b'\n', ..] => {
                return Ok(Some((Some(i64::from(a - b'0')), self.at + 4)));
            }
            [a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] => {
                let value = i64::from(a - b'0') * 10 + i64::from(b - b'0');
                return Ok(Some((Some(value), self.at + 5)));
            }
            _ => {}
        }
        let window = &line[..line.len().min(MAX_LINE)];
        match window.iter().position(|byte| *byte == b'\r') {
            Some(end) if end + 1 < line.len() => {
                Ok(Some((decimal(&line[..end]), self.at + 1 + end + 2)))
            }
            Some(_) => Ok(None),
            None if window.len() == MAX_LINE => Err(too_long),
            None => Ok(None),
        }
    }

    fn inline(&mut self, input: &[u8], spans: &mut Vec<Span>) -> Result<Step, ProtocolError> {
        let line = &input[self.at..];
        let window = &line[..line.len().min(MAX_LINE)];
        let Some(newline) = window.iter().position(|byte| *byte == b'\n') else {
            return if window.len() == MAX_LINE {
                Err(ProtocolError::InlineTooLong)
            } else {
                Ok(Step::More)
            };
        };
        let text = line[..newline].strip_suffix(b"\r").unwrap_or(&line[..newline]);
        let start = self.at;
        self.at += newline + 1;
        let end = self.at;
        match inline::split(text, start, spans) {
            Ok(None) => Ok(Step::Request { end }),
            Ok(Some((bytes, spans))) => Ok(Step::Unquoted { end, bytes, spans }),
            Err(inline::Unbalanced) => Err(ProtocolError::UnbalancedQuotes),
        }
    }
}

/// The common request in one go: at most nine arguments of at most 99 bytes, all there. What
/// it does not take, errors included, is left as it was to the general parser.
#[inline]
fn short_request(
    input: &[u8],
    offset: usize,
    limits: Limits,
    spans: &mut Vec<Span>,
) -> Option<usize> {
    let [b'*', count @ b'1'..=b'9', b'\r', b'\n', ..] = input else { return None };
    let count = u32::from(count - b'0');
    if count > limits.args || limits.large <= 99 {
        return None;
    }
    let before = spans.len();
    let mut at = 4;
    for _ in 0..count {
        let (len, start) = match input.get(at..).unwrap_or(&[]) {
            [b'$', a @ b'0'..=b'9', b'\r', b'\n', ..] => (usize::from(a - b'0'), at + 4),
            [b'$', a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] => {
                (usize::from(a - b'0') * 10 + usize::from(b - b'0'), at + 5)
            }
            _ => {
                spans.truncate(before);
                return None;
            }
        };
        at = start + len + 2;
        if at > input.len() {
            spans.truncate(before);
            return None;
        }
        spans.push(Span { start: (offset + start) as u32, len: len as u32 });
    }
    Some(offset + at)
}

/// A count of arguments; null and negative ones are empty requests, as in Redis.
fn check_count(count: Option<i64>, limits: Limits) -> Result<u32, ProtocolError> {
    match count {
        None => Err(ProtocolError::MultibulkLength),
        Some(n) if n <= 0 => Ok(0),
        Some(n) if n > i64::from(limits.args) => Err(if limits.unauthenticated {
            ProtocolError::UnauthenticatedMultibulk
        } else {
            ProtocolError::MultibulkLength
        }),
        Some(n) => Ok(n as u32),
    }
}

fn check_length(len: Option<i64>, limits: Limits) -> Result<u32, ProtocolError> {
    match len {
        Some(n) if n < 0 => Err(ProtocolError::BulkLength),
        Some(n) if n <= i64::from(limits.bulk) => Ok(n as u32),
        Some(_) if limits.unauthenticated => Err(ProtocolError::UnauthenticatedBulk),
        _ => Err(ProtocolError::BulkLength),
    }
}

/// A decimal as Redis' string2ll reads it: no plus, no leading zeros, no spaces.
fn decimal(text: &[u8]) -> Option<i64> {
    if text.len() > MAX_DIGITS {
        return None;
    }
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let leading_zero = digits.len() > 1 && digits[0] == b'0';
    if leading_zero || text == b"-0" || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
