//! The HTTP/1.1 codec against cases with names, a second parser, and random cuts.

#![forbid(unsafe_code)]

mod cases;
mod corpus;
#[path = "../../examples/http1_cost.rs"]
#[allow(dead_code, reason = "its main is for itself")]
mod cost;
mod cuts;
mod differential;
mod read;
mod round_trip;
mod writers;
