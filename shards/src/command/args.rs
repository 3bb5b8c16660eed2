//! The arguments of one command, wherever they lie.

#![forbid(unsafe_code)]

use std::ops::Index;

use crate::ids::SlotId;
use crate::store::{Blob, Detached, Hasher, Hint, Key, KeyHash};

/// Where an argument lies in the bytes of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of its first byte.
    pub start: u32,
    /// Its length.
    pub len: u32,
}

impl Span {
    /// Of an argument that lies in a blob of its own.
    pub const ELSEWHERE: Self = Self { start: u32::MAX, len: 0 };
}

/// Arguments by reference; number 0 is the command's name.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
    /// Long arguments, which lie elsewhere, by number.
    blobs: &'a [(u32, Blob)],
    /// The number of the key whose hash the caller knows already; 0 for none.
    hashed: u32,
    at: KeyHash,
    hint: Hint,
}

impl<'a> Args<'a> {
    /// Arguments at `spans` of `bytes`, some of them long ones elsewhere.
    pub fn new(bytes: &'a [u8], spans: &'a [Span], blobs: &'a [(u32, Blob)]) -> Self {
        Self { bytes, spans, blobs, hashed: 0, at: KeyHash::default(), hint: Hint::default() }
    }

    /// The same with a key hashed beforehand, and where its entry may be.
    pub fn with_key(self, number: u32, at: KeyHash, hint: Hint) -> Self {
        Self { hashed: number, at, hint, ..self }
    }

    /// Number of arguments, the command's name included.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is not even a name.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// An argument, if there is one of that number.
    #[inline]
    pub fn get(&self, number: usize) -> Option<&'a [u8]> {
        let span = self.spans.get(number)?;
        if !self.blobs.is_empty()
            && let Some(blob) = self.blob(number)
        {
            return Some(blob.bytes());
        }
        Some(&self.bytes[span.start as usize..][..span.len as usize])
    }

    /// All long arguments, by number.
    pub fn blobs(&self) -> &'a [(u32, Blob)] {
        self.blobs
    }

    /// A long argument as what it is.
    pub fn blob(&self, number: usize) -> Option<&'a Blob> {
        self.blobs.iter().find(|(n, _)| *n as usize == number).map(|(_, blob)| blob)
    }

    /// An argument as a key.
    #[inline]
    pub fn key(&self, number: usize, hasher: &Hasher) -> Key<'a> {
        let bytes = self.at(number);
        if self.hashed as usize == number && number != 0 {
            return Key { bytes, at: self.at, hint: self.hint };
        }
        hasher.key(bytes)
    }

    /// The slot of a key that was hashed beforehand.
    #[inline]
    pub(super) fn known_slot(&self, number: usize) -> Option<SlotId> {
        (self.hashed as usize == number && number != 0).then_some(self.at.slot)
    }

    /// An argument that must be there, as arity has been checked.
    #[inline]
    pub fn at(&self, number: usize) -> &'a [u8] {
        self.get(number).expect("arity was checked")
    }

    /// All arguments from `number` on.
    pub fn from(self, number: usize) -> impl Iterator<Item = &'a [u8]> {
        (number..self.len()).map(move |n| self.at(n))
    }

    /// A copy of some arguments that owns its bytes. Long ones are shared.
    pub fn pick(&self, numbers: &[usize]) -> OwnedArgs {
        let mut picked = OwnedArgs { bytes: Vec::new(), spans: Vec::new(), blobs: Vec::new() };
        for n in numbers {
            match self.blob(*n) {
                Some(blob) => picked.push_blob(blob.clone()),
                None => picked.push(self.at(*n)),
            }
        }
        picked
    }

    /// A copy that owns its bytes, for a queue. Long arguments are shared.
    pub fn to_owned(&self) -> OwnedArgs {
        let mut bytes = Vec::new();
        let spans = (0..self.len())
            .map(|n| {
                let arg = if self.blob(n).is_some() { &[][..] } else { self.at(n) };
                let start = bytes.len() as u32;
                bytes.extend_from_slice(arg);
                Span { start, len: arg.len() as u32 }
            })
            .collect();
        OwnedArgs { bytes, spans, blobs: self.blobs.to_vec() }
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    fn index(&self, number: usize) -> &[u8] {
        self.at(number)
    }
}

/// Arguments with the bytes they lie in.
#[derive(Debug)]
pub struct OwnedArgs {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    blobs: Vec<(u32, Blob)>,
}

/// Arguments on their way to another thread.
#[derive(Debug)]
pub struct PackedArgs {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    long: Vec<(u32, Detached)>,
}

impl PackedArgs {
    /// Arguments of the shard they have come to.
    pub fn unpack(self, mut adopt: impl FnMut(Detached) -> Blob) -> OwnedArgs {
        let blobs = self.long.into_iter().map(|(n, long)| (n, adopt(long))).collect();
        OwnedArgs { bytes: self.bytes, spans: self.spans, blobs }
    }
}

impl OwnedArgs {
    /// Adds an argument.
    pub fn push(&mut self, arg: &[u8]) {
        self.spans.push(Span { start: self.bytes.len() as u32, len: arg.len() as u32 });
        self.bytes.extend_from_slice(arg);
    }

    /// Adds a long one.
    pub fn push_blob(&mut self, blob: Blob) {
        self.blobs.push((self.spans.len() as u32, blob));
        self.spans.push(Span { start: self.bytes.len() as u32, len: 0 });
    }

    /// Makes them fit to travel.
    pub fn pack(self, mut detach: impl FnMut(Blob) -> Detached) -> PackedArgs {
        let long = self.blobs.into_iter().map(|(n, blob)| (n, detach(blob))).collect();
        PackedArgs { bytes: self.bytes, spans: self.spans, long }
    }

    /// By reference.
    pub fn as_args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.spans, &self.blobs)
    }

    /// Arguments from parts, for tests and tools.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut bytes = Vec::new();
        let mut spans = Vec::new();
        for part in parts {
            spans.push(Span { start: bytes.len() as u32, len: part.len() as u32 });
            bytes.extend_from_slice(part);
        }
        Self { bytes, spans, blobs: Vec::new() }
    }

    /// Bytes held besides itself, with what the allocator adds.
    pub fn memory(&self) -> usize {
        allocation(self.bytes.capacity())
            + allocation(self.spans.capacity() * size_of::<Span>())
            + allocation(self.blobs.capacity() * size_of::<(u32, Blob)>())
            + self.blobs.iter().map(|(_, blob)| blob.len()).sum::<usize>()
    }
}

/// What an allocation of so many bytes takes from glibc: a word of administration, in units
/// of two and at least four.
fn allocation(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}
