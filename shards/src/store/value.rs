//! Values and what goes with them, as callers of the store see them.

#![forbid(unsafe_code)]

use crate::time::UnixMs;

use super::blob::Blob;

/// A stored value.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Up to about 16 KiB, in the entry.
    Inline(&'a [u8]),
    /// Longer, shared by reference.
    Blob(&'a Blob),
}

impl<'a> Value<'a> {
    /// The bytes.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Inline(bytes) => bytes,
            Self::Blob(blob) => blob.bytes(),
        }
    }
}

impl Value<'_> {
    /// The same for longer: a short one is copied, a long one shared.
    pub fn to_owned(self) -> OwnedValue {
        match self {
            Self::Inline(bytes) => OwnedValue::Bytes(bytes.into()),
            Self::Blob(blob) => OwnedValue::Blob(blob.clone()),
        }
    }
}

/// A value, or a key, that stays whatever becomes of the store.
#[derive(Clone, Debug)]
pub enum OwnedValue {
    /// A copy.
    Bytes(Box<[u8]>),
    /// Shared.
    Blob(Blob),
}

impl OwnedValue {
    /// By reference.
    pub fn as_value(&self) -> Value<'_> {
        match self {
            Self::Bytes(bytes) => Value::Inline(bytes),
            Self::Blob(blob) => Value::Blob(blob),
        }
    }
}

/// A value to store.
#[derive(Clone, Debug)]
pub enum NewValue<'a> {
    /// Copied.
    Bytes(&'a [u8]),
    /// Taken over.
    Blob(Blob),
}

/// What a write does to the key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Leaves it.
    Keep,
    /// Takes it away.
    Never,
    /// Sets it.
    At(UnixMs),
}

/// What is known of a key besides its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryInfo {
    /// When it expires.
    pub expiry: Option<UnixMs>,
    /// Seconds since it was last read or written.
    pub idle_seconds: u64,
    /// Whether APPEND or SETRANGE have been at it, which `OBJECT ENCODING` shows.
    pub modified: bool,
    /// Bytes that the key, the value and their administration take.
    pub bytes: usize,
}
