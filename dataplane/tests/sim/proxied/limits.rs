//! Whether rate limits have held: never more than burst and rate in any interval of the virtual
//! clock, and nobody refused while there was room.
//!
//! Nobody outside sees when a bucket was asked, only that it was between the last byte of the
//! request's head and the first thing that came of it. What is claimed holds for every such time.

use shards::time::Nanos;

use super::book::{Book, Entry, Fate};
use super::plan::{KEYED, KEYS, LIMITS, Limit, TWICE};

/// When a request may have been decided.
#[derive(Clone, Copy)]
struct Span {
    from: u64,
    to: u64,
}

fn decided(entry: &Entry, end: Nanos) -> Option<Span> {
    let from = entry.head_at?;
    let first = entry.attempts.first().map(|attempt| attempt.at);
    let to = first.or(entry.ended_at).unwrap_or(end);
    Some(Span { from: from.0, to: to.0 })
}

/// All limits, over the whole run; how many requests were admitted and refused.
pub fn hold(book: &Book, end: Nanos) -> Result<(usize, usize), String> {
    let mut sum = (0, 0);
    for key in 0..KEYS {
        let all = |entry: &&Entry| entry.asked.route == KEYED && entry.asked.key == key;
        let entries: Vec<&Entry> = book.entries.iter().filter(all).collect();
        admits(&entries, &LIMITS[0], end)?;
        let (admitted, refused) = refuses(book, &entries, &LIMITS[..1], end)?;
        sum = (sum.0 + admitted, sum.1 + refused);
    }
    let all = |entry: &&Entry| entry.asked.route == TWICE;
    let entries: Vec<&Entry> = book.entries.iter().filter(all).collect();
    for limit in &LIMITS[1..] {
        admits(&entries, limit, end)?;
    }
    let (admitted, refused) = refuses(book, &entries, &LIMITS[1..], end)?;
    Ok((sum.0 + admitted, sum.1 + refused))
}

/// Of those that have come to a server no interval has too many.
fn admits(entries: &[&Entry], limit: &Limit, end: Nanos) -> Result<(), String> {
    let passed = entries.iter().filter(|entry| !entry.attempts.is_empty());
    let spans: Vec<Span> = passed.filter_map(|entry| decided(entry, end)).collect();
    for first in &spans {
        let mut within: Vec<u64> =
            spans.iter().filter(|span| span.from >= first.from).map(|span| span.to).collect();
        within.sort_unstable();
        for (n, to) in within.iter().enumerate() {
            let span = u128::from(to - first.from);
            let refilled =
                span * u128::from(limit.tokens) / u128::from(limit.period_ms * 1_000_000);
            if n as u128 + 1 > u128::from(limit.burst) + refilled {
                return Err(format!("{} were admitted by {limit:?} within {span} ns", n + 1));
            }
        }
    }
    Ok(())
}

/// Who is refused has found a bucket that others may have emptied.
fn refuses(
    book: &Book,
    entries: &[&Entry],
    limits: &[Limit],
    end: Nanos,
) -> Result<(usize, usize), String> {
    let is_refused = |entry: &Entry| entry.fate == Fate::Own(429);
    let mut refused = 0;
    for entry in entries.iter().filter(|entry| is_refused(entry)) {
        refused += 1;
        let Some(at) = decided(entry, end) else { continue };
        let could = limits.iter().any(|limit| {
            let others = entries.iter().filter(|other| !std::ptr::eq(**other, *entry));
            // Who is refused takes nothing, but of an earlier limit, or of an earlier generation.
            let takes = others.filter(|other| {
                let changed = || decided(other, end).is_some_and(|span| changes(book, span) > 0);
                limits.len() > 1 || !is_refused(other) || changed()
            });
            could_be_empty(book, takes, changes(book, at), limit, at, end)
        });
        if !could {
            return Err(format!("refused for nothing: {:?}, {limits:?}", entry.asked));
        }
    }
    let admitted = entries.iter().filter(|entry| !entry.attempts.is_empty()).count();
    Ok((admitted, refused))
}

/// How often a request may have been asked for once more since another configuration came.
fn changes(book: &Book, at: Span) -> u64 {
    let between = book.generations.iter().filter(|g| g.from.0 <= at.to);
    between.filter(|g| g.from.0 > 0 && g.until.is_none_or(|until| until.0 >= at.from)).count()
        as u64
}

/// Each take is thought to have been as late as it can.
fn could_be_empty<'a>(
    book: &Book,
    takes: impl Iterator<Item = &'a &'a Entry>,
    own: u64,
    limit: &Limit,
    at: Span,
    end: Nanos,
) -> bool {
    // In nanoseconds times tokens, so that nothing is rounded.
    let period = u128::from(limit.period_ms * 1_000_000);
    let (price, capacity) = (period, period * u128::from(limit.burst));
    let mut events: Vec<(u64, u64)> = takes
        .filter(|entry| !entry.asked.bad && !entry.asked.dead)
        .filter_map(|entry| decided(entry, end))
        .filter(|span| span.from <= at.to)
        .map(|span| {
            (
                if span.from <= at.from { span.to.min(at.from) } else { at.from },
                1 + changes(book, span),
            )
        })
        .collect();
    events.sort_unstable();
    let (mut owed, mut then) = (0u128, 0);
    for (when, times) in events {
        owed = owed.saturating_sub(u128::from(when - then) * u128::from(limit.tokens));
        then = when;
        owed += u128::from(times) * price;
    }
    owed = owed.saturating_sub(u128::from(at.from - then) * u128::from(limit.tokens));
    owed + u128::from(1 + own) * price > capacity
}
