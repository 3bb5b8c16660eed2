//! The head of a response to a client.

use super::{decimal, end_to_end, field, framing, via};
use crate::http1::fields::Fields;
use crate::http1::names::Known;
use crate::http1::response::ResponseHead;
use crate::http1::{Framing, Version};

/// How a response goes back.
#[derive(Clone, Copy, Debug)]
pub struct Back<'a> {
    /// The version of the client's request.
    pub version: Version,
    /// Whether we want to leave the client's connection open: it does, and so do we.
    pub keep_alive: bool,
    /// Whole field lines to add.
    pub extra: &'a [u8],
}

/// What was promised to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// How the body must be written.
    pub body: Framing,
    /// Whether the connection stays open after it.
    pub keep_alive: bool,
}

/// Of what is written here and was not received.
const OWN_BYTES: usize = 256;

/// Appends the head of `head` as it goes to a client, and says how its body must follow.
/// `bytes` and `fields` are those it was read from. An interim response must not be sent to a
/// client of HTTP/1.0 (RFC 9110 section 15.2).
///
/// Where the backend's body has no length, a client of HTTP/1.1 gets chunks, and one of
/// HTTP/1.0, which does not know them, the end of the connection.
pub fn response(
    out: &mut Vec<u8>,
    bytes: &[u8],
    head: &ResponseHead,
    fields: &Fields,
    back: &Back<'_>,
) -> Sent {
    debug_assert!(!head.is_interim() || back.version == Version::Http11, "no 1xx to HTTP/1.0");
    out.reserve(head.len + back.extra.len() + OWN_BYTES);
    // RFC 9112 section 2.3: our own version, whatever the client's is.
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(out, u64::from(head.status));
    out.push(b' ');
    out.extend_from_slice(head.reason.of(bytes));
    out.extend_from_slice(b"\r\n");
    end_to_end(out, bytes, fields, Known::ContentLength.bit() | Known::Via.bit());
    let body = match head.body {
        Framing::Chunked | Framing::UntilClose if back.version == Version::Http11 => {
            Framing::Chunked
        }
        Framing::Chunked => Framing::UntilClose,
        framing => framing,
    };
    framing(out, body);
    // RFC 9110 section 8.6: to HEAD and in 304 it says what GET would have got; it MUST NOT be
    // in 1xx and 204.
    let silent = head.status < 200 || head.status == 204;
    if let (Framing::None, Some(length), false) = (body, head.length, silent) {
        framing(out, Framing::Length(length));
    }
    let keep_alive = back.keep_alive && body != Framing::UntilClose && head.status != 101;
    connection(out, bytes, head, fields, back.version, keep_alive);
    via(out, bytes, fields, head.version);
    out.extend_from_slice(back.extra);
    out.extend_from_slice(b"\r\n");
    Sent { body, keep_alive }
}

/// What concerns the client's connection (RFC 9112 section 9.3; RFC 9110 section 7.8).
fn connection(
    out: &mut Vec<u8>,
    bytes: &[u8],
    head: &ResponseHead,
    fields: &Fields,
    version: Version,
    keep_alive: bool,
) {
    // RFC 9110 section 15.5.22: 426 MUST say what to upgrade to.
    let offered = fields.all(Known::Upgrade).next().filter(|_| head.status == 426);
    let upgrade = head.upgrade.or(offered);
    let close = !keep_alive && head.status >= 200;
    let say: &[u8] = match (upgrade.is_some(), close) {
        (true, false) => b"Connection: Upgrade\r\n",
        (true, true) => b"Connection: close, Upgrade\r\n",
        (false, true) => b"Connection: close\r\n",
        (false, false) if version == Version::Http10 => b"Connection: keep-alive\r\n",
        (false, false) => b"",
    };
    out.extend_from_slice(say);
    if let Some(upgrade) = upgrade {
        field(out, b"Upgrade", upgrade.of(bytes));
    }
}
