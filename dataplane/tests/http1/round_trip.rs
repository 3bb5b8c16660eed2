//! What is written is read again: the same fields, exactly one framing.

use std::net::{IpAddr, Ipv4Addr};

use dataplane::http1::write::{self, Address, Back, Forward, Scheme};
use dataplane::http1::{
    Asked, Fields, Framing, Known, Limits, Method, Scan, Version, path, request, response,
};
use proptest::prelude::*;

use crate::cases;
use crate::differential::agree;
use crate::read::Kind;

/// Fields that the writers make themselves, or that depend on trust.
const MADE: [Known; 13] = [
    Known::Host,
    Known::ContentLength,
    Known::TransferEncoding,
    Known::Connection,
    Known::Te,
    Known::Upgrade,
    Known::Via,
    Known::Forwarded,
    Known::XForwardedFor,
    Known::XForwardedProto,
    Known::XForwardedHost,
    Known::XRequestId,
    Known::MaxForwards,
];

fn kept(bytes: &[u8], fields: &Fields) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields
        .iter()
        .filter(|field| !field.hop && !MADE.contains(&field.known))
        .filter(|field| !matches!(field.known, Known::Expect))
        .map(|field| (field.name.of(bytes).to_vec(), field.value.of(bytes).to_vec()))
        .collect()
}

fn framings(fields: &Fields) -> usize {
    fields.all(Known::ContentLength).count() + fields.all(Known::TransferEncoding).count()
}

/// Reads a request, writes it, reads that; whether it was accepted at first.
fn request_again(bytes: &[u8], trusted: bool) -> bool {
    let limits = Limits::default();
    let mut fields = Fields::new(&limits);
    let read = request(bytes, &mut Scan::default(), &limits, &mut fields);
    let Ok(Some(head)) = read else { return false };
    let mut scratch = Vec::new();
    let Ok(routed) = path::routable(head.target.path(bytes), &mut scratch) else { return false };
    if head.method == Method::Connect {
        return false;
    }
    let forward = Forward {
        path: routed,
        authority: head.authority.is_empty().then_some(b"backend".as_slice()),
        client: Address::of(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        scheme: Scheme::Http,
        trusted,
        request_id: b"id",
        upgrade: true,
        extra: b"",
    };
    let mut out = Vec::new();
    write::request(&mut out, bytes, &head, &fields, &forward);
    if out.len() > limits.head_bytes {
        return false;
    }
    let shown = String::from_utf8_lossy(&out).into_owned();
    let roomy = Limits { fields: 120, line_bytes: 1 << 14, ..limits };
    let mut second = Fields::new(&roomy);
    let again = request(&out, &mut Scan::default(), &roomy, &mut second)
        .unwrap_or_else(|refusal| panic!("{refusal}: {shown}"))
        .unwrap_or_else(|| panic!("no end: {shown}"));
    assert_eq!(again.len, out.len(), "{shown}");
    assert_eq!(again.body, head.body, "{shown}");
    assert_eq!(framings(&second), usize::from(head.body != Framing::None), "{shown}");
    assert_eq!(second.all(Known::Host).count(), 1, "{shown}");
    assert_eq!(again.version, Version::Http11);
    assert_eq!(again.name.of(&out), head.name.of(bytes));
    assert_eq!(again.accepts_trailers, head.accepts_trailers, "{shown}");
    assert_eq!(
        again.upgrade.map(|span| span.of(&out)),
        head.upgrade.map(|span| span.of(bytes)),
        "{shown}"
    );
    assert_eq!(again.expects_continue, head.expects_continue, "{shown}");
    let trust = [Known::XForwardedPort, Known::XRealIp];
    if trusted || !trust.iter().any(|known| fields.has(*known)) {
        assert_eq!(kept(&out, &second), kept(bytes, &fields), "{shown}");
    }
    if second.len() <= 100 {
        assert!(agree(Kind::Request, &out) || out.len() > 8000, "{shown}");
    }
    true
}

/// The same for a response to a client of either version.
fn response_again(bytes: &[u8], to: Asked, version: Version) -> bool {
    let limits = Limits::default();
    let mut fields = Fields::new(&limits);
    let read = response(bytes, &mut Scan::default(), &limits, &mut fields, to);
    let Ok(Some(head)) = read else { return false };
    if head.is_interim() && version == Version::Http10 {
        return false;
    }
    let mut out = Vec::new();
    let back = Back { version, keep_alive: true, extra: b"" };
    let sent = write::response(&mut out, bytes, &head, &fields, &back);
    let shown = String::from_utf8_lossy(&out).into_owned();
    let roomy = Limits { fields: 120, ..limits };
    let mut second = Fields::new(&roomy);
    let again = response(&out, &mut Scan::default(), &roomy, &mut second, to)
        .unwrap_or_else(|refusal| panic!("{refusal}: {shown}"))
        .unwrap_or_else(|| panic!("no end: {shown}"));
    assert_eq!((again.len, again.status), (out.len(), head.status), "{shown}");
    assert_eq!((again.body, again.keep_alive), (sent.body, sent.keep_alive), "{shown}");
    assert!(framings(&second) <= 1, "{shown}");
    assert!(version == Version::Http11 || !second.has(Known::TransferEncoding), "{shown}");
    assert_eq!(kept(&out, &second), kept(bytes, &fields), "{shown}");
    true
}

#[test]
fn accepted_cases_are_written_and_read_again() {
    let (mut requests, mut responses) = (0, 0);
    for (kind, case) in cases::all() {
        match *kind {
            Kind::Request => {
                requests += usize::from(request_again(&case.bytes, false));
                request_again(&case.bytes, true);
            }
            Kind::Response(to) => {
                responses += usize::from(response_again(&case.bytes, to, Version::Http11));
                response_again(&case.bytes, to, Version::Http10);
            }
        }
    }
    assert!(requests > 80 && responses > 15, "{requests} requests, {responses} responses");
}

fn line() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "Accept",
        "accept-encoding",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Via",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Request-Id",
        "Cookie",
        "Expect",
        "Max-Forwards",
        "Proxy-Authorization",
        "Cache-Control",
        "X-Own",
        "X-Real-IP",
        "X-Forwarded-Port",
    ]);
    let value = prop::sample::select(vec![
        "a",
        "",
        "close",
        "keep-alive",
        "x-own, cookie, host",
        "te",
        "trailers",
        "upgrade",
        "websocket",
        "100-continue",
        "7",
        "for=192.0.2.1",
        "a, b",
        "\u{e9}",
        "accept, content-length",
    ]);
    (known, value).prop_map(|(name, value)| format!("{name}: {value}\r\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8000))]

    #[test]
    fn lines_at_random(
        method in prop::sample::select(vec!["GET", "POST", "OPTIONS", "TRACE", "X"]),
        version in prop::sample::select(vec!["1.0", "1.1"]),
        framing in prop::sample::select(vec![
            "", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n",
        ]),
        lines in prop::collection::vec(line(), 0..8),
        trusted in any::<bool>(),
    ) {
        let lines = lines.concat();
        let bytes = format!("{method} /p?q HTTP/{version}\r\nHost: a\r\n{lines}{framing}\r\n");
        request_again(bytes.as_bytes(), trusted);
    }

    #[test]
    fn response_lines_at_random(
        status in prop::sample::select(vec![100, 101, 200, 204, 304, 404, 426, 599]),
        version in prop::sample::select(vec!["1.0", "1.1"]),
        framing in prop::sample::select(vec![
            "", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n",
        ]),
        lines in prop::collection::vec(line(), 0..8),
        old in any::<bool>(),
        head in any::<bool>(),
    ) {
        let lines = lines.concat();
        let bytes = format!("HTTP/{version} {status} Why\r\n{lines}{framing}\r\n");
        let method = if head { Method::Head } else { Method::Get };
        let client = if old { Version::Http10 } else { Version::Http11 };
        response_again(bytes.as_bytes(), Asked { method, upgrade: true }, client);
    }

    /// Chunks of any sizes are one body again.
    #[test]
    fn chunks(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6)) {
        let mut bytes = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for piece in &pieces {
            write::chunk(&mut bytes, piece);
        }
        write::last_chunk(&mut bytes, b"");
        let crate::read::Outcome::Read(seen) = crate::read::read_whole(Kind::Request, &bytes)
        else { return Err(TestCaseError::fail("not read")) };
        let content = seen.iter().find(|(key, _)| *key == "content").expect("content");
        prop_assert_eq!(&content.1, &pieces.concat());
    }
}
