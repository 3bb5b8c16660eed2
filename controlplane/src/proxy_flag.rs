//! `--proxy [HOST/PATH=]URL`: the documents that it stands for.
//!
//! Owns the grammar of the flag and nothing about routing: what comes out is YAML as anybody
//! could have written it, and goes through the same door.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What `--proxy` may be, for errors and help.
pub const GRAMMAR: &str = "[HOST][/PATH]=http://ADDRESS[:PORT] or http://ADDRESS[:PORT]";

/// A flag, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyFlag {
    /// Empty for all names.
    host: String,
    /// Begins with a slash.
    path: String,
    upstream: SocketAddr,
}

impl std::str::FromStr for ProxyFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (place, url) = match text.split_once('=') {
            Some((place, url)) if !place.contains("://") => (place, url),
            _ => ("/", text),
        };
        if place.is_empty() {
            return Err(format!("expected {GRAMMAR}, not '{text}'"));
        }
        let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        if host.contains(':') {
            return Err(format!("a host has no port here: expected {GRAMMAR}, not '{text}'"));
        }
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { host: host.into(), path: path.into(), upstream: upstream(url)? })
    }
}

/// The address of `http://ADDRESS[:PORT]`.
fn upstream(url: &str) -> Result<SocketAddr, String> {
    let rest = match url.split_once("://") {
        Some(("http", rest)) => rest,
        Some(("https", _)) => {
            return Err(format!("https to a backend is not supported yet: '{url}'; use http://"));
        }
        Some((scheme, _)) => return Err(format!("expected http://, not {scheme}:// in '{url}'")),
        None => return Err(format!("expected {GRAMMAR}, not '{url}'")),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err(format!("a path in the URL of a backend is not supported yet: '{url}'"));
    }
    if authority.contains('@') {
        return Err(format!("credentials in the URL of a backend are not supported: '{url}'"));
    }
    let wrong = || format!("expected a port from 1 to 65535 in '{url}'");
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (authority, 80),
    };
    if port == 0 {
        return Err(wrong());
    }
    let ip = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse().map(IpAddr::V6).ok(),
        None if host == "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        None => host.parse().map(IpAddr::V4).ok(),
    };
    let ip = ip.ok_or_else(|| {
        format!(
            "expected an IP address or localhost in '{url}'; names of backends are not looked up yet"
        )
    })?;
    Ok(SocketAddr::new(ip, port))
}

/// The documents that flags stand for, in the order in which their places first came.
#[must_use]
pub fn manifests(flags: &[ProxyFlag]) -> String {
    let mut places: Vec<(&str, &str)> = Vec::new();
    let mut upstreams: BTreeMap<usize, Vec<SocketAddr>> = BTreeMap::new();
    for flag in flags {
        let place = (flag.host.as_str(), flag.path.as_str());
        let at = places.iter().position(|there| *there == place).unwrap_or_else(|| {
            places.push(place);
            places.len() - 1
        });
        upstreams.entry(at).or_default().push(flag.upstream);
    }
    let mut text = String::new();
    for (n, (host, path)) in places.iter().enumerate() {
        manifest(&mut text, &format!("proxy-{}", n + 1), host, path, &upstreams[&n]);
    }
    text
}

/// A route, its Service, and a slice for each family and port of its endpoints.
fn manifest(text: &mut String, name: &str, host: &str, path: &str, upstreams: &[SocketAddr]) {
    let hostnames =
        if host.is_empty() { String::new() } else { format!("  hostnames: [{}]\n", quoted(host)) };
    let path = quoted(path);
    let _ = write!(
        text,
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
{hostnames}  rules:
  - matches:
    - path: {{type: PathPrefix, value: {path}}}
    backendRefs:
    - {{name: {name}, port: 80}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  ports:
  - {{port: 80}}
"
    );
    let mut slices: BTreeMap<(bool, u16), Vec<IpAddr>> = BTreeMap::new();
    for at in upstreams {
        slices.entry((at.is_ipv6(), at.port())).or_default().push(at.ip());
    }
    for (n, ((v6, port), addresses)) in slices.iter().enumerate() {
        let family = if *v6 { "IPv6" } else { "IPv4" };
        let _ = write!(
            text,
            "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-{}
  labels: {{kubernetes.io/service-name: {name}}}
addressType: {family}
endpoints:
",
            n + 1
        );
        for address in addresses {
            let _ = writeln!(text, "- addresses: ['{address}']");
        }
        let _ = write!(text, "ports:\n- {{port: {port}}}\n");
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(flag: &str, expect: Result<(&str, &str, &str), &str>) {
        let shown = flag.parse::<ProxyFlag>();
        match (&shown, expect) {
            (Ok(got), Ok((host, path, upstream))) => assert_eq!(
                (got.host.as_str(), got.path.as_str(), got.upstream.to_string().as_str()),
                (host, path, upstream),
                "{flag}"
            ),
            (Err(why), Err(part)) => assert!(why.contains(part), "{flag}: {why}"),
            _ => panic!("{flag}: {shown:?}, not {expect:?}"),
        }
    }

    #[test]
    fn the_grammar() {
        check("http://127.0.0.1:9000", Ok(("", "/", "127.0.0.1:9000")));
        check("http://localhost:9000/", Ok(("", "/", "127.0.0.1:9000")));
        check("http://[::1]", Ok(("", "/", "[::1]:80")));
        check("example.com=http://10.0.0.1", Ok(("example.com", "/", "10.0.0.1:80")));
        check("/api=http://[fd00::1]:81", Ok(("", "/api", "[fd00::1]:81")));
        check("*.a.com/b=c=http://1.2.3.4", Err("expected http://, not c=http://"));
        check("*.example.com/api=http://1.2.3.4", Ok(("*.example.com", "/api", "1.2.3.4:80")));
        check("http://127.0.0.1/x", Err("a path in the URL"));
        check("http://127.0.0.1/?a=b", Err("a path in the URL"));
        check("https://127.0.0.1", Err("https to a backend is not supported yet"));
        check("ftp://127.0.0.1", Err("expected http://, not ftp://"));
        check("http://backend:9000", Err("names of backends are not looked up yet"));
        check("http://u:p@1.2.3.4", Err("credentials"));
        check("http://127.0.0.1:0", Err("expected a port"));
        check("http://127.0.0.1:99999", Err("expected a port"));
        check("127.0.0.1:9000", Err("expected [HOST]"));
        check("=http://127.0.0.1", Err("expected [HOST]"));
        check("example.com:80=http://127.0.0.1", Err("a host has no port here"));
        check("", Err("expected [HOST]"));
    }
}
