//! Precedence, on small tables.

use super::{NoBackend, NoRoute, Request, find, pick};
use crate::config::draft::{Draft, Listener, Match, Path, Route, Rule};
use crate::config::{RuleId, Snapshot};

mod naive;
mod precedence;
mod random;
mod shares;

/// A draft of one listener for all names, with these routes.
fn draft(routes: Vec<Route>) -> Draft {
    let listeners = vec![Listener { name: "default/http".into(), ..Listener::default() }];
    Draft { listeners, routes, ..Draft::default() }
}

/// A route whose rules have one match each; rules are called by their text:
/// `METHOD PATH name=value ?name=value`, where a path is `=/exact` or `/prefix`.
fn route(hostnames: &[&str], rules: &[&str]) -> Route {
    Route {
        name: "default/route".into(),
        listeners: vec![0],
        hostnames: hostnames.iter().map(|name| (*name).into()).collect(),
        rules: rules.iter().map(|text| rule(text)).collect(),
    }
}

fn rule(text: &str) -> Rule {
    let mut one = Match::default();
    for word in text.split(' ').filter(|word| !word.starts_with('#')) {
        if let Some(exact) = word.strip_prefix("=/") {
            one.path = Path::Exact(format!("/{exact}"));
        } else if word.starts_with('/') {
            one.path = Path::Prefix(word.into());
        } else if let Some((name, value)) = word.strip_prefix('?').and_then(|p| p.split_once('=')) {
            one.params.push((name.into(), value.into()));
        } else if let Some((name, value)) = word.split_once('=') {
            one.headers.push((name.into(), value.into()));
        } else {
            one.method = Some(word.into());
        }
    }
    Rule { name: Some(text.into()), matches: vec![one], ..Rule::default() }
}

/// A request as text: `METHOD host/path?query name=value`.
fn ask(config: &Snapshot, port: u32, text: &str) -> Result<RuleId, NoRoute> {
    let mut words = text.split(' ');
    let (method, target) = (words.next().expect("a method"), words.next().expect("a target"));
    let headers: Vec<(&[u8], &[u8])> = words
        .map(|word| word.split_once('=').expect("name=value"))
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    let (target, query) = target.split_once('?').unwrap_or((target, ""));
    let (host, path) = target.split_at(target.find('/').unwrap_or(target.len()));
    let [host, path, query, method] = [host, path, query, method].map(str::as_bytes);
    let request = Request { host, path, query, method };
    find(config, crate::config::PortId(port), &request, &headers[..])
}

/// The name of the rule, or why there is none.
fn answer(config: &Snapshot, port: u32, text: &str) -> String {
    match ask(config, port, text) {
        Ok(rule) => config.rule(rule).name().to_owned(),
        Err(why) => format!("{why:?}"),
    }
}

#[track_caller]
fn check(routes: Vec<Route>, asked: &[(&str, &str)]) {
    let config = draft(routes).compile().expect("a configuration");
    for (request, expect) in asked {
        assert_eq!(answer(&config, 0, request), *expect, "{request}");
    }
}
