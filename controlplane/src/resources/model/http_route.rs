//! HTTPRoute.

use shards::config::draft::{Match, Path};
use shards::config::{RoutePathError, route_path};
use shards::time::Nanos;

use super::{Id, Located, Reader, Spot, is_misspelt, named};
use crate::resources::formats::duration;
use crate::resources::tree::{Node, Value, shortened};

/// Which requests go where.
#[derive(Debug)]
pub struct HttpRoute {
    /// Who it is.
    pub id: Id,
    /// Where its name stands.
    pub spot: Spot,
    /// What it attaches to.
    pub parents: Vec<ParentRef>,
    /// Whether it names nothing to attach to, which is the Gateway named default.
    pub is_default: bool,
    /// Names it is for; none is all.
    pub hostnames: Vec<Located<String>>,
    /// In order of precedence.
    pub rules: Vec<RouteRule>,
    /// Whether references to its rules can be checked: it is right, or what is wrong is elsewhere.
    pub is_target: bool,
}

/// A Gateway, or a part of it.
#[derive(Debug)]
pub struct ParentRef {
    /// As in errors: `spec.parentRefs[0]`.
    pub path: String,
    /// That of the route, where it says none.
    pub namespace: Option<String>,
    /// The Gateway's name.
    pub name: Located<String>,
    /// One of its listeners.
    pub section: Option<Located<String>>,
    /// Listeners of this port only.
    pub port: Option<Located<u16>>,
}

/// What happens to requests that match.
#[derive(Debug)]
pub struct RouteRule {
    /// What policies call it by.
    pub name: Option<String>,
    /// One must hold.
    pub matches: Vec<Match>,
    /// Where they go.
    pub backends: Vec<BackendRef>,
    /// For the whole request.
    pub request_timeout: Option<Nanos>,
    /// For a try at a backend.
    pub backend_timeout: Option<Nanos>,
}

/// A port of a Service, and its share.
#[derive(Debug)]
pub struct BackendRef {
    /// As in errors: `spec.rules[0].backendRefs[0]`.
    pub path: String,
    /// The Service's name.
    pub name: Located<String>,
    /// The Service's port; none where it could not be read.
    pub port: Option<Located<u16>>,
    /// 0 for no requests.
    pub weight: u32,
}

pub(super) fn read(
    id: Id,
    spot: Spot,
    document: &Node,
    reader: &mut Reader<'_>,
) -> Option<HttpRoute> {
    let spec = document.get("spec")?;
    let list = |field: &str| spec.get(field).map_or(&[][..], Node::items);
    let parents = list("parentRefs").iter().enumerate();
    let parents = parents.filter_map(|(n, node)| parent(n, node, reader)).collect();
    let is_default = match spec.get("parentRefs") {
        Some(node) => matches!(&node.value, Value::List(items) if items.is_empty()),
        None => !is_misspelt(spec, "parentRefs"),
    };
    let hostnames = list("hostnames").iter().map(|node| {
        let (value, spot) = (node.text()?.to_owned(), reader.spot(node.at));
        reader.sound(Some(Located { value, spot }))
    });
    // Where one is wrong, nobody knows which listeners they are among.
    let hostnames = hostnames.collect::<Option<_>>().unwrap_or_default();
    reader.ensure_unique("spec.rules", "name", named(list("rules"), "name"));
    let mut rules = Vec::new();
    for (n, node) in list("rules").iter().enumerate() {
        rules.push(rule(&format!("spec.rules[{n}]"), &id, node, reader));
    }
    if rules.is_empty() {
        // Gateway API's default: everything, to nobody.
        rules.push(RouteRule {
            name: None,
            matches: Vec::new(),
            backends: Vec::new(),
            request_timeout: None,
            backend_timeout: None,
        });
    }
    Some(HttpRoute { id, spot, parents, is_default, hostnames, rules, is_target: true })
}

fn parent(n: usize, node: &Node, reader: &Reader<'_>) -> Option<ParentRef> {
    if !reader.are_sound(node, &["group", "kind", "namespace", "name"]) {
        return None;
    }
    Some(ParentRef {
        path: format!("spec.parentRefs[{n}]"),
        namespace: reader.text(node, "namespace").map(|namespace| namespace.value),
        name: reader.text(node, "name")?,
        section: reader.sound(reader.text(node, "sectionName")),
        port: reader.sound(reader.port(node, "port")),
    })
}

fn rule(path: &str, id: &Id, node: &Node, reader: &mut Reader<'_>) -> RouteRule {
    let list = |field: &str| node.get(field).map_or(&[][..], Node::items);
    let mut matches = Vec::new();
    for (n, one) in list("matches").iter().enumerate() {
        matches.push(a_match(&format!("{path}.matches[{n}]"), one, reader));
    }
    let mut backends = Vec::new();
    for (n, one) in list("backendRefs").iter().enumerate() {
        backends.extend(backend(format!("{path}.backendRefs[{n}]"), id, one, reader));
    }
    check_weights(path, list("backendRefs"), reader);
    let timeouts = node.get("timeouts");
    let timeout = |field: &str| duration(timeouts?.get(field)?.text()?);
    let (request, backend) = (timeout("request"), timeout("backendRequest"));
    if let (Some(whole), Some(part)) = (request, backend)
        && whole.0 > 0
        && part > whole
        && let Some(node) = timeouts.and_then(|timeouts| timeouts.get("backendRequest"))
    {
        let text = format!("{path}.timeouts.backendRequest: expected at most request");
        reader.fault(node.at, text);
    }
    RouteRule {
        name: reader.text(node, "name").map(|name| name.value),
        matches,
        backends,
        request_timeout: request,
        backend_timeout: backend,
    }
}

/// Weights are summed up in 32 bits.
fn check_weights(path: &str, backends: &[Node], reader: &mut Reader<'_>) {
    let mut sum = 0u32;
    for (n, node) in backends.iter().enumerate() {
        let weight = reader.number(node, "weight").map_or(1, |weight| weight.value);
        let Some(added) = sum.checked_add(weight) else {
            let text = format!(
                "{path}.backendRefs[{n}].weight: expected weights of a rule that add up to at \
                 most {}",
                u32::MAX
            );
            return reader.fault(node.get("weight").unwrap_or(node).at, text);
        };
        sum = added;
    }
}

fn a_match(path: &str, node: &Node, reader: &mut Reader<'_>) -> Match {
    let list = |field: &str| node.get(field).map_or(&[][..], Node::items);
    let headers =
        named(list("headers"), "name").map(|(n, node, name)| (n, node, name.to_lowercase()));
    reader.ensure_unique(&format!("{path}.headers"), "name", headers);
    let parameters = named(list("queryParams"), "name");
    reader.ensure_unique(&format!("{path}.queryParams"), "name", parameters);
    let text = |node: &Node, field: &str| node.get(field).and_then(Node::text).map(str::to_owned);
    let pairs = |field: &str| -> Vec<(String, String)> {
        let pair = |node: &Node| Some((text(node, "name")?, text(node, "value")?));
        list(field).iter().filter_map(pair).collect()
    };
    Match {
        path: node.get("path").map_or_else(Path::default, |node| a_path(path, node, reader)),
        method: text(node, "method"),
        headers: pairs("headers"),
        params: pairs("queryParams"),
    }
}

/// The path of a match. It must be one that a request can have.
fn a_path(path: &str, node: &Node, reader: &mut Reader<'_>) -> Path {
    let value = reader.text(node, "value");
    if let Some(Located { value, spot }) = &value
        && let Err(why) = route_path(value)
        && why != RoutePathError::Syntax
    {
        let text = format!("{path}.path.value: {why}, not '{}'", shortened(value));
        reader.faults.push(super::Diagnostic::new(spot, text));
    }
    let value = value.map_or_else(|| "/".into(), |value| value.value);
    match node.get("type").and_then(Node::text) {
        Some("Exact") => Path::Exact(value),
        _ => Path::Prefix(value),
    }
}

fn backend(path: String, id: &Id, node: &Node, reader: &mut Reader<'_>) -> Option<BackendRef> {
    if let Some(namespace) = reader.text(node, "namespace").filter(|n| n.value != id.namespace) {
        let text = format!(
            "{path}.namespace: expected the route's own, {}; ReferenceGrant is not supported yet",
            id.namespace
        );
        reader.faults.push(super::Diagnostic::new(&namespace.spot, text));
        return None;
    }
    if !reader.are_sound(node, &["group", "kind", "namespace", "name"]) {
        return None;
    }
    Some(BackendRef {
        path,
        name: reader.text(node, "name")?,
        port: reader.sound(reader.port(node, "port")),
        weight: reader.number(node, "weight").map_or(1, |weight| weight.value),
    })
}
