//! Service and EndpointSlice.

use std::net::IpAddr;

use shards::config::draft::Balance;

use super::{Id, Located, Reader, Spot, named};
use crate::resources::diagnostic::nearest;
use crate::resources::tree::{Node, Value};

/// The annotation that says how endpoints are chosen.
const BALANCE: &str = "corelane.dev/balance";

/// Its words.
const BALANCES: [(&str, Balance); 2] =
    [("least-request", Balance::LeastRequest), ("round-robin", Balance::RoundRobin)];

/// The label that says whose endpoints a slice has.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What requests go to.
#[derive(Debug)]
pub struct Service {
    /// Who it is.
    pub id: Id,
    /// Where its name stands.
    pub spot: Spot,
    /// How endpoints are chosen.
    pub balance: Balance,
    /// What routes call it by.
    pub ports: Vec<ServicePort>,
    /// Whether references to its ports can be checked: it is right, or what is wrong is elsewhere.
    pub is_target: bool,
}

/// A port of a Service.
#[derive(Debug)]
pub struct ServicePort {
    /// Empty where it says none.
    pub name: String,
    /// What routes call it by.
    pub port: u16,
    /// The number that slices must have.
    pub target: Option<Located<u16>>,
}

/// Some endpoints of a Service.
#[derive(Debug)]
pub struct EndpointSlice {
    /// Who it is.
    pub id: Id,
    /// The Service's name.
    pub service: Located<String>,
    /// Those that are ready.
    pub addresses: Vec<IpAddr>,
    /// Where all of them listen.
    pub ports: Vec<SlicePort>,
}

/// A port of a slice.
#[derive(Debug)]
pub struct SlicePort {
    /// As in errors: `ports[0]`.
    pub path: String,
    /// That of the Service's port.
    pub name: String,
    /// Where to connect.
    pub port: Located<u16>,
}

pub(super) fn read(id: Id, spot: Spot, document: &Node, reader: &mut Reader<'_>) -> Service {
    let ports = document.get("spec").and_then(|spec| spec.get("ports"));
    let items = ports.map_or(&[][..], Node::items);
    if items.len() > 1 {
        for (n, node) in items.iter().enumerate().filter(|(_, node)| node.get("name").is_none()) {
            let text = format!("spec.ports[{n}].name is required where there are several ports");
            reader.fault(node.at, text);
        }
    }
    reader.ensure_unique("spec.ports", "name", named(items, "name"));
    let numbers = items
        .iter()
        .enumerate()
        .filter_map(|(n, node)| Some((n, node, node.get("port")?.whole()?.to_string())));
    reader.ensure_unique("spec.ports", "port", numbers);
    let ports = items.iter().filter_map(|node| {
        Some(ServicePort {
            name: reader.text(node, "name").map_or_else(String::new, |name| name.value),
            port: reader.port(node, "port")?.value,
            target: reader.port(node, "targetPort"),
        })
    });
    let ports = ports.collect();
    Service { id, spot, balance: balance(document, reader), ports, is_target: true }
}

fn balance(document: &Node, reader: &mut Reader<'_>) -> Balance {
    let annotations = document.get("metadata").and_then(|metadata| metadata.get("annotations"));
    let Some(word) = annotations.and_then(|annotations| annotations.get(BALANCE)) else {
        return Balance::default();
    };
    let text = word.text().unwrap_or_default();
    if let Some((_, balance)) = BALANCES.iter().find(|(name, _)| *name == text) {
        return *balance;
    }
    let meant = nearest(text, BALANCES.map(|(name, _)| name));
    let meant = meant.map_or_else(String::new, |one| format!("; did you mean {one}?"));
    let [(one, _), (other, _)] = BALANCES;
    let given = word.described();
    let text =
        format!("metadata.annotations.{BALANCE}: expected {one} or {other}, not {given}{meant}");
    reader.fault(word.at, text);
    Balance::default()
}

pub(super) fn read_slice(
    id: Id,
    document: &Node,
    reader: &mut Reader<'_>,
) -> Option<EndpointSlice> {
    let metadata = document.get("metadata")?;
    let service = metadata.get("labels").and_then(|labels| reader.text(labels, SERVICE_NAME));
    let Some(service) = service else {
        let labels = metadata.get("labels");
        // One that is no text has been told.
        if labels.is_none_or(|labels| matches!(labels.value, Value::Map(_)))
            && labels.and_then(|labels| labels.get(SERVICE_NAME)).is_none()
        {
            let text =
                format!("metadata.labels.{SERVICE_NAME} is required: the name of the Service");
            reader.fault(metadata.at, text);
        }
        return None;
    };
    let wants_v6 = document.get("addressType").and_then(Node::text) == Some("IPv6");
    let mut addresses = Vec::new();
    for (n, node) in document.get("endpoints").map_or(&[][..], Node::items).iter().enumerate() {
        let listed = node.get("addresses").map_or(&[][..], Node::items);
        if let Some(second) = listed.get(1) {
            let text = format!(
                "endpoints[{n}].addresses[1]: expected one address, and another endpoint for another one"
            );
            reader.fault(second.at, text);
        }
        let Some(first) = listed.first() else { continue };
        let Some(address) = first.text().and_then(|text| text.parse::<IpAddr>().ok()) else {
            continue;
        };
        if address.is_ipv6() != wants_v6 {
            let family = if wants_v6 { "IPv6" } else { "IPv4" };
            let text = format!(
                "endpoints[{n}].addresses[0]: expected an {family} address, as addressType says, not {address}"
            );
            reader.fault(first.at, text);
        }
        let ready = node.get("conditions").and_then(|conditions| conditions.get("ready"));
        if !matches!(ready.map(|node| &node.value), Some(Value::Bool(false))) {
            addresses.push(address);
        }
    }
    let items = document.get("ports").map_or(&[][..], Node::items);
    let name = |node| reader.text(node, "name").map_or_else(String::new, |name| name.value);
    let names = items.iter().enumerate().map(|(n, node)| (n, node, name(node)));
    let names: Vec<_> = names.collect();
    let ports = names.iter().filter(|(_, node, _)| reader.are_sound(node, &["name"]));
    let ports = ports.filter_map(|(n, node, name)| {
        let port = reader.sound(reader.port(node, "port"))?;
        Some(SlicePort { path: format!("ports[{n}]"), name: name.clone(), port })
    });
    let ports = ports.collect();
    reader.ensure_unique("ports", "name", names);
    Some(EndpointSlice { id, service, addresses, ports })
}
