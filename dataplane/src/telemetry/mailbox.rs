//! A one-place exchange between a reader and a shard, without locks.
//!
//! ```text
//! empty --reader puts a form--> asked --shard fills it--> answered --reader takes--> empty
//! ```
//!
//! Unsafe because ownership of a box passes through an atomic pointer: each state names
//! the one side that may touch it.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// See the module's text.
#[derive(Debug)]
pub struct Mailbox<T> {
    asked: AtomicPtr<T>,
    answered: AtomicPtr<T>,
    /// Whether a reader is at it; readers, never the shard, wait for each other.
    reading: AtomicBool,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self {
            asked: AtomicPtr::new(ptr::null_mut()),
            answered: AtomicPtr::new(ptr::null_mut()),
            reading: AtomicBool::new(false),
        }
    }
}

impl<T> Mailbox<T> {
    /// A reader asks with an empty form and waits, calling `nudge` and then `pause` until
    /// the answer is there or `pause` says to give up.
    pub fn ask(&self, form: Box<T>, nudge: impl Fn(), pause: impl Fn() -> bool) -> Option<Box<T>> {
        while self.reading.swap(true, Ordering::Acquire) {
            if !pause() {
                return None;
            }
        }
        let answer = self.ask_alone(form, nudge, pause);
        self.reading.store(false, Ordering::Release);
        answer
    }

    fn ask_alone(
        &self,
        form: Box<T>,
        nudge: impl Fn(),
        pause: impl Fn() -> bool,
    ) -> Option<Box<T>> {
        // What an earlier reader gave up on is dropped.
        drop(self.take(&self.answered));
        drop(self.take(&self.asked));
        self.asked.store(Box::into_raw(form), Ordering::Release);
        nudge();
        loop {
            if let Some(form) = self.take(&self.answered) {
                return Some(form);
            }
            if !pause() {
                return None;
            }
        }
    }

    /// The shard answers, if anybody has asked. One load when nobody has.
    pub fn answer(&self, fill: impl FnOnce(&mut T)) {
        if self.asked.load(Ordering::Relaxed).is_null() {
            return;
        }
        if let Some(mut form) = self.take(&self.asked) {
            fill(&mut form);
            let old = self.answered.swap(Box::into_raw(form), Ordering::AcqRel);
            if !old.is_null() {
                // SAFETY: a pointer from Box::into_raw that the swap gave to us alone.
                drop(unsafe { Box::from_raw(old) });
            }
        }
    }

    fn take(&self, place: &AtomicPtr<T>) -> Option<Box<T>> {
        let form = place.swap(ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: a non-null pointer here came from Box::into_raw, and the swap gave it to
        // us alone.
        (!form.is_null()).then(|| unsafe { Box::from_raw(form) })
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        drop(self.take(&self.asked));
        drop(self.take(&self.answered));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn every_reader_gets_an_answer_made_after_it_asked() {
        let mailbox: Arc<Mailbox<u64>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let shard = std::thread::spawn({
            let (mailbox, stop) = (mailbox.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    mailbox.answer(|form| *form += 1);
                }
            }
        });
        let readers: Vec<_> = (0..3)
            .map(|n| {
                let mailbox = mailbox.clone();
                std::thread::spawn(move || {
                    for i in 0..2_000u64 {
                        let form = Box::new(n * 10_000 + i);
                        let pause = || {
                            std::thread::yield_now();
                            true
                        };
                        assert_eq!(*mailbox.ask(form, || (), pause).unwrap(), n * 10_000 + i + 1);
                    }
                })
            })
            .collect();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        stop.store(true, Ordering::Relaxed);
        shard.join().unwrap();
    }
}
