use proptest::prelude::*;

use super::*;

const LIMITS: Limits =
    Limits { args: 1 << 20, bulk: 512 << 20, large: u32::MAX, unauthenticated: false };

/// All requests in `input`, fed in pieces that end at `cuts`; arguments joined by `|`.
fn parse(input: &[u8], cuts: &[usize], limits: Limits) -> Vec<String> {
    let (mut parser, mut spans, mut seen) = (Parser::new(), Vec::new(), Vec::new());
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    ends.push(input.len());
    ends.sort_unstable();
    let show = |bytes: &[u8], spans: &[Span]| {
        let args: Vec<_> = spans
            .iter()
            .map(|s| String::from_utf8_lossy(&bytes[s.start as usize..][..s.len as usize]))
            .collect();
        args.join("|")
    };
    for end in ends {
        loop {
            match parser.advance(&input[..end], limits, &mut spans) {
                Ok(Step::More) => break,
                Ok(Step::Request { .. }) => seen.push(show(input, &spans)),
                Ok(Step::Unquoted { bytes, spans, .. }) => seen.push(show(&bytes, &spans)),
                Ok(Step::Large { start, len }) => {
                    seen.push(format!("large {start}+{len}"));
                    return seen;
                }
                Err(error) => {
                    seen.push(format!("-{error}"));
                    return seen;
                }
            }
            spans.clear();
        }
    }
    seen
}

#[track_caller]
fn check(input: &str, expect: &[&str]) {
    assert_eq!(parse(input.as_bytes(), &[], LIMITS), expect, "whole");
    let every: Vec<usize> = (0..input.len()).collect();
    assert_eq!(parse(input.as_bytes(), &every, LIMITS), expect, "byte by byte");
}

#[test]
fn requests() {
    check("*1\r\n$4\r\nPING\r\n", &["PING"]);
    check("*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1\r\n$1\r\nx\r\n", &["GET|", "x"]);
    check("*2\r\n$3\r\nGET\r\n$12\r\nhello\r\nworld\r\n", &["GET|hello\r\nworld"]);
    check("*0\r\n*-1\r\n*1\r\n$1\r\nx\r\n", &["", "", "x"]);
    check("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$101\r\n", &[]);
}

#[test]
fn inline_requests() {
    check("PING\r\nGET  key \n\r\n", &["PING", "GET|key", ""]);
    check("SET k \"a b\\x41\\n\"\r\n", &["SET|k|a bA\n"]);
    check("SET k 'a \\'b\\n'\r\n", &["SET|k|a 'b\\n"]);
    check("SET k \"\"\r\n", &["SET|k|"]);
    check("GET \"open\r\n", &["-Protocol error: unbalanced quotes in request"]);
    check("GET \"a\"b\r\n", &["-Protocol error: unbalanced quotes in request"]);
}

#[test]
fn refusals() {
    check("*x\r\n", &["-Protocol error: invalid multibulk length"]);
    check("*1048577\r\n", &["-Protocol error: invalid multibulk length"]);
    check("*99999999999999999999\r\n", &["-Protocol error: invalid multibulk length"]);
    check("*01\r\n", &["-Protocol error: invalid multibulk length"]);
    check("*1\r\n:5\r\n", &["-Protocol error: expected '$', got ':'"]);
    check("*1\r\n$-1\r\n", &["-Protocol error: invalid bulk length"]);
    check("*1\r\n$536870913\r\n", &["-Protocol error: invalid bulk length"]);
    check("*1\r\n$+1\r\n", &["-Protocol error: invalid bulk length"]);
    let endless = "1".repeat(70_000);
    check(&format!("*{endless}"), &["-Protocol error: too big mbulk count string"]);
    check(&format!("*1\r\n${endless}"), &["-Protocol error: too big bulk count string"]);
    check(&endless, &["-Protocol error: too big inline request"]);
}

#[test]
fn strangers_may_claim_little() {
    let strict = |input: &str| parse(input.as_bytes(), &[], Limits::UNAUTHENTICATED);
    assert_eq!(strict("*11\r\n"), ["-Protocol error: unauthenticated multibulk length"]);
    assert_eq!(strict("*1\r\n$16385\r\n"), ["-Protocol error: unauthenticated bulk length"]);
    assert!(strict("*10\r\n$16384\r\n").is_empty());
}

#[test]
fn long_bulks_are_set_apart() {
    let limits = Limits { large: 10, ..LIMITS };
    assert_eq!(parse(b"*2\r\n$3\r\nGET\r\n$10\r\n", &[], limits), ["large 18+10"]);
    assert_eq!(parse(b"*2\r\n$3\r\nGET\r\n$9\r\n123456789\r\n", &[], limits), ["GET|123456789"]);
}

proptest! {
    /// However the bytes are cut, the same requests come out.
    #[test]
    fn cuts_change_nothing(
        args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let mut input = format!("*{}\r\n", args.len()).into_bytes();
        for arg in &args {
            input.extend(format!("${}\r\n", arg.len()).bytes());
            input.extend(arg);
            input.extend(b"\r\n");
        }
        let expect: Vec<_> = args.iter().map(|a| String::from_utf8_lossy(a)).collect();
        prop_assert_eq!(parse(&input, &cuts, LIMITS), [expect.join("|")]);
    }

    /// Arbitrary bytes never panic, and cutting them changes nothing.
    #[test]
    fn noise_is_answered_alike(
        input in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"*$-0123456789\r\n\"' ".to_vec())], 0..80),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        prop_assert_eq!(parse(&input, &cuts, LIMITS), parse(&input, &[], LIMITS));
    }
}
