//! The index of one database: 16,384 slots, each a leaf of words, or a table of leaves when
//! one slot holds very many keys (a popular hash tag).
//!
//! Owns which leaf a key belongs to and when leaves grow, shrink and split; the memory is
//! the slab's. Never touches an entry: comparing keys is the caller's. A slot is counted,
//! walked and dropped by itself.
//!
//! ```text
//! slot -> Head { leaf, lines, words }                        up to 256 lines
//! slot -> Head { table } -> 2^depth numbers -> leaves        picked by the tag's top bits
//! ```
//!
//! The table is that of extendible hashing (Fagin et al., 1979): a full leaf splits in two
//! by its next tag bit, and only the numbers double.

#![forbid(unsafe_code)]

use std::rc::Rc;

use crate::ids::{SLOTS, SlotId};

use super::classes::Class;
use super::leaf::{self, At, LINE_WORDS, MAX_LINES, TAG_BITS, Tag, Word};
use super::memory::Memory;
use super::slab::{self, Loc, Slab};
use super::{KeyHash, OutOfMemory};

/// Tables of leaves stop growing here: 2^16 leaves hold 70 million words of one slot.
const MAX_DEPTH: u32 = 16;

/// A leaf and what is known of it.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    /// Place of the lines; 0 while there are none.
    leaf: u64,
    lines: u16,
    words: u16,
    /// Removals since the last rebuild.
    removed: u16,
    /// 1 + number of the slot's table, instead of a leaf.
    table: u16,
}

const _: () = assert!(size_of::<Head>() == 16, "four heads share a cache line");

/// One of several leaves of a slot.
#[derive(Clone, Copy)]
struct SubLeaf {
    head: Head,
    /// Top bits of the tag that all its words share.
    depth: u32,
}

struct Table {
    /// Bits by which `numbers` is indexed.
    depth: u32,
    numbers: Vec<u32>,
    leaves: Vec<SubLeaf>,
    words: usize,
}

impl Table {
    fn bytes(&self) -> usize {
        self.numbers.len() * size_of::<u32>() + self.leaves.len() * size_of::<SubLeaf>()
    }

    fn leaf(&self, tag: Tag) -> &SubLeaf {
        &self.leaves[self.numbers[(tag.0 >> (TAG_BITS - self.depth)) as usize] as usize]
    }

    fn leaf_mut(&mut self, tag: Tag) -> &mut SubLeaf {
        &mut self.leaves[self.numbers[(tag.0 >> (TAG_BITS - self.depth)) as usize] as usize]
    }
}

/// See the module's text.
pub(super) struct Index {
    heads: Option<Box<[Head]>>,
    tables: Vec<Option<Table>>,
    /// Bytes of heads and tables; leaves are the slab's.
    bytes: usize,
    memory: Rc<Memory>,
}

/// Where a word was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) loc: Loc,
    at: At,
}

/// Where a walk over a slot goes on: the smallest tag not yet visited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TagBound(pub(super) u32);

impl TagBound {
    pub(super) const END: Self = Self(1 << TAG_BITS);

    pub(super) fn is_end(self) -> bool {
        self >= Self::END
    }
}

impl Index {
    pub(super) fn new(memory: Rc<Memory>) -> Self {
        Self { heads: None, tables: Vec::new(), bytes: 0, memory }
    }

    fn charge(&mut self, before: usize, after: usize) {
        self.bytes = self.bytes + after - before;
        self.memory.grow(after.saturating_sub(before));
        self.memory.shrink(before.saturating_sub(after));
    }

    fn table(&self, number: u16) -> &Table {
        self.tables[usize::from(number) - 1].as_ref().expect("a head names it")
    }

    fn table_mut(&mut self, number: u16) -> &mut Table {
        self.tables[usize::from(number) - 1].as_mut().expect("a head names it")
    }

    /// The leaf of a tag and by how many low bits it discerns.
    #[inline]
    fn head(&self, slot: SlotId, tag: Tag) -> (Head, u32) {
        let Some(heads) = &self.heads else { return (Head::default(), TAG_BITS) };
        let head = heads[usize::from(slot.get())];
        if head.table == 0 {
            return (head, TAG_BITS);
        }
        let leaf = self.table(head.table).leaf(tag);
        (leaf.head, TAG_BITS - leaf.depth)
    }

    fn head_mut(&mut self, slot: SlotId, tag: Tag) -> (&mut Head, u32) {
        if self.heads.is_none() {
            self.make_heads();
        }
        let heads = self.heads.as_mut().expect("just made");
        let head = &mut heads[usize::from(slot.get())];
        if head.table == 0 {
            return (head, TAG_BITS);
        }
        let table = self.tables[usize::from(head.table) - 1].as_mut().expect("a head names it");
        let leaf = table.leaf_mut(tag);
        (&mut leaf.head, TAG_BITS - leaf.depth)
    }

    #[cold]
    fn make_heads(&mut self) {
        let heads: Box<[Head]> = vec![Head::default(); SLOTS.into()].into();
        self.memory.take(size_of_val(&*heads));
        self.charge(0, size_of_val(&*heads));
        self.heads = Some(heads);
    }

    /// Asks for the head of a slot.
    #[inline]
    pub(super) fn prefetch_head(&self, slot: SlotId) {
        if let Some(heads) = &self.heads {
            slab::prefetch((&raw const heads[usize::from(slot.get())]).cast());
        }
    }

    /// Asks for the cache line in which a key's word is at home.
    #[inline]
    pub(super) fn prefetch_line(&self, slab: &Slab, at: KeyHash) {
        let (head, bits) = self.head(at.slot, at.tag());
        if head.lines != 0 {
            let line = leaf::home(at.tag(), bits, head.lines.into());
            slab.prefetch(Loc::from_bits(head.leaf), line * size_of::<[u64; LINE_WORDS]>());
        }
    }

    /// Asks for the entry that a key's line points to, and returns its place.
    #[inline]
    pub(super) fn prefetch_entry(&self, slab: &Slab, at: KeyHash) -> Option<Loc> {
        let (head, bits) = self.head(at.slot, at.tag());
        if head.lines == 0 {
            return None;
        }
        let lines = slab.lines(Loc::from_bits(head.leaf), head.lines.into());
        let loc = Loc::from_bits(leaf::candidate(lines, bits, at.tag())?);
        // Small entries begin in one line and end in the next or the one after. Without
        // the third, copying a value of 64 bytes waits for it one time in four.
        for offset in [0, 64, 120] {
            slab.prefetch(loc, offset);
        }
        Some(loc)
    }

    /// Finds the word of a key; `is_it` compares the entry at a place.
    #[inline]
    pub(super) fn find(
        &self,
        slab: &Slab,
        at: KeyHash,
        mut is_it: impl FnMut(Loc) -> bool,
    ) -> Option<Found> {
        let (head, bits) = self.head(at.slot, at.tag());
        if head.lines == 0 {
            return None;
        }
        let lines = slab.lines(Loc::from_bits(head.leaf), head.lines.into());
        let mut loc = None;
        let at = leaf::find(lines, bits, at.tag(), |place| {
            let candidate = Loc::from_bits(place);
            loc = Some(candidate);
            is_it(candidate)
        })?;
        Some(Found { loc: loc?, at })
    }

    /// Points a found word to another place.
    pub(super) fn replace(&mut self, slab: &mut Slab, at: KeyHash, found: Found, loc: Loc) {
        let (head, _) = self.head(at.slot, at.tag());
        let lines = slab.lines_mut(Loc::from_bits(head.leaf), head.lines.into());
        leaf::replace(lines, found.at, loc.bits());
    }

    /// Adds a word for a key that has none.
    pub(super) fn insert(
        &mut self,
        slab: &mut Slab,
        at: KeyHash,
        loc: Loc,
    ) -> Result<(), OutOfMemory> {
        self.make_room(slab, at.slot, at.tag())?;
        let (head, bits) = self.head_mut(at.slot, at.tag());
        let lines = slab.lines_mut(Loc::from_bits(head.leaf), head.lines.into());
        leaf::insert(lines, bits, Word::new(at.tag(), loc.bits()));
        head.words += 1;
        self.count(at.slot, 1);
        Ok(())
    }

    /// Takes a found word out.
    pub(super) fn remove(&mut self, slab: &mut Slab, at: KeyHash, found: Found) {
        let (head, bits) = self.head_mut(at.slot, at.tag());
        let lines = slab.lines_mut(Loc::from_bits(head.leaf), head.lines.into());
        leaf::remove(lines, found.at);
        head.words -= 1;
        head.removed += 1;
        if head.words == 0 {
            slab.free(Loc::from_bits(head.leaf), class_of(head.lines.into()));
            *head = Head::default();
        } else if head.removed >= head.words.max(LINE_WORDS as u16) {
            let lines = leaf::lines_for(head.words.into()).min(head.lines.into());
            // Out of memory: the old leaf goes on serving, and the next removal tries again.
            let _ = rebuild(slab, head, bits, lines);
        }
        self.count(at.slot, -1);
    }

    fn count(&mut self, slot: SlotId, change: isize) {
        let Some(heads) = &self.heads else { return };
        let number = heads[usize::from(slot.get())].table;
        if number == 0 {
            return;
        }
        let table = self.table_mut(number);
        table.words = table.words.saturating_add_signed(change);
        if table.words == 0 {
            let bytes = table.bytes();
            self.charge(bytes, 0);
            self.tables[usize::from(number) - 1] = None;
            *self.slot_head(slot) = Head::default();
        }
    }

    fn slot_head(&mut self, slot: SlotId) -> &mut Head {
        if self.heads.is_none() {
            self.make_heads();
        }
        &mut self.heads.as_mut().expect("just made")[usize::from(slot.get())]
    }

    /// Grows or splits the leaf of a tag so that one more word fits.
    fn make_room(&mut self, slab: &mut Slab, slot: SlotId, tag: Tag) -> Result<(), OutOfMemory> {
        loop {
            let (head, bits) = self.head_mut(slot, tag);
            let (lines, words) = (usize::from(head.lines), usize::from(head.words));
            if words < lines * leaf::FULL_WORDS {
                return Ok(());
            }
            if lines < MAX_LINES {
                return rebuild(slab, head, bits, leaf::lines_for(words));
            }
            self.split(slab, slot, tag)?;
        }
    }

    /// Turns a full leaf into two, doubling the numbers of the slot's table if it must.
    fn split(&mut self, slab: &mut Slab, slot: SlotId, tag: Tag) -> Result<(), OutOfMemory> {
        let number = self.table_of(slot)?;
        let table = self.table_mut(number);
        let SubLeaf { head: old, depth } = *table.leaf(tag);
        if depth == MAX_DEPTH {
            return Err(OutOfMemory); // 70 million keys of one slot
        }
        let bits = TAG_BITS - depth - 1;
        let mut low = SubLeaf { head: Head::default(), depth: depth + 1 };
        let mut high = SubLeaf { head: Head::default(), depth: depth + 1 };
        for half in [&mut low.head, &mut high.head] {
            half.lines = MAX_LINES as u16;
            half.leaf = slab.allocate(class_of(MAX_LINES))?.bits();
            slab.lines_mut(Loc::from_bits(half.leaf), MAX_LINES).fill([0; LINE_WORDS]);
        }
        let lines = slab.lines(Loc::from_bits(old.leaf), old.lines.into()).to_vec();
        for word in lines.iter().flat_map(leaf::words) {
            let upper = word.tag().0 >> bits & 1 == 1;
            let half = if upper { &mut high.head } else { &mut low.head };
            let into = slab.lines_mut(Loc::from_bits(half.leaf), half.lines.into());
            leaf::insert(into, bits, word);
            half.words += 1;
        }
        slab.free(Loc::from_bits(old.leaf), class_of(old.lines.into()));
        for half in [&mut low.head, &mut high.head] {
            // Each is about half full now; with no memory for a smaller one it stays as it is.
            let _ = rebuild(slab, half, bits, leaf::lines_for(half.words.into()));
        }
        let before = table.bytes();
        table.adopt(tag, low, high);
        let after = table.bytes();
        self.charge(before, after);
        Ok(())
    }

    /// The number of a slot's table, made from its single leaf if there is none yet.
    fn table_of(&mut self, slot: SlotId) -> Result<u16, OutOfMemory> {
        let head = *self.slot_head(slot);
        if head.table != 0 {
            return Ok(head.table);
        }
        let words = head.words.into();
        let leaves = vec![SubLeaf { head, depth: 0 }];
        let table = Table { depth: 0, numbers: vec![0], leaves, words };
        let hole = self.tables.iter().position(Option::is_none).unwrap_or(self.tables.len());
        let number = u16::try_from(hole + 1).map_err(|_| OutOfMemory)?;
        if hole == self.tables.len() {
            self.tables.push(None);
        }
        self.charge(0, table.bytes());
        self.tables[hole] = Some(table);
        *self.slot_head(slot) = Head { table: number, ..Head::default() };
        Ok(number)
    }

    /// Bytes of the directory and of tables of leaves; leaves are the slab's.
    pub(super) fn memory(&self) -> usize {
        self.bytes
    }

    /// Words of one slot.
    pub(super) fn slot_len(&self, slot: SlotId) -> usize {
        let Some(heads) = &self.heads else { return 0 };
        let head = heads[usize::from(slot.get())];
        if head.table == 0 { head.words.into() } else { self.table(head.table).words }
    }

    /// Visits the words of one home line of a slot, those from tag `from` on, and returns
    /// where to go on. Every word that is there throughout a walk is visited once, whatever
    /// grows or shrinks in between.
    pub(super) fn walk(
        &self,
        slab: &Slab,
        slot: SlotId,
        from: TagBound,
        mut visit: impl FnMut(Tag, Loc),
    ) -> TagBound {
        let Some(heads) = &self.heads else { return TagBound::END };
        if heads[usize::from(slot.get())].words == 0 && self.slot_len(slot) == 0 {
            return TagBound::END;
        }
        let (head, bits) = self.head(slot, Tag(from.0));
        let base = from.0 >> bits << bits;
        if head.lines == 0 {
            return TagBound(base + (1 << bits)); // an empty leaf of a table
        }
        let count = usize::from(head.lines);
        let lines = slab.lines(Loc::from_bits(head.leaf), count);
        let line = leaf::home(Tag(from.0), bits, count);
        leaf::homed_at(lines, bits, line, |word| {
            slab.prefetch(Loc::from_bits(word.place()), 0);
        });
        leaf::homed_at(lines, bits, line, |word| {
            if word.tag().0 >= from.0 {
                visit(word.tag(), Loc::from_bits(word.place()));
            }
        });
        TagBound(base + leaf::first_of_line(line + 1, bits, count) as u32)
    }
}

impl Table {
    /// Puts the two halves where the leaf of `tag` was.
    fn adopt(&mut self, tag: Tag, low: SubLeaf, high: SubLeaf) {
        if low.depth > self.depth {
            self.numbers = self.numbers.iter().flat_map(|n| [*n, *n]).collect();
            self.depth += 1;
        }
        let old = self.numbers[(tag.0 >> (TAG_BITS - self.depth)) as usize];
        let new = self.leaves.len() as u32;
        let shift = self.depth - low.depth;
        for (i, number) in self.numbers.iter_mut().enumerate() {
            if *number == old && i >> shift & 1 == 1 {
                *number = new;
            }
        }
        self.leaves[old as usize] = low;
        self.leaves.push(high);
    }
}

fn class_of(lines: usize) -> Class {
    Class::of(lines * size_of::<[u64; LINE_WORDS]>())
}

/// Moves a leaf's words into fresh lines, which also clears the spill marks.
fn rebuild(slab: &mut Slab, head: &mut Head, bits: u32, lines: usize) -> Result<(), OutOfMemory> {
    let fresh = slab.allocate(class_of(lines))?;
    slab.lines_mut(fresh, lines).fill([0; LINE_WORDS]);
    if head.lines != 0 {
        let old = Loc::from_bits(head.leaf);
        for line in 0..usize::from(head.lines) {
            let words = slab.lines(old, head.lines.into())[line];
            let into = slab.lines_mut(fresh, lines);
            leaf::words(&words).for_each(|word| leaf::insert(into, bits, word));
        }
        slab.free(old, class_of(head.lines.into()));
    }
    head.leaf = fresh.bits();
    head.lines = lines as u16;
    head.removed = 0;
    Ok(())
}
