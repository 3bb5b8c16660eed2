//! Why a command was not carried out, in the words that clients of Redis know.
//!
//! Texts are Valkey's (server.h, shared objects in server.c, and the commands' own),
//! since client libraries match on them.

#![forbid(unsafe_code)]

use crate::store::OutOfMemory;

/// The client's or the limits' fault; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// Words in the wrong place.
    Syntax,
    /// No integer, or one beyond 64 bits.
    NotInteger,
    /// No number.
    NotFloat,
    /// A number that must not be negative or zero.
    NotPositive,
    /// A key that has to be there is not.
    NoSuchKey,
    /// An addition would leave 64 bits.
    Overflow,
    /// A value would pass 512 MB.
    TooLong,
    /// An expiry of the past or beyond the end of time; the command's name.
    ExpireTime(&'static str),
    /// No such database.
    DbIndex,
    /// `maxmemory` is reached and nothing may be evicted.
    OutOfMemory,
    /// The system refused memory.
    System,
    /// Any other; starts with its code.
    Other(String),
    /// Any other, fixed.
    Text(&'static str),
}

impl CommandError {
    /// The reply's text without the leading `-`.
    pub fn text(&self) -> String {
        match self {
            Self::Syntax => "ERR syntax error".into(),
            Self::NotInteger => "ERR value is not an integer or out of range".into(),
            Self::NotFloat => "ERR value is not a valid float".into(),
            Self::NotPositive => "ERR value is out of range, must be positive".into(),
            Self::NoSuchKey => "ERR no such key".into(),
            Self::Overflow => "ERR increment or decrement would overflow".into(),
            Self::TooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)".into(),
            Self::ExpireTime(command) => format!("ERR invalid expire time in '{command}' command"),
            Self::DbIndex => "ERR DB index is out of range".into(),
            Self::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.".into(),
            Self::System => "OOM the system has no memory left for this value".into(),
            Self::Other(text) => text.clone(),
            Self::Text(text) => (*text).into(),
        }
    }
}

impl From<OutOfMemory> for CommandError {
    fn from(_: OutOfMemory) -> Self {
        Self::System
    }
}
