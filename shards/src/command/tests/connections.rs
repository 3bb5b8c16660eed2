//! What a client says about itself, and what the operator sets.

use super::*;

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
