//! Every rule by a case with a name; and every reason for a refusal has one.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::OnceLock;

use dataplane::http1::Refusal;

use crate::corpus::{self, Case};
use crate::read::{Kind, Outcome, read};

const REQUESTS: [&str; 5] = ["lines.txt", "fields.txt", "framing.txt", "target.txt", "chunked.txt"];

/// All cases, with what kind of message each is.
pub(crate) fn all() -> &'static [(Kind, Case)] {
    static ALL: OnceLock<Vec<(Kind, Case)>> = OnceLock::new();
    ALL.get_or_init(load)
}

fn load() -> Vec<(Kind, Case)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/http1/cases");
    let requests = REQUESTS.iter().flat_map(|file| corpus::load(&folder, file));
    let mut cases: Vec<_> = requests.map(|case| (Kind::Request, case)).collect();
    let responses = corpus::load(&folder, "responses.txt");
    cases.extend(responses.into_iter().map(|case| (Kind::to(&case.to), case)));
    cases
}

/// What is wrong with the outcome of a case, if anything.
fn complaint(case: &Case, outcome: &Outcome) -> Option<String> {
    let got = match outcome {
        Outcome::Read(_) => "ok".to_owned(),
        Outcome::More => "more".to_owned(),
        Outcome::Refused(refusal) => format!("{} {}", refusal.status(), refusal.name()),
    };
    if got != case.want {
        return Some(format!("{}: wants {}, got {got} ({})", case.name, case.want, case.rfc));
    }
    let Outcome::Read(seen) = outcome else { return None };
    case.sees.iter().find_map(|(key, value)| {
        let found = seen.iter().find(|(name, _)| name == key);
        let found = &found.unwrap_or_else(|| panic!("{}: no {key} is seen", case.name)).1;
        let (want, got) = (String::from_utf8_lossy(value), String::from_utf8_lossy(found));
        (found != value).then(|| format!("{}: {key} is {got:?}, not {want:?}", case.name))
    })
}

#[track_caller]
fn check_all(ends: impl Fn(usize) -> Vec<usize>) {
    let complaints: Vec<_> = all()
        .iter()
        .filter_map(|(kind, case)| {
            complaint(case, &read(*kind, &case.bytes, &ends(case.bytes.len())))
        })
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn each_case_at_once() {
    check_all(|len| vec![len]);
}

#[test]
fn each_case_byte_by_byte() {
    check_all(|len| (0..=len).collect());
}

#[test]
fn each_case_in_two_pieces_of_each_size_near_its_start() {
    for cut in 1..160 {
        check_all(|len| vec![cut.min(len), len]);
    }
}

#[test]
fn every_reason_has_a_case_and_names_are_unique() {
    let cases = all();
    let names: BTreeSet<_> = cases.iter().map(|(_, case)| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "names are unique");
    let wanted: BTreeSet<_> = cases.iter().map(|(_, case)| case.want.as_str()).collect();
    for refusal in Refusal::ALL {
        let want = format!("{} {}", refusal.status(), refusal.name());
        assert!(wanted.contains(want.as_str()), "no case wants {want}");
    }
}

#[test]
fn reasons_are_told_apart() {
    let names: BTreeSet<_> = Refusal::ALL.iter().map(|refusal| refusal.name()).collect();
    assert_eq!(names.len(), Refusal::ALL.len());
    for (nth, refusal) in Refusal::ALL.iter().enumerate() {
        assert_eq!(refusal.index(), nth);
        assert!(refusal.to_string().contains("RFC "), "{refusal} cites its rule");
        assert!(refusal.name().bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()));
    }
}
