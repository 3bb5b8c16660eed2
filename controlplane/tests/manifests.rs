//! Documents and what comes of them: the wrong ones with all their errors, the right ones with
//! the configuration that they compile to. `CORELANE_UPDATE=1` writes the expectations anew.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use controlplane::{Loaded, load_text};
use shards::config::{BackendId, LimitId, RuleId};

fn manifests(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").join(folder);
    let entries =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|ext| ext != "expected")).collect();
    paths.sort();
    paths
}

/// Compares with the file beside it.
fn check(path: &Path, seen: &str, wrong: &mut Vec<String>) {
    let beside = path.with_added_extension("expected");
    if std::env::var_os("CORELANE_UPDATE").is_some() {
        fs::write(&beside, seen).expect("write");
    }
    let expected = fs::read_to_string(&beside).unwrap_or_default();
    if expected != seen {
        wrong.push(format!("{}:\n{seen}\nexpected:\n{expected}", path.display()));
    }
}

fn read(path: &Path) -> (String, String) {
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    (name, fs::read_to_string(path).expect("a file"))
}

/// The whole configuration, as far as it can be seen from outside.
fn shown(loaded: &Loaded) -> String {
    let config = &loaded.snapshot;
    let mut text = format!("{}\n{:?}\n", loaded.summary, loaded.keyspace);
    for (port, number) in config.ports() {
        let _ = writeln!(text, "{port:?} {number:?}");
    }
    for rule in (0..config.rules()).map(RuleId) {
        let view = config.rule(rule);
        let _ = writeln!(text, "{rule:?} {}/{} {:?}", view.route(), view.name(), view.timeouts());
        let limits: Vec<_> = view.limits().map(|limit| config.limit(limit).name()).collect();
        let backends: Vec<_> = view.backends().collect();
        let _ = writeln!(text, "  backends {backends:?} limits {limits:?}");
    }
    for backend in (0..config.backends()).map(BackendId) {
        let view = config.backend(backend);
        let endpoints: Vec<_> = view.endpoints().map(|at| config.endpoint(at)).collect();
        let _ = writeln!(text, "{backend:?} {} {:?} {endpoints:?}", view.name(), view.balance());
    }
    for limit in (0..config.limits()).map(LimitId) {
        let view = config.limit(limit);
        let keys: Vec<_> = view.keys().collect();
        let (tokens, period, burst, cost) =
            (view.tokens(), view.period(), view.burst(), view.cost());
        let _ =
            writeln!(text, "{limit:?} {} {tokens} {period:?} {burst} {cost} {keys:?}", view.name());
    }
    text
}

#[test]
fn wrong_documents_get_all_their_errors() {
    let mut wrong = Vec::new();
    let paths = manifests("bad");
    assert!(paths.len() >= 13, "they are there");
    for path in paths {
        let (name, text) = read(&path);
        let faults = load_text(&name, &text, 1).expect_err(&name);
        assert!(!faults.is_empty(), "{name}: an error says what is wrong");
        let lines: Vec<_> = faults.iter().map(|fault| format!("{fault}\n")).collect();
        check(&path, &lines.concat(), &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn right_documents_compile() {
    let mut wrong = Vec::new();
    for path in manifests("good") {
        let (name, text) = read(&path);
        let loaded =
            load_text(&name, &text, 1).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        let again = load_text(&name, &text, 1).expect("as before");
        assert!(loaded.snapshot.as_bytes() == again.snapshot.as_bytes(), "{name}: the same bytes");
        check(&path, &shown(&loaded), &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// However a right file is cut off, there is an outcome, and an error has a place in the file.
#[test]
fn a_file_that_is_cut_off_has_an_outcome() {
    for path in manifests("good") {
        let (name, text) = read(&path);
        let lines = u32::try_from(text.lines().count()).expect("few") + 1;
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            for fault in load_text(&name, &text[..end], 1).err().unwrap_or_default() {
                assert!((1..=lines).contains(&fault.spot.line), "{end}: {fault}");
            }
        }
    }
}

/// The only error of a document.
#[track_caller]
fn only_error(text: &str) -> String {
    let faults = load_text("a.yaml", text, 1).expect_err("wrong");
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0].to_string()
}

/// Beyond 2^32 - 1 in all there is no share to draw.
#[test]
fn weights_that_add_up_to_too_much_have_their_place() {
    let mut text =
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n\
        ---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\n\
        spec:\n  rules:\n  - backendRefs:\n"
            .to_owned();
    let most = u32::MAX / 1_000_000;
    for _ in 0..most {
        text += "    - {name: a, port: 80, weight: 1000000}\n";
    }
    load_text("a.yaml", &text, 1).expect("as much as there may be");
    text += "    - {name: a, port: 80, weight: 967295}\n";
    load_text("a.yaml", &text, 1).expect("as much as there may be");
    text += "    - {name: a, port: 80, weight: 1}\n";
    let expected = "a.yaml:4307:35: spec.rules[0].backendRefs[4295].weight: expected weights of a rule \
        that add up to at most 4294967295";
    assert_eq!(only_error(&text), expected);
}

/// A name that is too long for a bucket would refuse every request.
#[test]
fn a_limit_whose_buckets_can_have_no_name_is_an_error() {
    let policy = |keys: usize| {
        let keys: Vec<String> = (0..keys).map(|n| format!("header:x{n}")).collect();
        format!(
            "apiVersion: corelane.dev/v1\nkind: RateLimitPolicy\nmetadata: {{name: a}}\n\
             spec: {{limits: [{{name: abc, rate: 1, key: [{}]}}]}}\n",
            keys.join(", ")
        )
    };
    let room = shards::limit::LONGEST_NAME - "abc".len();
    load_text("a.yaml", &policy(room), 1).expect("a name of colons");
    let expected = "a.yaml:4:43: spec.limits[0].key: expected fewer: the name of a bucket, \
        abc:VALUE:VALUE and so on, has at most 512 bytes";
    assert_eq!(only_error(&policy(room + 1)), expected);
}

/// Each match is laid out for each hostname: a small file could take all memory.
#[test]
fn more_matches_than_the_tables_take_are_an_error() {
    let names: Vec<String> = (0..1_001).map(|n| format!("h{n}.com")).collect();
    let matches: Vec<String> = (0..1_000).map(|n| format!("{{path: {{value: /p{n}}}}}")).collect();
    let text = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: a}}\nspec:\n  \
         hostnames: [{}]\n  rules:\n  - matches: [{}]\n",
        names.join(", "),
        matches.join(", ")
    );
    let expected = "a.yaml:3:18: spec: with this route there are 1001000 matches, each counted for \
        every hostname and listener of its route; expected at most 1000000";
    assert_eq!(only_error(&text), expected);
}
