//! The HTTP/1.1 codec: however the bytes are cut, the same is understood; what is accepted can
//! be written and read again; nothing points beyond what arrived.

use std::net::{IpAddr, Ipv4Addr};

use dataplane::http1::write::{self, Address, Back, Forward, Scheme};
use dataplane::http1::{
    Asked, Body, Chunked, Event, Fields, Framing, Known, Limits, Method, Refusal, RequestHead,
    ResponseHead, Scan, Version, path, request, response,
};

/// Small, so that a fuzzer reaches them.
const LIMITS: Limits = Limits { head_bytes: 512, line_bytes: 128, fields: 12 };
/// What is written has fields of ours, too.
const ROOMY: Limits = Limits { head_bytes: 8192, line_bytes: 1024, fields: 32 };

/// Offsets up to which the input arrives, one after the other.
fn cuts(len: usize, stride: u8) -> Vec<usize> {
    let mut cuts: Vec<usize> = (0..len).step_by(usize::from(stride).max(1)).collect();
    cuts.push(len);
    cuts
}

fn read_request(
    input: &[u8],
    ends: &[usize],
    limits: &Limits,
    fields: &mut Fields,
) -> Result<Option<RequestHead>, Refusal> {
    let mut scan = Scan::default();
    for &end in ends {
        if let Some(head) = request(&input[..end], &mut scan, limits, fields)? {
            assert!(head.len <= end, "a head ends within what arrived");
            return Ok(Some(head));
        }
    }
    Ok(None)
}

fn read_response(
    input: &[u8],
    ends: &[usize],
    limits: &Limits,
    fields: &mut Fields,
    to: Asked,
) -> Result<Option<ResponseHead>, Refusal> {
    let mut scan = Scan::default();
    for &end in ends {
        if let Some(head) = response(&input[..end], &mut scan, limits, fields, to)? {
            assert!(head.len <= end, "a head ends within what arrived");
            return Ok(Some(head));
        }
    }
    Ok(None)
}

fn framings(fields: &Fields) -> usize {
    fields.all(Known::ContentLength).count() + fields.all(Known::TransferEncoding).count()
}

/// See the module's text. The first byte says how the others are cut.
pub fn http1_request(data: &[u8]) {
    let Some((&stride, input)) = data.split_first() else { return };
    let (mut fields, mut second) = (Fields::new(&LIMITS), Fields::new(&ROOMY));
    let cut = read_request(input, &cuts(input.len(), stride), &LIMITS, &mut fields);
    let whole = read_request(input, &[input.len()], &LIMITS, &mut fields);
    assert_eq!(cut, whole, "cut every {stride} bytes");
    let Ok(Some(head)) = whole else { return };
    for field in fields.iter() {
        let value = field.value.of(input);
        assert!(!field.name.of(input).is_empty(), "a field has a name");
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "one line");
    }
    let mut scratch = Vec::new();
    let Ok(routed) = path::routable(head.target.path(input), &mut scratch) else { return };
    let mut again = Vec::new();
    assert_eq!(path::routable(routed, &mut again), Ok(routed), "a routable path stays as it is");
    if head.method == Method::Connect {
        return;
    }
    assert!(routed == b"*" || routed.first() == Some(&b'/'), "a path begins with a slash");
    let forward = Forward {
        path: routed,
        authority: Some(b"backend"),
        client: Address::of(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        scheme: Scheme::Http,
        trusted: stride & 1 == 0,
        request_id: b"id",
        upgrade: stride & 2 == 0,
        extra: b"",
    };
    let mut out = Vec::new();
    write::request(&mut out, input, &head, &fields, &forward);
    let written = read_request(&out, &[out.len()], &ROOMY, &mut second)
        .expect("what is written is accepted")
        .expect("and has an end");
    assert_eq!((written.len, written.body), (out.len(), head.body), "the same framing");
    assert_eq!(framings(&second), usize::from(head.body != Framing::None), "one framing");
    assert_eq!(second.all(Known::Host).count(), 1, "one host");
}

/// See the module's text. The first byte says how the others are cut, and by its high bits
/// which request is answered, and to whom.
pub fn http1_response(data: &[u8]) {
    let Some((&stride, input)) = data.split_first() else { return };
    let method = if stride & 0x80 == 0 { Method::Get } else { Method::Head };
    let version = if stride & 0x40 == 0 { Version::Http11 } else { Version::Http10 };
    let (stride, to) = (stride & 0x3f, Asked { method, upgrade: stride & 1 == 0 });
    let (mut fields, mut second) = (Fields::new(&LIMITS), Fields::new(&ROOMY));
    let cut = read_response(input, &cuts(input.len(), stride), &LIMITS, &mut fields, to);
    let whole = read_response(input, &[input.len()], &LIMITS, &mut fields, to);
    assert_eq!(cut, whole, "cut every {stride} bytes");
    let Ok(Some(head)) = whole else { return };
    if head.is_interim() && version == Version::Http10 {
        return;
    }
    let mut out = Vec::new();
    let back = Back { version, keep_alive: true, extra: b"" };
    let sent = write::response(&mut out, input, &head, &fields, &back);
    let written = read_response(&out, &[out.len()], &ROOMY, &mut second, to)
        .expect("what is written is accepted")
        .expect("and has an end");
    assert_eq!((written.len, written.status), (out.len(), head.status), "the same status");
    assert_eq!((written.body, written.keep_alive), (sent.body, sent.keep_alive), "as promised");
    assert!(framings(&second) <= 1, "one framing");
}

/// Content, trailers and what is left of a chunked body.
type Read = (Vec<u8>, Vec<u8>, usize);

fn read_chunked(input: &[u8], ends: &[usize]) -> Result<Option<Read>, Refusal> {
    let (mut chunked, mut at, mut content) = (Chunked::new(&LIMITS), 0, Vec::new());
    for &end in ends {
        loop {
            let arrived = &input[at..end];
            let (taken, event) = chunked.next(arrived)?;
            assert!(taken <= arrived.len(), "no more is taken than arrived");
            at += taken;
            match event {
                Event::More => break,
                Event::Data(range) => {
                    assert!(!range.is_empty() && range.end <= taken, "data is taken");
                    content.extend_from_slice(&arrived[range]);
                }
                Event::End { trailers } => {
                    let trailers = arrived[trailers].to_vec();
                    return Ok(Some((content, trailers, input.len() - at)));
                }
            }
        }
    }
    Ok(None)
}

/// See the module's text. The first byte says how the others are cut.
pub fn http1_chunked(data: &[u8]) {
    let Some((&stride, input)) = data.split_first() else { return };
    let cut = read_chunked(input, &cuts(input.len(), stride));
    let whole = read_chunked(input, &[input.len()]);
    assert_eq!(cut, whole, "cut every {stride} bytes");
    let Ok(Some((content, trailers, left))) = whole else { return };
    assert!(content.len() + trailers.len() + left <= input.len(), "no more than arrived");
    let mut out = Vec::new();
    write::chunk(&mut out, &content);
    write::last_chunk(&mut out, &trailers);
    let again = read_chunked(&out, &[out.len()]);
    let (same, _, rest) = again.expect("what is written is accepted").expect("and has an end");
    assert_eq!((same, rest), (content, 0), "the same content");
    let mut body = Body::new(Framing::Chunked, &LIMITS);
    assert!(!body.is_done() && body.next(b"").is_ok(), "a body begins with nothing");
}
