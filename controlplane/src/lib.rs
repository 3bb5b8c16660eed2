//! The control domain: what may block, and what talks to operators.
//!
//! Knows neither sockets of clients nor shards' threads; the binary hands it what it is to show,
//! and takes from it what shards are to read.

#![forbid(unsafe_code)]

pub mod admin;
mod compile;
mod load;
mod proxy_flag;
pub mod resources;

pub use load::{Loaded, PROXY_FLAG, Places, Sources, Summary, load, load_text};
pub use proxy_flag::{GRAMMAR, ProxyFlag, manifests};
