//! Where the fields of a head lie: scratch of a shard, filled by the scanner.
//!
//! Never holds bytes, and never grows: room for the limit of fields is there from the start.

use super::Limits;
use super::names::Known;
use super::write::is_forwarded_as_received;

/// A run of bytes of the slice that was scanned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of its first byte.
    pub start: u32,
    /// Its length.
    pub len: u32,
}

impl Span {
    /// From one offset to before another.
    #[inline(always)]
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, len: (end - start) as u32 }
    }

    /// Its bytes in the slice that was scanned.
    #[inline]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..][..self.len as usize]
    }

    /// Whether it has no byte.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// One field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// A token, in the case received.
    pub name: Span,
    /// Without white space around it; may be empty.
    pub value: Span,
    /// Which one it is, where the codec or the proxy cares.
    pub known: Known,
    /// Not to be forwarded: it is hop-by-hop, named by Connection, or was left out by
    /// [`Fields::omit`]. (RFC 9110 section 7.6.1)
    pub hop: bool,
}

/// The fields of the head that was scanned last.
#[derive(Debug)]
pub struct Fields {
    list: Vec<Field>,
    /// One bit for each [`Known`] that was seen.
    seen: u64,
}

impl Fields {
    /// Room for as many fields as `limits` allow.
    pub fn new(limits: &Limits) -> Self {
        Self { list: Vec::with_capacity(limits.fields), seen: 0 }
    }

    /// In the order received.
    pub fn iter(&self) -> std::slice::Iter<'_, Field> {
        self.list.iter()
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether there is a line of that name.
    #[inline]
    pub fn has(&self, known: Known) -> bool {
        self.seen & known.bit() != 0
    }

    /// The values of all lines of that name.
    pub fn all(&self, known: Known) -> impl Iterator<Item = Span> {
        let list = if self.has(known) { self.list.as_slice() } else { &[] };
        list.iter().filter(move |field| field.known == known).map(|field| field.value)
    }

    /// The values of all lines of that name, in any case. `bytes` are those that were scanned.
    pub fn named(&self, bytes: &[u8], name: &[u8]) -> impl Iterator<Item = Span> {
        let same = move |field: &&Field| field.name.of(bytes).eq_ignore_ascii_case(name);
        self.list.iter().filter(same).map(|field| field.value)
    }

    /// The same, but those that no backend gets as they are
    /// ([`super::write::is_forwarded_as_received`]).
    pub fn forwarded(&self, bytes: &[u8], name: &[u8]) -> impl Iterator<Item = Span> {
        let same = move |field: &&Field| field.name.of(bytes).eq_ignore_ascii_case(name);
        self.list
            .iter()
            .filter(same)
            .filter(|one| is_forwarded_as_received(one))
            .map(|field| field.value)
    }

    /// Lines of that name are not forwarded; says how many there are. What frames and routes a
    /// message is written by the codec in any case.
    pub fn omit(&mut self, bytes: &[u8], name: &[u8]) -> usize {
        let mut count = 0;
        for field in &mut self.list {
            if field.name.of(bytes).eq_ignore_ascii_case(name) {
                field.hop = true;
                count += 1;
            }
        }
        count
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.seen = 0;
    }

    #[inline(always)]
    pub(super) fn push(&mut self, field: Field) {
        self.seen |= field.known.bit();
        self.list.push(field);
    }
}
