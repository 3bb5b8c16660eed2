//! Patterns of KEYS, SCAN and CONFIG GET: `*`, `?`, `[a-z]`, `[^a]`, `\x`.
//!
//! Follows Redis' `stringmatchlen`. Work is bounded by pattern times text: only the last
//! star is ever gone back to, since an earlier one could match nothing more than it.

#![forbid(unsafe_code)]

/// Whether `text` matches `pattern` whole.
pub fn matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    let (mut p, mut t) = (0, 0);
    // Pattern position after the last star, and text position it has eaten up to.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            p += 1;
            star = Some((p, t));
            continue;
        }
        if t == text.len() {
            return pattern[p..].iter().all(|byte| *byte == b'*');
        }
        match one(&pattern[p..], text[t], ignore_case) {
            Some(used) => (p, t) = (p + used, t + 1),
            None => match star {
                Some((after, eaten)) => {
                    star = Some((after, eaten + 1));
                    (p, t) = (after, eaten + 1);
                }
                None => return false,
            },
        }
    }
}

/// Matches one byte against the head of a pattern; returns how much of the pattern it took.
fn one(pattern: &[u8], byte: u8, ignore_case: bool) -> Option<usize> {
    let fold = |b: u8| if ignore_case { b.to_ascii_lowercase() } else { b };
    let used = match pattern {
        [] => return None,
        [b'?', ..] => return Some(1),
        [b'[', ..] => return class(pattern, fold(byte), fold),
        [b'\\', escaped, ..] => (*escaped, 2),
        [plain, ..] => (*plain, 1),
    };
    (fold(used.0) == fold(byte)).then_some(used.1)
}

/// A class; one that never closes ends with the pattern, as in Redis.
fn class(pattern: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> Option<usize> {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    loop {
        match &pattern[at..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                found |= fold(*escaped) == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                let (from, to) = (fold(*from), fold(*to));
                found |= (from.min(to)..=from.max(to)).contains(&byte);
                at += 3;
            }
            [plain, ..] => {
                found |= fold(*plain) == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns() {
        for (pattern, text, expect) in [
            ("*", "", true),
            ("*", "anything", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hello", false),
            ("h[^e]llo", "hbllo", true),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hbllo", true),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hello", false),
            ("[\\]]", "]", true),
            ("[]", "a", false),
            ("[a", "a", true),
            ("a\\", "a\\", true),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("*a*b*c*", "xxaxxcxxbxx", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes(), false),
                expect,
                "{pattern} {text}"
            );
        }
        assert!(matches(b"HELLO*[A-C]", b"hello-b", true));
    }

    #[test]
    fn many_stars_take_no_longer() {
        let pattern = b"a*".repeat(2_000);
        let text = vec![b'a'; 20_000];
        let started = std::time::Instant::now();
        assert!(!matches(&[&pattern[..], b"b"].concat(), &text, false));
        assert!(started.elapsed().as_secs() < 5);
    }

    /// The textbook recursion, which is plainly right.
    fn slow(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => {
                slow(rest, text) || !text.is_empty() && slow(pattern, &text[1..])
            }
            (_, []) => false,
            ([], _) => false,
            (_, [byte, after @ ..]) => match one(pattern, *byte, false) {
                Some(used) => slow(&pattern[used..], after),
                None => false,
            },
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_recursion(
            pattern in prop::collection::vec(prop::sample::select(b"ab*?[]^-\\".to_vec()), 0..9),
            text in prop::collection::vec(prop::sample::select(b"ab]-".to_vec()), 0..9),
        ) {
            prop_assert_eq!(matches(&pattern, &text, false), slow(&pattern, &text));
        }
    }
}
