//! A body in chunks (RFC 9112 section 7.1).

use crate::http1::scan::{self, Line};

/// Appends one chunk. No data writes nothing, since a chunk of size 0 ends the body.
pub fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    out.reserve(data.len() + 20);
    chunk_size(out, data.len() as u64);
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Appends what comes before a chunk's data, for data that is sent from where it lies; the
/// CRLF after it is the caller's. `size` is not 0.
pub fn chunk_size(out: &mut Vec<u8>, size: u64) {
    debug_assert!(size > 0, "a chunk of size 0 ends the body");
    let mut shift = (size.max(1).ilog2() / 4) * 4;
    loop {
        out.push(b"0123456789abcdef"[(size >> shift & 0xf) as usize]);
        if shift == 0 {
            break;
        }
        shift -= 4;
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the end of a body; says how many trailers were left out. `trailers` is the section
/// that [`super::super::Event::End`] points to, or empty where the peer takes none.
///
/// RFC 9110 section 6.5.1: fields that frame, route, authenticate, or say what the content is
/// must not come in trailers, and are dropped; section 7.6.1: so are hop-by-hop fields.
pub fn last_chunk(out: &mut Vec<u8>, trailers: &[u8]) -> usize {
    out.reserve(trailers.len() + 5);
    out.extend_from_slice(b"0\r\n");
    let (mut at, mut dropped) = (0, 0);
    while let Ok(Line::Field { field, next }) = scan::field_line(trailers, at) {
        if field.known.in_trailer() {
            super::field(out, field.name.of(trailers), field.value.of(trailers));
        } else {
            dropped += 1;
        }
        at = next;
    }
    out.extend_from_slice(b"\r\n");
    dropped
}
