//! The simulator's seeded generator, so that a failed run can be repeated.

pub use dataplane::runtime::sim::Rng;
