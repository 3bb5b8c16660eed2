//! What clients do, each with something that must never be seen.

mod bank;
mod blobs;
mod expiry;
mod noise;
mod registers;
mod script;
mod signal;
mod watcher;

use super::client::Role;
use super::linear::Seen;
use super::resp::Value;
use dataplane::runtime::sim::Rng;

pub use bank::preface;
pub use script::Script;

/// Which turn is whose.
pub const KINDS: usize = 8;
pub const REGISTERS: usize = 0;
pub const BLOBS: usize = 5;
pub const NOISE: usize = 7;

/// The role of a turn.
pub fn choose(n: usize, client: usize, refusing: bool, rng: &mut Rng) -> Box<dyn Role> {
    match n {
        REGISTERS | 4 => Box::new(registers::Registers::new(client)),
        1 => Box::new(bank::Bank::new(client)),
        2 => Box::new(watcher::Watcher::new(client)),
        // Its rule holds only while no write is refused.
        3 if !refusing => Box::new(signal::Signal::new(client)),
        3 if rng.chance(50) => Box::new(registers::Registers::new(client)),
        BLOBS => Box::new(blobs::Blobs::new(client)),
        6 => Box::new(expiry::Expiry::new(client)),
        _ => Box::new(noise::Noise::new(client)),
    }
}

/// A reply without the difference between the protocols.
fn seen(value: &Value) -> Seen {
    match value {
        Value::NullBulk | Value::NullArray | Value::Null => Seen::Nil,
        Value::Int(n) => Seen::Int(*n),
        Value::Bulk(bytes) => Seen::Bytes(bytes.clone()),
        Value::Simple(text) if text == b"OK" => Seen::Ok,
        _ => Seen::Error,
    }
}

/// Whether a write was refused for want of memory.
fn is_refused(value: &Value) -> bool {
    match value {
        Value::Error(text) => {
            text.starts_with(b"OOM")
                || text.windows(4).any(|word| word == b"OOM ")
                || text.starts_with(b"EXECABORT")
        }
        Value::Array(items) => items.iter().any(is_refused),
        _ => false,
    }
}
