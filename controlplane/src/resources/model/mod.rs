//! Documents as plain values, each checked by itself.
//!
//! Owns the rules within one document that a schema cannot say: names that must differ, one value
//! that depends on another. What is missing or not as the schema says has been told by `check` and
//! is passed over here.

mod gateway;
mod http_route;
mod keyspace;
mod policy;
mod service;

use std::fmt;
use std::sync::Arc;

pub use gateway::{Gateway, GatewayListener};
pub use http_route::{BackendRef, HttpRoute, ParentRef, RouteRule};
pub use keyspace::Keyspace;
pub use policy::{PolicyLimit, RateLimitPolicy, TargetRef};
pub use service::{EndpointSlice, Service, ServicePort, SlicePort};

use super::diagnostic::{Diagnostic, Located, Spot};
use super::tree::{Mark, Node};

/// Who a document is, beside its kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// `default` where it says none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// All documents of a configuration, in the order of the files.
#[derive(Debug, Default)]
pub struct Model {
    /// Where requests come in.
    pub gateways: Vec<Gateway>,
    /// Which go where.
    pub routes: Vec<HttpRoute>,
    /// What they go to.
    pub services: Vec<Service>,
    /// Where that is.
    pub slices: Vec<EndpointSlice>,
    /// How much there may be.
    pub policies: Vec<RateLimitPolicy>,
    /// The cache; there is one.
    pub keyspace: Option<Keyspace>,
}

impl Model {
    /// Reads a document, and keeps it if it is `right` as its schema says and otherwise.
    pub(super) fn add(
        &mut self,
        kind: &str,
        id: Id,
        spot: Spot,
        document: &Node,
        right: bool,
        reader: &mut Reader<'_>,
    ) {
        let before = reader.faults.len();
        let right = |reader: &Reader<'_>| right && reader.faults.len() == before;
        match kind {
            "Gateway" => {
                let gateway = gateway::read(id, document, reader);
                self.gateways.extend(Some(gateway).filter(|_| right(reader)));
            }
            "HTTPRoute" => {
                let route = http_route::read(id, spot, document, reader);
                self.routes.extend(route.filter(|_| right(reader)));
            }
            "Service" => {
                let service = service::read(id, spot, document, reader);
                self.services.extend(Some(service).filter(|_| right(reader)));
            }
            "EndpointSlice" => {
                let slice = service::read_slice(id, document, reader);
                self.slices.extend(slice.filter(|_| right(reader)));
            }
            "RateLimitPolicy" => {
                let policy = policy::read(id, document, reader);
                self.policies.extend(Some(policy).filter(|_| right(reader)));
            }
            "Keyspace" => {
                let keyspace = keyspace::read(&id, &spot, document, reader);
                self.keyspace = keyspace.filter(|_| right(reader)).or(self.keyspace.take());
            }
            other => unreachable!("{other} has a schema and no reader"),
        }
    }
}

/// What reading a document needs beside it.
pub(super) struct Reader<'a> {
    pub(super) file: &'a Arc<str>,
    pub(super) faults: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn spot(&self, at: Mark) -> Spot {
        Spot { file: self.file.clone(), line: at.line, column: at.column }
    }

    fn fault(&mut self, at: Mark, text: impl Into<String>) {
        self.faults.push(Diagnostic::new(&self.spot(at), text));
    }

    /// The text of a field.
    fn text(&self, node: &Node, field: &str) -> Option<Located<String>> {
        let node = node.get(field)?;
        Some(Located { value: node.text()?.to_owned(), spot: self.spot(node.at) })
    }

    /// The whole number of a field, which the schema has kept below `u32::MAX`.
    fn number(&self, node: &Node, field: &str) -> Option<Located<u32>> {
        let node = node.get(field)?;
        Some(Located { value: u32::try_from(node.whole()?).ok()?, spot: self.spot(node.at) })
    }

    /// The port of a field, which the schema has kept below 65,536.
    fn port(&self, node: &Node, field: &str) -> Option<Located<u16>> {
        let node = node.get(field)?;
        Some(Located { value: u16::try_from(node.whole()?).ok()?, spot: self.spot(node.at) })
    }

    /// Complains about the second of two in a list that are called the same.
    fn ensure_unique<'n>(
        &mut self,
        path: &str,
        field: &str,
        items: impl IntoIterator<Item = (usize, &'n Node, String)>,
    ) {
        let mut seen = std::collections::HashMap::new();
        for (n, node, name) in items {
            if let Some(first) = seen.insert(name.clone(), n) {
                seen.insert(name.clone(), first);
                let at = node.get(field).unwrap_or(node).at;
                let text =
                    format!("{path}[{n}].{field}: '{name}' is the {field} of {path}[{first}], too");
                self.fault(at, text);
            }
        }
    }
}

/// The lists of a document, each item with its position and the text of a field.
fn named<'n>(
    items: &'n [Node],
    field: &'static str,
) -> impl Iterator<Item = (usize, &'n Node, String)> {
    let named =
        move |(n, node): (usize, &'n Node)| Some((n, node, node.get(field)?.text()?.to_owned()));
    items.iter().enumerate().filter_map(named)
}
