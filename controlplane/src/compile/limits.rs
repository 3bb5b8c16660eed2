//! Limits of policies, and which rules take from them.

use std::collections::{HashMap, HashSet};

use shards::config::draft::Limit;

use crate::resources::model::{HttpRoute, Id, Model, RateLimitPolicy, TargetRef};
use crate::resources::{Diagnostic, Known, Spot, hint};

/// Limits in the order of the files.
pub(super) struct Limits {
    pub(super) drafts: Vec<Limit>,
    /// Of each route: the rule or all, and a limit.
    targets: HashMap<Id, Vec<(Option<String>, usize)>>,
}

impl Limits {
    /// Those of a model; what `partial` policies say is checked as theirs is.
    pub(super) fn of(
        model: &Model,
        partial: &Model,
        known: &Known,
        faults: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut all = Self { drafts: Vec::new(), targets: HashMap::new() };
        let routes = model.routes.iter().chain(&partial.routes).filter(|route| route.is_target);
        let routes: HashMap<&Id, &HttpRoute> = routes.map(|route| (&route.id, route)).collect();
        check_names(model.policies.iter().chain(&partial.policies), faults);
        for policy in &model.policies {
            let first = all.drafts.len();
            all.drafts.extend(policy.limits.iter().cloned());
            for target in &policy.targets {
                if let Some(id) = resolve(policy, target, &routes, known, faults) {
                    let section = target.section.as_ref().map(|section| section.value.clone());
                    let limits = first..all.drafts.len();
                    let taken = limits.map(|limit| (section.clone(), limit));
                    all.targets.entry(id).or_default().extend(taken);
                }
            }
        }
        for policy in &partial.policies {
            for target in &policy.targets {
                resolve(policy, target, &routes, known, faults);
            }
        }
        all
    }

    /// The limits of a route, and of which of its rules; `None` is all of them.
    pub(super) fn of_route(&self, id: &Id) -> &[(Option<String>, usize)] {
        self.targets.get(id).map_or(&[], Vec::as_slice)
    }
}

/// Complains about a limit that is called as one of another policy; two of one policy have been
/// told.
fn check_names<'m>(
    policies: impl Iterator<Item = &'m RateLimitPolicy>,
    faults: &mut Vec<Diagnostic>,
) {
    let mut seen: HashMap<&str, (usize, &Spot)> = HashMap::new();
    for (which, policy) in policies.enumerate() {
        let mut own = HashSet::new();
        for (n, name) in &policy.names {
            if !own.insert(&name.value) {
                continue;
            }
            let (first, other) = *seen.entry(&name.value).or_insert((which, &name.spot));
            if first != which {
                let text = format!(
                    "spec.limits[{n}].name: '{}' is the name of the limit at {other}, too, and \
                     names of limits are unique on a node",
                    name.value
                );
                faults.push(Diagnostic::new(&name.spot, text));
            }
        }
    }
}

/// The route that a target means; nothing when that is wrong.
fn resolve(
    policy: &RateLimitPolicy,
    target: &TargetRef,
    routes: &HashMap<&Id, &HttpRoute>,
    known: &Known,
    faults: &mut Vec<Diagnostic>,
) -> Option<Id> {
    let path = &target.path;
    let id = Id { namespace: policy.id.namespace.clone(), name: target.name.value.clone() };
    let Some(route) = routes.get(&id) else {
        if !known.has("HTTPRoute", &id) {
            let hint = known.hint("HTTPRoute", &id);
            let text = format!("{path}.name: there is no HTTPRoute {id}{hint}");
            faults.push(Diagnostic::new(&target.name.spot, text));
        }
        return None;
    };
    if let Some(section) = &target.section
        && !route.rules.iter().any(|rule| rule.name.as_ref() == Some(&section.value))
    {
        let hint = hint(&section.value, route.rules.iter().filter_map(|rule| rule.name.as_deref()));
        let text =
            format!("{path}.sectionName: HTTPRoute {id} has no rule {}{hint}", section.value);
        faults.push(Diagnostic::new(&section.spot, text));
        return None;
    }
    Some(id)
}
