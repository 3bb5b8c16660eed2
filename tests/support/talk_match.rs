//! Whether bytes meet a pattern, as far as they have come.

use std::collections::BTreeMap;

use super::text::Piece;

/// What came of comparing.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// So many bytes meet it.
    All(usize),
    /// They do so far, and more has to come.
    More,
    /// They do not, from here on; what was expected there.
    No(usize, String),
}

/// Ids by their names.
#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<String, Vec<u8>>);

impl Names {
    /// Whether `id` may be what is called so: the same as before, and no other's.
    fn bind(&mut self, name: &str, id: &[u8]) -> bool {
        match self.0.get(name) {
            Some(known) => known == id,
            None => {
                let others = self.0.values().any(|other| other == id);
                self.0.insert(name.to_owned(), id.to_owned());
                !others
            }
        }
    }

    /// Ids that only the pattern before knew are forgotten.
    fn forget_ours(&mut self) {
        self.0.retain(|name, _| !name.starts_with("our answer"));
    }
}

/// Compares the beginning of `bytes` with a pattern.
pub fn compare(pattern: &[Piece], bytes: &[u8], names: &mut Names) -> Found {
    let mut tried = names.clone();
    tried.forget_ours();
    let (mut at, mut number, mut mark) = (0, 0, 0);
    for piece in pattern {
        let rest = &bytes[at..];
        let took = match piece {
            Piece::Bytes(wanted) => literal(wanted, rest),
            Piece::Date => date(rest),
            Piece::Id(name) => id(name.as_deref(), rest, &mut tried),
            Piece::Chunks(content) => chunks(content, rest),
            Piece::Number => until(rest, |byte| !byte.is_ascii_digit(), "a number"),
            Piece::Sentence => until(rest, |byte| byte == b'"' || byte < 0x20, "a sentence"),
            Piece::Mark => {
                mark = at;
                Found::All(0)
            }
            Piece::Marked if at - mark == number => Found::All(0),
            Piece::Marked => Found::No(0, format!("{number} bytes, not {}", at - mark)),
        };
        match took {
            Found::All(n) => {
                if *piece == Piece::Number {
                    let text = std::str::from_utf8(&rest[..n]).expect("digits");
                    number = text.parse().expect("a small number");
                }
                at += n;
            }
            Found::More => return Found::More,
            Found::No(n, what) => return Found::No(at + n, what),
        }
    }
    *names = tried;
    Found::All(at)
}

fn literal(wanted: &[u8], bytes: &[u8]) -> Found {
    let same = wanted.iter().zip(bytes).take_while(|(a, b)| a == b).count();
    if same == wanted.len() {
        Found::All(same)
    } else if same == bytes.len() {
        Found::More
    } else {
        Found::No(same, shown(&wanted[same..]))
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn date(bytes: &[u8]) -> Found {
    const FORM: &[u8] = b"Aaa, 00 Aaa 0000 00:00:00 GMT";
    let fits = |(form, byte): &(&u8, &u8)| match form {
        b'A' => byte.is_ascii_uppercase(),
        b'a' => byte.is_ascii_lowercase(),
        b'0' => byte.is_ascii_digit(),
        other => other == byte,
    };
    let same = FORM.iter().zip(bytes).take_while(fits).count();
    match same {
        _ if same == FORM.len() => Found::All(same),
        _ if same == bytes.len() => Found::More,
        _ => Found::No(same, "a date".into()),
    }
}

fn id(name: Option<&str>, bytes: &[u8], names: &mut Names) -> Found {
    let hex = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digits = bytes.iter().take(32).take_while(hex).count();
    // Our answers name a request as its client did.
    let ours = name.is_some_and(|name| name.starts_with("our answer"));
    let len = match digits {
        32 => 32,
        n if n == bytes.len() => return Found::More,
        _ if ours => match until(bytes, |b| b == b'\r' || b == b'"', "an id") {
            Found::All(n) => n,
            other => return other,
        },
        n => return Found::No(n, "a request's id".into()),
    };
    match name {
        Some(name) if !names.bind(name, &bytes[..len]) => {
            Found::No(0, format!("the id that is called {name}, and no other's"))
        }
        _ => Found::All(len),
    }
}

/// `content` in any chunks, each with the shortest size in small digits.
fn chunks(content: &[u8], bytes: &[u8]) -> Found {
    let (mut at, mut done) = (0, 0);
    while done < content.len() {
        let hex = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let digits = bytes[at..].iter().take_while(hex).count();
        let line = literal(b"\r\n", &bytes[at + digits..]);
        let text = std::str::from_utf8(&bytes[at..at + digits]).expect("digits");
        match line {
            Found::All(_) => {}
            Found::More if bytes.len() - at < 20 => return Found::More,
            _ => return Found::No(at + digits, "the size of a chunk".into()),
        }
        let Some(size) = usize::from_str_radix(text, 16).ok().filter(|n| *n > 0) else {
            return Found::No(at, "a chunk with content".into());
        };
        if text.starts_with('0') || size > content.len() - done {
            return Found::No(at, format!("a chunk of at most {} bytes", content.len() - done));
        }
        at += digits + 2;
        let data = [&content[done..done + size], b"\r\n"].concat();
        match literal(&data, &bytes[at..]) {
            Found::All(n) => at += n,
            Found::No(n, what) => return Found::No(at + n, what),
            Found::More => return Found::More,
        }
        done += size;
    }
    Found::All(at)
}

fn until(bytes: &[u8], ends: impl Fn(u8) -> bool, what: &str) -> Found {
    match bytes.iter().position(|byte| ends(*byte)) {
        Some(0) => Found::No(0, what.into()),
        Some(n) => Found::All(n),
        None => Found::More,
    }
}

/// Bytes as a person reads them; a line's end ends the line.
pub fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 1_500;
    let text: String = bytes
        .iter()
        .take(MOST)
        .map(|byte| match byte {
            b'\n' => "\\n\n    ".into(),
            b'\r' => "\\r".into(),
            b'\\' => "\\\\".into(),
            0x20..0x7f => char::from(*byte).to_string(),
            other => format!("\\x{other:02x}"),
        })
        .collect();
    let more = if bytes.len() > MOST { format!("... ({} bytes)", bytes.len()) } else { "".into() };
    text + &more
}

#[cfg(test)]
mod tests {
    use super::super::text::expected;
    use super::*;

    #[track_caller]
    fn check(line: &str, bytes: &[u8], found: &Found) {
        let names = &mut Names::default();
        assert_eq!(&compare(&expected(line), bytes, names), found, "{line}");
    }

    #[test]
    fn patterns_take_what_they_say_and_nothing_else() {
        check("a", b"a\r\nb", &Found::All(3));
        check("a", b"a\r", &Found::More);
        check("ab\\", b"ac", &Found::No(1, "b".into()));
        check("{date}\\", b"Sun, 06 Nov 1994 08:49:37 GMT", &Found::All(29));
        check("{date}\\", b"Sun, 6 Nov", &Found::No(6, "a date".into()));
        check("{chunks:hello}0\\", b"2\r\nhe\r\n3\r\nllo\r\n0", &Found::All(16));
        check("{chunks:hello}\\", b"5\r\nhello\r", &Found::More);
        let most = Found::No(0, "a chunk of at most 5 bytes".into());
        check("{chunks:hello}\\", b"05\r\nhello\r\n", &most);
        check("{chunks:hello}\\", b"6\r\nhello!\r\n", &most);
        check("{chunks:hello}\\", b"5\nhello\r\n", &Found::No(1, "the size of a chunk".into()));
        check("{id}\\", &[b'a'; 32], &Found::All(32));
        check("{id}\\", b"x", &Found::No(0, "a request's id".into()));
    }

    #[test]
    fn one_name_is_one_id() {
        let mut names = Names::default();
        let (a, b) = ([b'a'; 32], [b'b'; 32]);
        let mut is = |name, id| matches!(compare(&expected(name), id, &mut names), Found::All(32));
        assert!(is("{id:x}\\", &a) && is("{id:x}\\", &a), "the same again");
        assert!(!is("{id:x}\\", &b), "another one");
        assert!(!is("{id:y}\\", &a), "one that another has");
        assert!(is("{id:y}\\", &b));
    }

    #[test]
    fn our_answers_have_the_length_that_they_say() {
        let answer = |length: usize, id: &str| {
            format!(
                "HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                 Content-Type: application/problem+json\r\nCache-Control: no-store\r\n\
                 X-Request-Id: mine\r\nContent-Length: {length}\r\n\r\n\
                 {{\"type\":\"urn:corelane:no_host\",\"title\":\"Not Found\",\"status\":404,\
                 \"detail\":\"x\",\"request_id\":\"{id}\",\"more\":\"y\"}}\n"
            )
        };
        let check = |length, id| {
            let pattern = expected("@problem 404 no_host");
            compare(&pattern, answer(length, id).as_bytes(), &mut Names::default())
        };
        assert!(matches!(check(109, "mine"), Found::All(_)), "{:?}", check(109, "mine"));
        assert!(matches!(check(108, "mine"), Found::No(_, what) if what.ends_with("not 109")));
        assert!(matches!(check(109, "thin"), Found::No(..)), "another id than in the head");
    }
}
