//! HTTPRoute: which requests go where.

use super::GATEWAY_API;
use crate::resources::formats::{
    ANY, DURATION, HEADER, HEADER_VALUE, HOSTNAME, NAME, PARAMETER, PATH, SECTION,
};
use crate::resources::schema::{Field, Kind, PORT, Shape, may, must, not_yet, only, or};

static PARENT: Shape = Shape::Object(&[
    or("group", "gateway.networking.k8s.io", only(&["gateway.networking.k8s.io"]), "Its group."),
    or("kind", "Gateway", only(&["Gateway"]), "Its kind."),
    may("namespace", Shape::Text(&NAME), "Its namespace; without one, the route's own."),
    must("name", Shape::Text(&NAME), "Its name."),
    may("sectionName", Shape::Text(&SECTION), "One listener of it; without one, all that fit."),
    may("port", PORT, "Listeners of this port only."),
]);

static TYPE: Shape = Shape::OneOf { now: &["Exact"], later: &["RegularExpression"] };

static HEADER_MATCH: Shape = Shape::Object(&[
    or("type", "Exact", TYPE, "How the value is compared."),
    must("name", Shape::Text(&HEADER), "In any case."),
    must("value", Shape::Text(&HEADER_VALUE), "The whole value."),
]);

static PARAM_MATCH: Shape = Shape::Object(&[
    or("type", "Exact", TYPE, "How the value is compared."),
    must("name", Shape::Text(&PARAMETER), "The first parameter of that name counts."),
    must("value", Shape::Text(&ANY), "The whole value, decoded."),
]);

static MATCH: Shape = Shape::Object(&[
    may(
        "path",
        Shape::Object(&[
            or(
                "type",
                "PathPrefix",
                Shape::OneOf { now: &["PathPrefix", "Exact"], later: &["RegularExpression"] },
                "Whole segments from the start (/a has /a, /a/ and /a/b, not /ab), or all of it.",
            ),
            or("value", "/", Shape::Text(&PATH), "The path."),
        ]),
        "Without one, every path.",
    ),
    may("headers", Shape::List { of: &HEADER_MATCH, least: 0 }, "All must be there."),
    may("queryParams", Shape::List { of: &PARAM_MATCH, least: 0 }, "All must be there."),
    may(
        "method",
        Shape::OneOf {
            now: &["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"],
            later: &["CONNECT"],
        },
        "Without one, every method; but CONNECT is always answered 501.",
    ),
]);

static BACKEND: Shape = Shape::Object(&[
    or("group", "", only(&[""]), "The group of Service, which has none."),
    or("kind", "Service", only(&["Service"]), "Its kind."),
    must("name", Shape::Text(&NAME), "Its name."),
    may(
        "namespace",
        Shape::Text(&NAME),
        "The route's own; others need a ReferenceGrant, which is not supported yet.",
    ),
    must("port", PORT, "The port of the Service, not of its endpoints."),
    or(
        "weight",
        "1",
        Shape::Whole { least: 0, most: 1_000_000 },
        "Its share of the requests, among the sum of all weights of the rule; 0 for none.",
    ),
    not_yet("filters", "there are no filters"),
]);

static RULE: Shape = Shape::Object(&[
    may("name", Shape::Text(&SECTION), "What policies call it by (sectionName)."),
    may(
        "matches",
        Shape::List { of: &MATCH, least: 0 },
        "One must hold; without any, every request. Of several rules the one wins with the more \
         specific hostname, then an exact path, the longest prefix, a method, more headers, more \
         query parameters, and then the first in the files.",
    ),
    may(
        "backendRefs",
        Shape::List { of: &BACKEND, least: 0 },
        "Where requests go; without any, the answer is 500.",
    ),
    may(
        "timeouts",
        Shape::Object(TIMEOUTS),
        "How long it may take; 0s for no limit. A server may be silent for 60 s meanwhile, or for the \
         longer of the two where that is more.",
    ),
    not_yet("filters", "there are no filters"),
    not_yet(
        "retry",
        "what is tried again is fixed: what has not reached a server, and once what may be repeated",
    ),
    not_yet("sessionPersistence", "there is none"),
]);

static TIMEOUTS: &[Field] = &[
    may(
        "request",
        Shape::Text(&DURATION),
        "From the request's head to the end of the answer; no limit without it.",
    ),
    may(
        "backendRequest",
        Shape::Text(&DURATION),
        "For one try at a backend, from its beginning to the end of the answer; not while the \
         client holds it back. No limit without it.",
    ),
];

pub(super) static KIND: Kind = Kind {
    name: "HTTPRoute",
    api: GATEWAY_API,
    about: "Which requests go where: rules for the hostnames of a Gateway's listeners.",
    fields: &[must(
        "spec",
        Shape::Object(&[
            may(
                "parentRefs",
                Shape::List { of: &PARENT, least: 0 },
                "Gateways it attaches to; without any, the one named default.",
            ),
            may(
                "hostnames",
                Shape::List { of: &Shape::Text(&HOSTNAME), least: 0 },
                "Names it is for; without any, all that the listener has.",
            ),
            may("rules", Shape::List { of: &RULE, least: 0 }, "What happens to which requests."),
            not_yet("useDefaultGateways", "leave parentRefs out"),
        ]),
        "What is wanted.",
    )],
    example: "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs:
  - {name: web}
  hostnames: [shop.example.com]
  rules:
  - name: api
    matches:
    - path: {type: PathPrefix, value: /api}
    backendRefs:
    - {name: shop, port: 80}
    timeouts: {request: 10s}
",
};
