//! Gateway: where requests come in.

use super::GATEWAY_API;
use crate::resources::formats::{HOSTNAME, SECTION};
use crate::resources::schema::{Field, Kind, PORT, Shape, may, must, not_yet, only, or};

pub(super) static LISTENERS: Shape = Shape::Object(&[
    must("name", Shape::Text(&SECTION), "What routes call it by (sectionName)."),
    must(
        "port",
        PORT,
        "Where it listens, on the host of --http. SIGHUP opens new ports and closes those that \
         have gone, whose clients get 404 and are let go.",
    ),
    must(
        "protocol",
        Shape::OneOf { now: &["HTTP"], later: &["HTTPS", "TLS", "TCP", "UDP"] },
        "What is spoken there.",
    ),
    may(
        "hostname",
        Shape::Text(&HOSTNAME),
        "Names it is for; without one, all. Of the listeners of a port the most specific one \
         decides alone.",
    ),
    may("allowedRoutes", Shape::Object(ALLOWED), "Which routes may attach."),
    not_yet("tls", "terminate TLS in front of it"),
]);

static ALLOWED: &[Field] = &[
    may(
        "namespaces",
        Shape::Object(&[
            or(
                "from",
                "Same",
                Shape::OneOf { now: &["Same", "All"], later: &["Selector", "None"] },
                "Those of the Gateway's namespace, or of all.",
            ),
            not_yet("selector", "use from: All"),
        ]),
        "By namespace.",
    ),
    not_yet("kinds", "HTTPRoute is the only kind of route"),
];

pub(super) static KIND: Kind = Kind {
    name: "Gateway",
    api: GATEWAY_API,
    about: "Where requests come in. Without any there is one named default on the HTTP port \
            (--http), which takes all routes that name no parent. Once there is one, those need \
            a Gateway named default, and the HTTP port has no routes (404) unless a listener has \
            its number: the two are one socket then, with that listener's routes alone.",
    fields: &[must(
        "spec",
        Shape::Object(&[
            may("gatewayClassName", only(&["corelane"]), "Who runs it."),
            must("listeners", Shape::List { of: &LISTENERS, least: 1 }, "Ports and names."),
            not_yet("addresses", "the host is that of --http"),
            not_yet("infrastructure", "there is none"),
            not_yet("allowedListeners", "name all listeners in the Gateway"),
            not_yet("tls", "terminate TLS in front of it"),
            not_yet("defaultScope", "routes that name no parent attach to the Gateway default"),
        ]),
        "What is wanted.",
    )],
    example: "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: corelane
  listeners:
  - {name: shop, port: 8000, protocol: HTTP, hostname: '*.example.com'}
",
};
