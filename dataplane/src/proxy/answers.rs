//! The proxy's own answers: a short body that names the cause and how to see more.
//!
//! Owns their form, `application/problem+json` (RFC 9457):
//!
//! ```text
//! {"type":"urn:corelane:no_path","title":"Not Found","status":404,"detail":"..",
//!  "request_id":"..","more":".."}
//! ```

#![forbid(unsafe_code)]

use std::sync::LazyLock;

use super::access::text;
use super::cause::Cause;
use crate::http1::Refusal;
use crate::http1::write::decimal;

/// What a client needs to know of its connection and request.
pub(super) struct Asked<'a> {
    pub(super) id: &'a [u8],
    /// Whether the answer has a head only.
    pub(super) is_head: bool,
    /// Whether the connection ends with it.
    pub(super) close: bool,
    /// Whether the client speaks HTTP/1.0.
    pub(super) old: bool,
    /// More fields, each with its CRLF.
    pub(super) extra: &'a [u8],
    /// What was wrong with the answer of the server behind.
    pub(super) refusal: Option<Refusal>,
    pub(super) date: &'a [u8],
}

/// Writes an answer; `scratch` is for its content and empty after. Says how long that is.
pub(super) fn write(
    out: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    cause: Cause,
    asked: &Asked<'_>,
) -> u64 {
    let status = cause.status();
    scratch.clear();
    content(scratch, cause, asked.refusal, asked.id);
    put(out, b"HTTP/1.1 ");
    decimal(out, status.into());
    out.push(b' ');
    put(out, reason(status));
    put(out, b"\r\nDate: ");
    put(out, asked.date);
    put(out, b"\r\nContent-Type: application/problem+json\r\nCache-Control: no-store\r\n");
    put(out, b"X-Request-Id: ");
    put(out, asked.id);
    put(out, b"\r\n");
    put(out, asked.extra);
    if asked.close {
        put(out, b"Connection: close\r\n");
    } else if asked.old {
        put(out, b"Connection: keep-alive\r\n");
    }
    put(out, b"Content-Length: ");
    decimal(out, scratch.len() as u64);
    put(out, b"\r\n\r\n");
    let sent = if asked.is_head { 0 } else { scratch.len() as u64 };
    if !asked.is_head {
        put(out, scratch);
    }
    scratch.clear();
    sent
}

fn content(out: &mut Vec<u8>, cause: Cause, refusal: Option<Refusal>, id: &[u8]) {
    let status = cause.status();
    put(out, b"{\"type\":\"urn:corelane:");
    put(out, cause.label().as_bytes());
    put(out, b"\",\"title\":\"");
    put(out, reason(status));
    put(out, b"\",\"status\":");
    decimal(out, status.into());
    put(out, b",\"detail\":\"");
    match cause {
        Cause::Malformed(refusal) => text(out, refusal.to_string().as_bytes()),
        other => text(out, other.detail().as_bytes()),
    }
    if let Some(refusal) = refusal {
        text(out, format!(" In its answer we {refusal}.").as_bytes());
    }
    put(out, b"\",\"request_id\":\"");
    put(out, id);
    put(out, b"\",\"more\":\"");
    put(out, MORE);
    put(out, b"\"}\n");
}

/// What who is not served at all is told, before anything of a request has been read.
pub(super) fn at_the_door(cause: Cause) -> &'static [u8] {
    static FULL: LazyLock<Vec<u8>> = LazyLock::new(|| door(Cause::TooManyClients));
    static ENDING: LazyLock<Vec<u8>> = LazyLock::new(|| door(Cause::Draining));
    if cause == Cause::Draining { &ENDING } else { &FULL }
}

fn door(cause: Cause) -> Vec<u8> {
    let (mut content, status) = (Vec::new(), cause.status());
    self::content(&mut content, cause, None, b"-");
    let mut out = format!("HTTP/1.1 {status} ").into_bytes();
    put(&mut out, reason(status));
    let rest = "Content-Type: application/problem+json\r\nCache-Control: no-store\r\n\
        Retry-After: 1\r\nConnection: close\r\nContent-Length: ";
    put(&mut out, format!("\r\n{rest}{}\r\n\r\n", content.len()).as_bytes());
    put(&mut out, &content);
    out
}

/// Where an operator looks next.
const MORE: &[u8] = b"corelane_http_errors_total on the admin port counts these by cause; the \
    access log (--access-log FILE) has the request by its id";

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
}

/// The usual reason of a status (RFC 9110 section 15, RFC 5842, RFC 6585).
pub(super) fn reason(status: u16) -> &'static [u8] {
    match status {
        400 => b"Bad Request",
        404 => b"Not Found",
        408 => b"Request Timeout",
        414 => b"URI Too Long",
        417 => b"Expectation Failed",
        429 => b"Too Many Requests",
        431 => b"Request Header Fields Too Large",
        500 => b"Internal Server Error",
        501 => b"Not Implemented",
        502 => b"Bad Gateway",
        503 => b"Service Unavailable",
        504 => b"Gateway Timeout",
        505 => b"HTTP Version Not Supported",
        508 => b"Loop Detected",
        _ => b"Error",
    }
}
