//! What we accept, another parser accepts, with the same fields.

use dataplane::http1::{Fields, Limits, Scan, request, response};
use proptest::prelude::*;

use crate::cases;
use crate::read::Kind;

/// Length and fields, of a head that we accept.
type Understood = (usize, Vec<(Vec<u8>, Vec<u8>)>);

fn ours(kind: Kind, bytes: &[u8]) -> Option<Understood> {
    let limits = Limits::default();
    let mut fields = Fields::new(&limits);
    let scan = &mut Scan::default();
    let len = match kind {
        Kind::Request => request(bytes, scan, &limits, &mut fields).ok()??.len,
        Kind::Response(to) => response(bytes, scan, &limits, &mut fields, to).ok()??.len,
    };
    let own = |field: &dataplane::http1::Field| {
        (field.name.of(bytes).to_vec(), field.value.of(bytes).to_vec())
    };
    Some((len, fields.iter().map(own).collect()))
}

fn theirs(kind: Kind, bytes: &[u8]) -> Result<Understood, String> {
    let mut space = [httparse::EMPTY_HEADER; 100];
    let (status, headers) = match kind {
        Kind::Request => {
            let mut head = httparse::Request::new(&mut space);
            (head.parse(bytes), head.headers.to_vec())
        }
        Kind::Response(_) => {
            let mut head = httparse::Response::new(&mut space);
            (head.parse(bytes), head.headers.to_vec())
        }
    };
    match status.map_err(|error| error.to_string())? {
        httparse::Status::Partial => Err("it has not ended".to_owned()),
        httparse::Status::Complete(len) => {
            let own = |one: &httparse::Header<'_>| (one.name.into(), one.value.to_vec());
            Ok((len, headers.iter().map(own).collect()))
        }
    }
}

/// Whether the bytes are accepted; fails where the other parser says something else.
pub(crate) fn agree(kind: Kind, bytes: &[u8]) -> bool {
    let Some(ours) = ours(kind, bytes) else { return false };
    let theirs = theirs(kind, bytes);
    assert_eq!(theirs, Ok(ours), "of {:?}", String::from_utf8_lossy(bytes));
    true
}

#[test]
fn accepted_cases_are_understood_the_same() {
    let accepted = cases::all().iter().filter(|(kind, case)| agree(*kind, &case.bytes)).count();
    assert!(accepted > 100, "{accepted} cases were accepted");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// One byte of a good head set to any value, or lines put together at random.
    #[test]
    fn one_byte_off(which in any::<prop::sample::Index>(), at in any::<usize>(), byte in any::<u8>()) {
        let heads: [&[u8]; 3] = [
            b"GET /a?b HTTP/1.1\r\nHost: a\r\nX-Y: z\t1\r\nContent-Length: 3\r\n\r\nabc",
            b"POST /%41/../b HTTP/1.0\r\nConnection: x\r\nX: \r\n\r\n",
            b"\r\nOPTIONS * HTTP/1.1\r\nHost:[::1]:1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ];
        let mut bytes = which.get(&heads).to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        agree(Kind::Request, &bytes);
    }

    #[test]
    fn one_byte_off_in_responses(at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 3\r\n\r\nabc".to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        agree(Kind::to("GET"), &bytes);
    }
}
