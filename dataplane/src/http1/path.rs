//! The one form of a path that is routed on and forwarded: its normal form
//! ([`shards::route::path`]), which routes have as well. What has none is refused.

use shards::route::path::{PathError, normalize};

use super::Refusal;

/// The path to route on and to forward; `path` itself where that is the same, else written to
/// `scratch`. `path` is one of a [`super::RequestHead`], so that its encodings are whole.
///
/// # Errors
/// [`Refusal::PathAboveRoot`] and [`Refusal::HiddenDots`].
pub fn routable<'a>(path: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Refusal> {
    normalize(path, scratch).map_err(|why| match why {
        PathError::AboveRoot => Refusal::PathAboveRoot,
        PathError::HiddenDots => Refusal::HiddenDots,
    })
}
