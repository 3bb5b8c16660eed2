//! The bytes of a compiled configuration, validated once and then read in place.
//!
//! This is the one module of the configuration with `unsafe`: to look at the archive without
//! validating it at every look. It never changes the bytes and never hands out a mutable view.

#![allow(unsafe_code)]

use std::fmt;
use std::ops::Deref;

use rkyv::util::AlignedVec;

use super::archive::{ArchivedConfig, Config};

/// An immutable configuration. It derefs to the tables.
pub struct Snapshot(AlignedVec);

/// Why bytes are no configuration; they are to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// They are not laid out as an archive.
    Layout(String),
    /// A table names what is not there.
    Content(&'static str),
}

impl Snapshot {
    /// Validates the bytes and keeps them.
    ///
    /// # Errors
    /// When anything in them leads out of them, or to a row that is not there.
    pub fn from_bytes(bytes: AlignedVec) -> Result<Self, Refused> {
        let root = rkyv::access::<ArchivedConfig, rkyv::rancor::Error>(&bytes)
            .map_err(|why| Refused::Layout(why.to_string()))?;
        root.check().map_err(Refused::Content)?;
        Ok(Self(bytes))
    }

    pub(super) fn of(config: &Config) -> Result<Self, Refused> {
        let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(config)
            .map_err(|why| Refused::Layout(why.to_string()))?;
        Self::from_bytes(bytes)
    }

    /// What [`Snapshot::from_bytes`] takes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for Snapshot {
    type Target = ArchivedConfig;

    fn deref(&self) -> &ArchivedConfig {
        // SAFETY: `from_bytes` is the only way to a Snapshot, and it has validated these very
        // bytes as this very type, in this allocation; nothing can write to them since.
        unsafe { rkyv::access_unchecked::<ArchivedConfig>(&self.0) }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("bytes", &self.0.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(why) => write!(f, "the bytes are no compiled configuration: {why}"),
            Self::Content(what) => write!(f, "the compiled configuration is inconsistent: {what}"),
        }
    }
}

impl std::error::Error for Refused {}

const _: () = {
    const fn shared_by_threads<T: Send + Sync>() {}
    shared_by_threads::<Snapshot>();
};
