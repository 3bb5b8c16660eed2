//! How a run ends: all is well, everybody is answered, everybody goes, nothing is left; and then
//! the node is drained amid requests.

use std::collections::BTreeMap;

use dataplane::cache_server::Leftovers;
use shards::time::Nanos;

use super::book::Fate;
use super::client::Client;
use super::town::Town;

/// Longer than any idle connection is kept.
const PATIENCE: Nanos = Nanos(80 * Nanos::SECOND.0);
/// After everything is well, no exchange may have to wait for a time-out.
const AT_ONCE: Nanos = Nanos(Nanos::SECOND.0);
/// What a drain may take.
const DRAIN: Nanos = Nanos(31 * Nanos::SECOND.0);

/// All faults end; who waits gets an answer, and everybody is served as if nothing had been.
pub fn recover(town: &mut Town<'_>) -> Result<(), String> {
    town.heal()?;
    town.run(|town| !town.waits())?;
    town.settle()?;
    // Endpoints that have failed get requests again.
    let now = town.now();
    town.book.healed = Some(now);
    town.trace.tell(format_args!("-- a round in which all is well"));
    town.asks = true;
    let enough = town.asked + 4 * town.clients.len();
    town.run(|town| town.asked >= enough)?;
    town.asks = false;
    let since = town.now();
    town.run(|town| !town.waits())?;
    let took = town.now().since(since);
    if took > AT_ONCE {
        return Err(format!("all was well, and the last answers took {took:?}"));
    }
    Ok(())
}

/// All clients go, and nothing of them is left.
pub fn leave_nothing(town: &mut Town<'_>) -> Result<(), String> {
    town.trace.tell(format_args!("-- everybody goes"));
    for client in &mut town.clients {
        client.finish(&mut town.node.net.borrow_mut());
    }
    town.run(|town| town.clients.iter().all(|client| client.link.is_none()))?;
    let since = town.now();
    let over = |town: &Town<'_>| is_empty(town) || town.now().since(since) > PATIENCE;
    let outcome = town.run(over);
    if outcome.is_ok() && is_empty(town) {
        return counts_agree(town);
    }
    let gauge = |name, label| town.node.proxy_count(name, label);
    Err(format!(
        "all are gone, and this is left: {} clients, {} servers, {} idle, {} bytes, {} open; {:#?}",
        gauge("http_connections", Some(("side", "client"))),
        gauge("http_connections", Some(("side", "upstream"))),
        gauge("http_idle_upstreams", None),
        gauge("http_pending_bytes", None),
        town.node.net.borrow().served(),
        town.node.leftovers()
    ))
}

fn is_empty(town: &Town<'_>) -> bool {
    let node = &town.node;
    let gauges = ["http_connections", "http_idle_upstreams", "http_pending_bytes"];
    gauges.iter().all(|name| node.proxy_count(name, None) == 0)
        && node.leftovers().iter().all(|left| *left == Leftovers::default())
        && node.net.borrow().served() == 0
}

/// What the node has counted is what clients have seen, but for what never reached them.
fn counts_agree(town: &Town<'_>) -> Result<(), String> {
    let (book, node) = (&town.book, &town.node);
    let unseen = book
        .entries
        .iter()
        .filter(|entry| !entry.asked.dead && entry.fate == Fate::Lost && entry.first_at.is_some());
    let unseen = unseen.count() as u64;
    let between = |what: &str, seen: u64, counted: u64, more: u64| {
        if (seen..=seen + more).contains(&counted) {
            return Ok(());
        }
        Err(format!("{what}: {seen} seen, {counted} counted, {unseen} got no answer"))
    };
    let mut spare = unseen;
    for class in 2..=5u16 {
        let label = format!("{class}xx");
        let counted = PAIRS[usize::from(class)];
        let counted = node.proxy_count("http_responses", Some(counted));
        let seen = book.classes.get(&class).copied().unwrap_or(0);
        between(&label, seen, counted, spare)?;
        spare -= counted - seen;
    }
    let switched = book.classes.get(&1).copied().unwrap_or(0);
    let interim = node.proxy_count("http_responses", Some(PAIRS[1]));
    let (sent, seen) = book.interims;
    if interim < seen || interim > sent + switched + book.entries.len() as u64 {
        return Err(format!("1xx: {seen} seen, {interim} counted, {sent} sent"));
    }
    let to_head = book.causes.get("head").copied().unwrap_or(0);
    let mut causes = BTreeMap::new();
    node.causes().for_each(|(cause, count)| *causes.entry(cause).or_insert(0) += count);
    for (cause, counted) in causes {
        let seen = book.causes.get(cause).copied().unwrap_or(0);
        if !["client_gone", "truncated", "stalled", "slow_reader"].contains(&cause) {
            between(cause, seen, counted, unseen + to_head + book.truncated)?;
        }
    }
    Ok(())
}

const PAIRS: [(&str, &str); 6] = [
    ("class", "0xx"),
    ("class", "1xx"),
    ("class", "2xx"),
    ("class", "3xx"),
    ("class", "4xx"),
    ("class", "5xx"),
];

/// The node is told to end while clients have asked for something: all shards end in time, and
/// nothing is open.
pub fn drain(town: &mut Town<'_>) -> Result<(), String> {
    town.trace.tell(format_args!("-- drains"));
    for client in &mut town.clients {
        client.connect(&mut town.node.net.borrow_mut());
    }
    town.asks = true;
    let enough = town.asked + town.clients.len();
    town.run(|town| town.asked >= enough)?;
    town.asks = false;
    town.book.drains = true;
    town.node.drain();
    let since = town.now();
    town.run(|town| town.node.has_ended())?;
    let took = town.now().since(since);
    if took > DRAIN {
        return Err(format!("draining took {took:?}"));
    }
    town.settle()?;
    let left = town.clients.iter().filter(|client| client.link.is_some()).count();
    // Connections that nobody uses end with the process.
    let idle = town.node.proxy_count("http_idle_upstreams", None) as usize;
    let open = town.node.net.borrow().served();
    if left > 0 || open > idle || town.clients.iter().any(Client::waits) {
        return Err(format!("drained: {left} clients have a connection, {open} are open"));
    }
    Ok(())
}
