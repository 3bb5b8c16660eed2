//! Paths that routes may name.
//!
//! Owns their grammar, which is Gateway API's (HTTPPathMatch), and refuses besides what no request
//! ever has: who has written it would wait for requests in vain. What is accepted comes out in the
//! normal form of a request's path (`route::path`), so that both may be spelled in any way.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

use crate::route::path::{PathError, decode, normalize};

/// Segments of a path that a route may name. A bit each of a host's mask.
pub const MAX_SEGMENTS: usize = 31;

/// Bytes of a path that a route may name, as in Gateway API.
pub const MAX_PATH: usize = 1024;

/// Why a route may not name a path; whoever wrote it is to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutePathError {
    /// Not as Gateway API has it, or too long or deep.
    Syntax,
    /// `.` or `..` as a segment, encoded or not; what a request with it is matched as.
    DotSegment(Option<String>),
    /// `.` or `..` that only some servers would see.
    HiddenDots,
    /// An encoded NUL.
    Nul,
}

/// The normal form of a route's path.
///
/// # Errors
/// See [`RoutePathError`].
pub fn route_path(text: &str) -> Result<Cow<'_, str>, RoutePathError> {
    if !is_path(text) {
        return Err(RoutePathError::Syntax);
    }
    if text.contains("%00") {
        return Err(RoutePathError::Nul);
    }
    let mut scratch = Vec::new();
    decode(text.as_bytes(), &mut scratch);
    let dots = scratch.split(|byte| *byte == b'/').any(|part| matches!(part, b"." | b".."));
    let normal =
        normalize(text.as_bytes(), &mut scratch).map(|path| match String::from_utf8_lossy(path) {
            same if same == text => Cow::Borrowed(text),
            other => Cow::Owned(other.into_owned()),
        });
    match normal {
        _ if dots => Err(RoutePathError::DotSegment(normal.ok().map(Cow::into_owned))),
        Err(PathError::AboveRoot | PathError::HiddenDots) => Err(RoutePathError::HiddenDots),
        Ok(path) => Ok(path),
    }
}

/// Whether Gateway API has it as a path, and the tables have room for it.
fn is_path(text: &str) -> bool {
    text.starts_with('/')
        && text.len() <= MAX_PATH
        && text.trim_end_matches('/').matches('/').count() <= MAX_SEGMENTS
        && !["//", "%2f", "%2F"].iter().any(|part| text.contains(part))
        && has_path_characters(text)
}

/// Characters of a path and whole escapes (RFC 3986 section 3.3).
fn has_path_characters(text: &str) -> bool {
    let mut parts = text.split('%');
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:@".contains(c);
    parts.next().is_some_and(|first| first.chars().all(plain))
        && parts.all(|part| {
            let escaped = part.get(..2).is_some_and(|e| e.chars().all(|c| c.is_ascii_hexdigit()));
            escaped && part[2..].chars().all(plain)
        })
}

impl fmt::Display for RoutePathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => write!(
                f,
                "expected a path that begins with /, of at most {MAX_PATH} bytes and \
                 {MAX_SEGMENTS} segments, none of them empty, without %2F and #"
            ),
            Self::DotSegment(resolved) => {
                f.write_str(
                    "expected a path without . and .. as segments (%2e is a dot), since a request \
                     is matched after they are resolved",
                )?;
                resolved.as_ref().map_or(Ok(()), |path| write!(f, "; write '{path}'"))
            }
            Self::HiddenDots => f.write_str(
                "expected a path without . and .. beside %5C or before a semicolon: requests with \
                 them are refused",
            ),
            Self::Nul => f.write_str("expected a path without %00: requests with it are refused"),
        }
    }
}

impl std::error::Error for RoutePathError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::draft::{Draft, Listener, Match, Path, Route, Rule};
    use crate::config::{PortId, RuleId};
    use crate::route::{self, NoRoute, Request};

    fn dots(resolved: Option<&str>) -> Result<&str, RoutePathError> {
        Err(RoutePathError::DotSegment(resolved.map(Into::into)))
    }

    #[test]
    fn a_path_has_a_normal_form_or_a_reason_why_not() {
        let deep = "/a".repeat(MAX_SEGMENTS + 1);
        let long = format!("/{}", "a".repeat(MAX_PATH));
        let syntax = || Err(RoutePathError::Syntax);
        for (text, expect) in [
            ("/", Ok("/")),
            ("/a/", Ok("/a/")),
            ("/caf%c3%a9", Ok("/caf%C3%A9")),
            ("/%61dmin%2d%2E%5f%7E", Ok("/admin-._~")),
            ("/%252e", Ok("/%252e")),
            ("/a.b/..c/...", Ok("/a.b/..c/...")),
            ("/a;b=1/~a:@", Ok("/a;b=1/~a:@")),
            ("/x/../y", dots(Some("/y"))),
            ("/x/%2e%2e/y", dots(Some("/y"))),
            ("/x/%2E", dots(Some("/x/"))),
            ("/.", dots(Some("/"))),
            ("/..", dots(None)),
            ("/./..;/x", dots(None)),
            ("/..;/x", Err(RoutePathError::HiddenDots)),
            ("/a%5c%2e./x", Err(RoutePathError::HiddenDots)),
            ("/a%00b", Err(RoutePathError::Nul)),
            ("", syntax()),
            ("a", syntax()),
            ("*", syntax()),
            ("/a//b", syntax()),
            ("/a%2fb", syntax()),
            ("/a%2Fb", syntax()),
            ("/a#b", syntax()),
            ("/a?b", syntax()),
            ("/a\\b", syntax()),
            ("/a%4", syntax()),
            ("/ä", syntax()),
            (&deep, syntax()),
            (&long, syntax()),
        ] {
            assert_eq!(route_path(text).as_deref(), expect.as_ref().map(|path| *path), "{text}");
        }
    }

    /// What a route with that path says to a request with it.
    fn asked(path: Path, request: &str) -> Result<RuleId, NoRoute> {
        let one = Match { path, ..Match::default() };
        let rule = Rule { matches: vec![one], ..Rule::default() };
        let route = Route { listeners: vec![0], rules: vec![rule], ..Route::default() };
        let listeners = vec![Listener::default()];
        let draft = Draft { listeners, routes: vec![route], ..Draft::default() };
        let config = draft.compile().expect("what a route may name compiles");
        let mut scratch = Vec::new();
        let path = normalize(request.as_bytes(), &mut scratch).expect("a request may have it");
        let request = Request { host: b"a", path, query: b"", method: b"GET" };
        route::find(&config, PortId(0), &request, &())
    }

    fn pieces() -> impl Strategy<Value = String> {
        let piece = proptest::sample::select(vec![
            "/", "/", "a", "Z", ".", ";", "%2e", "%2E", "%61", "%5a", "%5c", "%c3", "%C3", "%25",
            "~",
        ]);
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #[test]
        fn what_a_route_may_name_a_request_can_have(path in pieces()) {
            if let Ok(normal) = route_path(&path) {
                prop_assert_eq!(route_path(&normal), Ok(normal.clone()), "it stays as it is");
                prop_assert_eq!(asked(Path::Exact(path.clone()), &path), Ok(RuleId(0)));
                prop_assert_eq!(asked(Path::Exact(path.clone()), &normal), Ok(RuleId(0)));
                prop_assert_eq!(asked(Path::Prefix(path.clone()), &path), Ok(RuleId(0)));
                let below = format!("{}/x", normal.trim_end_matches('/'));
                prop_assert_eq!(asked(Path::Prefix(path.clone()), &below), Ok(RuleId(0)));
            }
        }
    }
}
