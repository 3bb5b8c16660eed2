//! Keyspace.

use shards::settings::{Settings, parameter, parse_bytes};

use super::{Diagnostic, Id, Reader, Spot};
use crate::resources::tree::{Node, Value};

/// What the cache may hold; what is not said stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyspace {
    /// Bytes for keys and values; 0 for no limit.
    pub maxmemory: Option<u64>,
    /// As CONFIG maxmemory-policy names it.
    pub eviction: Option<String>,
}

impl Keyspace {
    /// Puts it into the settings of a node.
    ///
    /// # Errors
    /// When CONFIG SET would refuse it.
    pub fn apply(&self, settings: &mut Settings) -> Result<(), &'static str> {
        let mut set = |name: &str, value: String| match parameter(name).and_then(|p| p.set) {
            Some(set) => set(settings, value.as_bytes()),
            None => Err("no such parameter"),
        };
        if let Some(bytes) = self.maxmemory {
            set("maxmemory", bytes.to_string())?;
        }
        if let Some(policy) = &self.eviction {
            set("maxmemory-policy", policy.clone())?;
        }
        Ok(())
    }
}

pub(super) fn read(
    id: &Id,
    spot: &Spot,
    document: &Node,
    reader: &mut Reader<'_>,
) -> Option<Keyspace> {
    if id.name != "default" || id.namespace != "default" {
        let text = format!("metadata: there is one Keyspace, default/default, not {id}");
        reader.faults.push(Diagnostic::new(spot, text));
        return None;
    }
    let spec = document.get("spec")?;
    let maxmemory = spec.get("maxmemory").and_then(|node| match &node.value {
        Value::Text(text) => parse_bytes(text),
        _ => node.whole(),
    });
    let eviction = spec.get("eviction").and_then(Node::text).map(str::to_owned);
    Some(Keyspace { maxmemory, eviction })
}
