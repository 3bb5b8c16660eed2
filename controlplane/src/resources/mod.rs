//! The documents that operators write: Gateway, HTTPRoute, Service and so on.
//!
//! Owns one schema (`schema`, `kinds`) from which everything else is made: what is accepted, the
//! errors, `corelane explain`, the JSON Schema for editors, docs/CONFIGURATION.md. Reads no file
//! and resolves no reference between documents: that is `load` and `compile`.
//!
//! ```text
//!   text --yaml--> tree with places --check(schema)--> model --compile--> shards::config
//! ```
//! Errors are gathered, never only the first: each says file, line, column, field, and what was
//! expected. A document with an error is not compiled, but what it refers to is checked as far as that
//! could be read, and its name is known, so that references to it are no errors of their own.

mod check;
mod diagnostic;
mod documents;
mod explain;
mod formats;
mod json_schema;
mod kinds;
pub mod model;
mod reference;
pub mod schema;
mod tree;
mod yaml;

pub(crate) use diagnostic::hint;
pub use diagnostic::{Diagnostic, Located, Spot, nearest};
pub(crate) use documents::{Documents, Known};
pub use explain::{explain, kinds};
pub use json_schema::{json_schema, json_schema_of};
pub use kinds::KINDS;
pub use reference::reference_markdown;
pub(crate) use yaml::MAX_FILE;
