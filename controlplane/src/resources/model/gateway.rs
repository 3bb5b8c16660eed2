//! Gateway.

use super::{Id, Located, Reader, named};
use crate::resources::tree::Node;

/// Where requests come in.
#[derive(Debug)]
pub struct Gateway {
    /// Who it is.
    pub id: Id,
    /// Ports and names.
    pub listeners: Vec<GatewayListener>,
    /// Whether references to its listeners can be checked: it is right, or what is wrong is elsewhere.
    pub is_target: bool,
}

/// A port, and the names it is for.
#[derive(Debug)]
pub struct GatewayListener {
    /// Unique within the Gateway.
    pub name: String,
    /// Where it listens.
    pub port: Located<u16>,
    /// Without one, all names.
    pub hostname: Option<String>,
    /// Whether routes of other namespaces may attach.
    pub all_namespaces: bool,
}

pub(super) fn read(id: Id, document: &Node, reader: &mut Reader<'_>) -> Gateway {
    let listeners = document.get("spec").and_then(|spec| spec.get("listeners"));
    let listeners = listeners.map_or(&[][..], Node::items);
    reader.ensure_unique("spec.listeners", "name", named(listeners, "name"));
    let listener = |node: &Node| {
        let from = node.get("allowedRoutes")?.get("namespaces")?.get("from")?.text();
        Some(from == Some("All"))
    };
    let listeners = listeners.iter().filter_map(|node| {
        Some(GatewayListener {
            name: reader.text(node, "name")?.value,
            port: reader.port(node, "port")?,
            hostname: reader.text(node, "hostname").map(|hostname| hostname.value),
            all_namespaces: listener(node).unwrap_or(false),
        })
    });
    Gateway { id, listeners: listeners.collect(), is_target: true }
}
