//! RESP from the client's side: requests to bytes, and where each reply ends.
//!
//! The scanner looks at lengths and line ends only; it keeps no value. It understands
//! RESP2 and RESP3 types and aggregates of any depth.

/// Appends one request, as every client sends it: an array of bulk strings.
pub(crate) fn request(out: &mut Vec<u8>, args: &[&[u8]]) {
    head(out, b'*', args.len());
    for arg in args {
        head(out, b'$', arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

fn head(out: &mut Vec<u8>, kind: u8, n: usize) {
    out.push(kind);
    out.extend_from_slice(n.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Longest line that is a reply's head: an error text may be long, a length may not.
const LONGEST_LINE: usize = 64 << 10;

/// One whole reply has gone by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Anything but an error.
    Fine,
    /// An error.
    Error,
}

/// What is not RESP.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Garbage;

/// Finds the ends of replies in received bytes, whatever their pieces.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    line: Vec<u8>,
    /// Bytes of a bulk, with its line end, still to go by.
    skip: u64,
    /// Elements of aggregates still to come, of the whole reply.
    elements: u64,
    amid: bool,
    failed: bool,
}

impl Scanner {
    /// Takes bytes and calls `done` for each reply that ends within them.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut done: impl FnMut(Reply),
    ) -> Result<(), Garbage> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let n = self.skip.min(bytes.len() as u64);
                bytes = &bytes[n as usize..];
                self.skip -= n;
                if self.skip == 0 {
                    self.element(&mut done);
                }
                continue;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.map_or(bytes.len(), |at| at + 1)];
            if self.line.len() + part.len() > LONGEST_LINE {
                return Err(Garbage);
            }
            self.line.extend_from_slice(part);
            bytes = &bytes[part.len()..];
            if end.is_some() {
                self.whole_line(&mut done)?;
                self.line.clear();
            }
        }
        Ok(())
    }

    fn whole_line(&mut self, done: &mut impl FnMut(Reply)) -> Result<(), Garbage> {
        let line = self.line.strip_suffix(b"\r\n").ok_or(Garbage)?;
        let (kind, rest) = line.split_first().ok_or(Garbage)?;
        let outermost = !self.amid;
        self.amid = true;
        match kind {
            b'+' | b':' | b'_' | b',' | b'#' | b'(' => self.element(done),
            b'-' => {
                self.failed |= outermost;
                self.element(done);
            }
            b'$' | b'=' | b'!' => {
                self.failed |= outermost && *kind == b'!';
                match length(rest)? {
                    Some(n) => self.skip = n + 2,
                    None => self.element(done),
                }
            }
            b'*' | b'~' | b'>' | b'%' => {
                let pairs = if *kind == b'%' { 2 } else { 1 };
                match length(rest)? {
                    Some(0) | None => self.element(done),
                    Some(n) => {
                        self.elements += n * pairs;
                        // The aggregate itself is counted by its last element.
                        self.elements -= u64::from(!outermost);
                    }
                }
            }
            _ => return Err(Garbage),
        }
        Ok(())
    }

    /// An element that is no aggregate with content has ended.
    fn element(&mut self, done: &mut impl FnMut(Reply)) {
        self.elements = self.elements.saturating_sub(1);
        if self.elements == 0 {
            done(if self.failed { Reply::Error } else { Reply::Fine });
            (self.amid, self.failed) = (false, false);
        }
    }
}

/// A length; none for the null of RESP2.
fn length(digits: &[u8]) -> Result<Option<u64>, Garbage> {
    if digits == b"-1" {
        return Ok(None);
    }
    let text = std::str::from_utf8(digits).map_err(|_| Garbage)?;
    match text.parse::<u64>() {
        Ok(n) if n <= 1 << 40 => Ok(Some(n)),
        _ => Err(Garbage),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(pieces: &[&[u8]]) -> Result<Vec<Reply>, Garbage> {
        let (mut scanner, mut found) = (Scanner::default(), Vec::new());
        for piece in pieces {
            scanner.feed(piece, |reply| found.push(reply))?;
        }
        Ok(found)
    }

    #[test]
    fn each_kind_of_reply_ends_where_it_ends() {
        use Reply::{Error, Fine};
        for (bytes, replies) in [
            (&b"+OK\r\n:1\r\n$3\r\nabc\r\n$-1\r\n*-1\r\n_\r\n"[..], vec![Fine; 6]),
            (b"-ERR no\r\n+OK\r\n", vec![Error, Fine]),
            (b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n-ERR inside\r\n+next\r\n", vec![Fine; 2]),
            (b"*0\r\n*2\r\n*0\r\n*1\r\n*0\r\n+x\r\n", vec![Fine; 3]),
            (b"%1\r\n+a\r\n$2\r\n\r\n\r\n~1\r\n#t\r\n,1.5\r\n", vec![Fine; 3]),
            (b"$5\r\n+\r\n-\n\r\n!3\r\nERR\r\n", vec![Fine, Error]),
            (b"$3\r\nab", vec![]),
        ] {
            assert_eq!(scan(&[bytes]), Ok(replies), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_reply_is_said() {
        for bytes in [&b"HTTP/1.1 200 OK\r\n"[..], b"$x\r\n", b"\r\n", b"+OK\n", b"*-2\r\n"] {
            assert_eq!(scan(&[bytes]), Err(Garbage), "{}", bytes.escape_ascii());
        }
        assert_eq!(scan(&[&[b'+'; LONGEST_LINE + 1]]), Err(Garbage));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(cuts in proptest::collection::vec(0usize..60, 0..8)) {
            let whole: &[u8] = b"*2\r\n$4\r\nab\r\n\r\n%1\r\n+k\r\n*2\r\n:1\r\n*0\r\n-ERR x\r\n$-1\r\n+OK\r\n";
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(whole.len())).collect();
            cuts.extend([0, whole.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &whole[w[0]..w[1]]).collect();
            prop_assert_eq!(scan(&pieces), scan(&[whole]));
        }
    }
}
