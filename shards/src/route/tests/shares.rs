//! Weighted backends.

use super::*;
use crate::config::BackendId;
use crate::config::draft::Backend;

fn picks(backends: &[(u32, Option<usize>)], randoms: &[u64]) -> Vec<Result<u32, NoBackend>> {
    let mut one = route(&[], &["/"]);
    one.rules[0].backends = backends.to_vec();
    let three = ["a", "b", "c"].map(|name| Backend { name: name.into(), ..Backend::default() });
    let config = Draft { backends: three.into(), ..draft(vec![one]) }.compile().expect("good");
    let pick = |random: &u64| pick(&config, RuleId(0), *random).map(|BackendId(n)| n);
    randoms.iter().map(pick).collect()
}

#[test]
fn each_has_its_weights_share() {
    const TURNS: u64 = 1_000;
    let randoms: Vec<u64> = (0..TURNS).map(|n| n * (u64::MAX / TURNS)).collect();
    let got = picks(&[(1, Some(0)), (0, Some(1)), (3, Some(2))], &randoms);
    let of = |n| got.iter().filter(|pick| **pick == Ok(n)).count();
    assert_eq!((of(0), of(1), of(2)), (251, 0, 749), "a quarter, nothing, the rest");
    assert_eq!(picks(&[(1, Some(0)), (3, Some(2))], &[0, u64::MAX]), [Ok(0), Ok(2)]);
}

#[test]
fn nothing_to_pick_is_an_error() {
    let nothing = Err(NoBackend);
    assert_eq!(picks(&[], &[0]), [nothing]);
    assert_eq!(picks(&[(0, Some(0)), (0, Some(1))], &[0, u64::MAX]), [nothing, nothing]);
    assert_eq!(picks(&[(1, None), (1, Some(1))], &[0, u64::MAX]), [nothing, Ok(1)]);
}

#[test]
fn sums_and_references_are_checked() {
    let with = |backends: &[(u32, Option<usize>)]| {
        let mut one = route(&[], &["/"]);
        one.rules[0].backends = backends.to_vec();
        Draft { backends: vec![Backend::default()], ..draft(vec![one]) }.compile()
    };
    assert!(with(&[(u32::MAX, Some(0))]).is_ok());
    assert!(with(&[(u32::MAX, Some(0)), (1, Some(0))]).is_err(), "too much");
    assert!(with(&[(1, Some(1))]).is_err(), "there is no second");
}
