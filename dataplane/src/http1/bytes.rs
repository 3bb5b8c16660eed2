//! Which byte may stand where, and how to look at eight of them at once.

use shards::word::{HIGH, ONES};

/// May be in a token (RFC 9110 section 5.6.2): methods, field names, codings.
pub(super) const TOKEN: u8 = 1;
/// May be in a path: visible ASCII without `?`, `#` and `\`.
///
/// RFC 3986 section 3.3 has fewer, but browsers send some of the others unencoded. A backslash
/// they turn into a slash themselves, and so would some servers after us.
pub(super) const PATH: u8 = 2;
/// May be in a query: visible ASCII without `#`.
pub(super) const QUERY: u8 = 4;
/// `%` and `.`: a path with one of them may need to be made routable.
pub(super) const ODD: u8 = 8;
/// May be in a host name: the unreserved ones of RFC 3986 section 2.3.
pub(super) const HOST: u8 = 16;
/// `_`, which some servers take for `-` in a field name.
pub(super) const UNDERSCORE: u8 = 32;

const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        let mut class = 0;
        let alnum = (byte as u8).is_ascii_alphanumeric();
        if alnum || in_list(byte as u8, b"!#$%&'*+-.^_`|~") {
            class |= TOKEN;
        }
        if !in_list(byte as u8, b"?#\\") {
            class |= PATH;
        }
        if byte as u8 != b'#' {
            class |= QUERY;
        }
        if in_list(byte as u8, b"%.") {
            class |= ODD;
        }
        if alnum || in_list(byte as u8, b"-._~") {
            class |= HOST;
        }
        if byte as u8 == b'_' {
            class |= UNDERSCORE;
        }
        table[byte] = class;
        byte += 1;
    }
    table
};

const fn in_list(byte: u8, list: &[u8]) -> bool {
    let mut at = 0;
    while at < list.len() {
        if list[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

/// The classes of a byte.
#[inline(always)]
pub(super) fn class(byte: u8) -> u8 {
    CLASS[byte as usize]
}

/// Offset of the first byte from `at` on that is not of `class`, and all the classes that the
/// others have, joined.
#[inline(always)]
pub(super) fn run(bytes: &[u8], at: usize, wanted: u8) -> (usize, u8) {
    let mut seen = 0;
    let mut end = at;
    while let Some(&byte) = bytes.get(end) {
        let class = class(byte);
        if class & wanted == 0 {
            break;
        }
        seen |= class;
        end += 1;
    }
    (end, seen)
}

/// The same for tokens, which are letters and dashes for the most part: eight at once.
#[inline(always)]
pub(super) fn token_run(bytes: &[u8], mut at: usize) -> (usize, u8) {
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        let other = (word ^ (ONES * b'-' as u64)) & !HIGH;
        let dash = !(other + !HIGH);
        let good = (letters(word) | dash) & !word & HIGH;
        if good != HIGH {
            at += (good ^ HIGH).trailing_zeros() as usize / 8;
            if bytes[at] == b':' {
                return (at, TOKEN);
            }
            break;
        }
        at += 8;
    }
    run(bytes, at, TOKEN)
}

/// Whether all bytes are of that class.
pub(super) fn all(bytes: &[u8], wanted: u8) -> bool {
    bytes.iter().all(|byte| class(*byte) & wanted != 0)
}

/// Whether a field value may have it (RFC 9110 section 5.5): HTAB, SP, visible, obs-text.
#[inline(always)]
pub(super) fn in_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Offset of the first byte from `at` on that a field value may not have; the length of
/// `bytes` when there is none.
#[inline(always)]
pub(super) fn value_end(bytes: &[u8], mut at: usize) -> usize {
    // Long values first by sixteen, in a form that compilers make one of vectors: 10 % of a
    // browser's head.
    while let Some(sixteen) = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        let odd = sixteen.map(|byte| u8::from((byte < b' ') | (byte == 0x7f)));
        if odd.iter().fold(0, |any, odd| any | odd) != 0 {
            break;
        }
        at += 16;
    }
    loop {
        while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_le_bytes(*eight);
            // A byte below 0x20 borrows from its high bit; DEL becomes 0 and does so, too.
            // A borrow can only spoil the bytes above, so that the lowest mark is exact.
            let control = word.wrapping_sub(ONES * 0x20) & !word;
            let del = word ^ (ONES * 0x7f);
            let marks = (control | (del.wrapping_sub(ONES) & !del)) & HIGH;
            if marks == 0 {
                at += 8;
                continue;
            }
            at += marks.trailing_zeros() as usize / 8;
            if bytes[at] != b'\t' {
                return at;
            }
            at += 1;
        }
        match bytes.get(at) {
            Some(&byte) if in_value(byte) => at += 1,
            _ => return at,
        }
    }
}

/// [`run`] of [`PATH`], eight at once as long as none is near to being special.
#[inline(always)]
pub(super) fn path_run(bytes: &[u8], mut at: usize) -> (usize, u8) {
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        let plain = word & !HIGH;
        // From '/' to '9' lie the slash and the digits.
        let from_slash = plain + ONES * (0x80 - b'/' as u64);
        let past_nine = plain + ONES * (0x7f - b'9' as u64);
        let dash = !((plain ^ (ONES * b'-' as u64)) + !HIGH);
        let good = (letters(word) | (from_slash & !past_nine) | dash) & !word & HIGH;
        if good != HIGH {
            at += (good ^ HIGH).trailing_zeros() as usize / 8;
            break;
        }
        at += 8;
    }
    run(bytes, at, PATH)
}

/// [`run`] of [`HOST`]: letters, digits, dots and dashes for the most part, eight at once.
#[inline(always)]
pub(super) fn host_run(bytes: &[u8], mut at: usize) -> usize {
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        let plain = word & !HIGH;
        // From '-' to '9' lie the dot, the digits and the slash.
        let from_dash = plain + ONES * (0x80 - b'-' as u64);
        let past_nine = plain + ONES * (0x7f - b'9' as u64);
        let slash = (plain ^ (ONES * b'/' as u64)) + !HIGH;
        let good = (letters(word) | (from_dash & !past_nine & slash)) & !word & HIGH;
        if good != HIGH {
            at += (good ^ HIGH).trailing_zeros() as usize / 8;
            break;
        }
        at += 8;
    }
    run(bytes, at, HOST).0
}

/// Marks the letters of eight bytes, and perhaps bytes of 0x80 and more.
#[inline(always)]
fn letters(word: u64) -> u64 {
    let low = (word | (ONES * 0x20)) & !HIGH;
    let from_a = low + ONES * (0x80 - b'a' as u64);
    let past_z = low + ONES * (0x7f - b'z' as u64);
    from_a & !past_z
}

/// Whether a byte is optional white space (RFC 9110 section 5.6.3).
#[inline(always)]
pub(super) fn is_ows(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Without the white space around it.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_ows(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_ows(*last)
    {
        bytes = rest;
    }
    bytes
}

/// The members of a list (RFC 9110 section 5.6.1): split at commas, trimmed, empty ones left out.
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim).filter(|member| !member.is_empty())
}

/// What a hexadecimal digit stands for.
#[inline]
pub(super) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any two bytes side by side, anywhere in a long run: eight at once find what one at a
    /// time finds.
    #[test]
    fn eight_at_once_are_eight_one_by_one() {
        for pair in 0..=u16::MAX {
            let [one, two] = pair.to_le_bytes();
            let mut bytes = *b"abcdefgh-ABCDXYZ-azAZaz-bcde:";
            let at = 3 + usize::from(pair) % 21;
            (bytes[at], bytes[at + 1]) = (one, two);
            let naive = |good: &dyn Fn(u8) -> bool| {
                bytes.iter().position(|byte| !good(*byte)).unwrap_or(bytes.len())
            };
            let is = |wanted: u8| move |byte: u8| class(byte) & wanted != 0;
            let shown = String::from_utf8_lossy(&bytes);
            assert_eq!(token_run(&bytes, 0).0, naive(&is(TOKEN)), "token of {shown:?}");
            assert_eq!(host_run(&bytes, 0), naive(&is(HOST)), "host of {shown:?}");
            assert_eq!(value_end(&bytes, 0), naive(&in_value), "value of {shown:?}");
            let (end, classes) = path_run(&bytes, 0);
            assert_eq!(end, naive(&is(PATH)), "path of {shown:?}");
            let odd = bytes[..end].iter().any(|byte| matches!(byte, b'%' | b'.'));
            assert_eq!(classes & ODD != 0, odd, "odd of {shown:?}");
            let (end, classes) = token_run(&bytes, 0);
            let underscore = bytes[..end].contains(&b'_');
            assert_eq!(classes & UNDERSCORE != 0, underscore, "underscore of {shown:?}");
        }
    }
}
