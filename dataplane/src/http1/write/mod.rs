//! Messages written anew: nothing that was received goes out but what the codec understood.
//!
//! Owns which fields are forwarded and which are ours. Appends to the caller's buffer.

mod chunk;

pub use chunk::{chunk, chunk_size, last_chunk};

/// One field line.
#[inline]
fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
