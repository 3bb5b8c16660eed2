//! The head of a request to a backend.

use super::{Address, decimal, end_to_end, field, framing, list, via};
use crate::http1::fields::{Field, Fields};
use crate::http1::names::Known;
use crate::http1::request::{Method, RequestHead};
use crate::http1::target::Form;

/// What a client's connection spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Http => b"http",
            Self::Https => b"https",
        }
    }
}

/// How a request is forwarded.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// What the request was routed by ([`crate::http1::path::routable`]), or what a rewrite
    /// made of it; `*` for `*`.
    pub path: &'a [u8],
    /// Host as it is to be, where it is rewritten; else as the client had it.
    pub authority: Option<&'a [u8]>,
    /// Who the client is.
    pub client: Address,
    /// What its connection spoke.
    pub scheme: Scheme,
    /// Whether it is a proxy whose X-Forwarded fields, Forwarded, X-Real-IP and X-Request-Id are
    /// believed and added to. From all others they are dropped, since backends believe them.
    pub trusted: bool,
    /// X-Request-Id, unless a trusted client has one.
    pub request_id: &'a [u8],
    /// Whether the client's Upgrade goes on. h2c had better not: what follows would go past
    /// all routes.
    pub upgrade: bool,
    /// Whole field lines to add.
    pub extra: &'a [u8],
}

/// Of what is written here and was not received.
const OWN_BYTES: usize = 512;

const fn bits(list: &[Known]) -> u64 {
    let (mut bits, mut at) = (0, 0);
    while at < list.len() {
        bits |= list[at].bit();
        at += 1;
    }
    bits
}

/// Written by us in any case.
const OURS: u64 =
    bits(&[Known::Host, Known::ContentLength, Known::Via, Known::XForwardedFor, Known::Forwarded]);
/// Believed from a trusted client only.
const TOLD: u64 = bits(&[
    Known::XForwardedProto,
    Known::XForwardedHost,
    Known::XForwardedPort,
    Known::XRealIp,
    Known::XRequestId,
]);

/// Whether a backend gets a field as it was received from a client that is not believed: what
/// requests are routed and limited by is nothing that the backend does not see.
pub fn is_forwarded_as_received(field: &Field) -> bool {
    const REPLACED: u64 = bits(&[
        Known::XForwardedFor,
        Known::XForwardedProto,
        Known::XForwardedHost,
        Known::XForwardedPort,
        Known::XRealIp,
        Known::Forwarded,
    ]);
    !field.hop && field.known.bit() & REPLACED == 0
}

/// Appends the head of `head` as it goes to a backend, in HTTP/1.1 and origin form; the body
/// follows in the framing that `head` says. `bytes` and `fields` are those it was read from.
/// CONNECT cannot be forwarded.
///
/// Written: Host first, the client's end-to-end fields as received and in their order, one
/// framing field, Via, X-Forwarded-For, -Proto, -Host, Forwarded, X-Request-Id. There is no
/// X-Forwarded-Port: X-Forwarded-Host has the port that the client named.
pub fn request(
    out: &mut Vec<u8>,
    bytes: &[u8],
    head: &RequestHead,
    fields: &Fields,
    forward: &Forward<'_>,
) {
    debug_assert!(head.target.form != Form::Authority, "CONNECT is not forwarded");
    let authority = head.authority.of(bytes);
    let host = forward.authority.unwrap_or(authority);
    let more = forward.path.len() + forward.extra.len() + forward.request_id.len();
    out.reserve(head.len + 3 * host.len().max(authority.len()) + more + OWN_BYTES);
    request_line(out, bytes, head, forward);
    // RFC 9112 section 3.2: Host ought to be the first field.
    field(out, b"Host", host);

    let mut skip = OURS | if forward.trusted { 0 } else { TOLD };
    if !head.expects_continue {
        skip |= Known::Expect.bit();
    }
    if head.max_forwards.is_some() {
        skip |= Known::MaxForwards.bit();
    }
    end_to_end(out, bytes, fields, skip);
    connection(out, bytes, head, forward);
    framing(out, head.body);
    if let Some(count) = head.max_forwards {
        // RFC 9110 section 7.6.2: MUST be one less.
        out.extend_from_slice(b"Max-Forwards: ");
        decimal(out, u64::from(count.saturating_sub(1)));
        out.extend_from_slice(b"\r\n");
    }
    via(out, bytes, fields, head.version);
    forwarded(out, bytes, authority, fields, forward);
    out.extend_from_slice(forward.extra);
    out.extend_from_slice(b"\r\n");
}

fn request_line(out: &mut Vec<u8>, bytes: &[u8], head: &RequestHead, forward: &Forward<'_>) {
    out.extend_from_slice(head.name.of(bytes));
    out.push(b' ');
    let target = &head.target;
    // RFC 9112 section 3.2.4: OPTIONS for a whole server, asked in absolute form.
    let server = head.method == Method::Options
        && target.form == Form::Absolute
        && target.path.is_empty()
        && target.query.is_none();
    out.extend_from_slice(if server { b"*" } else { forward.path });
    if let Some(query) = target.query {
        out.push(b'?');
        out.extend_from_slice(query.of(bytes));
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// What concerns our own connection to the backend (RFC 9110 sections 7.6.1, 7.8 and 10.1.4:
/// TE and Upgrade MUST be named in Connection).
fn connection(out: &mut Vec<u8>, bytes: &[u8], head: &RequestHead, forward: &Forward<'_>) {
    let upgrade = head.upgrade.filter(|_| forward.upgrade);
    match (head.accepts_trailers, upgrade.is_some()) {
        (false, false) => return,
        (true, false) => out.extend_from_slice(b"Connection: TE\r\n"),
        (false, true) => out.extend_from_slice(b"Connection: Upgrade\r\n"),
        (true, true) => out.extend_from_slice(b"Connection: TE, Upgrade\r\n"),
    }
    if head.accepts_trailers {
        out.extend_from_slice(b"TE: trailers\r\n");
    }
    if let Some(upgrade) = upgrade {
        field(out, b"Upgrade", upgrade.of(bytes));
    }
}

/// Who the client is and what it asked for.
fn forwarded(
    out: &mut Vec<u8>,
    bytes: &[u8],
    authority: &[u8],
    fields: &Fields,
    forward: &Forward<'_>,
) {
    let has = |known| forward.trusted && fields.has(known);
    let earlier = |known| fields.all(known).filter(|_| forward.trusted);
    list(out, b"X-Forwarded-For", bytes, earlier(Known::XForwardedFor));
    out.extend_from_slice(forward.client.text());
    out.extend_from_slice(b"\r\n");
    if !has(Known::XForwardedProto) {
        field(out, b"X-Forwarded-Proto", forward.scheme.name());
    }
    if !has(Known::XForwardedHost) && !authority.is_empty() {
        field(out, b"X-Forwarded-Host", authority);
    }
    list(out, b"Forwarded", bytes, earlier(Known::Forwarded));
    element(out, authority, forward);
    if !has(Known::XRequestId) {
        field(out, b"X-Request-Id", forward.request_id);
    }
}

/// One element of Forwarded (RFC 7239 section 4). Section 6: an IPv6 address has brackets, and
/// so has to be quoted; so has a host with a port.
fn element(out: &mut Vec<u8>, authority: &[u8], forward: &Forward<'_>) {
    let is_v6 = forward.client.is_v6();
    out.extend_from_slice(if is_v6 { b"for=\"[" } else { b"for=" });
    out.extend_from_slice(forward.client.text());
    out.extend_from_slice(if is_v6 { b"]\"" } else { b"" });
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(forward.scheme.name());
    if !authority.is_empty() {
        // What a host can have beside token characters is brackets and colons.
        let quote: &[u8] = if authority.contains(&b':') { b"\"" } else { b"" };
        out.extend_from_slice(b";host=");
        out.extend_from_slice(quote);
        out.extend_from_slice(authority);
        out.extend_from_slice(quote);
    }
    out.extend_from_slice(b"\r\n");
}
