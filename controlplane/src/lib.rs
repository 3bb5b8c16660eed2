//! The control domain: what may block, and what talks to operators.
//!
//! Knows neither sockets of clients nor shards; the binary hands it what it is to show.

#![forbid(unsafe_code)]

pub mod admin;
