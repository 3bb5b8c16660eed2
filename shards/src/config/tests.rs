//! The archive: the same bytes for the same draft, read back as written, and never unsound.

use rkyv::util::AlignedVec;

use super::draft::{Backend, Balance, Draft, Key, Limit, Listener, Match, Path, Route, Rule};
use super::*;
use crate::limit::RateError;
use crate::route::{self, Request};
use crate::time::Nanos;

/// One of everything.
fn draft() -> Draft {
    let backend = |name: &str, balance, endpoints: &[&str]| Backend {
        name: name.into(),
        balance,
        endpoints: endpoints.iter().map(|at| at.parse().expect("an address")).collect(),
    };
    let limit = |name: &str, keys| Limit {
        name: name.into(),
        tokens: 100,
        period: Nanos::SECOND,
        burst: 20,
        cost: 2,
        keys,
    };
    let keys = vec![
        Key::ClientAddress { v4: 32, v6: 64 },
        Key::Header("X-Key".into()),
        Key::Path,
        Key::Route,
    ];
    let one = Match {
        path: Path::Exact("/exact".into()),
        method: Some("POST".into()),
        headers: vec![("X-A".into(), "1".into())],
        params: vec![("q".into(), "2".into())],
    };
    let rule = Rule {
        name: Some("first".into()),
        matches: vec![one, Match { path: Path::Prefix("/a/b/".into()), ..Match::default() }],
        backends: vec![(1, Some(0)), (2, Some(1)), (1, None)],
        request_timeout: Some(Nanos(5)),
        backend_timeout: None,
        limits: vec![1, 0],
    };
    let wild = Some("*.example.com".into());
    Draft {
        generation: 7,
        listeners: vec![
            Listener { name: "default/http".into(), port: 0, hostname: None },
            Listener { name: "web/http".into(), port: 8000, hostname: wild },
        ],
        routes: vec![Route {
            name: "default/shop".into(),
            listeners: vec![0, 1],
            hostnames: vec!["shop.example.com".into(), "*.example.com".into()],
            rules: vec![rule, Rule::default()],
        }],
        backends: vec![
            backend("default/a:80", Balance::RoundRobin, &["127.0.0.1:9000", "[::1]:9001"]),
            backend("default/b:80", Balance::default(), &["127.0.0.1:9000", "127.0.0.1:9000"]),
        ],
        limits: vec![limit("one", vec![]), limit("many", keys)],
    }
}

fn request<'a>(host: &'a str, path: &'a str) -> Request<'a> {
    let [host, path] = [host, path].map(str::as_bytes);
    Request { host, path, query: b"q=2", method: b"POST" }
}

/// Looks at everything there is.
fn read(config: &ArchivedConfig) -> String {
    let mut seen = format!("{}", config.generation());
    for (port, number) in config.ports() {
        for host in ["shop.example.com", "x.example.com", "other", ""] {
            for path in ["/exact", "/a/b/c", "/", "x", ""] {
                let found = route::find(
                    config,
                    port,
                    &request(host, path),
                    &[(&b"x-a"[..], &b"1"[..])][..],
                );
                seen += &format!("\n{number:?} {host}{path}: {found:?}");
            }
        }
    }
    for rule in (0..config.rules()).map(RuleId) {
        let view = config.rule(rule);
        let picks = [0, 1 << 62, 1 << 63, u64::MAX].map(|random| route::pick(config, rule, random));
        let limits: Vec<_> = view.limits().collect();
        let backends: Vec<_> = view.backends().collect();
        seen += &format!("\n{}/{} {:?}", view.route(), view.name(), view.timeouts());
        seen += &format!(" {limits:?} {backends:?} {picks:?}");
    }
    for backend in (0..config.backends()).map(BackendId) {
        let view = config.backend(backend);
        let endpoints: Vec<_> = view.endpoints().map(|at| config.endpoint(at)).collect();
        seen += &format!("\n{} {:?} {endpoints:?}", view.name(), view.balance());
    }
    for limit in (0..config.limits()).map(LimitId) {
        let view = config.limit(limit);
        let keys: Vec<_> = view.keys().collect();
        seen += &format!("\n{} {} {:?}", view.name(), view.tokens(), view.period());
        seen += &format!(" {} {} {keys:?}", view.burst(), view.cost());
    }
    seen + &format!("\n{:?}", config.limit_named(b"many"))
}

#[test]
fn what_was_written_is_read() {
    let config = draft().compile().expect("a configuration");
    assert_eq!(config.generation(), 7);
    assert_eq!(config.port(Some(8000)), Some(PortId(1)));
    assert_eq!((config.port(None), config.port(Some(1))), (Some(PortId(0)), None));
    let rule = config.rule(RuleId(0));
    assert_eq!((rule.route(), rule.name()), ("default/shop", "first"));
    assert_eq!(rule.timeouts(), Timeouts { request: Some(Nanos(5)), backend: None });
    assert_eq!(rule.limits().collect::<Vec<_>>(), [LimitId(1), LimitId(0)]);
    assert_eq!(rule.backends().collect::<Vec<_>>(), [Some(BackendId(0)), Some(BackendId(1)), None]);
    assert_eq!(config.rule(RuleId(1)).name(), "1", "called by its position");
    let endpoints = |n| config.backend(BackendId(n)).endpoints().collect::<Vec<_>>();
    assert_eq!(endpoints(0), [EndpointId(0), EndpointId(1)]);
    assert_eq!(endpoints(1), [EndpointId(0)], "one address is one endpoint");
    assert_eq!(config.endpoint(EndpointId(1)).to_string(), "[::1]:9001");
    assert_eq!(config.backend(BackendId(0)).balance(), Balance::RoundRobin);
    let limit = config.limit_named(b"many").expect("a limit");
    assert_eq!(config.limit_named(b"man"), None);
    let keys: Vec<_> = config.limit(limit).keys().collect();
    let address = KeyPart::ClientAddress { v4: 32, v6: 64 };
    assert_eq!(keys, [address, KeyPart::Header(b"x-key"), KeyPart::Path, KeyPart::Route]);
    assert_eq!((config.limit(limit).burst(), config.limit(limit).cost()), (20, 2));
}

#[test]
fn the_same_draft_has_the_same_bytes() {
    let (one, other) = (draft().compile().expect("good"), draft().compile().expect("good"));
    assert!(one.as_bytes() == other.as_bytes());
    let changed = Draft { generation: 8, ..draft() }.compile().expect("good");
    assert!(one.as_bytes() != changed.as_bytes());
}

#[test]
fn names_are_unique_references_lead_somewhere_and_limits_are_rates() {
    let wrong = |change: fn(&mut Draft)| {
        let mut draft = draft();
        change(&mut draft);
        draft.compile().expect_err("refused")
    };
    assert_eq!(
        wrong(|d| d.limits[1].name = "one".into()),
        BuildError::Twice("limit", "one".into())
    );
    let twice = wrong(|d| d.listeners[1] = Listener { name: "b".into(), ..d.listeners[0].clone() });
    assert_eq!(twice, BuildError::Twice("listener", "b".into()));
    let rate = |why| BuildError::Rate("many".into(), why);
    assert_eq!(wrong(|d| d.limits[1].burst = u32::MAX), rate(RateError::TooLarge));
    assert_eq!(wrong(|d| d.limits[1].period = Nanos(0)), rate(RateError::Zero));
    assert_eq!(wrong(|d| d.routes[0].rules[0].limits[0] = 2), BuildError::Dangling("limit"));
    assert_eq!(wrong(|d| d.routes[0].listeners[0] = 2), BuildError::Dangling("listener"));
}

#[test]
fn no_small_draft_becomes_a_large_archive() {
    let mut draft = draft();
    draft.routes[0].hostnames = (0..1_000).map(|n| format!("h{n}.com")).collect();
    draft.routes[0].rules[0].matches = vec![Match::default(); MAX_CANDIDATES / 2_000 + 1];
    assert!(matches!(draft.compile(), Err(BuildError::TooLarge(_))));
}

fn load(bytes: &[u8]) -> Result<Snapshot, Refused> {
    let mut aligned = AlignedVec::new();
    aligned.extend_from_slice(bytes);
    Snapshot::from_bytes(aligned)
}

#[test]
fn what_is_cut_off_is_refused_or_harmless() {
    let whole = draft().compile().expect("a configuration");
    let bytes = whole.as_bytes();
    assert_eq!(read(&load(bytes).expect("whole")), read(&whole));
    let accepted = (0..bytes.len()).filter_map(|len| load(&bytes[..len]).ok());
    let accepted = accepted.inspect(|config| drop(read(config))).count();
    assert_eq!(accepted, 0, "the root is at the end");
}

#[test]
fn what_is_flipped_is_refused_or_harmless() {
    let whole = draft().compile().expect("a configuration");
    let (mut bytes, expected) = (whole.as_bytes().to_vec(), read(&whole));
    let (mut refused, mut changed) = (0, 0);
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            bytes[at] ^= flip;
            match load(&bytes) {
                Err(_) => refused += 1,
                Ok(config) => changed += usize::from(read(&config) != expected),
            }
            bytes[at] ^= flip;
        }
    }
    assert!(refused > bytes.len(), "{refused} of {} flips are seen", bytes.len() * 3);
    assert!(changed > 0, "what is no structure is believed");
}
