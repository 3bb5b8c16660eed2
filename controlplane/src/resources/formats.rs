//! Formats of text in documents.
//!
//! Owns what is a name, a path, a duration; the rules are those of Kubernetes and Gateway API.

use std::net::IpAddr;

use shards::config::{RoutePathError, route_path};
use shards::time::Nanos;

use super::schema::Format;

/// RFC 1123 section 2.1, as Kubernetes reads it: small letters only.
fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty()
        && text.len() <= 63
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Bytes of a DNS name (RFC 1035 section 2.3.4, without the root).
const MAX_NAME: usize = 253;

fn is_subdomain(text: &str) -> bool {
    text.len() <= MAX_NAME && text.split('.').all(is_label)
}

/// A token (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    let special = |c: char| "!#$%&'*+-.^_`|~".contains(c);
    (1..=256).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || special(c))
}

/// The name of an object.
pub(crate) static NAME: Format = Format {
    expect: "a name of small letters, digits, dashes and dots (RFC 1123), as in shop",
    accepts: is_subdomain,
};

/// The name of a part of an object.
pub(crate) static SECTION: Format = Format {
    expect: "a name of small letters, digits, dashes and dots (RFC 1123), as in web",
    accepts: is_subdomain,
};

/// The name of a port.
pub(crate) static LABEL: Format =
    Format { expect: "at most 63 small letters, digits and dashes, as in http", accepts: is_label };

/// A hostname of a listener or a route.
pub(crate) static HOSTNAME: Format = Format {
    expect: "a DNS name in small letters, as in example.com or *.example.com, no address",
    accepts: |text| {
        let rest = text.strip_prefix("*.").unwrap_or(text);
        is_subdomain(rest) && text.len() <= MAX_NAME && text.parse::<IpAddr>().is_err()
    },
};

/// Any text that is not empty.
pub(crate) static ANY: Format =
    Format { expect: "a text of at most 4096 bytes", accepts: |t| (1..=4096).contains(&t.len()) };

/// The value of a header as it is once it is received (RFC 9110 section 5.5).
pub(crate) static HEADER_VALUE: Format = Format {
    expect: "a text of at most 4096 bytes without blanks at its ends and control characters, \
             which no header's value has once it is received",
    accepts: |text| {
        let inner = |byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        let trimmed = text.trim_matches([' ', '\t']);
        (ANY.accepts)(text) && trimmed.len() == text.len() && text.bytes().all(inner)
    },
};

/// The name of a header.
pub(crate) static HEADER: Format =
    Format { expect: "the name of a header, as in X-Version", accepts: is_token };

/// The name of a query parameter.
pub(crate) static PARAMETER: Format =
    Format { expect: "the name of a query parameter, as in version", accepts: is_token };

/// The path of a match, as Gateway API allows it. What else is wrong with one, the model says.
pub(crate) static PATH: Format = Format {
    expect: "a path that begins with /, of at most 1024 bytes and 31 segments, none of them empty, \
             . or .., without %2F and #",
    accepts: |text| !matches!(route_path(text), Err(RoutePathError::Syntax)),
};

/// A duration of Gateway API.
pub(crate) static DURATION: Format = Format {
    expect: "a duration as in 500ms, 10s or 1h30m (up to four parts of at most five digits)",
    accepts: |text| duration(text).is_some(),
};

/// The name of a limit: as it stands in RESP keys and in headers.
pub(crate) static LIMIT: Format = Format {
    expect: "at most 63 letters, digits, dashes, dots and underscores, as in per-client",
    accepts: |text| {
        let good = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        (1..=63).contains(&text.len()) && text.chars().all(good)
    },
};

/// A part of the name of a bucket.
pub(crate) static KEY: Format = Format {
    expect: "client.address, header:NAME, path or route",
    accepts: |text| match text.strip_prefix("header:") {
        Some(name) => is_token(name),
        None => matches!(text, "client.address" | "path" | "route"),
    },
};

/// The address of an endpoint.
pub(crate) static ADDRESS: Format = Format {
    expect: "an IP address that can be connected to, as in 10.0.0.7 or fd00::7, not multicast, \
             broadcast or link-local in IPv6",
    accepts: |text| {
        text.parse::<IpAddr>().is_ok_and(|ip| match ip.to_canonical() {
            IpAddr::V4(v4) => !v4.is_multicast() && !v4.is_broadcast(),
            // Link-local ones are reached by an interface, for which there is no place.
            IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unicast_link_local(),
        })
    },
};

/// A duration of Gateway API (GEP-2257): one to four of `[0-9]{1,5}(h|m|s|ms)`.
pub(crate) fn duration(text: &str) -> Option<Nanos> {
    const PARTS: usize = 4;
    let (mut rest, mut total) = (text, 0u64);
    for part in 0..=PARTS {
        if rest.is_empty() {
            return (part > 0).then_some(Nanos(total));
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        if !(1..=5).contains(&digits) {
            return None;
        }
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let nanos: u64 = match &after[..unit] {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            _ => return None,
        };
        // At most 99,999 hours four times over, which is 1.4e18.
        total += number.parse::<u64>().ok()? * nanos;
        rest = &after[unit..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: &Format, good: &[&str], bad: &[&str]) {
        good.iter().for_each(|text| assert!((format.accepts)(text), "'{text}' is one"));
        bad.iter().for_each(|text| assert!(!(format.accepts)(text), "'{text}' is none"));
    }

    #[test]
    fn formats() {
        let long = "a".repeat(64);
        check(&NAME, &["a", "a-1.b"], &["", "A", "-a", "a-", "a..b", "a_b", "ä", &long]);
        check(
            &HOSTNAME,
            &["a.com", "*.a.com", "localhost"],
            &["", "*", "*a.com", "a.*.com", "A.com", "1.2.3.4", "a.com.", "a.com:80", "::1"],
        );
        // A name has 253 bytes at most, and one that a wildcard has is longer than what it ends in.
        let longest = "a.".repeat(124) + "com";
        check(
            &HOSTNAME,
            &[&format!("*.{longest}"), &format!("a.{longest}")],
            &[&format!("*.a{longest}"), &format!("aaa.{longest}")],
        );
        check(
            &PATH,
            &["/", "/a", "/a/", "/%41", "/a.b/..c", "/~a:@"],
            &["", "a", "//", "/a//b", "/%2Fa", "/a#b", "/a?b", "/%4", "/ä"],
        );
        check(
            &ADDRESS,
            &["10.0.0.7", "127.0.0.1", "fd00::7", "::1"],
            &[
                "",
                "a.com",
                "10.0.0.7:80",
                "[::1]",
                "224.0.0.1",
                "255.255.255.255",
                "ff02::1",
                "::ffff:224.0.0.1",
                "fe80::1",
                "fe80::1%eth0",
            ],
        );
        check(&KEY, &["client.address", "header:X-Key", "path", "route"], &["", "header:", "ip"]);
        check(&LIMIT, &["per-client", "A.b_1"], &["", "a:b", "a%b", "a b", &long]);
    }

    #[test]
    fn durations() {
        let ms = |n: u64| Some(Nanos(n * 1_000_000));
        for (text, expect) in [
            ("0s", ms(0)),
            ("10ms", ms(10)),
            ("1h30m", ms(5_400_000)),
            ("1h1m1s1ms", ms(3_661_001)),
            ("99999h99999h99999h99999h", ms(399_996 * 3_600_000)),
            ("", None),
            ("1", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("100000s", None),
            ("1s1s1s1s1s", None),
            ("1us", None),
            ("1d", None),
        ] {
            assert_eq!(duration(text), expect, "{text}");
        }
    }
}
