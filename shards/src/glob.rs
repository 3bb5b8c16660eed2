//! Patterns of KEYS, SCAN and CONFIG GET: `*`, `?`, `[a-z]`, `[^a]`, `\x`.
//!
//! Follows Redis' `stringmatchlen`. Work is bounded by pattern times text: only the last
//! star is ever gone back to, since an earlier one could match nothing more than it. A
//! comparison can be left and gone on with, since both may be very long.

#![forbid(unsafe_code)]

/// Whether `text` matches `pattern` whole.
pub fn matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    let mut unlimited = usize::MAX;
    Comparison::default().go_on(pattern, text, ignore_case, &mut unlimited) == Some(true)
}

/// How far a comparison has come. It has to be given the same pattern and text each time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Comparison {
    pattern_at: usize,
    text_at: usize,
    /// Pattern position after the last star, and text position it has eaten up to.
    star: Option<(usize, usize)>,
}

impl Comparison {
    /// Compares until there is an answer or `work` is used up, of which a byte of the pattern
    /// takes one. `None`: not done yet.
    pub fn go_on(
        &mut self,
        pattern: &[u8],
        text: &[u8],
        ignore_case: bool,
        work: &mut usize,
    ) -> Option<bool> {
        while *work > 0 {
            let rest = &pattern[self.pattern_at..];
            if rest.first() == Some(&b'*') {
                *work -= 1;
                self.pattern_at += 1;
                self.star = Some((self.pattern_at, self.text_at));
                continue;
            }
            let Some(byte) = text.get(self.text_at) else { return Some(rest.is_empty()) };
            let (used, fits) = one(rest, *byte, ignore_case);
            *work = work.saturating_sub(used.max(1));
            if fits {
                (self.pattern_at, self.text_at) = (self.pattern_at + used, self.text_at + 1);
            } else {
                let Some((after, eaten)) = self.star else { return Some(false) };
                self.star = Some((after, eaten + 1));
                (self.pattern_at, self.text_at) = (after, eaten + 1);
            }
        }
        None
    }
}

/// Matches one byte against the head of a pattern: how much of it that took, and whether it
/// fits.
fn one(pattern: &[u8], byte: u8, ignore_case: bool) -> (usize, bool) {
    let fold = |b: u8| if ignore_case { b.to_ascii_lowercase() } else { b };
    let (wanted, used) = match pattern {
        [] => return (0, false),
        [b'?', ..] => return (1, true),
        [b'[', ..] => return class(pattern, fold(byte), fold),
        [b'\\', escaped, ..] => (*escaped, 2),
        [plain, ..] => (*plain, 1),
    };
    (used, fold(wanted) == fold(byte))
}

/// A class; one that never closes ends with the pattern, as in Redis.
fn class(pattern: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> (usize, bool) {
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
    (at, found != negated)
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
                (used, true) => slow(&pattern[used..], after),
                (_, false) => false,
            },
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_recursion(
            pattern in prop::collection::vec(prop::sample::select(b"ab*?[]^-\\".to_vec()), 0..9),
            text in prop::collection::vec(prop::sample::select(b"ab]-".to_vec()), 0..9),
        ) {
            let expect = slow(&pattern, &text);
            prop_assert_eq!(matches(&pattern, &text, false), expect);
            let (mut left, mut answer) = (Comparison::default(), None);
            while answer.is_none() {
                answer = left.go_on(&pattern, &text, false, &mut 2);
            }
            prop_assert_eq!(answer, Some(expect));
        }
    }
}
