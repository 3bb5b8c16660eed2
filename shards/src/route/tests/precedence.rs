//! What Gateway API's text and conformance tests say of precedence (v1.2, HTTPRouteMatching,
//! HTTPRouteMatchingAcrossRoutes, HTTPRouteHostnameIntersection, HTTPRouteListenerHostnameMatching,
//! HTTPExactPathMatching, HTTPRouteHeaderMatching, HTTPRouteMethodMatching, HTTPRouteQueryParamMatching).

use super::*;

#[test]
fn exact_host_before_longest_wildcard_before_all_names() {
    let routes = vec![
        route(&[], &["/ #any"]),
        route(&["*.com"], &["/ #com"]),
        route(&["*.example.com"], &["/ #wild"]),
        route(&["very.specific.example.com"], &["/ #exact"]),
    ];
    check(
        routes,
        &[
            ("GET very.specific.example.com/", "/ #exact"),
            ("GET VERY.Specific.example.COM/", "/ #exact"),
            ("GET other.specific.example.com/", "/ #wild"),
            ("GET a.example.com/", "/ #wild"),
            ("GET example.com/", "/ #com"),
            ("GET notexample.com/", "/ #com"),
            ("GET com/", "/ #any"),
            ("GET .com/", "/ #any"),
            ("GET example.net/", "/ #any"),
            ("GET /", "/ #any"),
        ],
    );
}

#[test]
fn a_less_specific_host_answers_what_the_other_does_not() {
    let routes = vec![
        route(&["a.example.com"], &["/a", "POST /p"]),
        route(&["*.example.com"], &["/b"]),
        route(&[], &["/c"]),
    ];
    check(
        routes,
        &[
            ("GET a.example.com/a", "/a"),
            ("GET a.example.com/b", "/b"),
            ("GET a.example.com/c", "/c"),
            ("GET b.example.com/a", "Path"),
            ("GET a.example.com/d", "Path"),
            ("GET a.example.com/p", "Match"),
        ],
    );
    check(vec![route(&["a.com"], &["/"])], &[("GET b.com/", "Host")]);
}

#[test]
fn prefixes_are_whole_segments() {
    check(
        vec![route(&[], &["/foo", "/bar/", "=/exact", "/a/b/c"])],
        &[
            ("GET h/foo", "/foo"),
            ("GET h/foo/", "/foo"),
            ("GET h/foo/x", "/foo"),
            ("GET h/foo//x", "/foo"),
            ("GET h/foobar", "Path"),
            ("GET h/Foo", "Path"),
            ("GET h/bar", "/bar/"),
            ("GET h/bar/", "/bar/"),
            ("GET h/barn", "Path"),
            ("GET h/exact", "=/exact"),
            ("GET h/exact/", "Path"),
            ("GET h/a/b", "Path"),
            ("GET h/a/b/c/d/e/f", "/a/b/c"),
            ("GET h//foo", "Path"),
            ("GET h", "Path"),
        ],
    );
}

#[test]
fn exact_before_longest_prefix_and_back() {
    check(
        vec![route(&[], &["/", "/a", "/a/b", "POST =/a/b", "x=1 /a/b/c"])],
        &[
            ("POST h/a/b", "POST =/a/b"),
            ("GET h/a/b", "/a/b"),
            ("GET h/a/b/c", "/a/b"),
            ("GET h/a/b/c/d x=1", "x=1 /a/b/c"),
            ("GET h/a/c", "/a"),
            ("GET h/b", "/"),
            ("GET h/", "/"),
        ],
    );
}

#[test]
fn method_then_headers_then_parameters_then_order() {
    check(
        vec![
            route(
                &[],
                &[
                    "/ #first",
                    "/ ?a=1",
                    "/ ?a=1 ?b=2",
                    "x=1 /",
                    "x=1 y=2 /",
                    "PATCH /",
                    "x=1 / #later",
                ],
            ),
            route(&[], &["/ #second", "PATCH / #second"]),
        ],
        &[
            ("GET h/", "/ #first"),
            ("GET h/?a=1", "/ ?a=1"),
            ("GET h/?b=2&a=1", "/ ?a=1 ?b=2"),
            ("GET h/?a=1 x=1", "x=1 /"),
            ("GET h/?a=1&b=2 x=1 y=2", "x=1 y=2 /"),
            ("PATCH h/?a=1&b=2 x=1 y=2", "PATCH /"),
            ("patch h/", "/ #first"),
        ],
    );
}

#[test]
fn matching_across_routes() {
    // base/httproute-matching-across-routes.yaml
    let routes = vec![
        route(&["example.com", "example.net"], &["/ #v1", "version=one / #v1-one"]),
        route(&["example.com"], &["/v2 #v2", "version=two / #v2-two"]),
    ];
    check(
        routes,
        &[
            ("GET example.com/", "/ #v1"),
            ("GET example.com/ version=one", "version=one / #v1-one"),
            ("GET example.net/example version=two", "/ #v1"),
            ("GET example.com/example version=two", "version=two / #v2-two"),
            ("GET example.com/v2", "/v2 #v2"),
            // A longer path goes before a header.
            ("GET example.com/v2/example version=one", "/v2 #v2"),
            ("GET example.com/v2 version=two", "/v2 #v2"),
            ("GET example.com/v2example", "/ #v1"),
        ],
    );
}

#[test]
fn the_most_specific_listener_decides_alone() {
    let listener = |name: &str, port, hostname: Option<&str>| Listener {
        name: name.into(),
        port,
        hostname: hostname.map(Into::into),
    };
    let at = |listeners: &[usize], hostnames: &[&str], rule: &str| Route {
        listeners: listeners.to_vec(),
        ..route(hostnames, &[rule])
    };
    let draft = Draft {
        listeners: vec![
            listener("any", 0, None),
            listener("wild", 0, Some("*.example.com")),
            listener("exact", 0, Some("foo.example.com")),
            listener("other", 81, Some("*.example.com")),
        ],
        routes: vec![
            at(&[0], &[], "/ #any"),
            at(&[1], &["*.com"], "/ #wild"),
            at(&[1], &["foo.example.com"], "/ #walled"),
            at(&[2], &["foo.example.com"], "/only"),
            at(&[3], &[], "/ #other"),
            at(&[3], &["*.example.com", "a.example.com"], "/ #both"),
        ],
        ..Draft::default()
    };
    let config = draft.compile().expect("a configuration");
    let ports: Vec<_> = config.ports().map(|(_, number)| number).collect();
    assert_eq!(ports, [None, Some(81)]);
    for (port, request, expect) in [
        (0, "GET foo.example.com/only", "/only"),
        (0, "GET foo.example.com/", "Path"),
        (0, "GET bar.example.com/", "/ #wild"),
        (0, "GET example.com/", "/ #any"),
        (0, "GET foo.example.net/", "/ #any"),
        (1, "GET foo.example.com/", "/ #both"),
        (1, "GET a.example.com/", "/ #both"),
        (1, "GET example.com/", "Host"),
        (1, "GET a.example.net/", "Host"),
        (7, "GET a.example.net/", "Host"),
    ] {
        assert_eq!(answer(&config, port, request), expect, "{port} {request}");
    }
}

#[test]
fn a_route_without_matches_takes_everything() {
    let mut all = route(&[], &["/"]);
    all.rules[0].matches.clear();
    check(vec![all], &[("GET h/x", "/"), ("GET h/", "/"), ("OPTIONS h*", "Path")]);
}

#[test]
fn what_nobody_can_ask_for_is_refused() {
    let deep = "/a".repeat(crate::config::MAX_SEGMENTS + 1);
    let long = format!("/{}", "a".repeat(crate::config::MAX_PATH));
    for path in ["", "a", "//", "/a//b", &deep, &long] {
        let mut one = route(&[], &["/"]);
        one.rules[0].matches[0].path = Path::Prefix(path.into());
        assert!(draft(vec![one]).compile().is_err(), "{path}");
    }
    let deepest = deep.strip_prefix("/a").expect("one less");
    let routes = vec![route(&[], &[deepest])];
    check(routes, &[(&format!("GET h{deepest}/x"), deepest), (&format!("GET h{deep}"), deepest)]);
    let name = format!("GET {}/", "a.".repeat(127) + "com");
    check(vec![route(&["*.com"], &["/"])], &[(&name, "Host")]);
}
