//! HTTP/1.1 for the proxy (RFC 9112, and RFC 9110 for what it means): bytes in, spans out.
//!
//! Owns what a message is and how one is written; no socket, no clock, no allocation per
//! message. A message is never passed through: it is read to the last byte of its grammar,
//! refused where two readers could understand it differently, and written anew.
//!
//! ```text
//! bytes -> request() / response() -> head, Fields (spans) -> write::request / write::response
//!       -> Body::next() -> Data, Data, ..., End           -> write::chunk, write::last_chunk
//! ```
//!
//! Offsets are into the slice given to the call that returned them, and so are good until the
//! caller drops bytes before them.

#![forbid(unsafe_code)]

mod body;
mod bytes;
mod chunked;
mod facts;
mod fields;
mod host;
mod names;
pub mod path;
mod refusal;
mod request;
mod response;
mod scan;
mod target;
pub mod write;

pub use body::{Body, Event};
pub use chunked::Chunked;
pub use fields::{Field, Fields, Span};
pub use names::Known;
pub use refusal::Refusal;
pub use request::{Method, RequestHead, request};
pub use response::{Asked, ResponseHead, response};
pub use scan::Scan;
pub use target::{Form, Target};

/// How much of a peer's head is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, start line and empty line included; as many again for a message's
    /// chunk extensions and trailers together. Beyond: 431.
    pub head_bytes: usize,
    /// Bytes of a request line with its CRLF. RFC 9112 section 3 asks for 8,000 at least.
    /// Beyond: 414.
    pub line_bytes: usize,
    /// Field lines of a head. Beyond: 431.
    pub fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_bytes: 32 << 10, line_bytes: 8 << 10, fields: 100 }
    }
}

/// The versions spoken here, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: no chunks, and connections end unless both sides say otherwise.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// Where a message's body ends (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// After the chunk of size 0 and its trailers.
    Chunked,
    /// With the connection; responses only.
    UntilClose,
}
