//! The HTTP/1.1 codec against cases with names, a second parser, and random cuts.

#![forbid(unsafe_code)]

mod cases;
mod corpus;
mod cuts;
mod differential;
mod read;
mod round_trip;
mod writers;
