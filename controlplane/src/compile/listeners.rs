//! Listeners of Gateways, and which of them a route attaches to.

use std::collections::HashMap;

use shards::config::draft::Listener;

use crate::resources::model::{HttpRoute, Id, Model, ParentRef};
use crate::resources::{Diagnostic, Known, Located, Spot, hint};

/// The Gateway that routes without a parent attach to.
const DEFAULT: &str = "default";

/// Listeners in the order of the files.
pub(super) struct Listeners {
    pub(super) drafts: Vec<Listener>,
    facts: Vec<Facts>,
    /// Whether the only Gateway is the one that nobody has written.
    implicit: bool,
    gateways: Vec<Id>,
    /// Positions by port and hostname.
    places: HashMap<(u16, Option<String>), usize>,
}

/// What attaching asks about.
struct Facts {
    gateway: Id,
    name: String,
    port: u16,
    hostname: Option<String>,
    all_namespaces: bool,
}

impl Listeners {
    pub(super) fn of(
        model: &Model,
        partial: &Model,
        known: &Known,
        faults: &mut Vec<Diagnostic>,
    ) -> Self {
        let targets = model.gateways.iter().chain(&partial.gateways).filter(|it| it.is_target);
        let implicit = known.all("Gateway").is_empty();
        let gateways = targets.clone().map(|gateway| gateway.id.clone()).collect();
        let (drafts, facts, places) = (Vec::new(), Vec::new(), HashMap::new());
        let mut all = Self { drafts, facts, implicit, gateways, places };
        if implicit {
            let id = Id { namespace: DEFAULT.into(), name: DEFAULT.into() };
            all.gateways.push(id.clone());
            all.add(Facts {
                gateway: id,
                name: "http".into(),
                port: 0,
                hostname: None,
                all_namespaces: true,
            });
        }
        let mut taken: HashMap<(u16, Option<&str>), &Spot> = HashMap::new();
        for gateway in targets {
            for (n, listener) in gateway.listeners.iter().enumerate() {
                let place = (listener.port.value, listener.hostname.as_deref());
                if let Some(first) = taken.insert(place, &listener.port.spot) {
                    let names = listener.hostname.as_deref().unwrap_or("all names");
                    let text = format!(
                        "spec.listeners[{n}].port: {} is taken for {names} by the listener at {first}",
                        listener.port.value
                    );
                    faults.push(Diagnostic::new(&listener.port.spot, text));
                }
                all.add(Facts {
                    gateway: gateway.id.clone(),
                    name: listener.name.clone(),
                    port: listener.port.value,
                    hostname: listener.hostname.clone(),
                    all_namespaces: listener.all_namespaces,
                });
            }
        }
        all
    }

    fn add(&mut self, facts: Facts) {
        let name = format!("{}/{}", facts.gateway, facts.name);
        let (port, hostname) = (facts.port, facts.hostname.clone());
        self.places.entry((port, hostname.clone())).or_insert(self.facts.len());
        self.drafts.push(Listener { name, port, hostname });
        self.facts.push(facts);
    }

    /// Positions of the listeners that a route attaches to.
    pub(super) fn of_route(
        &self,
        route: &HttpRoute,
        known: &Known,
        faults: &mut Vec<Diagnostic>,
    ) -> Vec<usize> {
        let mut attached = Vec::new();
        if route.is_default {
            let name = Located { value: DEFAULT.into(), spot: route.spot.clone() };
            let parent = ParentRef {
                path: "spec.parentRefs".into(),
                namespace: None,
                name,
                section: None,
                port: None,
            };
            self.attach(route, &parent, known, &mut attached, faults);
        }
        for parent in &route.parents {
            self.attach(route, parent, known, &mut attached, faults);
        }
        attached.sort_unstable();
        attached.dedup();
        // What a Gateway that is wrong itself would have, nobody knows.
        if route.parents.iter().all(|parent| self.gateway(route, parent).is_some()) {
            self.check_reached(route, &attached, faults);
        }
        attached
    }

    /// Complains about hostnames whose requests all come to listeners that the route is not
    /// attached to.
    fn check_reached(&self, route: &HttpRoute, attached: &[usize], faults: &mut Vec<Diagnostic>) {
        for (n, name) in route.hostnames.iter().enumerate() {
            let mut missed = None;
            let reached = attached.iter().any(|&at| {
                let facts = &self.facts[at];
                let Some(common) = common(&name.value, facts.hostname.as_deref()) else {
                    return false;
                };
                let decides = self.deciding(facts.port, common);
                if decides != Some(at) {
                    missed = missed.or(decides);
                }
                decides == Some(at)
            });
            if let (false, Some(decides)) = (reached, missed) {
                let (listener, port) = (&self.drafts[decides].name, self.facts[decides].port);
                let text = format!(
                    "spec.hostnames[{n}]: requests for {} on port {port} come to the listener \
                     {listener} alone, which is more specific and not among parentRefs",
                    name.value
                );
                faults.push(Diagnostic::new(&name.spot, text));
            }
        }
    }

    /// The listener that all requests for a hostname come to.
    fn deciding(&self, port: u16, hostname: &str) -> Option<usize> {
        let at = |name: Option<String>| self.places.get(&(port, name)).copied();
        let mut rest = hostname.trim_start_matches("*.");
        at(Some(hostname.to_owned())).or_else(|| {
            loop {
                let Some((_, parent)) = rest.split_once('.') else { return at(None) };
                rest = parent;
                if let Some(found) = at(Some(format!("*.{parent}"))) {
                    return Some(found);
                }
            }
        })
    }

    fn attach(
        &self,
        route: &HttpRoute,
        parent: &ParentRef,
        known: &Known,
        attached: &mut Vec<usize>,
        faults: &mut Vec<Diagnostic>,
    ) {
        let path = &parent.path;
        let Some(gateway) = self.gateway(route, parent) else {
            let namespace = parent.namespace.as_ref().unwrap_or(&route.id.namespace).clone();
            let id = Id { namespace, name: parent.name.value.clone() };
            if !known.has("Gateway", &id) {
                faults.push(Diagnostic::new(&parent.name.spot, unknown(route, path, &id, known)));
            }
            return;
        };
        let of_it = || self.facts.iter().enumerate().filter(|(_, facts)| facts.gateway == *gateway);
        if let Some(section) = &parent.section
            && !of_it().any(|(_, facts)| facts.name == section.value)
        {
            let hint = hint(&section.value, of_it().map(|(_, facts)| facts.name.as_str()));
            let text = format!(
                "{path}.sectionName: Gateway {gateway} has no listener {}{hint}",
                section.value
            );
            faults.push(Diagnostic::new(&section.spot, text));
            return;
        }
        let named = of_it().filter(|(_, facts)| {
            parent.section.as_ref().is_none_or(|section| section.value == facts.name)
        });
        let on_port: Vec<_> = named
            .filter(|(_, facts)| parent.port.as_ref().is_none_or(|port| port.value == facts.port))
            .collect();
        if let (true, Some(port)) = (on_port.is_empty(), &parent.port) {
            let text =
                format!("{path}.port: Gateway {gateway} has no such listener on {}", port.value);
            faults.push(Diagnostic::new(&port.spot, text));
            return;
        }
        let is_own = gateway.namespace == route.id.namespace;
        let allowed = on_port.into_iter().filter(|(_, facts)| facts.all_namespaces || is_own);
        let allowed: Vec<_> = allowed.collect();
        if allowed.is_empty() {
            let text = format!(
                "{path}.name: Gateway {gateway} takes no routes of namespace {} \
                 (allowedRoutes.namespaces.from)",
                route.id.namespace
            );
            faults.push(Diagnostic::new(&parent.name.spot, text));
            return;
        }
        let before = attached.len();
        attached.extend(allowed.iter().filter(|(_, facts)| fits(route, facts)).map(|(n, _)| *n));
        if let (true, Some(first)) = (attached.len() == before, route.hostnames.first()) {
            let text = format!("spec.hostnames: no listener of Gateway {gateway} has any of them");
            faults.push(Diagnostic::new(&first.spot, text));
        }
    }

    /// The Gateway that a reference means. The one that nobody has written is in every namespace.
    fn gateway(&self, route: &HttpRoute, parent: &ParentRef) -> Option<&Id> {
        let namespace = parent.namespace.as_ref().unwrap_or(&route.id.namespace);
        let is = |id: &&Id| {
            id.name == parent.name.value && (self.implicit || id.namespace == *namespace)
        };
        self.gateways.iter().find(is)
    }
}

/// What is wrong with a reference to a Gateway that is not there.
fn unknown(route: &HttpRoute, path: &str, id: &Id, known: &Known) -> String {
    if route.is_default {
        let names: Vec<_> = known.all("Gateway").iter().map(ToString::to_string).collect();
        return format!("{path} is required: there is no Gateway {id}, but {}", names.join(", "));
    }
    format!("{path}.name: there is no Gateway {id}{}", known.hint("Gateway", id))
}

/// Whether any name can be both the route's and the listener's.
fn fits(route: &HttpRoute, listener: &Facts) -> bool {
    let listener = listener.hostname.as_deref();
    route.hostnames.is_empty()
        || route.hostnames.iter().any(|name| common(&name.value, listener).is_some())
}

/// The names that a hostname and that of a listener have in common: of two that have any, one is
/// within the other.
fn common<'n>(name: &'n str, listener: Option<&'n str>) -> Option<&'n str> {
    let within = |name: &str, pattern: &str| match pattern.strip_prefix('*') {
        Some(end) => name.trim_start_matches('*').ends_with(end) && name.len() > end.len(),
        None => name == pattern,
    };
    match listener {
        None => Some(name),
        Some(listener) if within(name, listener) => Some(name),
        Some(listener) => within(listener, name).then_some(listener),
    }
}

#[cfg(test)]
mod tests {
    use super::common;

    #[test]
    fn names_in_common() {
        for (a, b, expect) in [
            ("a.com", "a.com", Some("a.com")),
            ("a.com", "b.com", None),
            ("a.com", "*.com", Some("a.com")),
            ("com", "*.com", None),
            ("a.b.com", "*.com", Some("a.b.com")),
            ("*.b.com", "*.com", Some("*.b.com")),
            ("*.com", "*.com", Some("*.com")),
            ("*.b.com", "*.a.com", None),
            ("*.b.com", "b.com", None),
            ("xb.com", "*.b.com", None),
        ] {
            assert_eq!((common(a, Some(b)), common(b, Some(a))), (expect, expect), "{a} {b}");
        }
        assert_eq!(common("*.com", None), Some("*.com"));
    }
}
