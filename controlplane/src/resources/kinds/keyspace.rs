//! Keyspace: what the cache may hold and for how long.

use crate::resources::schema::{Kind, Shape, may, must, only, or};

pub(super) static KIND: Kind = Kind {
    name: "Keyspace",
    api: "corelane.dev/v1",
    about: "What the cache may hold. There is one, named default. --maxmemory wins over it. SIGHUP \
            applies the fields that have changed since documents were last applied; what CONFIG \
            SET has changed stays until then.",
    fields: &[must(
        "spec",
        Shape::Object(&[
            may(
                "maxmemory",
                Shape::Bytes,
                "For keys and values; 0 for no limit. CONFIG maxmemory.",
            ),
            may(
                "eviction",
                only(&[
                    "noeviction",
                    "allkeys-lru",
                    "volatile-lru",
                    "allkeys-random",
                    "volatile-random",
                    "volatile-ttl",
                ]),
                "What goes when there is no room. CONFIG maxmemory-policy.",
            ),
            or(
                "durability",
                "none",
                Shape::OneOf { now: &["none"], later: &["everysec", "always"] },
                "What survives the end of the process.",
            ),
        ]),
        "What is wanted.",
    )],
    example: "\
apiVersion: corelane.dev/v1
kind: Keyspace
metadata: {name: default}
spec: {maxmemory: 512mb, eviction: allkeys-lru}
",
};
