//! How a run ends: everybody goes, nothing may be left; then the node is drained.

use dataplane::cache_server::Leftovers;
use shards::time::Nanos;

use super::client::{Client, Desk, Request};
use super::resp::Value;
use super::roles::Script;
use super::world::World;

/// Bytes that a shard without keys may hold: what an empty index takes.
const EMPTY_BYTES: usize = 64 << 10;
/// Longer than any client may take to close, and any drain.
const PATIENCE: Nanos = Nanos(31_000_000_000);

/// All clients go, and nothing of them is left.
pub fn leave_nothing(world: &mut World<'_>) -> Result<(), String> {
    world.trace.tell(format_args!("-- everybody goes"));
    say_goodbye(world)?;
    let flushed = ask(world, &["FLUSHALL", "DBSIZE"])?;
    if flushed != [Value::ok(), Value::Int(0)] {
        return Err(format!("FLUSHALL, DBSIZE: {flushed:?}"));
    }
    say_goodbye(world)?;
    let held = world.node.memory_used();
    if held.iter().any(|bytes| *bytes > EMPTY_BYTES) {
        return Err(format!("bytes held without keys: {held:?}"));
    }
    match world.node.net.borrow().served() {
        0 => Ok(()),
        open => Err(format!("{open} connections are open, and no client has any")),
    }
}

/// Half-closes all connections, waits for the other half, and for the shards to come to rest.
fn say_goodbye(world: &mut World<'_>) -> Result<(), String> {
    for client in &mut world.clients {
        client.finish(&mut world.node.net.borrow_mut());
    }
    world.run(|world| world.clients.iter().all(|client| client.link.is_none()), false)?;
    let since = world.node.net.borrow().now().mono;
    let at_rest = |world: &World<'_>| {
        let now = world.node.net.borrow().now().mono;
        let none = world.node.leftovers().iter().all(|left| *left == Leftovers::default());
        none || now.since(since) > PATIENCE
    };
    let outcome = world.run(at_rest, false);
    let left = world.node.leftovers();
    match outcome {
        Ok(()) if left.iter().all(|left| *left == Leftovers::default()) => Ok(()),
        _ => Err(format!("all clients are gone, and this is left: {left:#?}")),
    }
}

/// Asks from a connection of its own.
fn ask(world: &mut World<'_>, commands: &[&str]) -> Result<Vec<Value>, String> {
    let requests = commands.iter().enumerate().map(|(n, words)| Request::of(n as u32, words));
    converse(world, requests.collect())
}

/// Sends requests from a connection of its own and waits for all answers.
pub fn converse(world: &mut World<'_>, requests: Vec<Request>) -> Result<Vec<Value>, String> {
    let script = Script::new(requests);
    let answers = script.answers.clone();
    let expected = script.len();
    let number = world.clients.len();
    let mut client = Client::new(number, Box::new(script), &mut world.rng);
    client.connect(&mut world.node.net.borrow_mut());
    world.clients.push(client);
    ask_all(world, number);
    world.run(|_| answers.borrow().len() == expected, false)?;
    let answers = answers.borrow().clone();
    Ok(answers)
}

/// A client queues all that it wants to ask.
pub fn ask_all(world: &mut World<'_>, n: usize) {
    let World { clients, node, checks, rng, trace, .. } = world;
    let (at, wall_us) = (trace.steps, node.net.borrow().now().wall_us);
    let connection = clients[n].link.unwrap_or(usize::MAX);
    clients[n].ask_all(&mut Desk { rng, checks, client: n, connection, at, wall_us });
}

/// The node is told to end while clients have asked for something: what has arrived is
/// answered, and all shards end.
pub fn drain(world: &mut World<'_>) -> Result<(), String> {
    world.trace.tell(format_args!("-- drains"));
    let first = world.clients.len();
    let mut scripts = Vec::new();
    for n in 0..world.rng.between(1, 4) {
        let requests: Vec<Request> = (0..world.rng.between(1, 40) as u32)
            .map(|tag| match tag % 3 {
                0 => Request::of(tag, &format!("SET drain:{n}:{tag} {tag}")),
                1 => Request::of(tag, &format!("MGET drain:{n}:{} drain:{n}:9", tag - 1)),
                _ => Request::of(tag, &format!("GET drain:{n}:{}", tag - 2)),
            })
            .collect();
        let script = Script::new(requests);
        scripts.push((script.answers.clone(), script.len()));
        let number = world.clients.len();
        let mut client = Client::new(number, Box::new(script), &mut world.rng);
        client.connect(&mut world.node.net.borrow_mut());
        world.clients.push(client);
    }
    // They are known to the node, and then everything they want lies at its door.
    world.run(|world| !world.clients.iter().any(Client::waits), false)?;
    // It takes many turns to read.
    {
        let rules = &mut world.node.net.borrow_mut().rules;
        (rules.cut_reads, rules.buffers) = (95, 1);
    }
    for n in first..world.clients.len() {
        ask_all(world, n);
        world.clients[n].write_all(&mut world.node.net.borrow_mut());
    }
    let moving: Vec<_> = world.node.net.borrow().moving().collect();
    for (link, way) in moving {
        world.node.net.borrow_mut().deliver(link, way, usize::MAX);
    }
    world.checks.draining = true;
    world.node.drain();
    let since = world.node.net.borrow().now().mono;
    world.run(|world| world.node.has_ended(), false)?;
    let took = world.node.net.borrow().now().mono.since(since);
    if took > PATIENCE {
        return Err(format!("draining took {took:?}"));
    }
    world.run(|world| world.clients.iter().all(|client| client.link.is_none()), false)?;
    for (answers, expected) in scripts {
        let heard = answers.borrow().len();
        if heard != expected {
            return Err(format!("{heard} of {expected} were answered while draining"));
        }
    }
    Ok(())
}
