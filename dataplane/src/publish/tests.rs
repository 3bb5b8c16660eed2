//! What is published is whole, nothing is lost, and every value is dropped once, off the shards.

use super::*;
use std::cell::Cell;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

thread_local! {
    /// Whether this thread plays a shard.
    static IS_SHARD: Cell<bool> = const { Cell::new(false) };
}

/// What became of the values. Atomics only: a sanitizer does not see all of what a lock does.
struct Log {
    made: AtomicUsize,
    /// How often each was dropped, by its id; more than any test makes.
    drops: Vec<AtomicUsize>,
    dropped: AtomicUsize,
    dropped_by_shards: AtomicUsize,
}

impl Log {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            made: AtomicUsize::new(0),
            drops: (0..1 << 14).map(|_| AtomicUsize::new(0)).collect(),
            dropped: AtomicUsize::new(0),
            dropped_by_shards: AtomicUsize::new(0),
        })
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Relaxed)
    }

    fn drop_of(&self, id: usize) {
        self.drops[id].fetch_add(1, Ordering::Relaxed);
        self.dropped.fetch_add(1, Ordering::Relaxed);
        self.dropped_by_shards.fetch_add(IS_SHARD.get().into(), Ordering::Relaxed);
    }

    /// Every value has been dropped, once, and by no shard.
    #[track_caller]
    fn check_all_dropped(&self) {
        let made = &self.drops[..self.made()];
        assert!(made.iter().all(|drops| drops.load(Ordering::Relaxed) == 1), "each, and once");
        assert_eq!(self.dropped_by_shards.load(Ordering::Relaxed), 0, "never by a shard");
    }
}

/// A number in many copies; dropping it spoils them.
struct Value {
    copies: [usize; 16],
    id: usize,
    log: Arc<Log>,
}

impl Value {
    fn new(number: usize, log: &Arc<Log>) -> Self {
        let id = log.made.fetch_add(1, Ordering::Relaxed);
        Self { copies: [number; 16], id, log: Arc::clone(log) }
    }

    fn number(&self) -> usize {
        let first = self.copies[0];
        assert!(self.copies.iter().all(|copy| *copy == first), "torn, or dropped in use");
        first
    }

    fn next(&self) -> Result<Self, Infallible> {
        Ok(Self::new(self.number() + 1, &self.log))
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.number();
        for (n, copy) in self.copies.iter_mut().enumerate() {
            *copy = usize::MAX - n;
        }
        self.log.drop_of(self.id);
    }
}

fn published() -> (Publisher<Value>, Arc<Log>) {
    let log = Log::new();
    (publication(Value::new(1, &log)), log)
}

#[test]
fn a_subscriber_keeps_its_generation_until_it_refreshes() {
    let (publisher, log) = published();
    let mut subscriber = publisher.subscribe();
    assert!(!subscriber.refresh(), "no news");
    assert_eq!(publisher.update(Value::next), Ok(Generation(2)));
    assert_eq!(publisher.update(Value::next), Ok(Generation(3)));
    publisher.collect();
    assert_eq!((subscriber.get().number(), subscriber.generation()), (1, Generation(1)));
    assert_eq!((publisher.live(), log.dropped()), (2, 1), "the second had no user");
    assert!(subscriber.refresh());
    assert!(!subscriber.refresh());
    assert_eq!((subscriber.get().number(), subscriber.generation()), (3, Generation(3)));
    assert_eq!(log.dropped(), 1, "refreshing frees nothing");
    publisher.collect();
    assert_eq!((publisher.live(), log.dropped()), (1, 2));
    drop((subscriber, publisher));
    log.check_all_dropped();
}

#[test]
fn a_change_that_fails_publishes_nothing() {
    let (publisher, log) = published();
    assert_eq!(publisher.update(|_| Err("no")), Err(UpdateError::Change("no")));
    assert_eq!(publisher.update(Value::next), Ok(Generation(2)));
    publisher.collect();
    assert_eq!(publisher.live(), 1);
    drop(publisher);
    log.check_all_dropped();
}

#[test]
fn the_ninth_generation_waits_for_a_shard() {
    let (publisher, log) = published();
    let mut subscribers = vec![publisher.subscribe()];
    for _ in 1..GENERATIONS {
        publisher.update(Value::next).unwrap();
        subscribers.push(publisher.subscribe());
    }
    assert_eq!(publisher.live(), GENERATIONS);
    let refused = publisher.update(Value::next).unwrap_err();
    assert_eq!(refused, UpdateError::TooManyLive);
    assert!(log.made() == GENERATIONS, "the change was not even tried");
    assert!(refused.to_string().contains("at most 8 generations"), "{refused}");
    assert!(subscribers[3].refresh());
    assert_eq!(publisher.update(Value::next), Ok(Generation(9)));
    assert_eq!(publisher.update(Value::next), Err(UpdateError::TooManyLive));
    for (held, subscriber) in subscribers.iter().enumerate() {
        let number = if held == 3 { GENERATIONS } else { held + 1 };
        assert_eq!(subscriber.get().number(), number, "the others have what they had");
    }
    subscribers.clear();
    publisher.collect();
    assert_eq!(publisher.live(), 1);
    drop(publisher);
    log.check_all_dropped();
}

#[test]
fn a_publisher_that_goes_first_leaves_what_is_held() {
    let (publisher, log) = published();
    let subscriber = publisher.subscribe();
    for _ in 0..3 {
        publisher.update(Value::next).unwrap();
    }
    drop(publisher);
    assert_eq!(subscriber.get().number(), 1);
    assert_eq!(log.dropped(), 2, "neither the one held nor the current one");
    drop(subscriber);
    assert_eq!((log.made(), log.dropped()), (4, 2), "leaked, not freed by a subscriber");
}

/// Publishes one more, however often it takes.
fn publish(publisher: &Publisher<Value>) {
    while let Err(error) = publisher.update(Value::next) {
        assert_eq!(error, UpdateError::TooManyLive);
        assert!(publisher.live() <= GENERATIONS);
        thread::yield_now();
    }
}

#[test]
fn publishers_lose_no_change_and_subscribers_see_whole_values() {
    const PUBLISHERS: usize = 3;
    const SUBSCRIBERS: usize = 3;
    const CHANGES: usize = 400;
    let (publisher, log) = published();
    let done = Arc::new(AtomicBool::new(false));
    let subscribers: Vec<_> = (0..SUBSCRIBERS)
        .map(|_| {
            let (mut subscriber, done) = (publisher.subscribe(), done.clone());
            thread::spawn(move || {
                IS_SHARD.set(true);
                let mut last = subscriber.generation();
                while !done.load(Ordering::Acquire) {
                    assert_eq!(subscriber.refresh(), subscriber.generation() > last);
                    last = subscriber.generation();
                    assert_eq!(subscriber.get().number() as u64, last.0);
                }
                subscriber.refresh();
                assert_eq!(subscriber.get().number(), 1 + PUBLISHERS * CHANGES);
            })
        })
        .collect();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|_| {
            let publisher = publisher.clone();
            thread::spawn(move || (0..CHANGES).for_each(|_| publish(&publisher)))
        })
        .collect();
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    done.store(true, Ordering::Release);
    subscribers.into_iter().for_each(|shard| shard.join().unwrap());
    publisher.collect();
    assert_eq!(publisher.live(), 1);
    assert_eq!(publisher.subscribe().get().number(), 1 + PUBLISHERS * CHANGES);
    drop(publisher);
    log.check_all_dropped();
}

/// A subscriber that pins while there is deferred work: crossbeam runs it there and then.
#[test]
fn what_a_subscriber_runs_for_crossbeam_drops_nothing() {
    const NEWS: usize = GENERATIONS - 1;
    let (publisher, log) = published();
    let (mut subscriber, other) = (publisher.subscribe(), publisher.clone());
    let shard = thread::spawn(move || {
        IS_SHARD.set(true);
        for _ in 0..NEWS {
            // Not `update`, which would collect before the subscriber can.
            let place = other.place();
            place.reserve().unwrap().take();
            let old = place.hold();
            let generation = Generation(old.generation.0 + 1);
            assert!(place.replace(&old, old.value.next().unwrap(), generation));
            drop(old);
            assert!(subscriber.refresh());
        }
    });
    shard.join().unwrap();
    assert_eq!((publisher.live(), log.dropped()), (GENERATIONS, 0));
    publisher.collect();
    assert_eq!((publisher.live(), log.dropped()), (1, NEWS));
    drop(publisher);
    log.check_all_dropped();
}
