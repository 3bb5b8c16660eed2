//! The request side of RESP: bytes to commands. Sans-IO; the reply side is `shards::reply`.

#![forbid(unsafe_code)]

mod inline;
mod parser;

pub use parser::{Limits, Parser, ProtocolError, Step};
