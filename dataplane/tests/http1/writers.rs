//! What is written, to the byte.

use std::sync::LazyLock;

use dataplane::http1::write::{self, Address, Back, Forward, Scheme, Sent};
use dataplane::http1::{
    Asked, Body, Event, Fields, Framing, Limits, Method, Scan, Version, path, request, response,
};

static PLAIN: LazyLock<Forward<'static>> = LazyLock::new(|| Forward {
    path: b"/",
    authority: None,
    client: Address::of("192.0.2.7".parse().expect("an address")),
    scheme: Scheme::Http,
    trusted: false,
    request_id: b"0af7",
    upgrade: false,
    extra: b"",
});

/// What every forwarded request of that client to `a` ends with.
const TAIL: &str = "X-Forwarded-For: 192.0.2.7\nX-Forwarded-Proto: http\nX-Forwarded-Host: a\n\
                    Forwarded: for=192.0.2.7;proto=http;host=a\nX-Request-Id: 0af7\n\n";

/// Lines end with LF here, for the eye; CRLF is what is read and written.
fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

#[track_caller]
fn check(received: &str, forward: Forward<'_>, expected: &str) {
    let (bytes, limits) = (crlf(received), Limits::default());
    let mut fields = Fields::new(&limits);
    let head = request(&bytes, &mut Scan::default(), &limits, &mut fields)
        .expect("a good head")
        .expect("an end");
    let mut scratch = Vec::new();
    let path = path::routable(head.target.path(&bytes), &mut scratch).expect("a path");
    let mut out = b"before".to_vec();
    write::request(&mut out, &bytes, &head, &fields, &Forward { path, ..forward });
    assert_eq!(
        String::from_utf8(out).expect("UTF-8").replace("\r\n", "\n"),
        format!("before{expected}")
    );
}

#[test]
fn a_request_is_written_in_origin_form() {
    check(
        "GET http://a/x/../y?q=1 HTTP/1.1\nAccept: */*\nhost: elsewhere\nuser-agent: t\n\n",
        *PLAIN,
        &format!(
            "GET /y?q=1 HTTP/1.1\nHost: a\nAccept: */*\nuser-agent: t\nVia: 1.1 corelane\n{TAIL}"
        ),
    );
}

#[test]
fn a_body_keeps_its_framing() {
    check(
        "POST / HTTP/1.1\nContent-Length: 3\nHost: a\n\n",
        *PLAIN,
        &format!("POST / HTTP/1.1\nHost: a\nContent-Length: 3\nVia: 1.1 corelane\n{TAIL}"),
    );
    check(
        "POST / HTTP/1.1\ntransfer-encoding:CHUNKED\nHost: a\nTrailer: X\nExpect: 100-continue\n\n",
        *PLAIN,
        &format!(
            "POST / HTTP/1.1\nHost: a\nExpect: 100-continue\nTransfer-Encoding: chunked\n\
             Via: 1.1 corelane\n{TAIL}"
        ),
    );
}

#[test]
fn hop_by_hop_fields_end_here() {
    check(
        "GET / HTTP/1.1\nHost: a\nConnection: close, X-Mine\nConnection: keep-alive\nX-Mine: 1\n\
         x-mine: 2\nX-Other: 3\nKeep-Alive: timeout=5\nProxy-Connection: keep-alive\n\
         Proxy-Authorization: Basic x\nTE: gzip\nUpgrade: websocket\n\n",
        *PLAIN,
        &format!("GET / HTTP/1.1\nHost: a\nX-Other: 3\nVia: 1.1 corelane\n{TAIL}"),
    );
}

#[test]
fn connection_cannot_take_away_what_all_need() {
    check(
        "GET / HTTP/1.1\nHost: a\nConnection: Host, Authorization, Cache-Control, Content-Length\n\
         Authorization: x\nCache-Control: no-store\nContent-Length: 1\n\n",
        *PLAIN,
        &format!(
            "GET / HTTP/1.1\nHost: a\nAuthorization: x\nCache-Control: no-store\n\
             Content-Length: 1\nVia: 1.1 corelane\n{TAIL}"
        ),
    );
}

#[test]
fn only_a_trusted_client_tells_of_others() {
    let told = "GET / HTTP/1.0\nHost: a\nX-Forwarded-For: 10.0.0.1\nX-Forwarded-Proto: https\n\
                X-Forwarded-For: 10.0.0.2\nX-Forwarded-Host: b\nX-Forwarded-Port: 1\n\
                Forwarded: for=10.0.0.1\nX-Real-IP: 10.0.0.1\nX-Request-Id: theirs\n\
                Via: 1.1 one\nVia: 1.1 two\n\n";
    check(
        told,
        *PLAIN,
        &format!("GET / HTTP/1.1\nHost: a\nVia: 1.1 one, 1.1 two, 1.0 corelane\n{TAIL}"),
    );
    check(
        told,
        Forward { trusted: true, ..*PLAIN },
        "GET / HTTP/1.1\nHost: a\nX-Forwarded-Proto: https\nX-Forwarded-Host: b\n\
         X-Forwarded-Port: 1\nX-Real-IP: 10.0.0.1\nX-Request-Id: theirs\n\
         Via: 1.1 one, 1.1 two, 1.0 corelane\nX-Forwarded-For: 10.0.0.1, 10.0.0.2, 192.0.2.7\n\
         Forwarded: for=10.0.0.1, for=192.0.2.7;proto=http;host=a\n\n",
    );
}

#[test]
fn addresses_of_ipv6_are_quoted_where_they_must() {
    check(
        "GET / HTTP/1.1\nHost: [::1]:80\n\n",
        Forward {
            client: Address::of("2001:db8::1".parse().expect("an address")),
            scheme: Scheme::Https,
            ..*PLAIN
        },
        "GET / HTTP/1.1\nHost: [::1]:80\nVia: 1.1 corelane\nX-Forwarded-For: 2001:db8::1\n\
         X-Forwarded-Proto: https\nX-Forwarded-Host: [::1]:80\n\
         Forwarded: for=\"[2001:db8::1]\";proto=https;host=\"[::1]:80\"\nX-Request-Id: 0af7\n\n",
    );
    check(
        "GET / HTTP/1.1\nHost: a\n\n",
        Forward { client: Address::of("::ffff:192.0.2.7".parse().expect("an address")), ..*PLAIN },
        &format!("GET / HTTP/1.1\nHost: a\nVia: 1.1 corelane\n{TAIL}"),
    );
}

#[test]
fn upgrade_and_trailers_are_asked_for_anew() {
    let received = "GET / HTTP/1.1\nHost: a\nConnection: upgrade, te\nUpgrade: websocket\n\
                    TE: trailers, gzip\n\n";
    check(
        received,
        Forward { upgrade: true, ..*PLAIN },
        &format!(
            "GET / HTTP/1.1\nHost: a\nConnection: TE, Upgrade\nTE: trailers\nUpgrade: websocket\n\
             Via: 1.1 corelane\n{TAIL}"
        ),
    );
    check(
        received,
        *PLAIN,
        &format!(
            "GET / HTTP/1.1\nHost: a\nConnection: TE\nTE: trailers\nVia: 1.1 corelane\n{TAIL}"
        ),
    );
}

#[test]
fn options_of_a_server_and_max_forwards() {
    check(
        "OPTIONS http://a HTTP/1.1\nHost: a\nMax-Forwards: 3\n\n",
        *PLAIN,
        &format!("OPTIONS * HTTP/1.1\nHost: a\nMax-Forwards: 2\nVia: 1.1 corelane\n{TAIL}"),
    );
    check(
        "GET / HTTP/1.1\nHost: a\nMax-Forwards: 3\n\n",
        *PLAIN,
        &format!("GET / HTTP/1.1\nHost: a\nMax-Forwards: 3\nVia: 1.1 corelane\n{TAIL}"),
    );
}

#[test]
fn the_host_can_be_rewritten_and_fields_added() {
    check(
        "GET / HTTP/1.0\n\n",
        Forward { authority: Some(b"backend:81"), extra: b"X-Own: 1\r\n", ..*PLAIN },
        "GET / HTTP/1.1\nHost: backend:81\nVia: 1.0 corelane\nX-Forwarded-For: 192.0.2.7\n\
         X-Forwarded-Proto: http\nForwarded: for=192.0.2.7;proto=http\nX-Request-Id: 0af7\n\
         X-Own: 1\n\n",
    );
}

#[test]
fn fields_can_be_left_out() {
    let (bytes, limits) =
        (crlf("GET / HTTP/1.1\nHost: a\nX: 1\nY: 2\nx: 3\n\n"), Limits::default());
    let mut fields = Fields::new(&limits);
    let head = request(&bytes, &mut Scan::default(), &limits, &mut fields)
        .expect("a good head")
        .expect("an end");
    assert_eq!(fields.named(&bytes, b"x").count(), 2);
    assert_eq!(fields.omit(&bytes, b"x"), 2);
    let mut out = Vec::new();
    write::request(&mut out, &bytes, &head, &fields, &PLAIN);
    let text = String::from_utf8(out).expect("UTF-8");
    assert!(text.starts_with("GET / HTTP/1.1\r\nHost: a\r\nY: 2\r\nVia: "), "{text}");
}

#[track_caller]
fn check_back(received: &str, to: Method, back: Back<'_>, expected: &str, sent: (Framing, bool)) {
    let (bytes, limits) = (crlf(received), Limits::default());
    let (mut fields, to) = (Fields::new(&limits), Asked { method: to, upgrade: true });
    let head = response(&bytes, &mut Scan::default(), &limits, &mut fields, to)
        .expect("a good head")
        .expect("an end");
    let mut out = Vec::new();
    let got = write::response(&mut out, &bytes, &head, &fields, &back);
    assert_eq!(String::from_utf8(out).expect("UTF-8").replace("\r\n", "\n"), expected);
    assert_eq!(got, Sent { body: sent.0, keep_alive: sent.1 });
}

const STAYS: Back<'_> = Back { version: Version::Http11, keep_alive: true, extra: b"" };
const OLD: Back<'_> = Back { version: Version::Http10, ..STAYS };

#[test]
fn a_response_goes_back() {
    let received = "HTTP/1.1 200 Fine\nServer: x\ncontent-length: 3\nConnection: close\n\n";
    check_back(
        received,
        Method::Get,
        Back { extra: b"Retry-After: 1\r\n", ..STAYS },
        "HTTP/1.1 200 Fine\nServer: x\nContent-Length: 3\nVia: 1.1 corelane\nRetry-After: 1\n\n",
        (Framing::Length(3), true),
    );
    check_back(
        received,
        Method::Get,
        Back { keep_alive: false, ..STAYS },
        "HTTP/1.1 200 Fine\nServer: x\nContent-Length: 3\nConnection: close\n\
         Via: 1.1 corelane\n\n",
        (Framing::Length(3), false),
    );
    check_back(
        received,
        Method::Get,
        OLD,
        "HTTP/1.1 200 Fine\nServer: x\nContent-Length: 3\nConnection: keep-alive\n\
         Via: 1.1 corelane\n\n",
        (Framing::Length(3), true),
    );
}

#[test]
fn a_body_without_length_is_framed_for_the_client() {
    for (received, via) in
        [("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", "1.1"), ("HTTP/1.0 200 OK\n\n", "1.0")]
    {
        check_back(
            received,
            Method::Get,
            STAYS,
            &format!("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nVia: {via} corelane\n\n"),
            (Framing::Chunked, true),
        );
        check_back(
            received,
            Method::Get,
            OLD,
            &format!("HTTP/1.1 200 OK\nConnection: close\nVia: {via} corelane\n\n"),
            (Framing::UntilClose, false),
        );
    }
}

#[test]
fn a_length_without_body_is_told_to_head_and_not_in_204() {
    check_back(
        "HTTP/1.1 200 OK\nContent-Length: 30\n\n",
        Method::Head,
        STAYS,
        "HTTP/1.1 200 OK\nContent-Length: 30\nVia: 1.1 corelane\n\n",
        (Framing::None, true),
    );
    check_back(
        "HTTP/1.1 204 No Content\nContent-Length: 30\n\n",
        Method::Get,
        STAYS,
        "HTTP/1.1 204 No Content\nVia: 1.1 corelane\n\n",
        (Framing::None, true),
    );
}

#[test]
fn interim_answers_and_switches() {
    check_back(
        "HTTP/1.1 103 Early Hints\nLink: </a>\n\n",
        Method::Get,
        Back { keep_alive: false, ..STAYS },
        "HTTP/1.1 103 Early Hints\nLink: </a>\nVia: 1.1 corelane\n\n",
        (Framing::None, false),
    );
    check_back(
        "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket\nX: y\n\n",
        Method::Get,
        STAYS,
        "HTTP/1.1 101 Switching Protocols\nX: y\nConnection: Upgrade\nUpgrade: websocket\n\
         Via: 1.1 corelane\n\n",
        (Framing::None, false),
    );
    check_back(
        "HTTP/1.1 426 Upgrade Required\nUpgrade: TLS/1.0\nContent-Length: 0\n\n",
        Method::Get,
        STAYS,
        "HTTP/1.1 426 Upgrade Required\nContent-Length: 0\nConnection: Upgrade\n\
         Upgrade: TLS/1.0\nVia: 1.1 corelane\n\n",
        (Framing::Length(0), true),
    );
}

#[test]
fn trailers_that_frame_or_route_are_dropped() {
    let bytes = crlf("0\nX-Sum: 1\nContent-Length: 5\nhost: b\nConnection: x\nY:\n\n");
    let mut body = Body::new(Framing::Chunked, &Limits::default());
    let (taken, event) = body.next(&bytes).expect("a body");
    let Event::End { trailers } = event else { panic!("{event:?}") };
    assert_eq!(taken, bytes.len());
    let mut out = Vec::new();
    assert_eq!(write::last_chunk(&mut out, &bytes[trailers]), 3);
    assert_eq!(out, crlf("0\nX-Sum: 1\nY: \n\n"));
}

#[test]
fn sizes_of_chunks() {
    for (size, text) in
        [(1, "1"), (15, "f"), (16, "10"), (255, "ff"), (u64::MAX, "ffffffffffffffff")]
    {
        let mut out = Vec::new();
        write::chunk_size(&mut out, size);
        assert_eq!(String::from_utf8(out).expect("UTF-8"), format!("{text}\r\n"));
    }
    let mut out = Vec::new();
    write::chunk(&mut out, b"");
    write::chunk(&mut out, b"abc");
    assert_eq!(out, b"3\r\nabc\r\n");
}
