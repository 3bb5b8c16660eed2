//! What one core owns and decides.
//!
//! No sockets, no threads, no clocks and no randomness of its own: bytes, the time and
//! a seed come in, bytes and effects go out, so that whole shards can be simulated.

pub mod balance;
pub mod budget;
pub mod command;
pub mod config;
pub mod glob;
pub mod holds;
pub mod ids;
pub mod limit;
pub mod number;
pub mod operation;
pub mod order;
pub mod partition;
pub mod reply;
pub mod route;
pub mod session;
pub mod settings;
pub mod slot;
pub mod stats;
pub mod store;
pub mod time;
pub mod txn;
pub mod wheel;
pub mod word;
