//! What is seen from outside: health, readiness, metrics that move.

#![forbid(unsafe_code)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use support::{Node, Options, http};

fn health_and_readiness(driver: &str) {
    let node = Node::start(driver);
    assert_eq!(http::get(node.admin, "/healthz").0, 200);
    assert_eq!(http::get(node.admin, "/readyz").0, 200);
    assert_eq!(http::get(node.admin, "/nonsense").0, 404);
}

/// One line of the text format: name, labels, value.
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let value = match value {
        "+Inf" => f64::INFINITY,
        value => value.parse().unwrap_or_else(|_| panic!("no number: {line}")),
    };
    let Some((name, rest)) = series.split_once('{') else {
        return (series.to_owned(), BTreeMap::new(), value);
    };
    let inner = rest.strip_suffix('}').expect("labels end");
    let labels = inner.split(',').filter(|part| !part.is_empty()).map(|part| {
        let (key, quoted) = part.split_once('=').expect("key=value");
        let text = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"'));
        (key.to_owned(), text.expect("quotes").to_owned())
    });
    (name.to_owned(), labels.collect(), value)
}

/// The text format's own rules: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
fn the_page_is_prometheus_text(driver: &str) {
    let node = Node::start(driver);
    node.client().call("SET k v");
    let (status, head, body) = http::get(node.admin, "/metrics");
    assert_eq!(status, 200);
    let kind = http::header(&head, "content-type").expect("a content type");
    assert!(kind.starts_with("text/plain") && kind.contains("version=0.0.4"), "{kind}");
    assert!(body.ends_with('\n'), "the last line ends");
    let (mut types, mut seen, mut finished) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    let mut current = String::new();
    for line in body.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            let kinds = ["counter", "gauge", "histogram", "summary"];
            assert!(kinds.contains(&kind), "{line}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
            assert!(finished.insert(current.clone()), "{current} is in one piece");
            current = name.to_owned();
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        assert!(!line.starts_with('#'), "{line}");
        let (name, labels, value) = sample(line);
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        assert!(name.chars().all(legal), "{line}");
        assert!(name.starts_with(&current) && !current.is_empty(), "after its type: {line}");
        assert!(seen.insert((name.clone(), labels)), "a series twice: {line}");
        if types[&current] == "counter" {
            assert!(name.ends_with("_total") && value >= 0.0, "{line}");
        }
    }
    assert!(types.len() > 20, "{} metrics", types.len());
    let drivers: Vec<_> = body.lines().filter(|l| l.contains(&format!("\"{driver}\""))).collect();
    assert!(!drivers.is_empty(), "the page names the driver");
}

fn counters_move(driver: &str) {
    let node = Node::start(driver);
    let mut client = node.client();
    let hits = node.info("keyspace_hits").parse::<u64>().expect("a number");
    let names = metric_names(&node);
    let find = |part: &str| {
        let mut fitting =
            names.iter().filter(|name| name.contains(part) && name.ends_with("_total"));
        fitting.next().unwrap_or_else(|| panic!("no counter of {part} in {names:?}")).clone()
    };
    let watched = ["hits", "misses", "commands", "turns", "expired", "accepted"].map(find);
    let before = watched.clone().map(|name| node.metric(&name));
    client.call("SET k v");
    for _ in 0..10 {
        client.call("GET k");
        client.call("GET none");
        node.client().call("PING");
    }
    client.call("PSETEX short 1 v");
    std::thread::sleep(std::time::Duration::from_millis(50));
    client.call("GET short");
    let grown: Vec<_> =
        watched.iter().zip(before).map(|(name, was)| (name, node.metric(name) - was)).collect();
    let least = [10.0, 11.0, 31.0, 30.0, 1.0, 10.0];
    for ((name, grown), least) in grown.iter().zip(least) {
        assert!(*grown >= least, "{name} grew by {grown}, {least} at least");
    }
    assert_eq!(grown[0].1, 10.0, "hits are exact");
    assert_eq!(node.info("keyspace_hits").parse::<u64>().expect("a number"), hits + 10);
    assert_eq!(client.call("CONFIG RESETSTAT").text(), "OK");
    assert_eq!(node.info("keyspace_hits"), "0");
}

fn metric_names(node: &Node) -> BTreeSet<String> {
    let (_, _, body) = http::get(node.admin, "/metrics");
    let lines = body.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| sample(line).0).collect()
}

/// Refusals are counted by reason.
fn refusals_are_counted(driver: &str) {
    let password = Some("secret".to_owned());
    let node = Node::start_with(Options { password, ..Options::driver(driver) });
    let counted = |node: &Node, part: &str| {
        let (_, _, body) = http::get(node.admin, "/metrics");
        let lines = body.lines().filter(|l| l.contains(part) && !l.starts_with('#'));
        let values: Vec<_> = lines.map(|line| sample(line).2).collect();
        assert!(!values.is_empty(), "no metric of {part}");
        values.iter().sum::<f64>()
    };
    let reasons =
        ["unknown", "arity", "unauthenticated", "password", "\"protocol\"", "\"http_request\""];
    let before = reasons.map(|reason| counted(&node, reason));
    let mut client = node.client();
    client.call("NONSENSE");
    client.call("GET");
    client.call("RESET");
    client.call("GET k");
    client.call("AUTH wrong");
    for bytes in [&b"*x\r\n"[..], b"POST / HTTP/1.1\r\n"] {
        let mut wild = node.client();
        wild.send(bytes);
        wild.until_closed();
    }
    for (reason, before) in reasons.into_iter().zip(before) {
        assert!(counted(&node, reason) > before, "{reason} is counted");
    }
}

/// A page is answered while the shard is busy, and many at a time do not disturb it.
fn the_page_costs_clients_nothing(driver: &str) {
    let node = Node::start(driver);
    let mut client = node.client();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    assert_eq!(http::get(node.admin, "/metrics").0, 200);
                }
            });
        }
        for n in 0..2_000 {
            assert_eq!(client.call("INCR n").int(), n + 1);
        }
    });
}

on_each_driver!(
    health_and_readiness,
    the_page_is_prometheus_text,
    counters_move,
    refusals_are_counted,
    the_page_costs_clients_nothing,
);
