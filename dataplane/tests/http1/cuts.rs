//! However the bytes are cut, the same comes out; and cutting them costs no more than linear.

use std::time::{Duration, Instant};

use dataplane::http1::{Fields, Limits, Scan, request};
use proptest::prelude::*;

use crate::cases;
use crate::read::{read, read_whole};

/// A change of one place of a message.
fn change(bytes: &mut Vec<u8>, at: usize, with: u8) {
    const PIECES: &[&[u8]] = &[
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b"\0",
        b";",
        b",",
        b"\xff",
        b"0",
        b"5",
        b"%2e",
        b"/../",
        b"_",
        b"\r\n\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Host: b\r\n",
        b"Connection: host, x\r\n",
        b"\"",
        b"#",
    ];
    let at = at % (bytes.len() + 1);
    let piece = PIECES[usize::from(with) % PIECES.len()];
    match with / 86 {
        0 => _ = bytes.splice(at..at, piece.iter().copied()),
        1 if at < bytes.len() => _ = bytes.remove(at),
        _ if at < bytes.len() => bytes[at] = with,
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn cuts_change_nothing(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let (kind, case) = which.get(cases::all());
        let mut bytes = case.bytes.clone();
        for (at, with) in changes {
            change(&mut bytes, at, with);
        }
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(bytes.len());
        prop_assert_eq!(read(*kind, &bytes, &ends), read_whole(*kind, &bytes));
    }

    #[test]
    fn byte_by_byte_is_the_same(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
    ) {
        let (kind, case) = which.get(cases::all());
        let mut bytes = case.bytes.clone();
        for (at, with) in changes {
            change(&mut bytes, at, with);
        }
        let ends: Vec<usize> = (0..=bytes.len()).collect();
        prop_assert_eq!(read(*kind, &bytes, &ends), read_whole(*kind, &bytes));
    }
}

/// A head of `line` many times, one byte at a time.
fn drip(line: &[u8], times: usize) -> Duration {
    let limits = Limits { head_bytes: 2 << 20, line_bytes: 1 << 20, fields: 1 << 20 };
    let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
    for _ in 0..times {
        bytes.extend_from_slice(line);
    }
    bytes.extend_from_slice(b"\r\n");
    let (mut fields, mut scan) = (Fields::new(&limits), Scan::default());
    let start = Instant::now();
    for end in 0..bytes.len() {
        let head = request(&bytes[..end], &mut scan, &limits, &mut fields);
        assert_eq!(head, Ok(None), "at {end} of {}", bytes.len());
    }
    let head = request(&bytes, &mut scan, &limits, &mut fields).expect("a head");
    assert!(head.is_some(), "it ends at its last byte");
    start.elapsed()
}

/// With the square of the length, either would take minutes.
#[test]
fn a_dripping_head_costs_linear_time() {
    let long = drip(format!("X: {}\r\n", "a".repeat(500_000)).as_bytes(), 1);
    let many = drip(b"X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", 10_000);
    assert!(long < Duration::from_secs(10), "one long line: {long:?}");
    assert!(many < Duration::from_secs(10), "many lines: {many:?}");
}
