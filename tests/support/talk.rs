//! Conversations through the proxy: one text format, and one player of it.
//!
//! Owns what a conversation is and what holds in each; the bytes go over whatever
//! [`play::Wires`] is given: sockets of a running node, or the simulated network. The format is
//! told in `format`.

#![allow(dead_code, unreachable_pub, missing_docs)] // each test uses its own part

#[path = "talk_format.rs"]
pub mod format;
#[path = "talk_manifests.rs"]
pub mod manifests;
#[path = "talk_match.rs"]
pub mod matching;
#[path = "talk_play.rs"]
pub mod play;
#[path = "talk_text.rs"]
pub mod text;

#[allow(unused_imports)]
pub use format::{Case, File, parse};
#[allow(unused_imports)]
pub use play::{Delivery, play};
