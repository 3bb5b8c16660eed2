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
pub use request::{Forward, Scheme, request};
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

fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// An address; one of IPv4 that came over an IPv6 socket as what it is.
fn address(out: &mut Vec<u8>, ip: IpAddr) {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            for (nth, octet) in v4.octets().into_iter().enumerate() {
                if nth > 0 {
                    out.push(b'.');
                }
                decimal(out, u64::from(octet));
            }
        }
        // A Vec takes all that is written to it.
        IpAddr::V6(v6) => _ = write!(out, "{v6}"),
    }
}
