//! A message read through the codec, delivered in any pieces.

use dataplane::http1::{
    Asked, Body, Event, Fields, Framing, Limits, Method, Refusal, RequestHead, ResponseHead, Scan,
    Span, Version, path, request, response,
};

/// What was understood, by name.
pub(crate) type Seen = Vec<(&'static str, Vec<u8>)>;

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Whole.
    Read(Seen),
    /// It has not ended.
    More,
    /// Refused.
    Refused(Refusal),
}

/// Which kind of message it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Request,
    Response(Asked),
}

impl Kind {
    /// Of a case of `responses.txt`.
    pub(crate) fn to(text: &str) -> Self {
        let method = match text.split(' ').next() {
            Some("GET") => Method::Get,
            Some("HEAD") => Method::Head,
            Some("POST") => Method::Post,
            other => panic!("no method {other:?}"),
        };
        Self::Response(Asked { method, upgrade: text.ends_with(" upgrade") })
    }
}

/// Reads `bytes`, of which the first `ends[0]` are there at first, then `ends[1]` and so on.
pub(crate) fn read(kind: Kind, bytes: &[u8], ends: &[usize]) -> Outcome {
    match try_read(kind, bytes, ends) {
        Ok(Some(seen)) => Outcome::Read(seen),
        Ok(None) => Outcome::More,
        Err(refusal) => Outcome::Refused(refusal),
    }
}

/// The same, all at once.
pub(crate) fn read_whole(kind: Kind, bytes: &[u8]) -> Outcome {
    read(kind, bytes, &[bytes.len()])
}

fn try_read(kind: Kind, bytes: &[u8], ends: &[usize]) -> Result<Option<Seen>, Refusal> {
    let limits = Limits::default();
    let (mut fields, mut scan) = (Fields::new(&limits), Scan::default());
    let mut seen = Seen::new();
    for (nth, end) in ends.iter().enumerate() {
        let arrived = &bytes[..*end];
        let (len, framing) = match kind {
            Kind::Request => match request(arrived, &mut scan, &limits, &mut fields)? {
                None => continue,
                Some(head) => {
                    see_request(arrived, &head, &mut seen)?;
                    (head.len, head.body)
                }
            },
            Kind::Response(to) => match response(arrived, &mut scan, &limits, &mut fields, to)? {
                None => continue,
                Some(head) => {
                    see_response(arrived, &head, &mut seen);
                    (head.len, head.body)
                }
            },
        };
        assert_eq!(scan, Scan::default(), "the next head begins anew");
        for field in fields.iter() {
            let (name, value) = (field.name.of(arrived), field.value.of(arrived));
            seen.push(("field", [name, b": ", value].concat()));
            seen.push(("hop", vec![u8::from(field.hop)]));
        }
        return read_body(bytes, len, framing, &ends[nth..], seen);
    }
    Ok(None)
}

fn read_body(
    bytes: &[u8],
    mut at: usize,
    framing: Framing,
    ends: &[usize],
    mut seen: Seen,
) -> Result<Option<Seen>, Refusal> {
    let (mut body, mut content, mut section) =
        (Body::new(framing, &Limits::default()), Vec::new(), Vec::new());
    let mut whole = false;
    'ends: for end in ends {
        loop {
            let arrived = &bytes[at..*end];
            let (taken, event) = body.next(arrived)?;
            assert!(taken <= arrived.len(), "no more is taken than arrived");
            at += taken;
            match event {
                Event::More => break,
                Event::Data(range) => {
                    assert!(!range.is_empty() && range.end <= taken, "data is taken");
                    content.extend_from_slice(&arrived[range]);
                }
                Event::End { trailers } => {
                    section = arrived[trailers].to_vec();
                    whole = true;
                    break 'ends;
                }
            }
        }
    }
    assert_eq!(whole, body.is_done(), "a body knows that it is done");
    if !whole && !body.may_end() {
        return Ok(None);
    }
    seen.push(("content", content));
    seen.push(("section", section));
    seen.push(("left", (bytes.len() - at).to_string().into_bytes()));
    Ok(Some(seen))
}

fn see_request(bytes: &[u8], head: &RequestHead, seen: &mut Seen) -> Result<(), Refusal> {
    let mut scratch = Vec::new();
    let routed = path::routable(head.target.path(bytes), &mut scratch)?;
    let span = |span: Span| span.of(bytes).to_vec();
    seen.push(("method", span(head.name)));
    seen.push(("host", span(head.host)));
    seen.push(("authority", span(head.authority)));
    seen.push(("port", head.port.map_or(Vec::new(), |port| port.to_string().into_bytes())));
    seen.push(("path", routed.to_vec()));
    seen.push(("query", head.target.query.map_or(Vec::new(), span)));
    seen.push(("expects", flag(head.expects_continue)));
    seen.push(("trailers", flag(head.accepts_trailers)));
    seen.push(("upgrade", head.upgrade.map_or(Vec::new(), span)));
    both(head.version, head.body, head.keep_alive, seen);
    Ok(())
}

fn see_response(bytes: &[u8], head: &ResponseHead, seen: &mut Seen) {
    let span = |span: Span| span.of(bytes).to_vec();
    seen.push(("status", head.status.to_string().into_bytes()));
    seen.push(("reason", span(head.reason)));
    seen.push(("upgrade", head.upgrade.map_or(Vec::new(), span)));
    both(head.version, head.body, head.keep_alive, seen);
}

fn both(version: Version, body: Framing, keep_alive: bool, seen: &mut Seen) {
    let framing = match body {
        Framing::None => "none".to_owned(),
        Framing::Length(length) => format!("length:{length}"),
        Framing::Chunked => "chunked".to_owned(),
        Framing::UntilClose => "close".to_owned(),
    };
    seen.push(("body", framing.into_bytes()));
    seen.push(("keep_alive", flag(keep_alive)));
    seen.push(("version", format!("{version:?}").into_bytes()));
}

fn flag(is: bool) -> Vec<u8> {
    if is { b"yes".to_vec() } else { b"no".to_vec() }
}
