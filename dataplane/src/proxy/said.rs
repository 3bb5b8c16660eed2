//! What a bucket has said of a request, as the answer's fields tell it.
//!
//! Owns `RateLimit-Policy`, `RateLimit` (draft-ietf-httpapi-ratelimit-headers) and `Retry-After`
//! (RFC 9110 section 10.2.3), and the reading of CL.THROTTLE's reply, by which other shards
//! answer.

#![forbid(unsafe_code)]

use shards::config::LimitView;
use shards::time::Nanos;

use crate::http1::write::decimal;

/// What a bucket has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) limited: bool,
    pub(super) remaining: u64,
    /// In whole seconds; none when waiting does not help.
    pub(super) retry_after: Option<u64>,
    /// In whole seconds.
    pub(super) reset_after: u64,
}

/// Tokens and whole seconds as `RateLimit-Policy` shows them: a period that is not of whole
/// seconds is shown as the next longer one that is, with the tokens of that, rounded down.
pub(super) trait Window {
    fn window(&self) -> (u64, u64);
}

impl Window for LimitView<'_> {
    fn window(&self) -> (u64, u64) {
        let seconds = self.period().0.div_ceil(Nanos::SECOND.0).max(1);
        let span = u128::from(seconds) * u128::from(Nanos::SECOND.0);
        let tokens = u128::from(self.tokens()) * span / u128::from(self.period().0.max(1));
        (u64::try_from(tokens).unwrap_or(u64::MAX), seconds)
    }
}

/// What is the same in all answers about a limit: the fields for it up to what remains.
pub(super) fn constant_fields(name: &str, (quota, window): (u64, u64)) -> Box<[u8]> {
    let mut out = Vec::new();
    quoted(&mut out, b"RateLimit-Policy: ", name);
    pair(&mut out, b";q=", quota);
    pair(&mut out, b";w=", window);
    out.extend_from_slice(b"\r\n");
    quoted(&mut out, b"RateLimit: ", name);
    out.extend_from_slice(b";r=");
    out.into()
}

/// The fields for one limit.
pub(super) fn say(out: &mut Vec<u8>, constant: &[u8], said: Said) {
    let reset = if said.limited { said.retry_after } else { Some(said.reset_after) };
    out.extend_from_slice(constant);
    decimal(out, said.remaining);
    if let Some(reset) = reset {
        pair(out, b";t=", reset);
    }
    out.extend_from_slice(b"\r\n");
    if let (true, Some(seconds)) = (said.limited, said.retry_after) {
        pair(out, b"Retry-After: ", seconds);
        out.extend_from_slice(b"\r\n");
    }
}

/// A string of structured fields (RFC 9651 section 3.3.3); names of limits have no quotes.
fn quoted(out: &mut Vec<u8>, field: &[u8], name: &str) {
    out.extend_from_slice(field);
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.push(b'"');
}

fn pair(out: &mut Vec<u8>, name: &[u8], n: u64) {
    out.extend_from_slice(name);
    decimal(out, n);
}

/// Whole seconds, not less.
pub(super) fn ceil_seconds(span: Nanos) -> u64 {
    span.0.div_ceil(Nanos::SECOND.0)
}

/// What CL.THROTTLE has answered: five integers, or an error.
pub(super) fn said_by(reply: &[u8]) -> Option<Said> {
    let text = std::str::from_utf8(reply).ok()?.strip_prefix("*5\r\n")?;
    let mut numbers = text.split_terminator("\r\n").map(|line| line.strip_prefix(':'));
    let mut next = || numbers.next()??.parse::<i64>().ok();
    let (limited, _, remaining, retry, reset) = (next()?, next()?, next()?, next()?, next()?);
    // Its seconds may be a millisecond short.
    let retry_after = u64::try_from(retry).ok().map(|seconds| seconds.max(1));
    Some(Said {
        limited: limited != 0,
        remaining: u64::try_from(remaining).ok()?,
        retry_after: retry_after.filter(|_| limited != 0),
        reset_after: u64::try_from(reset).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_say_what_the_bucket_has_said() {
        let mut out = Vec::new();
        let said = Said { limited: false, remaining: 19, retry_after: None, reset_after: 1 };
        say(&mut out, &constant_fields("per-client", (100, 1)), said);
        let expect = "RateLimit-Policy: \"per-client\";q=100;w=1\r\n\
                      RateLimit: \"per-client\";r=19;t=1\r\n";
        assert_eq!(String::from_utf8(std::mem::take(&mut out)).unwrap(), expect);
        let said = Said { limited: true, remaining: 0, retry_after: Some(3), reset_after: 9 };
        say(&mut out, &constant_fields("x", (1, 9)), said);
        let expect = "RateLimit-Policy: \"x\";q=1;w=9\r\nRateLimit: \"x\";r=0;t=3\r\n\
                      Retry-After: 3\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }

    #[test]
    fn replies_of_the_command() {
        let said = said_by(b"*5\r\n:0\r\n:20\r\n:19\r\n:-1\r\n:1\r\n");
        let expect = Said { limited: false, remaining: 19, retry_after: None, reset_after: 1 };
        assert_eq!(said, Some(expect));
        let said = said_by(b"*5\r\n:1\r\n:20\r\n:0\r\n:0\r\n:1\r\n").unwrap();
        assert_eq!((said.limited, said.retry_after), (true, Some(1)));
        assert_eq!(said_by(b"-ERR no room\r\n"), None);
    }
}
