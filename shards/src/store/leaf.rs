//! A leaf of the index: a hash table of words in cache lines, one home line per word.
//!
//! ```text
//! word, 64 bits = spilled (1, of the line's first word) | tag (25) | place of the entry (38)
//! line, 64 bytes = 8 words; 0 is an empty one
//! home line = the tag's low bits scaled to the number of lines: monotone in the tag
//! ```
//!
//! A word whose home line is full goes to the next line that has room (wrapping around),
//! and every full line passed is marked spilled. Marks stay until a rebuild, which comes
//! after as many removals as the leaf has words, or with a change of size. Because home is
//! monotone in the tag, moving words never needs the entries, and a scan can resume at a tag
//! whatever size the leaf has by then.

#![forbid(unsafe_code)]

use super::slab::LOC_BITS;

/// Words of a line.
pub(super) const LINE_WORDS: usize = 8;
/// Words of a line, on average, from which on a leaf grows. Measured: the spill chains
/// stay within 1.1 lines a lookup.
pub(super) const FULL_WORDS: usize = 6;
/// Most lines of a leaf: 16 KiB, rebuilt in about 5 us. Past it a slot gets more leaves.
pub(super) const MAX_LINES: usize = 256;
/// Bits of a tag.
pub(super) const TAG_BITS: u32 = 25;

const SPILLED: u64 = 1 << 63;
const TAG_MASK: u64 = ((1 << TAG_BITS) - 1) << LOC_BITS;
const LOC_MASK: u64 = (1 << LOC_BITS) - 1;

const _: () = assert!(1 + TAG_BITS + LOC_BITS == 64, "a word is full");
const _: () = assert!(LOC_BITS >= 32, "the tag is in the upper half");

/// The part of a key's hash that the index keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tag(pub(super) u32);

impl Tag {
    pub(super) const fn of_hash(hash: u64) -> Self {
        Self((hash >> (64 - TAG_BITS)) as u32)
    }

    const fn in_word(self) -> u64 {
        (self.0 as u64) << LOC_BITS
    }
}

/// An index word: never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u64);

impl Word {
    pub(super) const fn new(tag: Tag, place: u64) -> Self {
        debug_assert!(place != 0 && place <= LOC_MASK);
        Self(tag.in_word() | place)
    }

    pub(super) const fn tag(self) -> Tag {
        Tag(((self.0 & TAG_MASK) >> LOC_BITS) as u32)
    }

    pub(super) const fn place(self) -> u64 {
        self.0 & LOC_MASK
    }
}

/// Line and position of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) line: usize,
    pub(super) word: usize,
}

/// The home line of a tag in a leaf of `lines` lines that discerns by the low `bits` bits.
#[inline]
pub(super) fn home(tag: Tag, bits: u32, lines: usize) -> usize {
    let low = u64::from(tag.0) & ((1 << bits) - 1);
    ((low * lines as u64) >> bits) as usize
}

/// The smallest low part of a tag whose home is `line`, or the first beyond all tags.
pub(super) fn first_of_line(line: usize, bits: u32, lines: usize) -> u64 {
    ((line as u64) << bits).div_ceil(lines as u64)
}

/// One bit for each word of a line that has this tag, an empty one included when the tag
/// is 0. Without branches, since where in a line a word is cannot be predicted, and on the
/// upper halves, where the tag is, so that the compiler compares four at a time.
#[inline(always)]
fn matching(line: &[u64; LINE_WORDS], tag: Tag) -> u32 {
    const UPPER_MASK: u32 = (TAG_MASK >> 32) as u32;
    let wanted = (tag.in_word() >> 32) as u32;
    let mut upper = [0u32; LINE_WORDS];
    for (upper, bits) in upper.iter_mut().zip(line) {
        *upper = (bits >> 32) as u32 & UPPER_MASK;
    }
    let mut mask = 0;
    for (n, upper) in upper.into_iter().enumerate() {
        mask |= if upper == wanted { 1 << n } else { 0 };
    }
    mask
}

/// Finds the word with this tag for which `is_it` holds.
#[inline]
pub(super) fn find(
    lines: &[[u64; LINE_WORDS]],
    bits: u32,
    tag: Tag,
    mut is_it: impl FnMut(u64) -> bool,
) -> Option<At> {
    let mut line = home(tag, bits, lines.len());
    for _ in 0..lines.len() {
        let words = &lines[line];
        let mut mask = matching(words, tag);
        while mask != 0 {
            let word = mask.trailing_zeros() as usize;
            let place = words[word] & LOC_MASK;
            if place != 0 && is_it(place) {
                return Some(At { line, word });
            }
            mask &= mask - 1;
        }
        if words[0] & SPILLED == 0 {
            return None;
        }
        line = if line + 1 == lines.len() { 0 } else { line + 1 };
    }
    None
}

/// The first entry in the home line that may be the one, for prefetching.
#[inline]
pub(super) fn candidate(lines: &[[u64; LINE_WORDS]], bits: u32, tag: Tag) -> Option<u64> {
    let words = &lines[home(tag, bits, lines.len())];
    let mask = matching(words, tag);
    let place = words[mask.trailing_zeros() as usize % LINE_WORDS] & LOC_MASK;
    (mask != 0 && place != 0).then_some(place)
}

/// Puts a word in. There must be room in some line.
pub(super) fn insert(lines: &mut [[u64; LINE_WORDS]], bits: u32, new: Word) {
    let count = lines.len();
    let mut line = home(new.tag(), bits, count);
    for _ in 0..count {
        let words = &mut lines[line];
        if let Some(free) = words.iter_mut().find(|bits| **bits & !SPILLED == 0) {
            *free |= new.0;
            return;
        }
        words[0] |= SPILLED;
        line = if line + 1 == count { 0 } else { line + 1 };
    }
    unreachable!("a leaf grows before it is full");
}

/// Takes a word out. The line stays marked, since words beyond it are still there.
pub(super) fn remove(lines: &mut [[u64; LINE_WORDS]], at: At) {
    lines[at.line][at.word] &= SPILLED;
}

/// Puts another place into a word.
pub(super) fn replace(lines: &mut [[u64; LINE_WORDS]], at: At, place: u64) {
    let word = &mut lines[at.line][at.word];
    *word = *word & !LOC_MASK | place;
}

/// All words of a line.
pub(super) fn words(line: &[u64; LINE_WORDS]) -> impl Iterator<Item = Word> {
    line.iter().map(|bits| Word(bits & !SPILLED)).filter(|word| word.0 != 0)
}

/// The words whose home is `line`, wherever they spilled to.
pub(super) fn homed_at(
    lines: &[[u64; LINE_WORDS]],
    bits: u32,
    line: usize,
    mut visit: impl FnMut(Word),
) {
    let mut at = line;
    for _ in 0..lines.len() {
        for word in words(&lines[at]) {
            if home(word.tag(), bits, lines.len()) == line {
                visit(word);
            }
        }
        if lines[at][0] & SPILLED == 0 {
            return;
        }
        at = if at + 1 == lines.len() { 0 } else { at + 1 };
    }
}

/// How many lines a leaf of `words` words should have, growing by about an eighth.
pub(super) fn lines_for(words: usize) -> usize {
    let least = (words + 1).div_ceil(FULL_WORDS).max(1);
    if least <= 16 {
        return least;
    }
    let step = 1 << (least.ilog2() - 3);
    least.next_multiple_of(step).min(MAX_LINES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn home_and_first_of_line_agree() {
        for lines in [1, 2, 3, 7, 96, 256] {
            for bits in [9, 17, TAG_BITS] {
                for line in 0..lines {
                    let first = first_of_line(line, bits, lines) as u32;
                    assert_eq!(home(Tag(first), bits, lines), line);
                    if line > 0 {
                        assert_eq!(home(Tag(first - 1), bits, lines), line - 1);
                    }
                }
            }
        }
    }

    proptest! {
        /// A leaf holds what a plain list holds, under removals and crowded lines.
        #[test]
        fn behaves_like_a_list(
            lines in 1..6usize,
            steps in prop::collection::vec((0..3u8, 0..12u32, any::<usize>()), 1..200),
        ) {
            let bits = 4; // few homes, so that lines crowd
            let mut leaf = vec![[0; LINE_WORDS]; lines];
            let mut model: Vec<Word> = Vec::new();
            for (n, (kind, tag, pick)) in steps.into_iter().enumerate() {
                if kind > 0 && model.len() < lines * LINE_WORDS {
                    let word = Word::new(Tag(tag), n as u64 + 1);
                    insert(&mut leaf, bits, word);
                    model.push(word);
                } else if !model.is_empty() {
                    let word = model.swap_remove(pick % model.len());
                    let at = find(&leaf, bits, word.tag(), |place| place == word.place());
                    remove(&mut leaf, at.expect("in the model, so in the leaf"));
                }
                for word in &model {
                    prop_assert!(find(&leaf, bits, word.tag(), |p| p == word.place()).is_some());
                }
                let mut seen = Vec::new();
                for line in 0..lines {
                    homed_at(&leaf, bits, line, |word| seen.push(word.place()));
                }
                let mut expect: Vec<_> = model.iter().map(|word| word.place()).collect();
                seen.sort_unstable();
                expect.sort_unstable();
                prop_assert_eq!(seen, expect);
            }
        }
    }
}
