//! Conversations with one shard, in process.

use std::sync::Arc;

use super::*;
use crate::ids::DbId;
use crate::reply::Protocol;
use crate::settings::Settings;
use crate::store::EvictionPolicy;
use crate::time::Nanos;

/// A node with nobody else on it.
pub(crate) struct Alone {
    facts: NodeFacts,
    killed: Vec<ClientId>,
    settings: Settings,
}

impl Default for Alone {
    fn default() -> Self {
        let facts = NodeFacts {
            version: "0".into(),
            driver: "none",
            port: 0,
            pid: 1,
            run_id: "0".repeat(40),
            started: 0,
            executable: String::new(),
            os: String::new(),
            shards: 1,
            cluster: Arc::default(),
        };
        Self { facts, killed: Vec::new(), settings: Settings::default() }
    }
}

impl Alone {
    /// The same node with other facts.
    pub(crate) fn with(self, facts: NodeFacts) -> Self {
        Self { facts, ..self }
    }
}

impl Host for Alone {
    fn facts(&self) -> &NodeFacts {
        &self.facts
    }
    fn each_client(&self, _: &mut dyn FnMut(&Session, Traffic)) {}
    fn own_traffic(&self) -> Traffic {
        Traffic::default()
    }
    fn change_settings(
        &mut self,
        change: &mut dyn FnMut(&Settings) -> Result<Settings, CommandError>,
    ) -> Result<Settings, CommandError> {
        self.settings = change(&self.settings)?;
        Ok(self.settings.clone())
    }
    fn kill(&mut self, client: ClientId) {
        self.killed.push(client);
    }
    fn connections_accepted(&self) -> u64 {
        1
    }
    fn connections_refused(&self) -> u64 {
        0
    }
    fn resident_bytes(&self) -> u64 {
        0
    }
}

struct Client {
    shard: Shard,
    session: Session,
    other: Session,
    now: Now,
    /// Of the last operation that took some.
    steps: usize,
}

impl Client {
    fn new(settings: Settings) -> Self {
        let now = Now { mono: Nanos(5_000_000_000), wall_us: 1_700_000_000_000_000 };
        let open = settings.requirepass.is_empty();
        Self {
            shard: Shard::new(settings, 42, Arc::default()),
            session: Session::new(ClientId(1), open, now),
            other: Session::new(ClientId(2), open, now),
            now,
            steps: 0,
        }
    }

    /// Executes a line of words; `\_` is a space within one, `\e` nothing.
    fn say(&mut self, line: &str) -> String {
        let reply = whole(&self.reply(line));
        String::from_utf8_lossy(&reply).replace("\r\n", " ").trim_end().to_string()
    }

    fn reply(&mut self, line: &str) -> Reply {
        let (line, other) = match line.strip_prefix("other: ") {
            Some(line) => (line, true),
            None => (line, false),
        };
        let words: Vec<String> =
            line.split(' ').map(|w| w.replace("\\_", " ").replace("\\e", "")).collect();
        let parts: Vec<&[u8]> = words.iter().map(|w| w.as_bytes()).collect();
        self.run(&parts, other)
    }

    fn run(&mut self, parts: &[&[u8]], other: bool) -> Reply {
        let args = OwnedArgs::of(parts);
        let session = if other { &mut self.other } else { &mut self.session };
        let mut reply = Reply::new(session.protocol);
        let settings = self.shard.settings.clone();
        let flow = dispatch(
            &mut self.shard,
            session,
            &mut Alone { settings, ..Alone::default() },
            lookup(parts[0]),
            &args.as_args(),
            self.now,
            &mut reply,
        );
        if let Flow::Pending(mut op) = flow {
            self.steps = 1;
            while !op.step(&self.shard, self.now, 7, &mut reply) {
                self.steps += 1;
            }
        }
        reply
    }
}

/// The bytes of a reply with its long values in their places.
fn whole(reply: &Reply) -> Vec<u8> {
    let (mut whole, mut from) = (Vec::new(), 0);
    for (at, blob) in &reply.blobs {
        whole.extend_from_slice(&reply.bytes[from..*at]);
        whole.extend_from_slice(blob.bytes());
        from = *at;
    }
    whole.extend_from_slice(&reply.bytes[from..]);
    whole
}

/// Runs lines of `command => reply`; `pass MS` lets time go by.
#[track_caller]
fn check(script: &str) {
    check_with(Settings::default(), script);
}

#[track_caller]
fn check_with(settings: Settings, script: &str) {
    let mut client = Client::new(settings);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(ms) = line.strip_prefix("pass ") {
            let ms: u64 = ms.parse().unwrap();
            client.now.wall_us += ms * 1_000;
            client.now.mono.0 += ms * 1_000_000;
            continue;
        }
        let (command, expect) = line.split_once("=>").expect("command => reply");
        assert_eq!(client.say(command.trim()), expect.trim(), "{command}");
    }
}

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
fn connections() {
    check(
        "PING => +PONG
         PING hi => $2 hi
         ECHO hi => $2 hi
         PING a b => -ERR wrong number of arguments for 'ping' command
         NOPE a b => -ERR unknown command 'NOPE', with args beginning with: 'a' 'b'
         CLIENT ID => :1
         CLIENT GETNAME => $-1
         CLIENT SETNAME me => +OK
         CLIENT GETNAME => $2 me
         CLIENT SETNAME a\\_b => -ERR Client names cannot contain spaces, newlines or special characters.
         CLIENT SETINFO LIB-NAME x => +OK
         CLIENT SETINFO bad x => -ERR Unrecognized option 'bad'
         CLIENT NOPE => -ERR unknown subcommand 'NOPE'. Try CLIENT HELP.
         CLIENT => -ERR wrong number of arguments for 'client' command
         CLIENT ID x => -ERR wrong number of arguments for 'client|id' command
         CLIENT|ID => -ERR unknown command 'CLIENT|ID', with args beginning with:
         CLIENT REPLY OFF =>
         PING =>
         CLIENT REPLY ON => +OK
         CLIENT REPLY SKIP =>
         PING =>
         PING => +PONG
         AUTH x => -ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?
         HELLO 4 => -NOPROTO unsupported protocol version
         HELLO x => -ERR Protocol version is not an integer or out of range
         HELLO 3 SETNAME you => %7 $6 server $5 redis $7 version $5 7.2.4 $5 proto :3 $2 id :1 $4 mode $10 standalone $4 role $6 master $7 modules *0
         GET none => _
         CLIENT GETNAME => $3 you
         RESET => +RESET
         GET none => $-1
         TIME => *2 $10 1700000000 $1 0",
    );
}

#[test]
fn passwords() {
    let settings = Settings { requirepass: b"secret".to_vec(), ..Settings::default() };
    check_with(
        settings,
        "GET k => -NOAUTH Authentication required.
         NOPE => -NOAUTH Authentication required.
         HELLO 3 => -NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time
         AUTH wrong => -WRONGPASS invalid username-password pair or user is disabled.
         AUTH other secret => -WRONGPASS invalid username-password pair or user is disabled.
         AUTH secret => +OK
         GET k => $-1
         RESET => +RESET
         GET k => -NOAUTH Authentication required.
         AUTH default secret => +OK
         PING => +PONG",
    );
}

#[test]
fn settings() {
    check(
        "CONFIG GET maxmemory* => *6 $9 maxmemory $1 0 $16 maxmemory-policy $10 noeviction $17 maxmemory-samples $1 5
         CONFIG SET maxmemory 100mb maxmemory-policy allkeys-lru => +OK
         CONFIG GET maxmemory => *2 $9 maxmemory $9 104857600
         CONFIG SET timeout 5 nope 1 => -ERR Unknown option or number of arguments for CONFIG SET - 'nope'
         CONFIG GET timeout => *2 $7 timeout $1 0
         CONFIG SET databases 5 => -ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config
         CONFIG SET timeout x => -ERR CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't be parsed into an integer
         CONFIG GET nothing => *0
         CONFIG RESETSTAT => +OK",
    );
}

#[test]
fn a_password_is_any_bytes_and_not_taken_away_beyond_loopback() {
    let mut client = Client::new(Settings::default());
    let password: &[u8] = b"\xff\x00\xfe secret";
    let reply = client.run(&[b"CONFIG", b"SET", b"requirepass", password], false);
    assert_eq!(whole(&reply), b"+OK\r\n");
    let reply = client.run(&[b"CONFIG", b"GET", b"requirepass"], false);
    assert!(whole(&reply).ends_with(b"\r\n\xff\x00\xfe secret\r\n"));
    client.session.authenticated = false;
    assert_eq!(whole(&client.run(&[b"AUTH", password], false)), b"+OK\r\n");
    assert_eq!(client.say("CONFIG SET requirepass \\e"), "+OK");
    for (bind, loopback) in [("127.0.0.1", true), ("::1 127.3.4.5", true), ("0.0.0.0", false)] {
        client.shard.settings.bind = bind.into();
        client.say("CONFIG SET requirepass secret");
        let refusal = "-ERR CONFIG SET failed (possibly related to argument 'requirepass') - a \
                       node that listens beyond loopback needs a password";
        let expect = if loopback { "+OK" } else { refusal };
        assert_eq!(client.say("CONFIG SET timeout 5 requirepass \\e"), expect, "{bind}");
        assert_eq!(client.shard.settings.requirepass.is_empty(), loopback);
        assert_eq!(client.say("CONFIG SET timeout 0"), "+OK");
    }
}

#[test]
fn starting_counts_anew_takes_nothing_from_the_counters() {
    let mut client = Client::new(Settings::default());
    let info = |client: &mut Client, name: &str| {
        let text = client.say("INFO everything");
        let line = text.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::to_owned)
    };
    (0..5).for_each(|_| assert_eq!(client.say("GET none"), "$-1"));
    client.say("GET");
    assert_eq!(info(&mut client, "keyspace_misses").as_deref(), Some("5"));
    assert_eq!(info(&mut client, "total_connections_received").as_deref(), Some("1"));
    assert_eq!(info(&mut client, "cmdstat_get").as_deref(), Some("calls=5,failed_calls=1"));
    assert_eq!(client.say("CONFIG RESETSTAT"), "+OK");
    for name in ["keyspace_misses", "total_connections_received", "total_error_replies"] {
        assert_eq!(info(&mut client, name).as_deref(), Some("0"), "{name}");
    }
    assert_eq!(info(&mut client, "cmdstat_get"), None);
    client.say("GET none");
    assert_eq!(info(&mut client, "keyspace_misses").as_deref(), Some("1"));
    let stats = &client.shard.stats;
    assert_eq!((stats.keyspace_misses.get(), stats.errors.get()), (6, 1));
    let get = lookup(b"get").unwrap();
    assert_eq!((stats.calls.of(get).get(), stats.failed_calls.of(get).get()), (6, 1));
}

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

/// A cache with a limit in MiB, and a value of so many bytes.
fn limited(mib: u64, policy: EvictionPolicy) -> Client {
    Client::new(Settings { maxmemory: mib << 20, policy, ..Settings::default() })
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

#[test]
fn commands_tell_of_themselves() {
    check(
        "COMMAND GETKEYS MSET a 1 b 2 => *2 $1 a $1 b
         COMMAND GETKEYS GET a => *1 $1 a
         COMMAND GETKEYS OBJECT ENCODING a => *1 $1 a
         COMMAND GETKEYS PING => -ERR The command has no key arguments
         COMMAND GETKEYS NOPE a => -ERR Invalid command specified
         COMMAND GETKEYS GET a b => -ERR Invalid number of arguments specified for command
         COMMAND INFO nope => *1 $-1
         COMMAND INFO get => *1 *10 $3 get :2 *2 +readonly +fast :1 :1 :1 *3 +@read +@string +@fast *0 *1 *6 $5 flags *2 +RO +access $12 begin_search *4 $4 type $5 index $4 spec *2 $5 index :1 $9 find_keys *4 $4 type $5 range $4 spec *6 $7 lastkey :0 $7 keystep :1 $5 limit :0 *0
         COMMAND LIST FILTERBY PATTERN get* => *5 $3 get $6 getdel $5 getex $8 getrange $6 getset
         COMMAND DOCS get => *2 $3 get *10 $7 summary $27 Returns the value of a key. $5 since $5 1.0.0 $5 group $6 string $10 complexity $4 O(1) $9 arguments *1 *6 $4 name $3 key $4 type $3 key $12 display_text $3 key",
    );
}

#[test]
fn every_command_is_found_in_any_case_and_refuses_wrong_numbers_of_arguments() {
    for spec in COMMANDS {
        assert!(!spec.summary.is_empty() && !spec.since.is_empty(), "{}", spec.name);
        assert_eq!(spec.number(), COMMANDS.iter().position(|s| s.name == spec.name).unwrap());
        if spec.is_subcommand {
            assert!(lookup(spec.name.as_bytes()).is_none());
            continue;
        }
        let upper = spec.name.to_uppercase();
        assert_eq!(lookup(upper.as_bytes()).map(|s| s.name), Some(spec.name));
        if spec.arity > 0 {
            let line = vec![upper.as_str(); spec.arity as usize + 1].join(" ");
            let mut client = Client::new(Settings::default());
            let code = match spec.name {
                "exec" => "EXECABORT Transaction discarded because of:",
                _ => "ERR",
            };
            let expect = format!("-{code} wrong number of arguments for '{}' command", spec.name);
            assert_eq!(client.say(&line), expect);
        }
    }
    assert!(lookup(b"").is_none() && lookup(&[b'x'; 300]).is_none());
    assert_eq!(Protocol::default(), Protocol::Resp2);
}
