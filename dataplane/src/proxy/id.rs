//! Names of requests: 128 random bits, as 32 hexadecimal digits.
//!
//! Owns their form and where they come from. A client's own `X-Request-Id` is kept when it is
//! one to 128 letters, digits, `-`, `_` or `.`, so that a request has one name from end to end.

#![forbid(unsafe_code)]

/// Longest name of a client's that is kept.
const LONGEST: usize = 128;

/// See the module's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestId([u8; 32]);

impl RequestId {
    /// The name as it is written.
    pub(super) fn text(&self) -> &[u8; 32] {
        &self.0
    }

    fn of(bits: [u64; 2]) -> Self {
        let mut text = [0; 32];
        let (words, _) = text.as_chunks_mut::<8>();
        for (n, word) in words.iter_mut().enumerate() {
            *word = hex((bits[n / 2] >> (32 * (1 - n % 2))) as u32).to_be_bytes();
        }
        Self(text)
    }
}

/// Eight hexadecimal digits, all at once: a digit a byte, the first in the highest.
fn hex(bits: u32) -> u64 {
    let mut digits = u64::from(bits);
    digits = (digits << 16 | digits) & 0x0000_ffff_0000_ffff;
    digits = (digits << 8 | digits) & 0x00ff_00ff_00ff_00ff;
    digits = (digits << 4 | digits) & 0x0f0f_0f0f_0f0f_0f0f;
    // From 10 on, adding 6 carries into the upper half of the byte.
    let letters = (digits + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    digits + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)
}

/// Whether a client's name for its request is kept.
pub(super) fn is_kept(name: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
    (1..=LONGEST).contains(&name.len()) && name.iter().all(plain)
}

/// Random numbers of one shard: names, and the balancer's draws. Not for secrets.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits (SplitMix64: Steele, Lea, Flood, 2014).
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(super) fn id(&mut self) -> RequestId {
        RequestId::of([self.next(), self.next()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_32_digits_and_differ() {
        let mut random = Random::new(7);
        let names: std::collections::BTreeSet<_> =
            (0..1_000).map(|_| *random.id().text()).collect();
        assert_eq!(names.len(), 1_000);
        assert!(names.iter().flatten().all(u8::is_ascii_hexdigit));
        let id = RequestId::of([0xab << 56 | 0x10, 0x0123_4567_89ab_cdef]);
        assert_eq!(id.text(), b"ab000000000000100123456789abcdef");
    }

    #[test]
    fn a_name_from_outside_is_plain() {
        for (name, kept) in
            [("a-B_9.", true), ("", false), ("a b", false), ("a\"b", false), ("é", false)]
        {
            assert_eq!(is_kept(name.as_bytes()), kept, "{name}");
        }
        assert!(is_kept(&[b'x'; 128]) && !is_kept(&[b'x'; 129]));
    }
}
