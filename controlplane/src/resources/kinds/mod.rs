//! The kinds of documents, and what each may say.

mod gateway;
mod http_route;
mod keyspace;
mod rate_limit_policy;
mod service;

use super::formats::NAME;
use super::schema::{Field, Kind, Shape, may, must, or};

/// All kinds, in the order in which they are explained.
pub static KINDS: [&Kind; 6] = [
    &gateway::KIND,
    &http_route::KIND,
    &service::KIND,
    &service::SLICE,
    &rate_limit_policy::KIND,
    &keyspace::KIND,
];

/// The API group of Gateway API.
const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";

/// What every document has.
pub(super) static COMMON: &[Field] = &[
    must("apiVersion", Shape::Anything, "The version of the kind, which comes with its name."),
    must("kind", Shape::Anything, "What the document is."),
    must("metadata", Shape::Open(METADATA), "Who it is. What else Kubernetes has is accepted."),
    may("status", Shape::Anything, "Accepted, and not looked at."),
];

/// The one object that may have more than what is named.
static METADATA: &[Field] = &[
    must("name", Shape::Text(&NAME), "Unique among documents of its kind and namespace."),
    or("namespace", "default", Shape::Text(&NAME), "Names within it are looked up first."),
    may("labels", Shape::Texts, "Words by which others find it."),
    may("annotations", Shape::Texts, "What the API has no field for."),
];

/// The kind of that name.
pub(super) fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.into_iter().find(|kind| kind.name == name)
}
