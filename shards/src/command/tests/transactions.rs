//! MULTI, EXEC, WATCH, and what they keep from happening.

use super::*;

#[test]
fn transactions() {
    check(
        "MULTI => +OK
         SET a 1 => +QUEUED
         INCR a => +QUEUED
         GET a b => -ERR wrong number of arguments for 'get' command
         EXEC => -EXECABORT Transaction discarded because of previous errors.
         EXISTS a => :0
         MULTI => +OK
         SET a x => +QUEUED
         INCR a => +QUEUED
         KEYS * => +QUEUED
         EXEC => *3 +OK -ERR value is not an integer or out of range *1 $1 a
         MULTI => +OK
         MULTI => -ERR Command 'multi' not allowed inside a transaction
         WATCH a => -ERR Command 'watch' not allowed inside a transaction
         EXEC => -EXECABORT Transaction discarded because of previous errors.
         MULTI => +OK
         EXEC x => -EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command
         EXEC => -ERR EXEC without MULTI
         DISCARD => -ERR DISCARD without MULTI
         WATCH a => +OK
         other: SET a 2 => +OK
         MULTI => +OK
         SET a 3 => +QUEUED
         EXEC => *-1
         GET a => $1 2
         WATCH a => +OK
         UNWATCH => +OK
         other: SET a 4 => +OK
         MULTI => +OK
         GET a => +QUEUED
         EXEC => *1 $1 4
         SET e v PX 10 => +OK
         WATCH e => +OK
         pass 20
         MULTI => +OK
         EXEC => *-1
         WATCH e => +OK
         MULTI => +OK
         EXEC => *0
         MULTI => +OK
         NOPE => -ERR unknown command 'NOPE', with args beginning with:
         EXEC => -EXECABORT Transaction discarded because of previous errors.
         WATCH a => +OK
         MULTI => +OK
         DISCARD => +OK
         MULTI => +OK
         QUIT => +OK",
    );
}

#[test]
fn nothing_is_evicted_within_a_transaction() {
    let mut client = limited(1, EvictionPolicy::AllKeysLru);
    (0..90).for_each(|n| assert_eq!(client.say(&format!("SET k{n} {}", "v".repeat(8_000))), "+OK"));
    client.say("MULTI");
    for n in 0..90 {
        assert_eq!(client.say(&format!("SET t{n} {}", "v".repeat(8_000))), "+QUEUED");
    }
    assert_eq!(client.shard.stats.evicted_keys.get(), 0);
    assert_eq!(client.say("EXEC").matches("+OK").count(), 90);
    assert_eq!(client.shard.stats.evicted_keys.get(), 0);
    assert_eq!(client.say("SET x 1"), "+OK");
    assert!(client.shard.stats.evicted_keys.get() > 0);
}

#[test]
fn a_transaction_that_may_need_memory_is_refused_whole() {
    let mut client = limited(1, EvictionPolicy::NoEviction);
    for line in ["MULTI", "GET a", "SET a 1", "SET b 2"] {
        client.say(line);
    }
    client.say(&format!("other: SET big {}", "v".repeat(2 << 20)));
    assert_eq!(
        client.say("EXEC"),
        "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory \
         > 'maxmemory'."
    );
    assert_eq!(client.say("EXISTS a b"), ":0");
    assert_eq!(client.say("EXEC"), "-ERR EXEC without MULTI");
    client.shard.settings.maxmemory = 0;
    for line in ["WATCH a", "MULTI", "SET a 1", "other: SET a 2"] {
        client.say(line);
    }
    client.shard.settings.maxmemory = 1;
    assert_eq!(client.say("EXEC"), "*-1", "a broken watch comes first");
    for line in ["MULTI", "GET a"] {
        client.say(line);
    }
    assert_eq!(client.say("EXEC"), "*1 $1 2", "reading needs none");
}

#[test]
fn a_transaction_counts_all_that_its_queue_takes() {
    let ping = OwnedArgs::of(&[b"PING"]);
    assert!(ping.memory() >= 64, "two allocations, not {}", ping.memory());
    let mut client = Client::new(Settings::default());
    client.say("MULTI");
    (0..1_000).for_each(|_| assert_eq!(client.say("PING"), "+QUEUED"));
    let taken = client.session.transaction.as_ref().unwrap().memory();
    assert!((136_000..250_000).contains(&taken), "{taken}");
    client.session.transaction.as_mut().unwrap().bytes = transaction::MAX_QUEUED_BYTES;
    let refused = "-ERR the transaction is too large: at most 1 GiB may be queued";
    assert_eq!(client.say("PING"), refused);
    assert_eq!(client.shard.stats.refused_transaction_size.get(), 1);
    assert_eq!(client.say("EXEC"), "-EXECABORT Transaction discarded because of previous errors.");
}

#[test]
fn taking_away_no_expiry_breaks_no_watch() {
    check(
        "SET k v => +OK
         WATCH k => +OK
         other: GETEX k PERSIST => $1 v
         other: PERSIST k => :0
         MULTI => +OK
         EXEC => *0
         SET k v EX 100 => +OK
         WATCH k => +OK
         other: GETEX k PERSIST => $1 v
         MULTI => +OK
         EXEC => *-1",
    );
}

#[test]
fn watching_very_many_keys_takes_no_longer_for_each() {
    let mut client = Client::new(Settings::default());
    let keys: String = (0..100_000).map(|n| format!(" k{n}")).collect();
    let started = std::time::Instant::now();
    for who in ["", "other: "] {
        assert_eq!(client.say(&format!("{who}WATCH{keys}")), "+OK");
        assert_eq!(client.say(&format!("{who}WATCH{keys}")), "+OK");
    }
    assert_eq!(client.session.watched.len(), 100_000);
    assert_eq!(client.say("SET k77777 v"), "+OK");
    for who in ["", "other: "] {
        client.say(&format!("{who}MULTI"));
        assert_eq!(client.say(&format!("{who}EXEC")), "*-1");
    }
    assert!(started.elapsed().as_secs() < 5);
}

#[test]
fn silence_holds_for_long_operations() {
    let mut client = Client::new(Settings::default());
    (0..5_000).for_each(|n| assert_eq!(client.say(&format!("SET k{n} v")), "+OK"));
    assert_eq!(client.say("CLIENT REPLY SKIP"), "");
    assert!(client.say("KEYS *").is_empty());
    assert_eq!(client.say("PING"), "+PONG");
    assert_eq!(client.say("CLIENT REPLY OFF"), "");
    assert!(client.say("SCAN 0 COUNT 100000").is_empty());
    assert_eq!(client.say("CLIENT REPLY ON"), "+OK");
}
