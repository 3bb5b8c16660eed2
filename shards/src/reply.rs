//! Encodes replies: RESP2 or RESP3, as the client has chosen.
//!
//! Owns a byte buffer that its user lends, and the long values that belong between its
//! bytes, which are referred to and never copied. Types follow
//! <https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md>; RESP2 has
//! no maps, sets, doubles or booleans and gets arrays, bulks and integers instead.

#![forbid(unsafe_code)]

use std::fmt::Display;
use std::io::Write;
use std::ops::Range;

use crate::store::{Blob, Value};

/// Parts of values longer than this are referred to: copying takes 10 us up to here, and a
/// reference holds the whole value while it is sent.
const SPLICED_FROM: usize = 64 << 10;

/// The protocol a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Every client's start.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

/// Replies to one client, encoded one after the other.
#[derive(Debug, Default)]
pub struct Reply {
    /// What has been encoded.
    pub bytes: Vec<u8>,
    /// Long values, and the offset in `bytes` before which each belongs.
    pub blobs: Vec<(usize, Blob)>,
    /// How the next reply is encoded.
    pub protocol: Protocol,
}

/// How far a reply had come; see [`Reply::rewind`].
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    bytes: usize,
    blobs: usize,
}

impl Reply {
    /// An empty reply for a client of that protocol.
    pub fn new(protocol: Protocol) -> Self {
        Self { protocol, ..Self::default() }
    }

    /// Whether nothing has been encoded.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that will go out.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.blobs.iter().map(|(_, blob)| blob.len()).sum::<usize>()
    }

    /// Where it stands.
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), blobs: self.blobs.len() }
    }

    /// Forgets what has been encoded since the mark.
    pub fn rewind(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.blobs.truncate(mark.blobs);
    }

    /// Whether what was encoded since the mark begins with an error.
    pub fn is_error_since(&self, mark: Mark) -> bool {
        self.bytes.get(mark.bytes) == Some(&b'-')
    }

    fn resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    fn number(&mut self, kind: u8, n: i64) {
        let mut text = [0; LONGEST_NUMBER];
        let len = spell(&mut text, kind, n);
        self.bytes.extend_from_slice(&text[..len]);
    }

    /// An array of at most five integers, appended at once.
    pub fn integers<const N: usize>(&mut self, values: [i64; N]) {
        const { assert!(N <= 5, "they fit the text") };
        let mut text = [0; 6 * LONGEST_NUMBER];
        let mut end = spell(&mut text, b'*', N as i64);
        for n in values {
            end += spell(&mut text[end..], b':', n);
        }
        self.bytes.extend_from_slice(&text[..end]);
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.bytes.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string, which holds no line end.
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']), "a simple string is one line");
        self.bytes.push(b'+');
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// An error; the first word is its code. Line ends at its ends go, others become spaces.
    pub fn error(&mut self, text: &[u8]) {
        let line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let start = text.iter().position(|byte| !line_end(byte)).unwrap_or(text.len());
        let end = text.iter().rposition(|byte| !line_end(byte)).map_or(start, |at| at + 1);
        let text = &text[start..end];
        self.bytes.push(b'-');
        let clean = text.iter().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b });
        self.bytes.extend(clean);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// An integer.
    pub fn integer(&mut self, n: i64) {
        self.number(b':', n);
    }

    /// A count, which fits an integer on this side of 2^63.
    pub fn count(&mut self, n: usize) {
        self.number(b':', n as i64);
    }

    /// A string of bytes.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.number(b'$', bytes.len() as i64);
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// A stored value: a long one goes out from where it lies.
    pub fn value(&mut self, value: Value<'_>) {
        match value {
            Value::Inline(bytes) => self.bulk(bytes),
            Value::Blob(blob) => {
                self.number(b'$', blob.len() as i64);
                self.blobs.push((self.bytes.len(), blob.clone()));
                self.bytes.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Part of a stored value: a long one goes out from where it lies.
    pub fn part(&mut self, value: Value<'_>, range: Range<usize>) {
        match value {
            Value::Blob(blob) if range.len() > SPLICED_FROM => {
                self.value(Value::Blob(&blob.slice(range)));
            }
            value => self.bulk(&value.bytes()[range]),
        }
    }

    /// A stored value, or null.
    pub fn value_or_null(&mut self, value: Option<Value<'_>>) {
        match value {
            Some(value) => self.value(value),
            None => self.null(),
        }
    }

    /// A bulk of something that can be written out.
    pub fn text(&mut self, text: impl Display) {
        let start = self.bytes.len();
        // Writing to a vector cannot fail.
        let _ = write!(self.bytes, "{text}");
        let body = self.bytes.split_off(start);
        self.bulk(&body);
    }

    /// Null, where RESP2 has a null bulk.
    pub fn null(&mut self) {
        self.bytes.extend_from_slice(if self.resp3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// Null, where RESP2 has a null array.
    pub fn null_array(&mut self) {
        self.bytes.extend_from_slice(if self.resp3() { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// The head of an array.
    pub fn array(&mut self, len: usize) {
        self.number(b'*', len as i64);
    }

    /// The head of a map of `len` pairs.
    pub fn map(&mut self, len: usize) {
        if self.resp3() { self.number(b'%', len as i64) } else { self.array(len * 2) }
    }

    /// The head of a set.
    pub fn set(&mut self, len: usize) {
        self.number(if self.resp3() { b'~' } else { b'*' }, len as i64);
    }

    /// Text for people: RESP3 says that it is plain.
    pub fn verbatim(&mut self, text: &[u8]) {
        if !self.resp3() {
            return self.bulk(text);
        }
        self.number(b'=', text.len() as i64 + 4);
        self.bytes.extend_from_slice(b"txt:");
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Puts the encoded replies of another buffer behind these.
    pub fn append(&mut self, mut other: Reply) {
        let offset = self.bytes.len();
        self.bytes.append(&mut other.bytes);
        self.blobs.extend(other.blobs.into_iter().map(|(at, blob)| (at + offset, blob)));
    }
}

/// Bytes of a number with its kind and its line end.
const LONGEST_NUMBER: usize = 23;

/// Writes a kind, a number and a line end, and says how many bytes that took.
#[inline]
fn spell(text: &mut [u8], kind: u8, n: i64) -> usize {
    let digit = |n: i64| b'0' + n as u8;
    match n {
        0..10 => {
            text[..4].copy_from_slice(&[kind, digit(n), b'\r', b'\n']);
            4
        }
        -9..100 => {
            let first = if n < 0 { b'-' } else { digit(n / 10) };
            let last = digit(if n < 0 { -n } else { n % 10 });
            text[..5].copy_from_slice(&[kind, first, last, b'\r', b'\n']);
            5
        }
        _ => {
            let mut digits = [0; 20];
            let digits = crate::number::decimal(n, &mut digits);
            let end = 1 + digits.len();
            text[0] = kind;
            text[1..end].copy_from_slice(digits);
            text[end..end + 2].copy_from_slice(b"\r\n");
            end + 2
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(encode: fn(&mut Reply), resp2: &str, resp3: &str) {
        for (protocol, expect) in [(Protocol::Resp2, resp2), (Protocol::Resp3, resp3)] {
            let mut reply = Reply::new(protocol);
            encode(&mut reply);
            assert_eq!(String::from_utf8(reply.bytes).unwrap(), expect);
        }
    }

    #[test]
    fn types() {
        check(|r| r.ok(), "+OK\r\n", "+OK\r\n");
        check(|r| r.error(b"ERR a\r\nb\r\n"), "-ERR a  b\r\n", "-ERR a  b\r\n");
        check(|r| r.integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n");
        check(|r| r.bulk(b"hello world"), "$11\r\nhello world\r\n", "$11\r\nhello world\r\n");
        check(|r| r.null(), "$-1\r\n", "_\r\n");
        check(|r| r.null_array(), "*-1\r\n", "_\r\n");
        check(|r| r.map(2), "*4\r\n", "%2\r\n");
        check(|r| r.set(12), "*12\r\n", "~12\r\n");
        check(|r| r.verbatim(b"hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n");
        check(|r| r.text(42), "$2\r\n42\r\n", "$2\r\n42\r\n");
    }

    #[test]
    fn integers_one_by_one_and_at_once() {
        let all: Vec<i64> =
            [i64::MIN, -12_345].into_iter().chain(-110..=110).chain([i64::MAX]).collect();
        for five in all.windows(5) {
            let (mut at_once, mut one_by_one) = (Reply::default(), Reply::default());
            at_once.integers(<[i64; 5]>::try_from(five).unwrap());
            one_by_one.array(5);
            five.iter().for_each(|n| one_by_one.integer(*n));
            let expect: String = five.iter().map(|n| format!(":{n}\r\n")).collect();
            assert_eq!(String::from_utf8(at_once.bytes).unwrap(), format!("*5\r\n{expect}"));
            assert_eq!(String::from_utf8(one_by_one.bytes).unwrap(), format!("*5\r\n{expect}"));
        }
    }
}
