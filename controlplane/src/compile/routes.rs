//! Routes with everything they refer to.

use shards::config::draft::{Route, Rule};

use super::backends::Backends;
use super::listeners::Listeners;
use crate::resources::model::{HttpRoute, RouteRule};
use crate::resources::{Diagnostic, Known};

/// What routes refer to.
pub(super) struct Context<'a> {
    pub(super) known: &'a Known,
    pub(super) listeners: &'a Listeners,
    pub(super) backends: &'a Backends<'a>,
}

pub(super) fn resolve(
    route: &HttpRoute,
    context: &Context<'_>,
    limits: &[(Option<String>, usize)],
    faults: &mut Vec<Diagnostic>,
) -> Route {
    let listeners = context.listeners.of_route(route, context.known, faults);
    let mut rules = Vec::new();
    for rule in &route.rules {
        rules.push(resolve_rule(route, rule, context, limits, faults));
    }
    let hostnames = route.hostnames.iter().map(|name| name.value.clone()).collect();
    Route { name: route.id.to_string(), listeners, hostnames, rules }
}

fn resolve_rule(
    route: &HttpRoute,
    rule: &RouteRule,
    context: &Context<'_>,
    limits: &[(Option<String>, usize)],
    faults: &mut Vec<Diagnostic>,
) -> Rule {
    let namespace = &route.id.namespace;
    let mut backends = Vec::new();
    for reference in &rule.backends {
        let found = context.backends.resolve(namespace, reference, context.known, faults);
        backends.push((reference.weight, found));
    }
    let mut taken: Vec<usize> = limits
        .iter()
        .filter(|(section, _)| section.is_none() || *section == rule.name)
        .map(|(_, limit)| *limit)
        .collect();
    taken.sort_unstable();
    taken.dedup();
    Rule {
        name: rule.name.clone(),
        matches: rule.matches.clone(),
        backends,
        request_timeout: rule.request_timeout,
        backend_timeout: rule.backend_timeout,
        limits: taken,
    }
}
