//! Long values that another shard sends out from where they lie.
//!
//! Owns who has borrowed what. A lent value is kept alive by its home's [`Lender`] until its
//! number has come back from the borrower, whose last clone drops first; so it is freed at
//! home, and never while it is read. Never copies a value and never changes one: writing in
//! place needs the only reference, and the lender holds one. Bounds nothing: the credits of
//! the messages that carry values do, and [`Lender::out`] counts. Whoever ends first, lender
//! or borrower: nothing is freed that the other may read, it is leaked instead.
//!
//! ```text
//! home:      Lender::lend                                    Lender::take_back
//!                 | Lent                                         ^ LentId
//! ----------------|----------------------------------------------|---------- messages
//!                 v                                              |
//! borrower:  Blob::borrowed, cloned, sent .. last clone drops -> Returns
//! ```
//!
//! Unsafe because the borrower reads through a pointer to what the lender keeps.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::fmt;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::blob::Blob;
use crate::ids::ShardId;

/// Lenders ever made: shards of two nodes in one process are told apart.
static LENDERS: AtomicU64 = AtomicU64::new(0);

/// What a shard has lent. Not `Send`, as its blobs are not.
pub struct Lender {
    home: ShardId,
    serial: u64,
    held: Vec<Option<Blob>>,
    free: Vec<u32>,
}

/// Says that a lent value is read no more: made once for each, where its last reader drops,
/// and never copied. That is what makes freeing the value safe.
#[derive(Debug)]
#[must_use = "the value is kept until its lender takes this back"]
pub struct LentId {
    lender: u64,
    number: u32,
    home: ShardId,
}

impl LentId {
    /// The shard that lent the value.
    pub fn home(&self) -> ShardId {
        self.home
    }
}

/// A lent value on its way to the borrower.
#[must_use = "the value is kept until its lender takes it back"]
pub struct Lent {
    start: NonNull<u8>,
    len: usize,
    id: LentId,
}

// SAFETY: it is read only, by one thread at a time, and nobody writes into the bytes it
// points to or frees them while its `LentId` is out.
unsafe impl Send for Lent {}

impl Lent {
    /// Its length.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The borrower wants it no more, as when the connection has gone.
    pub fn decline(self) -> LentId {
        self.id
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lent({} bytes of shard {})", self.len, self.id.home.0)
    }
}

impl Lender {
    /// The lender of a shard.
    pub fn new(home: ShardId) -> Self {
        let serial = LENDERS.fetch_add(1, Ordering::Relaxed);
        Self { home, serial, held: Vec::new(), free: Vec::new() }
    }

    /// Lends a value; it stays charged to its store.
    pub fn lend(&mut self, blob: Blob) -> Lent {
        let (start, len) = (NonNull::from(blob.bytes()).cast(), blob.len());
        let number = self.free.pop().unwrap_or_else(|| {
            self.held.push(None);
            u32::try_from(self.held.len() - 1).expect("fewer than 2^32 values are out")
        });
        self.held[number as usize] = Some(blob);
        Lent { start, len, id: LentId { lender: self.serial, number, home: self.home } }
    }

    /// A value is read no more. Panics when another lender lent it.
    pub fn take_back(&mut self, id: LentId) {
        assert_eq!(id.lender, self.serial, "a value goes back to its lender");
        let blob = self.held[id.number as usize].take();
        debug_assert!(blob.is_some(), "there is one id of each value");
        self.free.push(id.number);
    }

    /// Values that are out.
    pub fn out(&self) -> usize {
        self.held.len() - self.free.len()
    }
}

impl Drop for Lender {
    fn drop(&mut self) {
        // Borrowers may read on.
        self.held.drain(..).flatten().for_each(std::mem::forget);
    }
}

impl fmt::Debug for Lender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lender(shard {}, {} out)", self.home.0, self.out())
    }
}

/// Where a borrower's shard gathers what goes home with its next messages.
#[derive(Debug, Default)]
pub struct Returns(RefCell<Vec<LentId>>);

impl Returns {
    /// Whether nothing has to go home.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Adds one.
    pub fn put(&self, id: LentId) {
        self.0.borrow_mut().push(id);
    }

    /// Moves all of them to the end of `ids`.
    pub fn take(&self, ids: &mut Vec<LentId>) {
        ids.append(&mut self.0.borrow_mut());
    }
}

/// A borrowed value; the blobs that share it own it together.
pub(super) struct Loan {
    start: NonNull<u8>,
    len: usize,
    /// `None` only while it drops.
    id: Option<LentId>,
    returns: Rc<Returns>,
}

impl Loan {
    pub(super) fn new(lent: Lent, returns: Rc<Returns>) -> Self {
        Self { start: lent.start, len: lent.len, id: Some(lent.id), returns }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the lender was given a blob with these bytes, and drops it only for the
        // `LentId` that is here until we drop; until then the blob has a holder that lends
        // no `&mut`, so that nobody writes. A blob's bytes do not move.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.returns.put(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::BlobSource;
    use super::*;
    use proptest::prelude::*;
    use std::sync::mpsc;
    use std::thread;

    /// On the heap, and in a mapping of its own.
    const LENGTHS: [usize; 2] = [20_000, (3 << 20) + 17];

    fn source() -> BlobSource {
        BlobSource(Rc::default())
    }

    fn value(len: usize, salt: u8) -> Vec<u8> {
        (0..len).map(|i| (i as u8).wrapping_mul(31) ^ (i >> 8) as u8 ^ salt).collect()
    }

    fn blob(source: &BlobSource, bytes: &[u8]) -> Blob {
        let mut builder = source.builder(bytes.len()).unwrap();
        builder.extend(bytes);
        builder.freeze()
    }

    /// Bytes charged to a store once all that is dead has been released.
    fn memory(source: &BlobSource) -> usize {
        while source.0.release_step() > 0 {}
        source.0.living() + source.0.waiting()
    }

    fn lender() -> Lender {
        Lender::new(ShardId(3))
    }

    fn taken(returns: &Returns) -> Vec<LentId> {
        let mut ids = Vec::new();
        returns.take(&mut ids);
        ids
    }

    #[test]
    fn a_value_is_read_on_another_thread_and_freed_at_home() {
        for len in LENGTHS {
            let (source, mut lender) = (source(), lender());
            let lent = lender.lend(blob(&source, &value(len, 0)));
            let (to_other, from_home) = mpsc::channel::<Lent>();
            let (to_home, from_other) = mpsc::channel();
            let other = thread::spawn(move || {
                let returns = Rc::new(Returns::default());
                let first = Blob::borrowed(from_home.recv().unwrap(), &returns);
                let second = first.clone();
                drop(first);
                assert!(returns.is_empty(), "a clone reads it still");
                assert_eq!(second.bytes(), value(len, 0));
                drop(second);
                taken(&returns).into_iter().for_each(|id| to_home.send(id).unwrap());
            });
            to_other.send(lent).unwrap();
            let id = from_other.recv().unwrap();
            other.join().unwrap();
            assert_eq!((id.home(), lender.out()), (ShardId(3), 1));
            assert!(memory(&source) >= len, "charged to its owner while it is out");
            lender.take_back(id);
            assert_eq!((lender.out(), memory(&source)), (0, 0));
            assert!(from_other.recv().is_err(), "it came home once");
        }
    }

    #[test]
    fn what_is_lent_is_not_written_in_place() {
        for len in LENGTHS {
            let (source, mut lender, returns) = (source(), lender(), Rc::new(Returns::default()));
            let mut stored = blob(&source, &value(len, 0));
            let reader = Blob::borrowed(lender.lend(stored.clone()), &returns);
            assert_eq!(stored.write_in_place(0, b"changed"), Ok(None));
            assert_eq!(reader.bytes(), value(len, 0));
            drop(reader);
            assert_eq!(stored.write_in_place(0, b"changed"), Ok(None), "it is not home yet");
            taken(&returns).into_iter().for_each(|id| lender.take_back(id));
            assert_eq!(stored.write_in_place(0, b"changed"), Ok(Some(len)));
        }
    }

    #[test]
    fn what_is_borrowed_is_neither_written_nor_detached() {
        let (source, mut lender, returns) = (source(), lender(), Rc::new(Returns::default()));
        let mut reader = Blob::borrowed(lender.lend(blob(&source, b"abc")), &returns);
        assert_eq!(reader.write_in_place(0, b"x"), Ok(None));
        let reader = reader.detach().unwrap_err();
        assert_eq!(reader.bytes(), b"abc");
        assert!(returns.is_empty());
        drop(reader);
        taken(&returns).into_iter().for_each(|id| lender.take_back(id));
        assert_eq!(memory(&source), 0);
    }

    #[test]
    fn nothing_is_freed_early_whoever_goes_first() {
        for len in LENGTHS {
            let (source, mut first, returns) = (source(), lender(), Rc::new(Returns::default()));
            let reader = Blob::borrowed(first.lend(blob(&source, &value(len, 0))), &returns);
            drop(first);
            assert!(memory(&source) >= len, "leaked, not freed");
            assert_eq!(reader.bytes(), value(len, 0));

            let mut second = lender();
            let lent = second.lend(blob(&source, &value(len, 1)));
            let before = memory(&source);
            thread::spawn(move || drop(Blob::borrowed(lent, &Rc::default()))).join().unwrap();
            assert_eq!((second.out(), memory(&source)), (1, before));
        }
    }

    #[test]
    fn a_value_that_is_declined_goes_home_too() {
        let (source, mut lender, returns) = (source(), lender(), Returns::default());
        let lent = lender.lend(blob(&source, b"abc"));
        assert_eq!((lent.len(), lent.is_empty()), (3, false));
        returns.put(lent.decline());
        taken(&returns).into_iter().for_each(|id| lender.take_back(id));
        assert_eq!((lender.out(), memory(&source)), (0, 0));
    }

    #[test]
    #[should_panic(expected = "a value goes back to its lender")]
    fn another_shards_lender_takes_nothing_back() {
        let (source, mut one, mut other) = (source(), lender(), lender());
        let (lent, _other) = (one.lend(blob(&source, b"abc")), other.lend(blob(&source, b"abc")));
        other.take_back(lent.decline());
    }

    #[test]
    fn a_detached_value_moves_between_stores_as_it_lies() {
        for len in LENGTHS {
            let (from, to) = (source(), source());
            let blob = blob(&from, &value(len, 0));
            let (place, charged) = (blob.bytes().as_ptr().addr(), memory(&from));
            let detached = blob.detach().unwrap();
            assert_eq!(memory(&from), 0);
            let detached = thread::spawn(move || {
                assert_eq!(detached.bytes(), value(len, 0));
                detached
            });
            let mut blob = to.adopt(detached.join().unwrap());
            assert_eq!((blob.bytes().as_ptr().addr(), memory(&to)), (place, charged));
            assert_eq!(blob.bytes(), value(len, 0));
            assert_eq!(blob.write_in_place(0, b"changed"), Ok(Some(len)));
            drop(blob);
            assert_eq!((memory(&from), memory(&to)), (0, 0));
        }
    }

    #[test]
    fn what_others_hold_is_not_detached() {
        let (source, mut lender) = (source(), lender());
        let kept = blob(&source, b"abc");
        let same = kept.clone().detach().unwrap_err();
        drop(kept);
        let lent = lender.lend(same.clone());
        let same = same.detach().unwrap_err();
        lender.take_back(lent.decline());
        assert_eq!(same.detach().unwrap().bytes(), b"abc");
        assert_eq!(memory(&source), 0);
    }

    #[test]
    fn a_detached_value_that_is_dropped_is_charged_to_nobody() {
        for len in LENGTHS {
            let source = source();
            let detached = blob(&source, &value(len, 0)).detach().unwrap();
            thread::spawn(move || drop(detached)).join().unwrap();
            assert_eq!(source.0.release_step(), 0, "it waits nowhere");
            assert_eq!(memory(&source), 0);
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Op {
        /// A new value, held by the store.
        Store,
        Lend(prop::sample::Index),
        Unstore(prop::sample::Index),
        Clone(prop::sample::Index),
        DropReader(prop::sample::Index),
        /// The ids gathered so far go home.
        Return,
    }

    fn ops() -> impl Strategy<Value = Op> {
        let index = any::<prop::sample::Index>;
        prop_oneof![
            2 => Just(Op::Store),
            4 => index().prop_map(Op::Lend),
            2 => index().prop_map(Op::Unstore),
            2 => index().prop_map(Op::Clone),
            5 => index().prop_map(Op::DropReader),
            1 => Just(Op::Return),
        ]
    }

    /// A value lives exactly as long as the store, a reader or an id under way needs it.
    struct World {
        source: BlobSource,
        lender: Lender,
        returns: Rc<Returns>,
        /// Salt of a value, and its blob.
        stored: Vec<(u8, Blob)>,
        /// Number of the loan, salt of the value, and a blob that reads it.
        readers: Vec<(usize, u8, Blob)>,
        loans: usize,
        /// Salts of values whose ids are on their way home.
        returning: Vec<u8>,
    }

    const LEN: usize = 50;

    impl World {
        fn apply(&mut self, op: Op, salt: u8) {
            match op {
                Op::Store => self.stored.push((salt, blob(&self.source, &value(LEN, salt)))),
                Op::Lend(i) if !self.stored.is_empty() => {
                    let (salt, blob) = i.get(&self.stored);
                    let lent = self.lender.lend(blob.clone());
                    let reader = Blob::borrowed(lent, &self.returns);
                    self.readers.push((self.loans, *salt, reader));
                    self.loans += 1;
                }
                Op::Unstore(i) if !self.stored.is_empty() => {
                    self.stored.swap_remove(i.index(self.stored.len()));
                }
                Op::Clone(i) if !self.readers.is_empty() => {
                    self.readers.push(i.get(&self.readers).clone());
                }
                Op::DropReader(i) if !self.readers.is_empty() => {
                    let (loan, salt, _) = self.readers.swap_remove(i.index(self.readers.len()));
                    if !self.readers.iter().any(|(other, ..)| *other == loan) {
                        self.returning.push(salt);
                    }
                }
                Op::Return => {
                    taken(&self.returns).into_iter().for_each(|id| self.lender.take_back(id));
                    self.returning.clear();
                }
                _ => {}
            }
        }

        fn check(&self) -> Result<(), TestCaseError> {
            for (_, salt, reader) in &self.readers {
                prop_assert_eq!(reader.bytes(), value(LEN, *salt));
            }
            let mut loans: Vec<_> = self.readers.iter().map(|(loan, ..)| *loan).collect();
            loans.sort_unstable();
            loans.dedup();
            prop_assert_eq!(self.lender.out(), loans.len() + self.returning.len());
            let stored = self.stored.iter().map(|(salt, _)| *salt);
            let read = self.readers.iter().map(|(_, salt, _)| *salt);
            let mut alive: Vec<_> =
                stored.chain(read).chain(self.returning.iter().copied()).collect();
            alive.sort_unstable();
            alive.dedup();
            prop_assert_eq!(self.source.0.living(), alive.len() * LEN);
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn a_value_lives_as_long_as_somebody_needs_it(
            ops in prop::collection::vec(ops(), 0..200),
        ) {
            let mut world = World {
                source: source(),
                lender: lender(),
                returns: Rc::default(),
                stored: Vec::new(),
                readers: Vec::new(),
                loans: 0,
                returning: Vec::new(),
            };
            for (salt, op) in ops.into_iter().enumerate() {
                world.apply(op, salt as u8);
                world.check()?;
            }
            world.stored.clear();
            world.readers.clear();
            world.apply(Op::Return, 0);
            world.check()?;
            prop_assert_eq!(world.lender.out(), 0);
        }
    }
}
