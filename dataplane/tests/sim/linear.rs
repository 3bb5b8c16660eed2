//! Whether a history of operations on one key could have happened one after the other, each
//! at a moment between its call and its reply (linearizability).
//!
//! The search of Wing and Gong (1993) with the memory of Lowe (2017): a set of operations
//! placed and the state they lead to are looked at once. Operations of one connection keep
//! their order. One whose outcome is unknown may be placed at any time after its call, or
//! never; one that was refused is not in the history.

use std::collections::HashSet;

use super::trace::shown;

/// What is done to a key. A value that is none is a key that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Get,
    Set(Vec<u8>),
    SetIfNone(Vec<u8>),
    GetSet(Vec<u8>),
    GetDel,
    Del,
    Append(Vec<u8>),
    Incr,
    Len,
}

/// What its client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Nil,
    Ok,
    Int(i64),
    Bytes(Vec<u8>),
    Error,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Op {
    pub connection: usize,
    pub kind: Kind,
    pub called: u64,
    /// When the reply came and what it was; none when nobody knows.
    pub done: Option<(u64, Seen)>,
}

/// What the search has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    Impossible,
    /// It would take too long to say.
    Undecided,
}

type State = Option<Vec<u8>>;

/// What an operation does to a key, and answers.
fn apply(state: &State, kind: &Kind) -> (State, Seen) {
    let bytes = |state: &State| state.clone().map_or(Seen::Nil, Seen::Bytes);
    match kind {
        Kind::Get => (state.clone(), bytes(state)),
        Kind::Set(value) => (Some(value.clone()), Seen::Ok),
        Kind::SetIfNone(value) => match state {
            None => (Some(value.clone()), Seen::Ok),
            Some(_) => (state.clone(), Seen::Nil),
        },
        Kind::GetSet(value) => (Some(value.clone()), bytes(state)),
        Kind::GetDel => (None, bytes(state)),
        Kind::Del => (None, Seen::Int(state.is_some().into())),
        Kind::Append(more) => {
            let mut all = state.clone().unwrap_or_default();
            all.extend_from_slice(more);
            let len = all.len() as i64;
            (Some(all), Seen::Int(len))
        }
        Kind::Incr => {
            let text = state.as_deref().unwrap_or(b"0");
            let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
            match number.and_then(|n| n.checked_add(1)) {
                Some(n) => (Some(n.to_string().into_bytes()), Seen::Int(n)),
                None => (state.clone(), Seen::Error),
            }
        }
        Kind::Len => (state.clone(), Seen::Int(state.as_ref().map_or(0, Vec::len) as i64)),
    }
}

/// Looks for an order of the operations of one key that starts with no value.
pub fn check(mut ops: Vec<Op>, budget: usize) -> Verdict {
    // Who only looked and does not know what it saw says nothing.
    ops.retain(|op| op.done.is_some() || !matches!(op.kind, Kind::Get | Kind::Len));
    ops.sort_by_key(|op| op.called);
    Search { ops: &ops, seen: HashSet::new(), budget }.run()
}

/// The history up to the first reply that no order explains, the last operations in words.
pub fn explain(ops: &[Op], budget: usize) -> String {
    let mut replies: Vec<u64> = ops.iter().filter_map(|op| Some(op.done.as_ref()?.0)).collect();
    replies.sort_unstable();
    let until = |end: u64| -> Vec<Op> {
        let called = ops.iter().filter(|op| op.called <= end).cloned();
        let known = |op: Op| Op { done: op.done.filter(|(at, _)| *at <= end), ..op };
        called.map(known).collect()
    };
    let fails = |end: &u64| check(until(*end), budget) == Verdict::Impossible;
    let first = replies.partition_point(|end| !fails(end));
    let mut history = until(replies.get(first).copied().unwrap_or(u64::MAX));
    history.sort_by_key(|op| op.done.as_ref().map_or(u64::MAX, |(at, _)| *at));
    let lines: Vec<String> = history.iter().rev().take(40).map(told).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

fn told(op: &Op) -> String {
    let short = |text: String| text.chars().take(70).collect::<String>();
    let text = |bytes: &[u8]| shown(&bytes[..bytes.len().min(20)]);
    let kind = match &op.kind {
        Kind::Set(value) => format!("Set {}", text(value)),
        Kind::SetIfNone(value) => format!("SetIfNone {}", text(value)),
        Kind::GetSet(value) => format!("GetSet {}", text(value)),
        Kind::Append(value) => format!("Append {}", text(value)),
        other => format!("{other:?}"),
    };
    let seen = match &op.done {
        None => "unknown".to_owned(),
        Some((at, Seen::Bytes(value))) => format!("{at}: {}", text(value)),
        Some((at, seen)) => format!("{at}: {seen:?}"),
    };
    short(format!("  connection {:2} {:6} {kind} -> {seen}", op.connection, op.called))
}

struct Search<'a> {
    ops: &'a [Op],
    seen: HashSet<(Vec<u64>, State)>,
    budget: usize,
}

/// Where the search stands: what is placed, what it led to, and which choice is next.
struct Node {
    placed: Vec<u64>,
    state: State,
    choices: Vec<usize>,
}

impl Search<'_> {
    fn run(&mut self) -> Verdict {
        let mut path = vec![self.node(vec![0; self.ops.len().div_ceil(64)], None)];
        while let Some(node) = path.last_mut() {
            if self.is_complete(&node.placed) {
                return Verdict::Linearizable;
            }
            let Some(choice) = node.choices.pop() else {
                path.pop();
                continue;
            };
            let op = &self.ops[choice];
            let (state, answer) = apply(&node.state, &op.kind);
            if op.done.as_ref().is_some_and(|(_, seen)| *seen != answer) {
                continue;
            }
            let mut placed = node.placed.clone();
            placed[choice / 64] |= 1 << (choice % 64);
            if !self.seen.insert((placed.clone(), state.clone())) {
                continue;
            }
            if self.seen.len() > self.budget {
                return Verdict::Undecided;
            }
            path.push(self.node(placed, state));
        }
        Verdict::Impossible
    }

    fn is_complete(&self, placed: &[u64]) -> bool {
        self.ops.iter().enumerate().all(|(n, op)| op.done.is_none() || is_placed(placed, n))
    }

    /// Operations that may come next: called before the first reply of those not placed, and
    /// first of their connection.
    fn node(&self, placed: Vec<u64>, state: State) -> Node {
        let open = || self.ops.iter().enumerate().filter(|(n, _)| !is_placed(&placed, *n));
        let first_reply = open().filter_map(|(_, op)| Some(op.done.as_ref()?.0)).min();
        let mut choices: Vec<usize> = Vec::new();
        let mut connections: Vec<usize> = Vec::new();
        for (n, op) in open() {
            if first_reply.is_some_and(|first| op.called > first) {
                break;
            }
            if !connections.contains(&op.connection) {
                choices.push(n);
                if op.done.is_some() {
                    connections.push(op.connection);
                }
            }
        }
        // Unknown ones are tried last, since most did what their clients did not hear of.
        choices.sort_by_key(|n| (self.ops[*n].done.is_some(), std::cmp::Reverse(*n)));
        Node { placed, state, choices }
    }
}

fn is_placed(placed: &[u64], n: usize) -> bool {
    placed[n / 64] >> (n % 64) & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `connection called replied kind seen`, `-` for an unknown reply.
    fn op(text: &str) -> Op {
        let words: Vec<&str> = text.split(' ').collect();
        let value = |at: usize| words[at].as_bytes().to_vec();
        let kind = match words[3] {
            "get" => Kind::Get,
            "del" => Kind::Del,
            "incr" => Kind::Incr,
            set => Kind::Set(set.strip_prefix("set=").unwrap().as_bytes().to_vec()),
        };
        let seen = match words[4] {
            "nil" => Seen::Nil,
            "ok" => Seen::Ok,
            number if number.starts_with(':') => Seen::Int(number[1..].parse().unwrap()),
            _ => Seen::Bytes(value(4)),
        };
        let done = words[2].parse().ok().map(|at: u64| (at, seen));
        Op { connection: words[0].parse().unwrap(), kind, called: words[1].parse().unwrap(), done }
    }

    #[track_caller]
    fn expect(history: &[&str], verdict: Verdict) {
        let ops: Vec<Op> = history.iter().map(|text| op(text)).collect();
        assert_eq!(check(ops, 10_000), verdict, "{history:?}");
    }

    #[test]
    fn what_may_be() {
        expect(&[], Verdict::Linearizable);
        expect(&["1 0 9 set=a ok", "2 1 2 get nil", "2 3 4 get a"], Verdict::Linearizable);
        expect(&["1 0 9 set=a ok", "2 1 8 set=b ok", "3 9 10 get a"], Verdict::Linearizable);
        expect(&["1 0 1 incr :1", "2 2 3 incr :2", "3 0 5 incr :3"], Verdict::Linearizable);
        // Nobody knows whether a was set: both may be seen.
        expect(&["1 0 - set=a ok", "2 5 6 get nil", "2 7 8 get a"], Verdict::Linearizable);
        expect(&["1 0 - set=a ok", "2 5 6 get nil"], Verdict::Linearizable);
        // One connection asks for much at once; it is done in that order.
        expect(&["1 0 5 set=a ok", "1 1 6 set=b ok", "2 7 8 get b"], Verdict::Linearizable);
    }

    #[test]
    fn what_may_not_be() {
        // A write that was answered is not seen.
        expect(&["1 0 1 set=a ok", "2 2 3 get nil"], Verdict::Impossible);
        // It is seen, and then no more.
        expect(&["1 0 9 set=a ok", "2 1 2 get a", "2 3 4 get nil"], Verdict::Impossible);
        // Two get the same number.
        expect(&["1 0 5 incr :1", "2 1 6 incr :1"], Verdict::Impossible);
        // Seen before it was asked for.
        expect(&["1 0 1 get a", "2 2 3 set=a ok"], Verdict::Impossible);
        // An unknown write cannot come and go.
        expect(
            &["1 0 - set=a ok", "2 5 6 get a", "2 7 8 get nil", "2 9 10 get a"],
            Verdict::Impossible,
        );
        // One connection's writes swapped.
        expect(&["1 0 5 set=a ok", "1 1 6 set=b ok", "2 7 8 get a"], Verdict::Impossible);
        // Deleted, and there again without a write.
        expect(&["1 0 1 set=a ok", "2 2 3 del :1", "3 4 5 get a"], Verdict::Impossible);
    }

    #[test]
    fn a_long_history_with_a_flaw_at_its_end() {
        let mut ops: Vec<Op> = Vec::new();
        for n in 0..400u64 {
            let (at, connection) = (n / 4 * 10, (n % 4) as usize);
            let done = Some((at + 9, Seen::Ok));
            let kind = Kind::Set(n.to_string().into_bytes());
            ops.push(Op { connection, kind, called: at + n % 4, done });
        }
        let last = |value: &str| Op {
            connection: 9,
            kind: Kind::Get,
            called: 5_000,
            done: Some((5_001, Seen::Bytes(value.as_bytes().to_vec()))),
        };
        let with = |op: Op| ops.iter().cloned().chain([op]).collect::<Vec<_>>();
        assert_eq!(check(with(last("398")), 1_000_000), Verdict::Linearizable);
        assert_eq!(check(with(last("395")), 1_000_000), Verdict::Impossible);
    }

    #[test]
    fn a_search_that_grows_too_long_is_given_up() {
        let mut ops: Vec<Op> = (0..40)
            .map(|n| Op { connection: n, kind: Kind::Append(vec![n as u8]), called: 0, done: None })
            .collect();
        let done = Some((2, Seen::Int(99)));
        ops.push(Op { connection: 99, kind: Kind::Len, called: 1, done });
        assert_eq!(check(ops, 1_000), Verdict::Undecided);
    }
}
