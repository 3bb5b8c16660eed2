//! Looking for keys: SCAN, KEYS, RANDOMKEY.

use super::*;

#[test]
fn scanning() {
    check(
        "SCAN 0 => *2 $1 0 *0
         MSET a1 x a2 x b1 x => +OK
         SCAN 0 MATCH a1 COUNT 100 => *2 $1 0 *1 $2 a1
         SCAN 0 TYPE hash COUNT 100 => *2 $1 0 *0
         SCAN 0 COUNT 0 => -ERR syntax error
         SCAN 0 COUNT x => -ERR value is not an integer or out of range
         SCAN 0 MATCH => -ERR syntax error
         SCAN x => -ERR invalid cursor
         SCAN 18446744073709551615 => *2 $1 0 *0
         KEYS b* => *1 $2 b1
         KEYS z* => *0",
    );
    let mut client = Client::new(Settings::default());
    for n in 0..5_000 {
        client.say(&format!("SET key:{n} v"));
    }
    assert_eq!(client.say("KEYS *").matches("key:").count(), 5_000);
    assert_eq!(client.say("SCAN 0 COUNT 100000").matches("key:").count(), 5_000);
}

#[test]
fn long_keys_and_patterns_are_compared_in_steps() {
    let mut client = Client::new(Settings::default());
    let long = "a".repeat(200_000);
    for key in [&long, "short", &format!("{long}b"), &"a".repeat(3_000)] {
        client.say(&format!("SET {key} v"));
    }
    assert_eq!(client.say("KEYS *a*a*a*c"), "*0");
    assert!(client.steps > 400_000 / (7 * 256), "{} steps for what has to be read", client.steps);
    assert_eq!(client.say("KEYS *a*b"), format!("*1 $200001 {long}b"));
    let all = client.reply("SCAN 0 COUNT 100 MATCH [as]*");
    assert_eq!(all.blobs.len(), 4, "long keys are sent from where they lie, others between");
    let all = String::from_utf8(whole(&all)).unwrap();
    assert!(all.starts_with("*2\r\n$1\r\n0\r\n*4\r\n$") && all.len() < 403_200, "{}", all.len());
    for key in [&long, "short", &format!("{long}b"), &"a".repeat(3_000)] {
        assert!(all.contains(&format!("\r\n${}\r\n{key}\r\n", key.len())));
    }
    let pattern = "[a]".repeat(30_000);
    let refusal = "-ERR the pattern is too long: at most 64 KiB";
    for command in ["KEYS", "SCAN 0 MATCH", "CONFIG GET", "COMMAND LIST FILTERBY PATTERN"] {
        assert_eq!(client.say(&format!("{command} {pattern}")), refusal);
    }
    assert_eq!(client.shard.stats.refused_pattern_size.get(), 4);
}

#[test]
fn a_random_key_is_found_among_expired_ones_or_is_one_that_just_was() {
    let mut client = Client::new(Settings::default());
    (0..20_000).for_each(|n| assert_eq!(client.say(&format!("SET k{n} v PX 5")), "+OK"));
    client.now.wall_us += 10_000;
    assert!(client.say("RANDOMKEY").contains(" k"));
    let removed = client.shard.stats.expired_keys.get();
    assert!((1..2_000).contains(&removed), "what was met, and no more: {removed}");
    client.say("FLUSHALL");
    assert_eq!(client.say("RANDOMKEY"), "$-1");
    assert_eq!(client.say("SET k v PX 5"), "+OK");
    assert_eq!(client.say("SET l v"), "+OK");
    client.now.wall_us += 10_000;
    for _ in 0..10 {
        assert_eq!(client.say("RANDOMKEY"), "$1 l");
    }
}
