//! Ports of Services, with the endpoints that slices give them.

use std::collections::HashMap;
use std::net::SocketAddr;

use shards::config::draft::Backend;

use crate::resources::model::{BackendRef, EndpointSlice, Id, Model, Service};
use crate::resources::{Diagnostic, Known, Located, hint};

/// Ports of Services in the order of the files.
pub(super) struct Backends<'m> {
    pub(super) drafts: Vec<Backend>,
    /// Each Service, and the position of its first port.
    services: HashMap<&'m Id, (&'m Service, usize)>,
}

impl<'m> Backends<'m> {
    pub(super) fn of(
        model: &'m Model,
        partial: &'m Model,
        known: &Known,
        faults: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut all = Self { drafts: Vec::new(), services: HashMap::new() };
        let services = model.services.iter().chain(&partial.services);
        for service in services.filter(|service| service.is_target) {
            all.services.insert(&service.id, (service, all.drafts.len()));
            all.drafts.extend(service.ports.iter().map(|port| Backend {
                name: format!("{}:{}", service.id, port.port),
                balance: service.balance,
                endpoints: Vec::new(),
            }));
        }
        for slice in model.slices.iter().chain(&partial.slices) {
            all.fill(slice, known, faults);
        }
        all
    }

    /// Gives the endpoints of a slice to the ports of its Service.
    fn fill(&mut self, slice: &EndpointSlice, known: &Known, faults: &mut Vec<Diagnostic>) {
        let label = &slice.service;
        let id = Id { namespace: slice.id.namespace.clone(), name: label.value.clone() };
        let Some(&(service, first)) = self.services.get(&id) else {
            if !known.has("Service", &id) {
                let hint = known.hint("Service", &id);
                let text = format!(
                    "metadata.labels.kubernetes.io/service-name: there is no Service {id}{hint}"
                );
                faults.push(Diagnostic::new(&label.spot, text));
            }
            return;
        };
        for port in &slice.ports {
            let path = &port.path;
            let Some(at) = service.ports.iter().position(|there| there.name == port.name) else {
                let names = service.ports.iter().map(|port| port.name.as_str());
                let named = if port.name.is_empty() { "without a name" } else { &port.name };
                let hint = hint(&port.name, names.filter(|name| !name.is_empty()));
                let text = format!("{path}.name: Service {id} has no port {named}{hint}");
                faults.push(Diagnostic::new(&port.port.spot, text));
                continue;
            };
            if let Some(target) = &service.ports[at].target
                && target.value != port.port.value
            {
                let text = format!(
                    "{path}.port: expected {}, which targetPort at {} says, not {}",
                    target.value, target.spot, port.port.value
                );
                faults.push(Diagnostic::new(&port.port.spot, text));
            }
            let addresses = slice.addresses.iter().map(|ip| SocketAddr::new(*ip, port.port.value));
            self.drafts[first + at].endpoints.extend(addresses);
        }
    }

    /// The position of what a reference of a route means; nothing when that is wrong.
    pub(super) fn resolve(
        &self,
        namespace: &str,
        reference: &BackendRef,
        known: &Known,
        faults: &mut Vec<Diagnostic>,
    ) -> Option<usize> {
        let path = &reference.path;
        let id = Id { namespace: namespace.to_owned(), name: reference.name.value.clone() };
        let Some((service, first)) = self.services.get(&id) else {
            if !known.has("Service", &id) {
                let hint = known.hint("Service", &id);
                let text = format!("{path}.name: there is no Service {id}{hint}");
                faults.push(Diagnostic::new(&reference.name.spot, text));
            }
            return None;
        };
        let Located { value: wanted, spot } = reference.port.as_ref()?;
        let Some(at) = service.ports.iter().position(|port| port.port == *wanted) else {
            let ports: Vec<_> = service.ports.iter().map(|port| port.port.to_string()).collect();
            let text = format!(
                "{path}.port: Service {id} has no port {wanted}; there is {}",
                ports.join(", ")
            );
            faults.push(Diagnostic::new(spot, text));
            return None;
        };
        Some(first + at)
    }
}
