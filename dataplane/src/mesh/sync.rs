//! What the mesh and the publication take from `std`, or from loom when their models are built.
//!
//! Owns no code. Loom's types work inside a model only, so tests on real threads are left out of
//! a `--cfg loom` build, and what is not a test is built on `std` even there.

#![forbid(unsafe_code)]

#[cfg(all(test, loom))]
use loom::sync;
#[cfg(not(all(test, loom)))]
use std::sync;

pub(crate) use sync::Arc;
pub(crate) use sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};
