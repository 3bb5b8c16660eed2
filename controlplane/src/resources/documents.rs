//! From files to the model: each document is checked, named once, and read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::check;
use super::diagnostic::{Diagnostic, Spot, hint};
use super::kinds::{KINDS, kind};
use super::model::{self, Id, Model, Reader};
use super::schema::Kind;
use super::tree::{Entry, Mark, Node, Value};
use super::yaml;

/// Kinds that the design has and this version lacks.
const LATER: [&str; 13] = [
    "AccessPolicy",
    "BackendTLSPolicy",
    "CachePolicy",
    "GRPCRoute",
    "GatewayClass",
    "List",
    "ReferenceGrant",
    "ScheduledJob",
    "Secret",
    "TCPRoute",
    "TLSRoute",
    "TrafficPolicy",
    "UDPRoute",
];

/// What was read so far.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    /// Documents without an error of their own.
    pub(crate) model: Model,
    /// The others, as far as they could be read: for references from and to them.
    pub(crate) partial: Model,
    /// All that is wrong.
    pub(crate) faults: Vec<Diagnostic>,
    /// Where each document is, the wrong ones too.
    pub(crate) known: Known,
    /// Files in the order in which they were read.
    pub(crate) files: Vec<Arc<str>>,
    /// How many documents there were.
    pub(crate) count: usize,
}

/// Which documents there are, whether they are right or not.
#[derive(Debug, Default)]
pub(crate) struct Known(HashMap<(&'static str, Id), Spot>);

impl Known {
    /// Whether there is such a document.
    pub(crate) fn has(&self, kind: &'static str, id: &Id) -> bool {
        self.0.contains_key(&(kind, id.clone()))
    }

    /// All of a kind, in order.
    pub(crate) fn all(&self, kind: &'static str) -> Vec<&Id> {
        let of_kind = self.0.keys().filter(|(its, _)| *its == kind).map(|(_, id)| id);
        let mut all: Vec<_> = of_kind.collect();
        all.sort();
        all
    }

    /// `; did you mean X?` for a name of a namespace, or what there is.
    pub(crate) fn hint(&self, kind: &'static str, id: &Id) -> String {
        let all = self.all(kind).into_iter();
        hint(&id.name, all.filter(|o| o.namespace == id.namespace).map(|o| o.name.as_str()))
    }
}

impl Documents {
    /// Reads all documents of a file.
    pub(crate) fn read(&mut self, file: &str, text: &str) {
        let file: Arc<str> = file.into();
        self.files.push(file.clone());
        let yaml::Documents { whole, broken, wrong } = yaml::documents(text);
        for wrong in wrong {
            self.fault(&file, wrong.at, wrong.text);
        }
        for document in &whole {
            // `---` with nothing after it is no document.
            if !matches!(document.value, Value::Null) {
                self.count += 1;
                self.document(&file, document);
            }
        }
        for document in &broken {
            let name = document.get("kind").and_then(Node::text);
            if let (Some(kind), Some(id)) = (name.and_then(kind), id(document)) {
                let place = spot(&file, document.at);
                self.known.0.entry((kind.name, id)).or_insert(place);
            }
        }
    }

    fn fault(&mut self, file: &Arc<str>, at: Mark, text: impl Into<String>) {
        self.faults.push(Diagnostic::new(&spot(file, at), text));
    }

    fn document(&mut self, file: &Arc<str>, document: &Node) {
        let Some(kind) = self.kind(file, document) else { return };
        let faults = check::check(document, kind);
        let (mut right, mut is_first) = (faults.is_empty(), true);
        let wrong: HashSet<Mark> = faults.iter().map(|fault| fault.at).collect();
        for fault in faults {
            self.fault(file, fault.at, fault.text);
        }
        let Some(id) = id(document) else { return };
        let at = document.get("metadata").and_then(|m| m.get("name")).unwrap_or(document).at;
        let place = spot(file, at);
        if let Some(first) = self.known.0.get(&(kind.name, id.clone())) {
            let text = format!("{} {id} is there twice; the first is at {first}", kind.name);
            self.fault(file, at, text);
            (right, is_first) = (false, false);
        } else {
            self.known.0.insert((kind.name, id.clone()), place.clone());
        }
        let before = self.faults.len();
        // Read in any case, since that finds further faults.
        let mut reader = Reader { file, faults: &mut self.faults, wrong: &wrong };
        let read = model::read(kind.name, id, place, document, &mut reader);
        let as_before = reader.faults.len() == before;
        match read {
            Some(read) if right && as_before => self.model.add(read, true),
            // Names of another namespace than is meant are no references.
            Some(read) if namespace_is_told(document, &wrong) => {
                let parts = model::are_parts_sound(kind.name, document, &wrong);
                self.partial.add(read, is_first && as_before && parts);
            }
            _ => {}
        }
    }

    /// The kind of a document, if it can be told.
    fn kind(&mut self, file: &Arc<str>, document: &Node) -> Option<&'static Kind> {
        if !matches!(document.value, Value::Map(_)) {
            let text = "expected a document with apiVersion, kind and metadata, not ";
            self.fault(file, document.at, text.to_owned() + &document.described());
            return None;
        }
        let word = |name: &str| document.entries().iter().find(|entry| entry.key == name);
        let text = |entry: Option<&Entry>| entry.and_then(|e| e.value.text().map(str::to_owned));
        let (named, version) = (word("kind"), word("apiVersion"));
        let Some(name) = text(named) else {
            let names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
            let at = named.map_or(document.at, |entry| entry.value.at);
            self.fault(file, at, format!("kind is required: one of {}", names.join(", ")));
            return None;
        };
        let at = named.map_or(document.at, |entry| entry.value.at);
        let Some(kind) = kind(&name) else {
            let text = if LATER.contains(&name.as_str()) {
                format!("kind: {name} is not supported yet")
            } else {
                let names = KINDS.iter().map(|kind| kind.name);
                format!("kind: unknown kind '{}'{}", name.escape_debug(), hint(&name, names))
            };
            self.fault(file, at, text);
            return None;
        };
        match version {
            Some(entry) if entry.value.text() == Some(kind.api) => {}
            Some(entry) => {
                let given = entry.value.described();
                let text = format!("apiVersion: expected {} for {name}, not {given}", kind.api);
                self.fault(file, entry.value.at, text);
            }
            None => {
                let text = format!("apiVersion is required: {} for {name}", kind.api);
                self.fault(file, document.at, text);
            }
        }
        Some(kind)
    }
}

/// The name of a document, as far as there is one.
fn id(document: &Node) -> Option<Id> {
    let metadata = document.get("metadata")?;
    let name = metadata.get("name")?.text()?.to_owned();
    let namespace = metadata.get("namespace").and_then(Node::text).unwrap_or("default").to_owned();
    Some(Id { namespace, name })
}

/// Whether a document's namespace is what it says.
fn namespace_is_told(document: &Node, wrong: &HashSet<Mark>) -> bool {
    let namespace = document.get("metadata").and_then(|metadata| metadata.get("namespace"));
    namespace.is_none_or(|namespace| !wrong.contains(&namespace.at))
}

fn spot(file: &Arc<str>, at: Mark) -> Spot {
    Spot { file: file.clone(), line: at.line, column: at.column }
}
