//! Messages written anew: nothing that was received goes out but what the codec understood.
//!
//! Owns which fields are forwarded and which are ours. Appends to the caller's buffer, whose
//! room is asked for once a message.
//!
//! Not forwarded (RFC 9110 section 7.6.1): Connection and what it names, Keep-Alive,
//! Proxy-Connection, Proxy-Authenticate, Proxy-Authorization, TE, Trailer, Transfer-Encoding,
//! Upgrade. A Connection field cannot name what all recipients need: framing, routing,
//! authentication, dates, conditions, and the X-Forwarded fields; there it is not obeyed.

mod chunk;
mod request;
mod response;

use std::io::Write;
use std::net::IpAddr;

use super::fields::{Fields, Span};
use super::names::Known;
use super::{Framing, Version};

pub use chunk::{chunk, chunk_size, last_chunk};
pub use request::{Forward, Scheme, is_forwarded_as_received, request};
pub use response::{Back, Sent, response};

/// How we call ourselves in Via.
const PSEUDONYM: &[u8] = b"corelane";

/// One field line.
#[inline]
fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// All fields that go on, but those in `skip`.
#[inline]
fn end_to_end(out: &mut Vec<u8>, bytes: &[u8], fields: &Fields, skip: u64) {
    for one in fields.iter() {
        if !one.hop && one.known.bit() & skip == 0 {
            field(out, one.name.of(bytes), one.value.of(bytes));
        }
    }
}

/// The name of a list, its values so far, and a comma where something follows them.
fn list(out: &mut Vec<u8>, name: &[u8], bytes: &[u8], values: impl Iterator<Item = Span>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    for value in values.filter(|value| !value.is_empty()) {
        out.extend_from_slice(value.of(bytes));
        out.extend_from_slice(b", ");
    }
}

/// Via with us at its end, and the version that the message came in. RFC 9110 section 7.6.3:
/// a gateway MUST send it in requests and MAY in responses.
fn via(out: &mut Vec<u8>, bytes: &[u8], fields: &Fields, version: Version) {
    list(out, b"Via", bytes, fields.all(Known::Via));
    let version: &[u8] = if version == Version::Http11 { b"1.1 " } else { b"1.0 " };
    out.extend_from_slice(version);
    out.extend_from_slice(PSEUDONYM);
    out.extend_from_slice(b"\r\n");
}

/// How often a message has come through one of us, by its Via.
pub fn own_hops(bytes: &[u8], fields: &Fields) -> usize {
    let elements = fields.all(Known::Via).flat_map(|value| value.of(bytes).split(|b| *b == b','));
    let ours = |element: &&[u8]| {
        let mut words = element.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.nth(1) == Some(PSEUDONYM)
    };
    elements.filter(ours).count()
}

/// The one field that frames the body, if there is one.
fn framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
}

/// All numbers of two digits.
pub(crate) const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// Appends a number in decimal.
#[inline]
pub fn decimal(out: &mut Vec<u8>, number: u64) {
    match number {
        0..10 => out.push(b'0' + number as u8),
        10..100 => out.extend_from_slice(&PAIRS[number as usize]),
        100..1_000 => {
            let [tens, ones] = PAIRS[(number % 100) as usize];
            out.extend_from_slice(&[b'0' + (number / 100) as u8, tens, ones]);
        }
        _ => long_decimal(out, number),
    }
}

/// Two digits at a time, the last first. All twenty places are copied, whose number is known.
fn long_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let len = number.ilog10() as usize + 1;
    let mut at = len;
    while number >= 100 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
        number /= 100;
    }
    if at == 1 {
        digits[0] = b'0' + number as u8;
    } else {
        digits[..2].copy_from_slice(&PAIRS[number as usize]);
    }
    let end = out.len() + len;
    out.extend_from_slice(&digits);
    out.truncate(end);
}

/// A client's address as it is written: once for its connection, not for each of its requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Address {
    text: [u8; Self::LONGEST],
    len: u8,
    is_v6: bool,
}

impl Address {
    /// Of the longest address of IPv6, one with an address of IPv4 in it.
    const LONGEST: usize = 45;

    /// One of IPv4 that came over an IPv6 socket is what it is.
    pub fn of(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        let mut text = [0; Self::LONGEST];
        let mut left = &mut text[..];
        // The longest one fits.
        let _ = write!(left, "{ip}");
        let len = (Self::LONGEST - left.len()) as u8;
        Self { text, len, is_v6: ip.is_ipv6() }
    }

    /// Without brackets.
    #[inline]
    pub fn text(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }

    /// Whether it is one of IPv6.
    pub fn is_v6(&self) -> bool {
        self.is_v6
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_lengths() {
        let powers = (0..20).map(|n| 10_u64.pow(n));
        for n in powers.flat_map(|power| [power - 1, power, power + 1]).chain([12_345, u64::MAX]) {
            let mut out = b"n=".to_vec();
            decimal(&mut out, n);
            assert_eq!(String::from_utf8(out).unwrap(), format!("n={n}"));
        }
    }
}
