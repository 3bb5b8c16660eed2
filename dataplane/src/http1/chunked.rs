//! The chunked coding (RFC 9112 section 7.1), read as it comes.
//!
//! Owns sizes, extensions and the end of the body; keeps no byte but of an unfinished trailer
//! section, which the caller holds. Extensions are read by their grammar and dropped
//! (section 7.1.1: what is not understood MUST be ignored).
//!
//! ```text
//! Size --CR--> SizeLf --LF, size > 0--> Data --> DataCr --CR--> DataLf --LF--> Size
//!   \--;--> extension --CR--^    \--LF, size 0--> Trailers --empty line--> Done
//! ```

use super::body::Event;
use super::bytes::{self, TOKEN};
use super::scan::{self, Line, Stop};
use super::{Limits, Refusal};

/// Digits of a size: 16 hold any u64. Leading zeros count.
const MAX_DIGITS: u8 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    SizeLf,
    Extension(Extension),
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// Within `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    /// White space after the size or a value that cannot end the line.
    BeforeSemicolon,
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    Value,
    Quoted,
    Escaped,
    AfterQuoted,
}

/// Where one chunked body stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunked {
    state: State,
    digits: u8,
    /// Of the chunk under way: its size while that is read, then what is still to come.
    left: u64,
    /// Bytes that extensions and trailers may still have.
    budget: u32,
    /// Trailer lines that may still come.
    lines: u32,
    /// In an unfinished trailer section: where its first unfinished line begins, and the bytes
    /// that have been looked at.
    at: u32,
    looked: u32,
}

impl Chunked {
    /// A body that begins.
    pub fn new(limits: &Limits) -> Self {
        Self {
            state: State::Size,
            digits: 0,
            left: 0,
            budget: limits.head_bytes as u32,
            lines: limits.fields as u32,
            at: 0,
            looked: 0,
        }
    }

    /// Whether the end has been read.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// See [`super::Body::next`].
    ///
    /// # Errors
    /// When the bytes are no chunked body, or pass the limits.
    pub fn next(&mut self, bytes: &[u8]) -> Result<(usize, Event), Refusal> {
        let mut at = 0;
        loop {
            match self.state {
                State::Data => {
                    let rest = (bytes.len() - at) as u64;
                    if rest == 0 {
                        return Ok((at, Event::More));
                    }
                    let end = at + self.left.min(rest) as usize;
                    self.left -= (end - at) as u64;
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok((end, Event::Data(at..end)));
                }
                State::Trailers => return self.trailers(&bytes[at..], at),
                State::Done => return Ok((at, Event::End { trailers: at..at })),
                _ => match bytes.get(at) {
                    Some(byte) => self.state = self.step(*byte)?,
                    None => return Ok((at, Event::More)),
                },
            }
            at += 1;
        }
    }

    /// One byte of the framing.
    #[inline]
    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        match (self.state, byte) {
            (State::Size, _) => self.size(byte),
            (State::SizeLf, b'\n') if self.left == 0 => Ok(State::Trailers),
            (State::SizeLf, b'\n') => Ok(State::Data),
            (State::SizeLf, _) => Err(Refusal::BareCr),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => {
                (self.digits, self.left) = (0, 0);
                Ok(State::Size)
            }
            (State::Extension(extension), _) => self.extension(extension, byte),
            _ => Err(Refusal::ChunkEnd),
        }
    }

    fn size(&mut self, byte: u8) -> Result<State, Refusal> {
        if let Some(digit) = bytes::hex(byte) {
            if self.digits == MAX_DIGITS {
                return Err(Refusal::ChunkSizeTooLarge);
            }
            self.digits += 1;
            self.left = self.left << 4 | u64::from(digit);
            return Ok(State::Size);
        }
        match byte {
            _ if self.digits == 0 => Err(Refusal::ChunkSize),
            b'\r' => Ok(State::SizeLf),
            b'\n' => Err(Refusal::BareLf),
            b';' => self.extended(Extension::BeforeName),
            // White space that no extension follows is not in the grammar.
            b' ' | b'\t' => self.extended(Extension::BeforeSemicolon),
            _ => Err(Refusal::ChunkSize),
        }
    }

    /// One byte of an extension is charged. RFC 9112 section 7.1.1: a server ought to limit
    /// them.
    fn extended(&mut self, next: Extension) -> Result<State, Refusal> {
        self.budget = self.budget.checked_sub(1).ok_or(Refusal::ChunkExtensionsTooLarge)?;
        Ok(State::Extension(next))
    }

    fn extension(&mut self, state: Extension, byte: u8) -> Result<State, Refusal> {
        use Extension::{
            AfterName, AfterQuoted, BeforeName, BeforeSemicolon, BeforeValue, Escaped, Name,
            Quoted, Value,
        };
        let token = bytes::class(byte) & TOKEN != 0;
        let next = match (state, byte) {
            (_, b'\n') => return Err(Refusal::BareLf),
            (Name | Value | AfterQuoted, b'\r') => return Ok(State::SizeLf),
            (BeforeSemicolon, b'\r') => return Err(Refusal::ChunkSize),
            (Quoted, b'"') => AfterQuoted,
            (Quoted, b'\\') => Escaped,
            (Quoted | Escaped, _) if bytes::in_value(byte) => Quoted,
            (Name, _) if token => Name,
            (Value, _) if token => Value,
            (BeforeName, _) if token => Name,
            (BeforeValue, _) if token => Value,
            (BeforeValue, b'"') => Quoted,
            (Name | AfterName, b'=') => BeforeValue,
            (Name | AfterName | Value | AfterQuoted | BeforeSemicolon, b';') => BeforeName,
            (Name | AfterName, b' ' | b'\t') => AfterName,
            (Value | AfterQuoted | BeforeSemicolon, b' ' | b'\t') => BeforeSemicolon,
            (BeforeName | BeforeValue, b' ' | b'\t') => state,
            _ => return Err(Refusal::ChunkExtension),
        };
        self.extended(next)
    }

    /// The trailer section, once all of it is in `rest`, which begins at `from`.
    fn trailers(&mut self, rest: &[u8], from: usize) -> Result<(usize, Event), Refusal> {
        let window = &rest[..rest.len().min(self.budget as usize)];
        let full = window.len() == self.budget as usize;
        let unread = window.get(self.looked as usize..).unwrap_or_default();
        if self.looked != 0 && !full && !unread.contains(&b'\n') {
            self.looked = window.len() as u32;
            return Ok((from, Event::More));
        }
        loop {
            match scan::field_line(window, self.at as usize) {
                Ok(Line::Field { next, .. }) => {
                    self.lines = self.lines.checked_sub(1).ok_or(Refusal::TooManyFields)?;
                    self.at = next as u32;
                }
                Ok(Line::End { next }) => {
                    self.state = State::Done;
                    return Ok((from + next, Event::End { trailers: from..from + next }));
                }
                Err(Stop::Short { .. }) if full => return Err(Refusal::TrailersTooLarge),
                Err(Stop::Short { .. }) => {
                    self.looked = window.len() as u32;
                    return Ok((from, Event::More));
                }
                Err(Stop::Bad(refusal)) => return Err(refusal),
            }
        }
    }
}
