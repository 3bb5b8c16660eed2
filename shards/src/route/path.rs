//! The normal form of a path: what is routed on, what limits count by, and what is forwarded.
//!
//! Owns the rule that keeps a route's prefix from being evaded: what the matcher sees is, byte
//! for byte, what the backend gets. Paths of routes are brought into the same form when they are
//! compiled, so that nobody has to know how a path is spelled. It is RFC 3986 section 6.2.2 and
//! no more:
//!
//! - percent-encoded unreserved characters are decoded (`/%61dmin` is `/admin`), and the digits
//!   of all other encodings are written in upper case;
//! - after that, `.` and `..` segments are resolved; one that leads above the root is refused;
//! - nothing else: `//` stays, `%2F` stays (Envoy keeps it, too, unless told otherwise; nginx
//!   decodes it for matching, so that what it matched is not what it sent);
//! - a `..` that only another server would see is refused: before or after an encoded slash or
//!   backslash (`/public/..%2Fadmin`), or with a parameter (`/public/..;/admin`, which servlet
//!   containers resolve).

#![forbid(unsafe_code)]

/// Why a path has no normal form; whoever wrote it is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// More `..` than segments before them.
    AboveRoot,
    /// `.` or `..` beside an encoded slash or backslash, or with a parameter.
    HiddenDots,
}

/// The normal form; `path` itself where that is the same, else written to `scratch`. Encodings
/// in `path` are whole, and it begins with a slash, or is `*`.
///
/// # Errors
/// See [`PathError`].
pub fn normalize<'a>(path: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], PathError> {
    if !needs_work(path) {
        return Ok(path);
    }
    scratch.clear();
    scratch.reserve(path.len() + 1);
    decode(path, scratch);
    resolve(scratch)?;
    Ok(scratch)
}

/// Whether there is a percent sign, or a segment that begins with a dot.
fn needs_work(path: &[u8]) -> bool {
    let mut after_slash = false;
    path.iter().any(|byte| {
        let odd = *byte == b'%' || after_slash && *byte == b'.';
        after_slash = *byte == b'/';
        odd
    })
}

/// RFC 3986 sections 6.2.2.1 and 6.2.2.2.
pub(crate) fn decode(path: &[u8], out: &mut Vec<u8>) {
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        rest = tail;
        out.push(*first);
        if *first != b'%' {
            continue;
        }
        let [high, low, tail @ ..] = rest else { continue };
        rest = tail;
        match (digit(*high), digit(*low)) {
            (Some(h), Some(l)) if is_unreserved(h << 4 | l) => {
                out.pop();
                out.push(h << 4 | l);
            }
            _ => out.extend([high.to_ascii_uppercase(), low.to_ascii_uppercase()]),
        }
    }
}

fn digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// RFC 3986 section 5.2.4, in place: what is kept never passes what was read.
fn resolve(path: &mut Vec<u8>) -> Result<(), PathError> {
    let (mut from, mut to) = (0, 0);
    while from < path.len() {
        debug_assert!(path[from] == b'/' && to <= from, "segments begin with a slash");
        let rest = &path[from + 1..];
        let len = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let (end, last) = (from + 1 + len, len == rest.len());
        match &path[from + 1..end] {
            b"." => {}
            b".." => {
                let kept = path[..to].iter().rposition(|byte| *byte == b'/');
                to = kept.ok_or(PathError::AboveRoot)?;
            }
            segment => {
                if hides_dots(segment) {
                    return Err(PathError::HiddenDots);
                }
                path.copy_within(from..end, to);
                to += end - from;
                from = end;
                continue;
            }
        }
        if last {
            path[to] = b'/';
            to += 1;
        }
        from = end;
    }
    path.truncate(to);
    Ok(())
}

/// Whether a server that decodes slashes, or cuts parameters off, would see `.` or `..`.
fn hides_dots(segment: &[u8]) -> bool {
    let mut rest = segment;
    loop {
        let mark = rest.windows(3).position(|three| matches!(three, b"%2F" | b"%5C"));
        let part = &rest[..mark.unwrap_or(rest.len())];
        let name = part.split(|byte| *byte == b';').next().unwrap_or_default();
        if matches!(name, b"." | b"..") {
            return true;
        }
        match mark {
            None => return false,
            Some(at) => rest = &rest[at + 3..],
        }
    }
}
