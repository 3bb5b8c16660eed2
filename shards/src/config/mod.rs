//! The compiled configuration: one immutable value that every shard reads in place.
//!
//! Owns the archive (rkyv, flat tables that name each other by number), how it is built from a
//! [`draft::Draft`], how it is validated, and how it is read. It is a cache of the documents
//! that operators write, made again from them at every start; its bytes are no format for
//! others. Decides nothing about a request: that is `route`.
//!
//! ```text
//!   port ─< listener ─< host ─< place ─< candidate ─> rule ─< share ─> backend ─< endpoint
//!                                                      └──< limit
//! ```
//! A *host* is a pattern of names at one listener, a *place* a path (exact or prefix) of one host,
//! a *candidate* what else a match asks for (method, headers, query), a *share* a weighted backend.

mod archive;
mod build;
mod check;
pub mod draft;
mod path;
mod read;
mod snapshot;
pub(crate) mod table;
#[cfg(test)]
mod tests;

pub(crate) use archive::{
    ArchivedCandidate, ArchivedHost, ArchivedHostKind, ArchivedListener, ArchivedPlace, HostKind,
    NONE, PathKind,
};
pub use archive::{ArchivedConfig, Balance};
pub use build::{BuildError, MAX_CANDIDATES};
pub use path::{MAX_PATH, MAX_SEGMENTS, RoutePathError, route_path};
pub use read::{BackendView, KeyPart, LimitView, RuleView, Timeouts};
pub use snapshot::{Refused, Snapshot};

/// A socket of the configuration: a port number, or the node's default HTTP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u32);

/// A rule of a route. Numbers of all kinds mean something within one generation only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

/// A port of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(pub u32);

/// An address; equal addresses are one endpoint, whichever backends have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u32);

/// A limit of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitId(pub u32);
