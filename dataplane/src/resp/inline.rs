//! Inline requests: one line, split at white space, with quotes as in a shell.
//!
//! Owns the quoting rules of Redis' `sdssplitargs`. Never copies a line without quotes.

use shards::command::Span;

/// A quote was opened and never closed, or followed by something else than white space.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unbalanced;

/// Arguments that had to be unquoted, with where each lies.
type Unquoted = (Vec<u8>, Vec<Span>);

/// Splits `line`, which begins at `offset` of the slice that the spans point into.
pub(super) fn split(
    line: &[u8],
    offset: usize,
    spans: &mut Vec<Span>,
) -> Result<Option<Unquoted>, Unbalanced> {
    if line.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
        return unquote(line).map(Some);
    }
    let mut at = 0;
    for word in line.split(|byte| is_space(*byte)) {
        if !word.is_empty() {
            spans.push(Span { start: (offset + at) as u32, len: word.len() as u32 });
        }
        at += word.len() + 1;
    }
    Ok(None)
}

/// C's isspace, and the NUL byte that ends a line for Redis.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | 0)
}

fn unquote(line: &[u8]) -> Result<Unquoted, Unbalanced> {
    let (mut bytes, mut spans) = (Vec::with_capacity(line.len()), Vec::new());
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest
            && is_space(*first)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok((bytes, spans));
        }
        let start = bytes.len();
        rest = word(rest, &mut bytes)?;
        spans.push(Span { start: start as u32, len: (bytes.len() - start) as u32 });
    }
}

/// Appends one unquoted word and returns what follows it.
fn word<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        match rest {
            [] => return Ok(rest),
            [first, ..] if is_space(*first) => return Ok(rest),
            [b'"', tail @ ..] => {
                rest = double_quoted(tail, bytes)?;
                return ends_word(rest);
            }
            [b'\'', tail @ ..] => {
                rest = single_quoted(tail, bytes)?;
                return ends_word(rest);
            }
            [first, tail @ ..] => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
}

fn ends_word(rest: &[u8]) -> Result<&[u8], Unbalanced> {
    match rest {
        [first, ..] if !is_space(*first) => Err(Unbalanced),
        _ => Ok(rest),
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        match rest {
            [] => return Err(Unbalanced),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                bytes.push(hex(*high) << 4 | hex(*low));
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] => {
                bytes.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = tail;
            }
            [first, tail @ ..] => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        match rest {
            [] => return Err(Unbalanced),
            [b'\'', tail @ ..] => return Ok(tail),
            [b'\\', b'\'', tail @ ..] => {
                bytes.push(b'\'');
                rest = tail;
            }
            [first, tail @ ..] => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}
