//! The ring under loom: order, publication of the content, and who frees what.

#![forbid(unsafe_code)]

use super::*;
use loom::cell::UnsafeCell;
use loom::thread;

/// What travels. Loom reports a read of `content` that does not come after its write, and a
/// `held` that is still alive when the model ends.
struct Item {
    number: usize,
    content: UnsafeCell<()>,
    held: Arc<()>,
}

impl Item {
    fn new(number: usize) -> Box<Self> {
        let item = Self { number, content: UnsafeCell::new(()), held: Arc::new(()) };
        item.content.with_mut(|_| ());
        Box::new(item)
    }

    fn check(&self, number: usize) {
        assert_eq!(self.number, number, "order is kept and nothing is lost");
        self.content.with(|_| ());
        assert_eq!(Arc::strong_count(&self.held), 1);
    }
}

/// Sends `items` through a ring of `capacity`; the receiver takes `taken` of them and leaves.
fn check(capacity: usize, items: usize, taken: usize) {
    loom::model(move || {
        let (mut sender, mut receiver) = ring(capacity);
        let sending = thread::spawn(move || {
            for number in 0..items {
                let mut item = Item::new(number);
                while let Err(back) = sender.push(item) {
                    item = back;
                    thread::yield_now();
                }
            }
        });
        for number in 0..taken {
            let item = loop {
                match receiver.pop() {
                    Some(item) => break item,
                    None => thread::yield_now(),
                }
            };
            item.check(number);
        }
        if taken == items {
            assert!(receiver.is_empty(), "nothing comes twice");
        }
        drop(receiver);
        sending.join().unwrap();
    });
}

#[test]
fn four_boxes_through_two_slots() {
    check(2, 4, 4);
}

#[test]
fn three_boxes_through_one_slot() {
    check(1, 3, 3);
}

#[test]
fn what_the_receiver_leaves_is_freed() {
    check(2, 3, 1);
}
