//! Service and EndpointSlice: what requests go to, and where that is.

use crate::resources::formats::{ADDRESS, LABEL};
use crate::resources::schema::{Kind, PORT, Shape, may, must, not_yet, only, or};

const TCP: Shape = Shape::OneOf { now: &["TCP"], later: &["UDP", "SCTP"] };

const HTTP: Shape = Shape::OneOf {
    now: &["http"],
    later: &["https", "kubernetes.io/h2c", "kubernetes.io/ws", "kubernetes.io/wss"],
};

static SERVICE_PORT: Shape = Shape::Object(&[
    may("name", Shape::Text(&LABEL), "Needed where there are several; slices have the same."),
    must("port", PORT, "What routes call it by."),
    may(
        "targetPort",
        Shape::PortOrName,
        "The port of the endpoints. A number must be what the slices say, who decide.",
    ),
    or("protocol", "TCP", TCP, "The transport."),
    or("appProtocol", "http", HTTP, "What is spoken to it."),
    not_yet("nodePort", "use a Gateway to listen"),
]);

const SELECTOR: &str =
    "endpoints come from EndpointSlices with the label kubernetes.io/service-name";

pub(super) static KIND: Kind = Kind {
    name: "Service",
    api: "v1",
    about: "What requests go to. Its endpoints are those of the EndpointSlices that carry its name \
            in the label kubernetes.io/service-name. The annotation corelane.dev/balance says how \
            they are chosen: least-request (the default) or round-robin.",
    fields: &[must(
        "spec",
        Shape::Object(&[
            must("ports", Shape::List { of: &SERVICE_PORT, least: 1 }, "Its ports."),
            or(
                "type",
                "ClusterIP",
                Shape::OneOf {
                    now: &["ClusterIP"],
                    later: &["NodePort", "LoadBalancer", "ExternalName"],
                },
                "How others reach it: through a route.",
            ),
            may("clusterIP", only(&["None"]), "There is no address of its own."),
            not_yet("selector", SELECTOR),
            not_yet("externalName", "list its addresses in an EndpointSlice"),
            not_yet("sessionAffinity", "there is none"),
            not_yet("sessionAffinityConfig", "there is none"),
            not_yet("clusterIPs", "there is no address of its own"),
            not_yet("externalIPs", "use a Gateway to listen"),
            not_yet("loadBalancerIP", "use a Gateway to listen"),
            not_yet("loadBalancerClass", "use a Gateway to listen"),
            not_yet("loadBalancerSourceRanges", "there are none"),
            not_yet("allocateLoadBalancerNodePorts", "use a Gateway to listen"),
            not_yet("healthCheckNodePort", "there is none"),
            not_yet("externalTrafficPolicy", "there is none"),
            not_yet("internalTrafficPolicy", "there is none"),
            not_yet("trafficDistribution", "there is none"),
            not_yet("publishNotReadyAddresses", "endpoints say whether they are ready"),
            not_yet("ipFamilies", "slices say it"),
            not_yet("ipFamilyPolicy", "slices say it"),
        ]),
        "What is wanted.",
    )],
    example: "\
apiVersion: v1
kind: Service
metadata:
  name: shop
  annotations: {corelane.dev/balance: round-robin}
spec:
  ports:
  - {port: 80}
",
};

static ENDPOINT: Shape = Shape::Object(&[
    must(
        "addresses",
        Shape::List { of: &Shape::Text(&ADDRESS), least: 1 },
        "Its address: one, as the API advises.",
    ),
    may(
        "conditions",
        Shape::Object(&[
            or("ready", "true", Shape::Bool, "Whether requests may go there."),
            may("serving", Shape::Bool, "Accepted, and not looked at."),
            may("terminating", Shape::Bool, "Accepted, and not looked at."),
        ]),
        "Its state.",
    ),
    not_yet("hostname", "endpoints are known by address"),
    not_yet("targetRef", "endpoints are known by address"),
    not_yet("nodeName", "all endpoints are alike"),
    not_yet("zone", "all endpoints are alike"),
    not_yet("hints", "all endpoints are alike"),
    not_yet("deprecatedTopology", "all endpoints are alike"),
]);

static SLICE_PORT: Shape = Shape::Object(&[
    may("name", Shape::Text(&LABEL), "That of the Service's port, or none, as there."),
    must("port", PORT, "Where the endpoints listen."),
    or("protocol", "TCP", TCP, "The transport."),
    or("appProtocol", "http", HTTP, "What is spoken to it."),
]);

pub(super) static SLICE: Kind = Kind {
    name: "EndpointSlice",
    api: "discovery.k8s.io/v1",
    about: "Some of the endpoints of the Service that its label kubernetes.io/service-name names. \
            An HTTP listener of the node itself is refused as one, when the node starts and at \
            SIGHUP.",
    fields: &[
        must(
            "addressType",
            Shape::OneOf { now: &["IPv4", "IPv6"], later: &["FQDN"] },
            "The family of all addresses.",
        ),
        must("endpoints", Shape::List { of: &ENDPOINT, least: 0 }, "Who answers."),
        must("ports", Shape::List { of: &SLICE_PORT, least: 1 }, "Where all of them listen."),
    ],
    example: "\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: shop-1
  labels: {kubernetes.io/service-name: shop}
addressType: IPv4
endpoints:
- addresses: [10.0.0.7]
- addresses: [10.0.0.8]
ports:
- {port: 9000}
",
};
