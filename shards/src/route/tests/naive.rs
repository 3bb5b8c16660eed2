//! The same decision, by looking at everything and taking the best: Gateway API's words as they
//! stand, with neither tables nor an order of search.

use std::cmp::Reverse;

use super::*;

/// A request in owned parts.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) host: String,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) method: String,
    pub(super) headers: Vec<(String, String)>,
}

/// How specific a hostname is for a name, if it has it.
fn specific(hostname: Option<&str>, name: &str) -> Option<(u8, usize)> {
    let name = name.to_ascii_lowercase();
    match hostname {
        None => Some((0, 0)),
        Some(pattern) => match pattern.strip_prefix('*') {
            // `*.a.com` has every name that ends in `.a.com` and has something before it.
            Some(end) => {
                (name.ends_with(end) && name.len() > end.len()).then_some((1, pattern.len()))
            }
            None => (name == pattern).then_some((2, pattern.len())),
        },
    }
}

fn path_fits(path: &Path, asked: &str) -> Option<(bool, usize)> {
    match path {
        Path::Exact(path) => (path == asked).then_some((true, path.len())),
        Path::Prefix(path) => {
            let path = path.strip_suffix('/').unwrap_or(path);
            let below = asked.starts_with(&format!("{path}/"));
            (below || (asked == path && !path.is_empty())).then_some((false, path.len()))
        }
    }
}

fn rest_fits(one: &Match, asked: &Asked) -> bool {
    let first = |pairs: &[(String, String)], name: &str, value: &str| {
        pairs.iter().find(|(there, _)| there == name).is_some_and(|(_, there)| there == value)
    };
    one.method.as_ref().is_none_or(|method| *method == asked.method)
        && one.headers.iter().all(|(name, value)| first(&asked.headers, name, value))
        && one.params.iter().all(|(name, value)| first(&asked.query, name, value))
}

/// The position of the rule among all rules of the draft, in order.
pub(super) fn find(draft: &Draft, port: u16, asked: &Asked) -> Result<usize, NoRoute> {
    let listener = (0..draft.listeners.len())
        .filter(|n| draft.listeners[*n].port == port)
        .filter_map(|n| Some((specific(draft.listeners[n].hostname.as_deref(), &asked.host)?, n)))
        .max();
    let (_, listener) = listener.ok_or(NoRoute::Host)?;
    let (mut best, mut failed, mut number) = (None, NoRoute::Host, 0);
    for route in &draft.routes {
        let host = match &route.hostnames[..] {
            [] => Some((0, 0)),
            names => names.iter().filter_map(|name| specific(Some(name), &asked.host)).max(),
        };
        for rule in &route.rules {
            number += 1;
            let Some(host) = host.filter(|_| route.listeners.contains(&listener)) else { continue };
            failed = failed.max(NoRoute::Path);
            for one in &rule.matches {
                let Some(path) = path_fits(&one.path, &asked.path) else { continue };
                failed = failed.max(NoRoute::Match);
                if rest_fits(one, asked) {
                    let demands = (one.method.is_some(), one.headers.len(), one.params.len());
                    best = best.max(Some((host, path, demands, Reverse(number))));
                }
            }
        }
    }
    best.map(|(.., Reverse(number))| number - 1).ok_or(failed)
}
