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

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

pub use gateway::{Gateway, GatewayListener};
pub use http_route::{BackendRef, HttpRoute, ParentRef, RouteRule};
pub use keyspace::Keyspace;
pub use policy::{RateLimitPolicy, TargetRef};
pub use service::{EndpointSlice, Service, ServicePort, SlicePort};

use super::diagnostic::{Diagnostic, Located, Spot, nearest};
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

/// One of them.
pub(super) enum Document {
    Gateway(Gateway),
    Route(HttpRoute),
    Service(Service),
    Slice(EndpointSlice),
    Policy(RateLimitPolicy),
    Keyspace(Keyspace),
}

impl Model {
    pub(super) fn add(&mut self, document: Document, is_target: bool) {
        match document {
            Document::Gateway(gateway) => self.gateways.push(Gateway { is_target, ..gateway }),
            Document::Route(route) => self.routes.push(HttpRoute { is_target, ..route }),
            Document::Service(service) => self.services.push(Service { is_target, ..service }),
            Document::Slice(slice) => self.slices.push(slice),
            Document::Policy(policy) => self.policies.push(policy),
            Document::Keyspace(keyspace) => self.keyspace = Some(keyspace),
        }
    }
}

/// Reads a document. One with faults is read as far as that goes: for further ones, and for what
/// it refers to.
pub(super) fn read(
    kind: &str,
    id: Id,
    spot: Spot,
    document: &Node,
    reader: &mut Reader<'_>,
) -> Option<Document> {
    Some(match kind {
        "Gateway" => Document::Gateway(gateway::read(id, document, reader)),
        "HTTPRoute" => Document::Route(http_route::read(id, spot, document, reader)?),
        "Service" => Document::Service(service::read(id, spot, document, reader)),
        "EndpointSlice" => Document::Slice(service::read_slice(id, document, reader)?),
        "RateLimitPolicy" => Document::Policy(policy::read(id, document, reader)),
        "Keyspace" => Document::Keyspace(keyspace::read(&id, &spot, document, reader)?),
        other => unreachable!("{other} has a schema and no reader"),
    })
}

/// What reading a document needs beside it.
pub(super) struct Reader<'a> {
    pub(super) file: &'a Arc<str>,
    pub(super) faults: &'a mut Vec<Diagnostic>,
    /// Where the document is not as its schema says.
    pub(super) wrong: &'a HashSet<Mark>,
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

    /// What has no fault that has been told.
    fn sound<T>(&self, value: Option<Located<T>>) -> Option<Located<T>> {
        let at = |spot: &Spot| Mark { line: spot.line, column: spot.column };
        value.filter(|value| !self.wrong.contains(&at(&value.spot)))
    }

    /// Whether these fields are there as texts without a fault, or not there and not misspelt
    /// either: what they refer to would be another thing than is meant.
    fn are_sound(&self, node: &Node, fields: &[&str]) -> bool {
        // A document that is as its schema says has neither.
        self.wrong.is_empty()
            || fields.iter().all(|field| match node.get(field) {
                Some(_) => self.sound(self.text(node, field)).is_some(),
                None => !is_misspelt(node, field),
            })
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

/// Whether a document of that kind has no fault where others refer to a part of it.
pub(super) fn are_parts_sound(kind: &str, document: &Node, wrong: &HashSet<Mark>) -> bool {
    let field = match kind {
        "Gateway" => "listeners",
        "HTTPRoute" => "rules",
        "Service" => "ports",
        _ => return false,
    };
    let Some(spec) = document.get("spec") else { return false };
    let is_sound = |node: &Node| !node.any(&mut |at| wrong.contains(&at));
    // Only rules may be missing.
    spec.get(field).map_or(kind == "HTTPRoute" && !is_misspelt(spec, field), is_sound)
}

/// Whether a map has a key that is meant to be this field, which it lacks.
fn is_misspelt(node: &Node, field: &str) -> bool {
    let is_close = |key: &str| key != field && nearest(key, [field]).is_some();
    node.get(field).is_none() && node.entries().iter().any(|entry| is_close(&entry.key))
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
