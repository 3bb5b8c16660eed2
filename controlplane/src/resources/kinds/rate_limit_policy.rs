//! RateLimitPolicy: how much of something there may be.

use shards::limit::MOST_TOKENS;

use crate::resources::formats::{DURATION, KEY, LIMIT, NAME, SECTION};
use crate::resources::schema::{Kind, Shape, may, must, only, or};

static TARGET: Shape = Shape::Object(&[
    or("group", "gateway.networking.k8s.io", only(&["gateway.networking.k8s.io"]), "Its group."),
    or("kind", "HTTPRoute", only(&["HTTPRoute"]), "Its kind."),
    must("name", Shape::Text(&NAME), "A route of the policy's namespace."),
    may("sectionName", Shape::Text(&SECTION), "One rule of it, by name; without one, all."),
]);

const TOKENS: Shape = Shape::Whole { least: 1, most: MOST_TOKENS.0 as u64 };

static LIMIT_FIELDS: Shape = Shape::Object(&[
    must(
        "name",
        Shape::Text(&LIMIT),
        "Unique on the node: the bucket is called by it, or NAME:VALUE[:VALUE] where there is a key.",
    ),
    must("rate", TOKENS, "Tokens each period."),
    or("period", "1s", Shape::Text(&DURATION), "How long that is."),
    may("burst", TOKENS, "The most tokens at once; without it, the rate."),
    may(
        "key",
        Shape::List { of: &Shape::Text(&KEY), least: 0 },
        "What has a bucket of its own: client.address, header:NAME, path, route, or several of \
         them together; without any there is one bucket.",
    ),
    or(
        "ipv4Prefix",
        "32",
        Shape::Whole { least: 1, most: 32 },
        "Bits of an IPv4 client.address that count.",
    ),
    or(
        "ipv6Prefix",
        "64",
        Shape::Whole { least: 1, most: 128 },
        "Bits of an IPv6 client.address that count.",
    ),
    or("cost", "1", TOKENS, "Tokens a request takes; at most the burst."),
]);

pub(super) static KIND: Kind = Kind {
    name: "RateLimitPolicy",
    api: "corelane.dev/v1",
    about: "Token buckets: a request to a targeted route takes tokens or is refused with 429. Every \
            face of the node reaches the same bucket by its name (CL.THROTTLE NAME:VALUE), and the \
            policy's numbers count, not the caller's.",
    fields: &[must(
        "spec",
        Shape::Object(&[
            may(
                "targetRefs",
                Shape::List { of: &TARGET, least: 0 },
                "Routes whose requests take tokens; without any, only CL.THROTTLE does.",
            ),
            must(
                "limits",
                Shape::List { of: &LIMIT_FIELDS, least: 1 },
                "All must have tokens left. They are asked in the order of the files, and what an \
                 earlier one has given is not taken back when a later one refuses: put narrow ones, \
                 as for each client, first.",
            ),
        ]),
        "What is wanted.",
    )],
    example: "\
apiVersion: corelane.dev/v1
kind: RateLimitPolicy
metadata: {name: per-client}
spec:
  targetRefs:
  - {group: gateway.networking.k8s.io, kind: HTTPRoute, name: shop}
  limits:
  - {name: per-client, rate: 100, period: 1s, burst: 20, key: [client.address]}
",
};
