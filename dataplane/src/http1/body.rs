//! A body of any framing, read as it comes.

use std::ops::Range;

use super::chunked::Chunked;
use super::{Framing, Limits, Refusal};

/// What a piece of a body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// All that could be understood is consumed; what is left over must be given again with
    /// more behind it.
    More,
    /// Content, at these offsets of the slice given.
    Data(Range<usize>),
    /// The body has ended; the next message begins after what was consumed.
    End {
        /// Where the trailer section lies, the empty line at its end included: its field lines
        /// are well formed. Empty where the framing has none.
        trailers: Range<usize>,
    },
}

/// Where a body stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes are still to come; 0 for no body, too.
    Length(u64),
    /// In chunks.
    Chunked(Chunked),
    /// All that comes.
    UntilClose,
}

impl Body {
    /// A body that begins. `limits` are those of its head.
    pub fn new(framing: Framing, limits: &Limits) -> Self {
        match framing {
            Framing::None => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunked::new(limits)),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Whether nothing of it is to come: then there is no need to call [`Body::next`].
    pub fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_done(),
            Self::UntilClose => false,
        }
    }

    /// Whether the message is whole when its connection ends now (RFC 9112 section 8).
    pub fn may_end(&self) -> bool {
        self.is_done() || *self == Self::UntilClose
    }

    /// The next piece in `bytes`, and how many of them it takes: these the caller drops before
    /// it calls again. An empty slice is fine.
    ///
    /// # Errors
    /// When the bytes are no chunked body, or pass the limits. The same body gets the same
    /// refusal however it is cut.
    pub fn next(&mut self, bytes: &[u8]) -> Result<(usize, Event), Refusal> {
        let take = match self {
            Self::Chunked(chunked) => return chunked.next(bytes),
            Self::Length(0) => return Ok((0, Event::End { trailers: 0..0 })),
            Self::Length(left) => {
                let take = (*left).min(bytes.len() as u64);
                *left -= take;
                take as usize
            }
            Self::UntilClose => bytes.len(),
        };
        Ok((take, if take == 0 { Event::More } else { Event::Data(0..take) }))
    }
}
