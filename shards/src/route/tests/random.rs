//! Random tables and requests: the search says what the naive one says.

use proptest::prelude::*;
use proptest::sample::select;

use super::naive::{self, Asked};
use super::*;

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    let pair = (select(vec!["x", "y", "z"]), select(vec!["1", "2"]));
    proptest::collection::vec(pair, 0..3).prop_map(|pairs| {
        let mut pairs: Vec<_> = pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        pairs.sort();
        pairs.dedup_by(|a: &mut (String, String), b| a.0 == b.0);
        pairs
    })
}

fn name() -> impl Strategy<Value = String> {
    proptest::collection::vec(select(vec!["a", "b", "bb"]), 1..4)
        .prop_map(|labels| labels.join("."))
}

fn pattern() -> impl Strategy<Value = String> {
    (name(), any::<bool>()).prop_map(|(name, wild)| if wild { format!("*.{name}") } else { name })
}

fn path() -> impl Strategy<Value = String> {
    let segments = proptest::collection::vec(select(vec!["a", "b", "ab"]), 0..4);
    (segments, any::<bool>()).prop_map(|(segments, slash)| {
        let text = format!("/{}", segments.join("/"));
        if slash && text.len() > 1 { text + "/" } else { text }
    })
}

fn a_match() -> impl Strategy<Value = Match> {
    let method = prop_oneof![3 => Just(None), 1 => select(vec!["GET", "PUT"]).prop_map(Some)];
    let path = (path(), any::<bool>())
        .prop_map(|(path, exact)| if exact { Path::Exact(path) } else { Path::Prefix(path) });
    (path, method, pairs(), pairs()).prop_map(|(path, method, headers, params)| Match {
        path,
        method: method.map(Into::into),
        headers,
        params,
    })
}

fn a_route(listeners: usize) -> impl Strategy<Value = Route> {
    let rules = proptest::collection::vec(proptest::collection::vec(a_match(), 1..3), 1..4);
    let at = proptest::sample::subsequence((0..listeners).collect::<Vec<_>>(), 1..=listeners);
    (at, proptest::collection::vec(pattern(), 0..3), rules).prop_map(
        |(listeners, hostnames, rules)| {
            let rules =
                rules.into_iter().map(|matches| Rule { matches, ..Rule::default() }).collect();
            Route { name: "default/r".into(), listeners, hostnames, rules }
        },
    )
}

fn a_draft() -> impl Strategy<Value = Draft> {
    let listener = (0..2u16, proptest::option::of(pattern()));
    proptest::collection::vec(listener, 1..5).prop_flat_map(|mut listeners| {
        listeners.sort();
        listeners.dedup();
        let listeners: Vec<_> = listeners
            .into_iter()
            .map(|(port, hostname)| Listener { name: String::new(), port, hostname })
            .collect();
        let routes = proptest::collection::vec(a_route(listeners.len()), 0..8);
        (Just(listeners), routes).prop_map(|(listeners, routes)| Draft {
            listeners,
            routes,
            ..Draft::default()
        })
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    let path = prop_oneof![8 => path(), 1 => Just("/a//b".into()), 1 => Just("*".into())];
    let method = select(vec!["GET", "PUT", "get"]);
    let host = (name(), any::<bool>())
        .prop_map(|(name, shout)| if shout { name.to_uppercase() } else { name });
    (host, path, pairs(), method, pairs()).prop_map(|(host, path, query, method, headers)| Asked {
        host,
        path,
        query,
        method: method.into(),
        headers,
    })
}

fn ask(config: &Snapshot, port: u16, asked: &Asked) -> Result<usize, NoRoute> {
    let query: Vec<String> = asked.query.iter().map(|(n, v)| format!("{n}={v}")).collect();
    let query = query.join("&");
    let headers: Vec<_> =
        asked.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let request = Request {
        host: asked.host.as_bytes(),
        path: asked.path.as_bytes(),
        query: query.as_bytes(),
        method: asked.method.as_bytes(),
    };
    let port = config.port(Some(port).filter(|number| *number != 0)).ok_or(NoRoute::Host)?;
    find(config, port, &request, &headers[..]).map(|RuleId(row)| row as usize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_search_decides_as_the_naive_one(
        draft in a_draft(),
        requests in proptest::collection::vec((0..2u16, asked()), 40),
    ) {
        let config = draft.compile().expect("a configuration");
        for (port, asked) in requests {
            prop_assert_eq!(ask(&config, port, &asked), naive::find(&draft, port, &asked), "{:?}", asked);
        }
    }
}
