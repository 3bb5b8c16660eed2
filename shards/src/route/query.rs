//! Query parameters: whether the first of a name has a value, both compared decoded.
//!
//! Decoding is that of HTML forms (URL standard, application/x-www-form-urlencoded): `+` is a
//! space, `%XX` a byte; what is no escape stands for itself.

#![forbid(unsafe_code)]

/// Whether the first parameter of that name has that value. Nothing is copied.
pub(super) fn has(query: &[u8], name: &[u8], value: &[u8]) -> bool {
    let mut pairs = query.split(|byte| *byte == b'&').map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        (&pair[..at], pair.get(at + 1..).unwrap_or_default())
    });
    let first = pairs.find(|(there, _)| is(there, name));
    first.is_some_and(|(_, there)| is(there, value))
}

/// Whether the encoded text means the plain one.
fn is(encoded: &[u8], plain: &[u8]) -> bool {
    let mut rest = encoded;
    for &expected in plain {
        let Some((byte, after)) = decode(rest) else { return false };
        if byte != expected {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

/// The first byte, and what comes after its code.
fn decode(encoded: &[u8]) -> Option<(u8, &[u8])> {
    let (&first, rest) = encoded.split_first()?;
    match (first, rest) {
        (b'+', _) => Some((b' ', rest)),
        (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => Some((high << 4 | low, after)),
            _ => Some((b'%', rest)),
        },
        _ => Some((first, rest)),
    }
}

fn digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_name_counts_and_is_decoded() {
        for (query, expect) in [
            ("", false),
            ("a=1", true),
            ("b=2&a=1&a=2", true),
            ("a=2&a=1", false),
            ("a", false),
            ("%61=%31", true),
            ("a=1%", false),
            ("aa=1", false),
            ("a=11", false),
            ("a=", false),
        ] {
            assert_eq!(has(query.as_bytes(), b"a", b"1"), expect, "{query}");
        }
        assert!(has(b"q=a+b%2Bc%zz", b"q", b"a b+c%zz"));
        assert!(has(b"flag&x=1", b"flag", b""), "a name without a value has an empty one");
    }
}
