//! Ways to look whether what spans shards is whole.
//!
//! Owns what is said to look, and what the replies must be like. Keeps nothing.

use super::actors::{ACCOUNTS, KEYS, Names, TOTAL, Wrong, exec};
use super::tree::Tree;

/// What the replies to all that was said show: what must hold, and what is wrong where not.
pub(super) type Check = fn(&[Tree]) -> Vec<(bool, Wrong)>;

/// What is said, and how it is judged.
pub(super) type Look = (Vec<String>, Check);

fn last(heard: &[Tree]) -> &Tree {
    heard.last().expect("something was said")
}

fn are_equal(two: &Tree) -> bool {
    let numbers = two.numbers();
    numbers[0] == numbers[1]
}

fn sum_is_kept(accounts: &Tree) -> bool {
    let numbers = accounts.numbers();
    numbers.len() == ACCOUNTS && numbers.iter().sum::<i64>() == TOTAL
}

/// At several keys, or all, of one moment.
pub(super) fn at_once(names: &Names, random: usize) -> Look {
    let ([a, b], [ball, net], [counter, copy]) = (&names.pair, &names.ball, &names.counter);
    let pair = if random.is_multiple_of(2) { format!("{a} {b}") } else { format!("{b} {a}") };
    let exists = format!("EXISTS {ball} {net}");
    let pair = format!("MGET {pair}");
    match random / 2 % 7 {
        0 => {
            let lines = vec![format!("MGET {}", names.accounts.join(" "))];
            (lines, |heard| vec![(sum_is_kept(&heard[0]), Wrong::Sum)])
        }
        1 => {
            let gets = names.accounts.iter().map(|name| format!("GET {name}"));
            let lines = exec(&gets.collect::<Vec<_>>());
            (lines, |heard| vec![(sum_is_kept(last(heard)), Wrong::Sum)])
        }
        2 => (vec![pair], |heard| vec![(are_equal(&heard[0]), Wrong::Pair)]),
        3 => (vec![exists, "DBSIZE".into()], |heard| {
            let (names, keys) = (heard[0].number(), heard[1].number());
            vec![(names == 1, Wrong::Names), (keys == KEYS, Wrong::Count)]
        }),
        4 => {
            let lines = vec![format!("MGET {copy} {counter}")];
            (lines, |heard| vec![(are_equal(&heard[0]), Wrong::Update)])
        }
        5 => (exec(&["DBSIZE".into(), format!("GET {counter}")]), |heard| {
            vec![(last(heard).list()[0].number() == KEYS, Wrong::Count)]
        }),
        _ => (exec(&[exists, pair, "DBSIZE".into()]), |heard| {
            let [names, pair, keys] = last(heard).list() else { panic!("{heard:?}") };
            vec![
                (are_equal(pair), Wrong::Pair),
                (names.number() == 1, Wrong::Names),
                (keys.number() == KEYS, Wrong::Count),
            ]
        }),
    }
}

/// At the one key of the pair and later at the other, which must not be older then.
pub(super) fn one_by_one(names: &Names, random: usize) -> Look {
    let [a, b] = &names.pair;
    let swapped = random.is_multiple_of(2);
    let (first, second) = if swapped { (b, a) } else { (a, b) };
    let gets = [first, second].map(|name| format!("GET {name}"));
    match random / 2 % 3 {
        0 => (gets.to_vec(), |heard| vec![(heard[0].number() <= heard[1].number(), Wrong::Order)]),
        1 => ([exec(&gets[..1]), exec(&gets[1..])].concat(), |heard| {
            let (earlier, later) = (&heard[2].list()[0], &last(heard).list()[0]);
            vec![(earlier.number() <= later.number(), Wrong::Order)]
        }),
        _ => {
            let near = format!("GET {}", names.near[usize::from(swapped)]);
            let watch = [format!("WATCH {first}")];
            let lines = [&watch[..], &gets, &exec(&[near])].concat();
            (lines, |heard| {
                // Who sees the second key of a later pair has lost the watch of the first.
                let changed = heard[1].number() < heard[2].number();
                vec![(!changed || *last(heard) == Tree::Null, Wrong::Watch)]
            })
        }
    }
}

/// At one of two databases that are swapped all the time.
pub(super) fn at_swapped(names: &Names, random: usize) -> Look {
    let [a, b] = &names.pair;
    let mut lines = vec![format!("SELECT {}", 1 + random % 2)];
    lines.extend(exec(&[format!("MGET {a} {b}"), "DBSIZE".into()]));
    (lines, |heard| {
        let [pair, keys] = last(heard).list() else { panic!("{heard:?}") };
        vec![(are_equal(pair) && keys.number() == 2, Wrong::Swap)]
    })
}
