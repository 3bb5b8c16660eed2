//! The request parser: however the bytes are cut, the same requests come out.

use dataplane::resp::{Limits, Parser, Step};
use shards::command::Span;

const LIMITS: Limits =
    Limits { args: 1 << 20, bulk: 512 << 20, large: u32::MAX, unauthenticated: false };

/// Arguments of one request.
pub type Request = Vec<Vec<u8>>;

/// The requests in `input` that are whole, and the complaint at which it stopped.
pub fn requests(input: &[u8], ends: &[usize], limits: Limits) -> (Vec<Request>, Option<String>) {
    let (mut parser, mut spans, mut seen) = (Parser::new(), Vec::<Span>::new(), Vec::new());
    for &end in ends {
        loop {
            let step = parser.advance(&input[..end], limits, &mut spans);
            assert!(parser.position() <= end, "nothing is understood that has not arrived");
            match step {
                Ok(Step::More) => break,
                Ok(Step::Request { end: next }) => {
                    assert!(next <= end, "a request ends within what arrived");
                    seen.push(arguments(&input[..next], &spans));
                }
                Ok(Step::Unquoted { end: next, bytes, spans }) => {
                    assert!(next <= end, "a request ends within what arrived");
                    seen.push(arguments(&bytes, &spans));
                }
                Ok(Step::Large { .. }) => unreachable!("no bulk reaches the limit for it"),
                Err(error) => return (seen, Some(error.to_string())),
            }
            spans.clear();
        }
    }
    (seen, None)
}

fn arguments(bytes: &[u8], spans: &[Span]) -> Request {
    spans.iter().map(|s| bytes[s.start as usize..][..s.len as usize].to_vec()).collect()
}

/// See the module's text. The first byte says how the others are cut.
pub fn resp_parser(data: &[u8]) {
    let Some((&stride, input)) = data.split_first() else { return };
    for limits in [LIMITS, Limits::UNAUTHENTICATED] {
        let whole = requests(input, &[input.len()], limits);
        let mut cuts: Vec<usize> = (0..input.len()).step_by(usize::from(stride).max(1)).collect();
        cuts.push(input.len());
        let cut = requests(input, &cuts, limits);
        assert_eq!(cut, whole, "cut every {stride} bytes");
        let claimed: usize = whole.0.iter().flatten().map(Vec::len).sum();
        assert!(claimed <= input.len(), "arguments hold no more than arrived");
    }
}
