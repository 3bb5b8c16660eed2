//! Which byte may stand where, and how to look at eight of them at once.

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
        let low = (word | (ONES * 0x20)) & !HIGH;
        let from_a = low + ONES * (0x80 - b'a' as u64);
        let past_z = low + ONES * (0x7f - b'z' as u64);
        let other = word ^ (ONES * b'-' as u64);
        let dash = !(((other & !HIGH) + !HIGH) | other);
        let good = ((from_a & !past_z & !word) | dash) & HIGH;
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

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

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
    loop {
        while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_le_bytes(*eight);
            // A byte below 0x20 borrows from its high bit; DEL becomes 0 and does so, too.
            // A borrow can only spoil the bytes above, so that the lowest mark is exact.
            let control = word.wrapping_sub(ONES * 0x20) & !word;
            let del = word ^ (ONES * 0x7f);
            let marks = (control | (del.wrapping_sub(ONES) & !del)) & HIGH;
            if marks != 0 {
                at += marks.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        match bytes.get(at) {
            Some(&byte) if in_value(byte) => at += 1,
            _ => return at,
        }
    }
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
