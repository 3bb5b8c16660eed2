//! The limit of memory, and who makes room.

use super::*;
use crate::store::{Expiry, NewValue};

#[test]
fn memory_limits() {
    let settings = Settings { maxmemory: 1 << 20, ..Settings::default() };
    let mut client = Client::new(settings);
    let value = "v".repeat(1_000);
    let mut refused = 0;
    for n in 0..2_000 {
        refused += usize::from(client.say(&format!("SET k{n} {value}")).starts_with("-OOM"));
    }
    assert!(refused > 900 && client.shard.store.memory_used() < (1 << 20) + 20_000, "{refused}");
    assert_eq!(client.say("GET k0").len(), 1_006);
    client.say("CONFIG SET maxmemory-policy allkeys-lru");
    for n in 0..2_000 {
        assert_eq!(client.say(&format!("SET k{n} {value}")), "+OK");
    }
    assert!(client.shard.stats.evicted_keys.get() > 900);
    assert!(client.shard.store.memory_used() < (1 << 20) + 20_000);
    assert_eq!(client.say("GET k1999").len(), 1_006);
}

/// Values much larger than what is evicted for them, and a limit that is lowered: what is too
/// much goes in steps, whether anybody writes or not.
#[test]
fn what_is_beyond_the_limit_goes_in_steps() {
    let mut client = limited(16, EvictionPolicy::AllKeysLru);
    for n in 0..40_000 {
        client.say(&format!("SET small:{n} {n:060}"));
    }
    let long = "v".repeat(1 << 20);
    for n in 0..40 {
        client.say(&format!("SET long:{n} {long}"));
    }
    let limit = |client: &Client| client.shard.settings.maxmemory as usize;
    let used = |client: &Client| client.shard.store.memory_used();
    assert!(used(&client) > limit(&client), "more than 64 small keys a write would have to go");
    let shrink = |client: &mut Client| {
        let mut steps = 0;
        while client.shard.evict_excess(128, client.now) {
            steps += 1;
            assert!(steps < 100_000, "it ends");
        }
        steps
    };
    assert!(shrink(&mut client) > 1, "in steps");
    assert!(used(&client) <= limit(&client));
    client.shard.settings.maxmemory = 8 << 20;
    assert!(shrink(&mut client) > 0);
    assert!(used(&client) <= 8 << 20);
    client.shard.settings.policy = EvictionPolicy::NoEviction;
    client.shard.settings.maxmemory = 1;
    let before = used(&client);
    assert!(!client.shard.evict_excess(128, client.now));
    assert_eq!(used(&client), before, "noeviction lets nothing go");
}

/// Who holds little asks the fullest, once for what it has written: the other may have nothing
/// that may go, and would be asked for ever.
#[test]
fn the_fullest_is_asked_once() {
    let mut client = limited(1, EvictionPolicy::VolatileLru);
    let budget = Arc::new(Budget::new(2));
    budget.say(ShardId(1), 8 << 20, 0);
    client.shard = client.shard.in_node(ShardId(0), Partition::new(2).unwrap()).within(budget);
    let pleas = |client: &mut Client| {
        assert!(!client.shard.evict_excess(128, client.now));
        std::mem::take(&mut client.shard.pleas).len()
    };
    assert_eq!(pleas(&mut client), 0, "nothing has come here");
    for name in [&b"one"[..], b"two"] {
        let (key, now) = (client.shard.hasher.key(name), client.now);
        let value = NewValue::Bytes(&[7; 9_000]);
        client.shard.store.set(DbId(0), key, value, Expiry::Never, now).unwrap();
        assert_eq!([pleas(&mut client), pleas(&mut client), pleas(&mut client)], [1, 0, 0]);
    }
}

#[test]
fn memory_on_its_way_back_counts_against_nothing() {
    let mut client = limited(8, EvictionPolicy::AllKeysLru);
    for n in 0..1_000 {
        client.say(&format!("SET k{n} {}", "v".repeat(10_000)));
    }
    let evicted = client.shard.stats.evicted_keys.get();
    assert!(evicted > 0, "full");
    assert_eq!(client.say("FLUSHALL"), "+OK");
    assert_eq!(client.say("SET a 1"), "+OK");
    assert_eq!(client.say("SET b 2"), "+OK");
    assert_eq!(client.say("MGET a b"), "*2 $1 1 $1 2");
    assert_eq!(client.shard.stats.evicted_keys.get(), evicted);

    let mut client = limited(8, EvictionPolicy::NoEviction);
    assert_eq!(client.say(&format!("SET big {}", "v".repeat(9 << 20))), "+OK");
    assert!(client.say("SET x 1").starts_with("-OOM"));
    assert_eq!(client.say("DEL big"), ":1");
    assert_eq!(client.say("SET x 1"), "+OK");
}

#[test]
fn a_long_value_that_goes_makes_room_at_once() {
    let mut client = limited(8, EvictionPolicy::AllKeysLru);
    for n in 0..4 {
        client.say(&format!("SETRANGE long{n} {} x", 3 << 20));
        client.shard.settings.maxmemory = u64::MAX;
    }
    client.now.mono.0 += 60_000_000_000;
    (0..70).for_each(|n| assert_eq!(client.say(&format!("SET k{n} v")), "+OK"));
    (client.shard.settings.maxmemory, client.shard.settings.samples) = (8 << 20, 64);
    assert_eq!(client.say("SET one more"), "+OK");
    assert_eq!(client.shard.stats.evicted_keys.get(), 2, "of 12 MiB so many are too much");
}
