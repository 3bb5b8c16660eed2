//! What must hold for any bytes, one function per target.
//!
//! Owns the properties and no engine: libFuzzer drives them from `fuzz_targets/`, plain
//! `cargo test` replays the corpus and mutations of it.

#![forbid(unsafe_code)]

mod commands;
mod http1;
mod manifests;
mod resp_parser;

pub use commands::commands;
pub use http1::{http1_chunked, http1_request, http1_response};
pub use manifests::manifests;
pub use resp_parser::{requests, resp_parser};
