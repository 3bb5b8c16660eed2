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
