//! RateLimitPolicy.

use shards::config::draft::{Key, Limit};
use shards::limit::{LONGEST_NAME, MOST_TOKENS, Rate, RateError, Tokens};
use shards::time::Nanos;

use super::{Id, Located, Reader, named};
use crate::resources::formats::duration;
use crate::resources::tree::Node;

/// How much there may be.
#[derive(Debug)]
pub struct RateLimitPolicy {
    /// Who it is.
    pub id: Id,
    /// Whose requests take tokens.
    pub targets: Vec<TargetRef>,
    /// All must have tokens left.
    pub limits: Vec<Limit>,
    /// Names of all limits, with their positions: of those too that could not be read.
    pub names: Vec<(usize, Located<String>)>,
}

/// A route, or a rule of it.
#[derive(Debug)]
pub struct TargetRef {
    /// As in errors: `spec.targetRefs[0]`.
    pub path: String,
    /// The route's name.
    pub name: Located<String>,
    /// One of its rules.
    pub section: Option<Located<String>>,
}

pub(super) fn read(id: Id, document: &Node, reader: &mut Reader<'_>) -> RateLimitPolicy {
    let spec = document.get("spec");
    let list = |field: &str| spec.and_then(|spec| spec.get(field)).map_or(&[][..], Node::items);
    reader.ensure_unique("spec.limits", "name", named(list("limits"), "name"));
    let targets = list("targetRefs").iter().enumerate().filter_map(|(n, node)| {
        let path = format!("spec.targetRefs[{n}]");
        let name = reader.text(node, "name")?;
        let section = reader.sound(reader.text(node, "sectionName"));
        let is_sound = reader.are_sound(node, &["group", "kind", "name"]);
        is_sound.then_some(TargetRef { path, name, section })
    });
    let targets = targets.collect();
    let mut limits = Vec::new();
    for (n, node) in list("limits").iter().enumerate() {
        limits.extend(limit(&format!("spec.limits[{n}]"), node, reader));
    }
    let name = |(n, node)| Some((n, reader.sound(reader.text(node, "name"))?));
    let names = list("limits").iter().enumerate().filter_map(name).collect();
    RateLimitPolicy { id, targets, limits, names }
}

fn limit(path: &str, node: &Node, reader: &mut Reader<'_>) -> Option<Limit> {
    let number = |field: &str| reader.number(node, field).map(|number| number.value);
    let (name, tokens) = (reader.text(node, "name")?, number("rate")?);
    let fits = |n| (1..=MOST_TOKENS.0).contains(&n);
    let wrong = |field: &&str| node.get(field).is_some() && !number(field).is_some_and(fits);
    if ["rate", "burst", "cost"].iter().any(wrong) {
        return None; // told already, and nothing can be said about what depends on it
    }
    let burst = number("burst").unwrap_or(tokens);
    let cost = number("cost").unwrap_or(1);
    let bits = |field: &str, default: u8| {
        number(field).and_then(|bits| u8::try_from(bits).ok()).unwrap_or(default)
    };
    let address = Key::ClientAddress { v4: bits("ipv4Prefix", 32), v6: bits("ipv6Prefix", 64) };
    let period = match node.get("period").and_then(Node::text) {
        Some(text) => duration(text)?,
        None => Nanos::SECOND,
    };
    let at = |field: &str| node.get(field).unwrap_or(node).at;
    if cost > burst {
        let text =
            format!("{path}.cost: expected at most the burst, {burst}; no request would ever pass");
        reader.fault(at("cost"), text);
    }
    match Rate::new(u64::from(tokens), period, Tokens(burst)) {
        Ok(_) => {}
        Err(RateError::Zero) => {
            reader.fault(at("period"), format!("{path}.period: expected more than 0"));
        }
        Err(RateError::TooLarge) => {
            let text = format!(
                "{path}.burst: an empty bucket takes too long to be full again: burst times \
                 period over rate must be below 292 years; lower burst or shorten period"
            );
            reader.fault(at("burst"), text);
        }
    }
    let keys = keys(path, node, &name.value, &address, reader);
    let tokens = u64::from(tokens);
    Some(Limit { name: name.value, tokens, period, burst, cost, keys })
}

/// What has a bucket of its own.
fn keys(path: &str, node: &Node, name: &str, address: &Key, reader: &mut Reader<'_>) -> Vec<Key> {
    let Some(list) = node.get("key") else { return Vec::new() };
    let keys = list.items();
    if name.len() + keys.len() > LONGEST_NAME {
        let text = format!(
            "{path}.key: expected fewer: the name of a bucket, {name}:VALUE:VALUE and so on, has \
             at most {LONGEST_NAME} bytes"
        );
        reader.fault(list.at, text);
    }
    let words = keys
        .iter()
        .enumerate()
        .filter_map(|(n, key)| Some((n, key, key.text()?.to_ascii_lowercase())));
    let words: Vec<_> = words.collect();
    for (n, key, word) in &words {
        if words[..*n].iter().any(|(_, _, before)| before == word) {
            reader.fault(key.at, format!("{path}.key[{n}]: '{word}' is there twice"));
        }
    }
    let key = |(_, _, word): &(usize, &Node, String)| match word.strip_prefix("header:") {
        Some(name) => Key::Header(name.to_owned()),
        None if word == "path" => Key::Path,
        None if word == "route" => Key::Route,
        None => address.clone(),
    };
    words.iter().map(key).collect()
}
