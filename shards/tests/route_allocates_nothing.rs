//! Finding a rule and picking a backend asks the allocator for nothing.
//!
//! Unsafe because a global allocator is; this one only counts and passes on.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use shards::config::draft::{Backend, Draft, Listener, Match, Path, Route, Rule};
use shards::config::{LimitId, PortId};
use shards::route::{Request, find, pick};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: passes every call on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no such cell any more, and is not counted.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as our caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// How often `work` allocates.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn draft() -> Draft {
    let demanding = Match {
        path: Path::Prefix("/a/b".into()),
        method: Some("GET".into()),
        headers: vec![("x-version".into(), "2".into())],
        params: vec![("q".into(), "a b".into())],
    };
    let backends = vec![(1, Some(0)), (1, None)];
    let rule = Rule { matches: vec![demanding], backends, ..Rule::default() };
    let hostnames = vec!["a.example.com".into(), "*.example.com".into()];
    let route =
        Route { name: "default/r".into(), listeners: vec![0], hostnames, rules: vec![rule] };
    let all = Rule { backends: vec![(1, Some(0))], ..Rule::default() };
    let other = Route { hostnames: vec![], rules: vec![all], ..route.clone() };
    Draft {
        listeners: vec![Listener::default()],
        routes: vec![route, other],
        backends: vec![Backend { name: "default/b:80".into(), ..Backend::default() }],
        ..Draft::default()
    }
}

#[test]
fn finding_and_picking_allocate_nothing() {
    let config = draft().compile().expect("a configuration");
    assert!(allocations(|| drop(std::hint::black_box(vec![1]))) > 0, "allocations are counted");
    let headers: [(&[u8], &[u8]); 1] = [(b"x-version", b"2")];
    let mut found = 0;
    let count = allocations(|| {
        for host in [&b"A.example.com"[..], b"b.example.com", b"other", b""] {
            for path in [&b"/a/b/c"[..], b"/a", b"*"] {
                let request = Request { host, path, query: b"q=a+b", method: b"GET" };
                if let Ok(rule) = find(&config, PortId(0), &request, &headers[..]) {
                    found += 1;
                    for random in [0, u64::MAX] {
                        let _ = std::hint::black_box(pick(&config, rule, random));
                    }
                    let view = config.rule(rule);
                    assert!(
                        view.limits().all(|limit| limit != LimitId(7)) && !view.name().is_empty()
                    );
                }
            }
        }
        assert_eq!(config.limit_named(b"none"), None);
    });
    assert_eq!((found, count), (8, 0));
}
