//! The connections of a driver by their keys.
//!
//! Owns positions and generations: a position serves again, and its generation tells its users
//! apart. The one freed last is the first to serve again.

#![forbid(unsafe_code)]

use super::ConnKey;

/// Generations fit the 24 bits that drivers have for them beside a position.
pub(super) const GENERATIONS: u32 = 1 << 24;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    what: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    #[inline]
    pub(super) fn get(&self, key: ConnKey) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        slot.what.as_ref().filter(|_| slot.generation == key.generation)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: ConnKey) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.what.as_mut() } else { None }
    }

    /// The key that the next one will have.
    pub(super) fn next_key(&mut self) -> ConnKey {
        if self.free.is_empty() {
            let index = self.slots.len();
            make_room(&mut self.slots, index + 1);
            self.slots.push(Slot { generation: 0, what: None });
            self.free.push(index as u32);
        }
        let index = self.free[self.free.len() - 1];
        ConnKey { index, generation: self.slots[index as usize].generation }
    }

    /// Takes one in.
    pub(super) fn put(&mut self, what: T) -> ConnKey {
        let key = self.next_key();
        self.free.pop();
        self.slots[key.index as usize].what = Some(what);
        key
    }

    /// Takes one out; its key names nothing from then on.
    pub(super) fn take(&mut self, key: ConnKey) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        let what = if slot.generation == key.generation { slot.what.take() } else { None }?;
        slot.generation = (slot.generation + 1) % GENERATIONS;
        self.free.push(key.index);
        Some(what)
    }

    /// All there are, in the order of their positions.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnKey, &T)> {
        let all = self.slots.iter().zip(0..);
        all.filter_map(|(slot, index)| {
            Some((ConnKey { index, generation: slot.generation }, slot.what.as_ref()?))
        })
    }
}

/// Makes room in a table of connections for `len` of them. It grows by little, which the system
/// does without copying once it is large: doubling would leave up to half of it empty, which is
/// much where each connection has little.
pub(crate) fn make_room<T>(table: &mut Vec<T>, len: usize) {
    if table.capacity() < len {
        table.reserve_exact((len - table.len()).max(table.len() / 32).max(64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_serves_again_under_another_key() {
        let mut slots = Slots::default();
        let next = slots.next_key();
        let (a, b) = (slots.put("a"), slots.put("b"));
        assert_eq!((next, slots.get(a), slots.get(b)), (a, Some(&"a"), Some(&"b")));
        assert_eq!(slots.take(a), Some("a"));
        assert_eq!((slots.take(a), slots.get(a)), (None, None));
        assert_eq!(slots.get_mut(a), None);
        let c = slots.put("c");
        assert_eq!(c, ConnKey { index: a.index, generation: a.generation + 1 });
        assert_eq!(slots.get(a), None, "the old key names nothing");
        assert_eq!(slots.take(a), None);
        assert_eq!(slots.iter().collect::<Vec<_>>(), [(c, &"c"), (b, &"b")]);
    }

    #[test]
    fn generations_begin_anew_after_the_last() {
        let mut slots = Slots { slots: Vec::new(), free: Vec::new() };
        slots.put(());
        slots.slots[0].generation = GENERATIONS - 1;
        let last = ConnKey { index: 0, generation: GENERATIONS - 1 };
        assert!(slots.take(last).is_some());
        assert_eq!(slots.put(()), ConnKey { index: 0, generation: 0 });
    }
}
