//! What values hold and what is done with them, expiry too.

use super::*;

#[test]
fn set_and_its_options() {
    check(
        "SET k v => +OK
         GET k => $1 v
         set k w nx => $-1
         SET k w XX GET => $1 v
         SET k x IFEQ no => $-1
         SET k x IFEQ w => +OK
         SET k y NX GET => $1 x
         SET new y NX GET => $-1
         GET new => $1 y
         SET k z EX 10 => +OK
         TTL k => :10
         SET k q KEEPTTL => +OK
         PTTL k => :10000
         SET k q => +OK
         TTL k => :-1
         SET k v PXAT 1700000001000 => +OK
         PTTL k => :1000
         pass 1000
         GET k => $-1
         SET k v EXAT 1 => +OK
         EXISTS k => :0
         SET k v EX 0 => -ERR invalid expire time in 'set' command
         SET k v EX -1 => -ERR invalid expire time in 'set' command
         SET k v EX 9223372036854775807 => -ERR invalid expire time in 'set' command
         SET k v EX x => -ERR value is not an integer or out of range
         SET k v NX XX => -ERR syntax error
         SET k v EX => -ERR syntax error
         SET k v EX 1 PX 1 => -ERR syntax error
         SET k v KEEPTTL EX 1 => -ERR syntax error
         SET k => -ERR wrong number of arguments for 'set' command
         SETEX k 5 v => +OK
         TTL k => :5
         SETEX k 0 v => -ERR invalid expire time in 'setex' command
         PSETEX k 1500 v => +OK
         TTL k => :2
         SETNX k v => :0
         SETNX f v => :1
         GETSET f w => $1 v
         GETDEL f => $1 w
         GETDEL f => $-1
         GETEX k PERSIST => $1 v
         TTL k => :-1
         GETEX k EX 100 => $1 v
         TTL k => :100
         GETEX k EX 1 PERSIST => -ERR syntax error
         GETEX k EX 0 => -ERR invalid expire time in 'getex' command",
    );
}

#[test]
fn parts_of_strings() {
    check(
        "APPEND k hello => :5
         APPEND k \\_world => :11
         STRLEN k => :11
         GETRANGE k 0 4 => $5 hello
         GETRANGE k -5 -1 => $5 world
         GETRANGE k 5 3 => $0
         GETRANGE k -1 -5 => $0
         GETRANGE k 0 100 => $11 hello world
         GETRANGE none 0 -1 => $0
         SUBSTR k 0 0 => $1 h
         GETRANGE k a b => -ERR value is not an integer or out of range
         SETRANGE k 6 Redis => :11
         GET k => $11 hello Redis
         SETRANGE k -1 x => -ERR offset is out of range
         SETRANGE k 536870912 x => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
         SETRANGE none 5 \\_ => :6
         SETRANGE none2 5 \\e => :0
         EXISTS none2 => :0
         OBJECT ENCODING k => $3 raw
         STRLEN none3 => :0",
    );
}

#[test]
fn numbers() {
    check(
        "INCR n => :1
         INCRBY n 41 => :42
         DECR n => :41
         DECRBY n 1 => :40
         OBJECT ENCODING n => $3 int
         SET s abc => +OK
         INCR s => -ERR value is not an integer or out of range
         SET m 9223372036854775807 => +OK
         INCR m => -ERR increment or decrement would overflow
         DECRBY n -9223372036854775808 => -ERR decrement would overflow
         INCRBYFLOAT f 10.50 => $4 10.5
         INCRBYFLOAT f 0.1 => $4 10.6
         INCRBYFLOAT f -5 => $3 5.6
         INCRBYFLOAT f 5.0e3 => $22 5005.60000000000000009
         INCRBYFLOAT s 1 => -ERR value is not a valid float
         INCRBYFLOAT f x => -ERR value is not a valid float
         SET t 1 EX 100 => +OK
         INCR t => :2
         TTL t => :100",
    );
}

#[test]
fn several_keys_and_whole_databases() {
    check(
        "MSET a 1 b 2 => +OK
         MGET a none b => *3 $1 1 $-1 $1 2
         MSET a => -ERR wrong number of arguments for 'mset' command
         MSET a 1 b => -ERR wrong number of arguments for 'mset' command
         MSETNX b 1 c 2 => :0
         EXISTS c => :0
         MSETNX c 1 d 2 => :1
         EXISTS a a none => :2
         TOUCH a none => :1
         DEL a none b => :2
         UNLINK c d => :2
         DBSIZE => :0
         SET k v => +OK
         TYPE k => +string
         TYPE none => +none
         RENAME none x => -ERR no such key
         RENAME k l => +OK
         RENAMENX l m => :1
         SET l w => +OK
         RENAMENX l m => :0
         RENAME l l => +OK
         COPY l c => :1
         COPY l c => :0
         COPY l c REPLACE => :1
         COPY l l => -ERR source and destination objects are the same
         COPY l l DB 3 => :1
         COPY l l DB 99 => -ERR DB index is out of range
         SELECT 3 => +OK
         GET l => $1 w
         SELECT 16 => -ERR DB index is out of range
         SELECT x => -ERR value is not an integer or out of range
         SWAPDB 0 3 => +OK
         DBSIZE => :3
         SWAPDB a 1 => -ERR invalid first DB index
         SWAPDB 0 16 => -ERR DB index is out of range
         MOVE l 0 => :0
         MOVE m 0 => :1
         FLUSHDB BAD => -ERR syntax error
         FLUSHDB => +OK
         DBSIZE => :0
         FLUSHALL ASYNC => +OK
         SELECT 0 => +OK
         DBSIZE => :0
         RANDOMKEY => $-1
         SET only v => +OK
         RANDOMKEY => $4 only",
    );
}

#[test]
fn expiry() {
    check(
        "EXPIRE k 10 => :0
         SET k v => +OK
         EXPIRE k 10 => :1
         EXPIRE k 10 NX => :0
         EXPIRE k 5 GT => :0
         EXPIRE k 20 GT => :1
         EXPIRE k 30 LT => :0
         EXPIRE k 5 LT => :1
         EXPIRE k 5 NX GT => -ERR NX and XX, GT or LT options at the same time are not compatible
         EXPIRE k 5 GT LT => -ERR GT and LT options at the same time are not compatible
         EXPIRE k 5 OR => -ERR Unsupported option OR
         EXPIRE k 9223372036854775807 => -ERR invalid expire time in 'expire' command
         EXPIRE k x => -ERR value is not an integer or out of range
         PEXPIRE k 1500 => :1
         PTTL k => :1500
         TTL k => :2
         EXPIREAT k 1700000100 => :1
         EXPIRETIME k => :1700000100
         PEXPIRETIME k => :1700000100000
         PEXPIREAT k 1700000000500 => :1
         PERSIST k => :1
         PERSIST k => :0
         TTL k => :-1
         TTL none => :-2
         EXPIRE k -1 => :1
         EXISTS k => :0
         SET p v PX 100 => +OK
         PEXPIRE p 50 XX => :1
         pass 49
         EXISTS p => :1
         pass 1
         EXISTS p => :0",
    );
}

#[test]
fn renaming_and_copying_share_a_long_value() {
    let mut client = Client::new(Settings::default());
    client.say(&format!("SET a {}", "v".repeat(2 << 20)));
    client.say("APPEND a x");
    let place = |client: &mut Client, key: &str| {
        let (key, now) = (client.shard.hasher.key(key.as_bytes()), client.now);
        let value = client.shard.store.get(DbId(0), key, now, false);
        value.map(|value| value.bytes().as_ptr())
    };
    let before = place(&mut client, "a");
    assert_eq!(client.say("RENAME a b"), "+OK");
    assert_eq!(client.say("COPY b c"), ":1");
    assert!(before.is_some() && before == place(&mut client, "b"));
    assert_eq!(before, place(&mut client, "c"));
    for (key, len) in [("b", (2 << 20) + 1), ("c", (2 << 20) + 1)] {
        assert_eq!(client.say(&format!("OBJECT ENCODING {key}")), "$3 raw");
        assert_eq!(client.say(&format!("STRLEN {key}")), format!(":{len}"));
    }
    assert_eq!(client.say("APPEND b yy"), format!(":{}", (2 << 20) + 3));
    assert_eq!(client.say("STRLEN c"), format!(":{}", (2 << 20) + 1), "its own value since");
    client.say("SETRANGE s 0 12");
    assert_eq!(client.say("OBJECT ENCODING s"), "$3 raw");
    client.say("RENAME s t");
    assert_eq!(client.say("OBJECT ENCODING t"), "$3 raw", "the mark goes along");
}

#[test]
fn a_long_range_is_sent_from_where_it_lies() {
    let mut client = Client::new(Settings::default());
    let value: String = (0..1 << 18).map(|n: u32| char::from(b'a' + (n % 23) as u8)).collect();
    client.say(&format!("SET k {value}"));
    for (from, to) in [(0, 99_999), (7, 70_006), (-100_000, -2), (5, 9)] {
        let reply = client.reply(&format!("GETRANGE k {from} {to}"));
        let len = value.len() as i64;
        let at = |n: i64| if n < 0 { (len + n) as usize } else { n as usize };
        let expect = &value[at(from)..=at(to)];
        assert_eq!(whole(&reply), format!("${}\r\n{expect}\r\n", expect.len()).as_bytes());
        let long = expect.len() > 64 << 10;
        assert_eq!((reply.blobs.len(), reply.bytes.len() < 100), (long.into(), true));
    }
}
