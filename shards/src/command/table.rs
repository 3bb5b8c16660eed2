//! The table of commands.
//!
//! Owns one line of facts per command; a subcommand follows its container. Counts of
//! commands are kept by position, so a position means nothing beyond one run.

#![forbid(unsafe_code)]

use super::spec::{CommandSpec, Flags, Group, Handler, Keys};
use super::spread::{Gather, Spread};
use super::{
    admin, client, cluster, connection, expiry, info, introspect, keys, limit, numbers, strings,
    transaction,
};

/// Flags of several.
const fn all(flags: &[Flags]) -> Flags {
    let (mut sum, mut n) = (Flags::NONE, 0);
    while n < flags.len() {
        sum = sum.and(flags[n]);
        n += 1;
    }
    sum
}

const fn command(
    name: &'static str,
    arity: i8,
    syntax: &'static str,
    handler: Handler,
) -> CommandSpec {
    let mut is_subcommand = false;
    let mut n = 0;
    while n < name.len() {
        is_subcommand |= name.as_bytes()[n] == b'|';
        n += 1;
    }
    CommandSpec {
        name,
        arity,
        flags: Flags::NONE,
        keys: Keys::NONE,
        group: Group::Generic,
        since: "",
        complexity: "",
        summary: "",
        syntax,
        uses: &[],
        tips: &[],
        is_subcommand,
        spread: Spread::Connection,
        handler,
    }
}

impl CommandSpec {
    const fn is(self, group: Group, flags: &[Flags], keys: Keys) -> Self {
        let spread = if keys.first == 0 {
            Spread::Connection
        } else if keys.first == keys.last {
            Spread::Home
        } else {
            self.spread
        };
        Self { group, flags: all(flags), keys, spread, ..self }
    }

    const fn spread(self, spread: Spread) -> Self {
        Self { spread, ..self }
    }

    const fn uses(self, uses: &'static [&'static str]) -> Self {
        Self { uses, ..self }
    }

    const fn tips(self, tips: &'static [&'static str]) -> Self {
        Self { tips, ..self }
    }

    const fn doc(
        self,
        since: &'static str,
        complexity: &'static str,
        summary: &'static str,
    ) -> Self {
        Self { since, complexity, summary, ..self }
    }
}

const SECOND_KEY: Keys = Keys { first: 2, last: 2, step: 1 };

/// All commands; see the module's text.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    command("append", 3, "<key> <value>", strings::append)
        .is(Group::String, &[Flags::WRITE, Flags::DENYOOM, Flags::FAST], Keys::ONE)
        .uses(&["RW insert"])
        .doc("2.0.0", "O(1)", "Appends a string to the value of a key; makes the key if there is none."),
    command("decr", 2, "<key>", numbers::decr)
        .is(Group::String, &[Flags::WRITE, Flags::DENYOOM, Flags::FAST], Keys::ONE)
        .uses(&["RW access update"])
        .doc("1.0.0", "O(1)", "Takes one from the integer value of a key; 0 if there is none."),
    command("decrby", 3, "<key> <decrement>", numbers::decrby)
        .is(Group::String, &[Flags::WRITE, Flags::DENYOOM, Flags::FAST], Keys::ONE)
        .uses(&["RW access update"])
        .doc("1.0.0", "O(1)", "Takes a number from the integer value of a key; 0 if there is none."),
    command("get", 2, "<key>", strings::get)
        .is(Group::String, &[Flags::READONLY, Flags::FAST], Keys::ONE)
        .uses(&["RO access"])
        .doc("1.0.0", "O(1)", "Returns the value of a key."),
    command("getdel", 2, "<key>", strings::getdel)
        .is(Group::String, &[Flags::WRITE, Flags::FAST], Keys::ONE)
        .uses(&["RW access delete"])
        .doc("6.2.0", "O(1)", "Returns the value of a key and removes the key."),
    command("getex", -2, "<key> [ EX <seconds> | PX <milliseconds> | EXAT <unix-time-seconds> | PXAT <unix-time-milliseconds> | PERSIST ]", strings::getex)
        .is(Group::String, &[Flags::WRITE, Flags::FAST], Keys::ONE)
        .uses(&["RW access update"])
        .doc("6.2.0", "O(1)", "Returns the value of a key and sets or takes away its expiry."),
    command("getrange", 4, "<key> <start> <end>", strings::getrange)
        .is(Group::String, &[Flags::READONLY], Keys::ONE)
        .uses(&["RO access"])
        .doc("2.4.0", "O(N) in the length of the reply", "Returns part of the value of a key."),
    command("getset", 3, "<key> <value>", strings::getset)
        .is(Group::String, &[Flags::WRITE, Flags::DENYOOM, Flags::FAST], Keys::ONE)
        .uses(&["RW access update"])
        .doc("1.0.0", "O(1)", "Sets the value of a key and returns the old one."),
    command("incr", 2, "<key>", numbers::incr)
        .is(Group::String, &[Flags::WRITE, Flags::DENYOOM, Flags::FAST], Keys::ONE)
        .uses(&["RW access update"])
        .doc("1.0.0", "O(1)", "Adds one to the integer value of a key; 0 if there is none."),
    command("incrby", 3, "<key> <increment>", numbers::incrby)
        .is(Group::String, &[Flags::WRITE, Flags::DENYOOM, Flags::FAST], Keys::ONE)
        .uses(&["RW access update"])
        .doc("1.0.0", "O(1)", "Adds a number to the integer value of a key; 0 if there is none."),
    command("incrbyfloat", 3, "<key> <increment>", numbers::incrbyfloat)
        .is(Group::String, &[Flags::WRITE, Flags::DENYOOM, Flags::FAST], Keys::ONE)
        .uses(&["RW access update"])
        .doc("2.6.0", "O(1)", "Adds a number with decimals to the value of a key; 0 if there is none."),
    command("mget", -2, "<key> ...", strings::mget)
        .is(Group::String, &[Flags::READONLY, Flags::FAST], Keys::ALL)
        .spread(Spread::Values)
        .uses(&["RO access"])
        .tips(&["request_policy:multi_shard"])
        .doc("1.0.0", "O(N) in the number of keys", "Returns the values of several keys."),
    command("mset", -3, "( <key> <value> ) ...", strings::mset)
        .is(Group::String, &[Flags::WRITE, Flags::DENYOOM], Keys::PAIRS)
        .spread(Spread::All)
        .uses(&["OW update"])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .doc("1.0.1", "O(N) in the number of keys", "Sets several keys at once."),
    command("msetnx", -3, "( <key> <value> ) ...", strings::msetnx)
        .is(Group::String, &[Flags::WRITE, Flags::DENYOOM], Keys::PAIRS)
        .spread(Spread::SetAllIfNone)
        .uses(&["OW insert"])
        .doc("1.0.1", "O(N) in the number of keys", "Sets several keys at once, if none of them is there."),
    command("psetex", 4, "<key> <milliseconds> <value>", strings::psetex)
        .is(Group::String, &[Flags::WRITE, Flags::DENYOOM], Keys::ONE)
        .uses(&["OW update"])
        .doc("2.6.0", "O(1)", "Sets the value of a key and its expiry in milliseconds."),
    command("set", -3, "<key> <value> [ NX | XX | IFEQ <comparison-value> ] [ GET ] [ EX <seconds> | PX <milliseconds> | EXAT <unix-time-seconds> | PXAT <unix-time-milliseconds> | KEEPTTL ]", strings::set)
        .is(Group::String, &[Flags::WRITE, Flags::DENYOOM], Keys::ONE)
        .uses(&["RW access update variable_flags"])
        .doc("1.0.0", "O(1)", "Sets the value of a key, whatever it was; on conditions if asked."),
    command("setex", 4, "<key> <seconds> <value>", strings::setex)
        .is(Group::String, &[Flags::WRITE, Flags::DENYOOM], Keys::ONE)
        .uses(&["OW update"])
        .doc("2.0.0", "O(1)", "Sets the value of a key and its expiry in seconds."),
    command("setnx", 3, "<key> <value>", strings::setnx)
        .is(Group::String, &[Flags::WRITE, Flags::DENYOOM, Flags::FAST], Keys::ONE)
        .uses(&["OW insert"])
        .doc("1.0.0", "O(1)", "Sets the value of a key, if it is not there."),
    command("setrange", 4, "<key> <offset> <value>", strings::setrange)
        .is(Group::String, &[Flags::WRITE, Flags::DENYOOM], Keys::ONE)
        .uses(&["RW update"])
        .doc("2.2.0", "O(1), or O(N) in the length of a value that moves", "Overwrites part of the value of a key, with zero bytes before it where it is shorter."),
    command("strlen", 2, "<key>", strings::strlen)
        .is(Group::String, &[Flags::READONLY, Flags::FAST], Keys::ONE)
        .uses(&["RO"])
        .doc("2.2.0", "O(1)", "Returns the length of the value of a key."),
    command("substr", 4, "<key> <start> <end>", strings::getrange)
        .is(Group::String, &[Flags::READONLY], Keys::ONE)
        .uses(&["RO access"])
        .doc("1.0.0", "O(N) in the length of the reply", "Returns part of the value of a key; the old name of GETRANGE."),
    command("copy", -3, "<source> <destination> [ DB <destination-db> ] [ REPLACE ]", keys::copy)
        .is(Group::Generic, &[Flags::WRITE, Flags::DENYOOM, Flags::KEYSPACE], Keys::TWO)
        .spread(Spread::Copy)
        .uses(&["RO access", "OW update"])
        .doc("6.2.0", "O(N) in the length of the value", "Copies a key to another, in another database if asked."),
    command("del", -2, "<key> ...", keys::del)
        .is(Group::Generic, &[Flags::WRITE, Flags::KEYSPACE], Keys::ALL)
        .spread(Spread::Sum)
        .uses(&["RM delete"])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .doc("1.0.0", "O(N) in the number of keys", "Removes keys."),
    command("exists", -2, "<key> ...", keys::exists)
        .is(Group::Generic, &[Flags::READONLY, Flags::FAST, Flags::KEYSPACE], Keys::ALL)
        .spread(Spread::Sum)
        .uses(&["RO"])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .doc("1.0.0", "O(N) in the number of keys", "Counts how many of the keys are there."),
    command("expire", -3, "<key> <seconds> [ NX | XX | GT | LT ]", expiry::expire)
        .is(Group::Generic, &[Flags::WRITE, Flags::FAST, Flags::KEYSPACE], Keys::ONE)
        .uses(&["RW update"])
        .doc("1.0.0", "O(1)", "Makes a key expire in so many seconds; on conditions if asked."),
    command("expireat", -3, "<key> <unix-time-seconds> [ NX | XX | GT | LT ]", expiry::expireat)
        .is(Group::Generic, &[Flags::WRITE, Flags::FAST, Flags::KEYSPACE], Keys::ONE)
        .uses(&["RW update"])
        .doc("1.2.0", "O(1)", "Makes a key expire at a second since 1970; on conditions if asked."),
    command("pexpire", -3, "<key> <milliseconds> [ NX | XX | GT | LT ]", expiry::pexpire)
        .is(Group::Generic, &[Flags::WRITE, Flags::FAST, Flags::KEYSPACE], Keys::ONE)
        .uses(&["RW update"])
        .doc("2.6.0", "O(1)", "Makes a key expire in so many milliseconds; on conditions if asked."),
    command("pexpireat", -3, "<key> <unix-time-milliseconds> [ NX | XX | GT | LT ]", expiry::pexpireat)
        .is(Group::Generic, &[Flags::WRITE, Flags::FAST, Flags::KEYSPACE], Keys::ONE)
        .uses(&["RW update"])
        .doc("2.6.0", "O(1)", "Makes a key expire at a millisecond since 1970; on conditions if asked."),
    command("expiretime", 2, "<key>", expiry::expiretime)
        .is(Group::Generic, &[Flags::READONLY, Flags::FAST, Flags::KEYSPACE], Keys::ONE)
        .uses(&["RO access"])
        .doc("7.0.0", "O(1)", "Returns when a key expires, in seconds since 1970."),
    command("pexpiretime", 2, "<key>", expiry::pexpiretime)
        .is(Group::Generic, &[Flags::READONLY, Flags::FAST, Flags::KEYSPACE], Keys::ONE)
        .uses(&["RO access"])
        .doc("7.0.0", "O(1)", "Returns when a key expires, in milliseconds since 1970."),
    command("keys", 2, "<pattern>", keys::keys)
        .is(Group::Generic, &[Flags::READONLY, Flags::DANGEROUS, Flags::LONG, Flags::KEYSPACE], Keys::NONE)
        .spread(Spread::Everywhere(Gather::Arrays))
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .doc("1.0.0", "O(N) in the number of keys of the database", "Returns all keys that match a pattern."),
    command("move", 3, "<key> <db>", keys::move_key)
        .is(Group::Generic, &[Flags::WRITE, Flags::FAST, Flags::KEYSPACE], Keys::ONE)
        .uses(&["RW access update"])
        .doc("1.0.0", "O(N) in the length of the value", "Moves a key to another database, if it is not there."),
    command("object", -2, "", introspect::help)
        .is(Group::Generic, &[Flags::CONTAINER], Keys::NONE)
        .doc("2.2.3", "Depends on the subcommand", "Looks at how keys are stored."),
    command("object|encoding", 3, "<key>", keys::object_encoding)
        .is(Group::Generic, &[Flags::READONLY, Flags::KEYSPACE], SECOND_KEY)
        .uses(&["RO"])
        .tips(&["nondeterministic_output"])
        .doc("2.2.3", "O(1)", "Returns the name of a value's encoding."),
    command("object|freq", 3, "<key>", keys::object_freq)
        .is(Group::Generic, &[Flags::READONLY, Flags::KEYSPACE], SECOND_KEY)
        .uses(&["RO"])
        .tips(&["nondeterministic_output"])
        .doc("4.0.0", "O(1)", "Returns how often a key is used, where a policy keeps count."),
    command("object|help", 2, "", introspect::help)
        .is(Group::Generic, &[Flags::LOADING, Flags::STALE, Flags::KEYSPACE], Keys::NONE)
        .doc("6.2.0", "O(1)", "Returns the subcommands."),
    command("object|idletime", 3, "<key>", keys::object_idletime)
        .is(Group::Generic, &[Flags::READONLY, Flags::KEYSPACE], SECOND_KEY)
        .uses(&["RO"])
        .tips(&["nondeterministic_output"])
        .doc("2.2.3", "O(1)", "Returns for how many seconds a key has not been used."),
    command("object|refcount", 3, "<key>", keys::object_refcount)
        .is(Group::Generic, &[Flags::READONLY, Flags::KEYSPACE], SECOND_KEY)
        .uses(&["RO"])
        .tips(&["nondeterministic_output"])
        .doc("2.2.3", "O(1)", "Returns how often a value is referred to, which is once."),
    command("persist", 2, "<key>", expiry::persist)
        .is(Group::Generic, &[Flags::WRITE, Flags::FAST, Flags::KEYSPACE], Keys::ONE)
        .uses(&["RW update"])
        .doc("2.2.0", "O(1)", "Takes away the expiry of a key."),
    command("pttl", 2, "<key>", expiry::pttl)
        .is(Group::Generic, &[Flags::READONLY, Flags::FAST, Flags::KEYSPACE], Keys::ONE)
        .uses(&["RO access"])
        .tips(&["nondeterministic_output"])
        .doc("2.6.0", "O(1)", "Returns in how many milliseconds a key expires."),
    command("randomkey", 1, "", keys::randomkey)
        .is(Group::Generic, &[Flags::READONLY, Flags::KEYSPACE], Keys::NONE)
        .spread(Spread::Everywhere(Gather::RandomKey))
        .tips(&["request_policy:all_shards", "response_policy:special", "nondeterministic_output"])
        .doc("1.0.0", "O(1)", "Returns some key of the database."),
    command("rename", 3, "<key> <newkey>", keys::rename)
        .is(Group::Generic, &[Flags::WRITE, Flags::KEYSPACE], Keys::TWO)
        .spread(Spread::Rename)
        .uses(&["RW access delete", "OW update"])
        .doc("1.0.0", "O(N) in the length of the value", "Renames a key, replacing what has the new name."),
    command("renamenx", 3, "<key> <newkey>", keys::renamenx)
        .is(Group::Generic, &[Flags::WRITE, Flags::FAST, Flags::KEYSPACE], Keys::TWO)
        .spread(Spread::RenameIfFree)
        .uses(&["RW access delete", "OW insert"])
        .doc("1.0.0", "O(N) in the length of the value", "Renames a key, if nothing has the new name."),
    command("scan", -2, "<cursor> [ MATCH <pattern> ] [ COUNT <count> ] [ TYPE <type> ]", keys::scan)
        .is(Group::Generic, &[Flags::READONLY, Flags::LONG, Flags::KEYSPACE], Keys::NONE)
        .spread(Spread::Cursor)
        .tips(&["nondeterministic_output", "request_policy:special", "response_policy:special"])
        .doc("2.8.0", "O(1) a call, O(N) for all keys", "Returns some keys and where to go on."),
    command("touch", -2, "<key> ...", keys::touch)
        .is(Group::Generic, &[Flags::READONLY, Flags::FAST, Flags::KEYSPACE], Keys::ALL)
        .spread(Spread::Sum)
        .uses(&["RO"])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .doc("3.2.1", "O(N) in the number of keys", "Counts how many of the keys are there, and uses them."),
    command("ttl", 2, "<key>", expiry::ttl)
        .is(Group::Generic, &[Flags::READONLY, Flags::FAST, Flags::KEYSPACE], Keys::ONE)
        .uses(&["RO access"])
        .tips(&["nondeterministic_output"])
        .doc("1.0.0", "O(1)", "Returns in how many seconds a key expires."),
    command("type", 2, "<key>", keys::kind)
        .is(Group::Generic, &[Flags::READONLY, Flags::FAST, Flags::KEYSPACE], Keys::ONE)
        .uses(&["RO"])
        .doc("1.0.0", "O(1)", "Returns the kind of value that a key has."),
    command("unlink", -2, "<key> ...", keys::del)
        .is(Group::Generic, &[Flags::WRITE, Flags::FAST, Flags::KEYSPACE], Keys::ALL)
        .spread(Spread::Sum)
        .uses(&["RM delete"])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .doc("4.0.0", "O(N) in the number of keys", "Removes keys; here the same as DEL, which never waits for memory to be released either."),
    command("discard", 1, "", transaction::discard)
        .is(Group::Transactions, &[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::FAST, Flags::ALLOW_BUSY, Flags::IMMEDIATE], Keys::NONE)
        .doc("2.0.0", "O(N) in the number of watched keys", "Drops a transaction."),
    command("exec", 1, "", transaction::exec)
        .is(Group::Transactions, &[Flags::SKIP_SLOWLOG, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::IMMEDIATE], Keys::NONE)
        .spread(Spread::Exec)
        .doc("1.2.0", "That of the commands in it", "Executes a transaction, unless a watched key has changed."),
    command("multi", 1, "", transaction::multi)
        .is(Group::Transactions, &[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::FAST, Flags::NO_MULTI, Flags::ALLOW_BUSY], Keys::NONE)
        .doc("1.2.0", "O(1)", "Starts a transaction."),
    command("unwatch", 1, "", transaction::unwatch)
        .is(Group::Transactions, &[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::FAST, Flags::ALLOW_BUSY], Keys::NONE)
        .doc("2.2.0", "O(N) in the number of watched keys", "Forgets all watched keys."),
    command("watch", -2, "<key> ...", transaction::watch)
        .is(Group::Transactions, &[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::FAST, Flags::NO_MULTI, Flags::ALLOW_BUSY], Keys::ALL)
        .spread(Spread::Watch)
        .uses(&["RO"])
        .doc("2.2.0", "O(N) in the number of keys", "Lets the next transaction fail if one of the keys changes before."),
    command("auth", -2, "[ <username> ] <password>", connection::auth)
        .is(Group::Connection, &[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::FAST, Flags::NO_AUTH, Flags::ALLOW_BUSY], Keys::NONE)
        .doc("1.0.0", "O(1)", "Authenticates the connection."),
    command("client", -2, "", introspect::help)
        .is(Group::Connection, &[Flags::CONTAINER], Keys::NONE)
        .doc("2.4.0", "Depends on the subcommand", "Looks at and changes connections."),
    command("client|getname", 2, "", client::getname)
        .is(Group::Connection, &[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::ALLOW_BUSY], Keys::NONE)
        .doc("2.6.9", "O(1)", "Returns the name of the connection."),
    command("client|help", 2, "", introspect::help)
        .is(Group::Connection, &[Flags::LOADING, Flags::STALE], Keys::NONE)
        .doc("5.0.0", "O(1)", "Returns the subcommands."),
    command("client|id", 2, "", client::id)
        .is(Group::Connection, &[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::ALLOW_BUSY], Keys::NONE)
        .doc("5.0.0", "O(1)", "Returns the number of the connection."),
    command("client|info", 2, "", client::info)
        .is(Group::Connection, &[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], Keys::NONE)
        .tips(&["nondeterministic_output"])
        .doc("6.2.0", "O(1)", "Returns what is known of the connection."),
    command("client|kill", -3, "( <ip:port> | ( ID <client-id> | TYPE <type> | USER <username> | ADDR <ip:port> | LADDR <ip:port> | SKIPME ( YES | NO ) | MAXAGE <maxage> ) ... )", client::kill)
        .is(Group::Connection, &[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], Keys::NONE)
        .spread(Spread::Everywhere(Gather::Kills))
        .doc("2.4.0", "O(N) in the number of connections", "Closes connections."),
    command("client|list", -2, "[ TYPE <type> | ID <client-id> ... ]", client::list)
        .is(Group::Connection, &[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], Keys::NONE)
        .spread(Spread::Everywhere(Gather::Clients))
        .tips(&["nondeterministic_output"])
        .doc("2.4.0", "O(N) in the number of connections", "Lists connections."),
    command("client|no-evict", 3, "( ON | OFF )", client::no_evict)
        .is(Group::Connection, &[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::ALLOW_BUSY], Keys::NONE)
        .doc("7.0.0", "O(1)", "Marks the connection as one not to be closed for want of memory."),
    command("client|no-touch", 3, "( ON | OFF )", client::no_touch)
        .is(Group::Connection, &[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::ALLOW_BUSY], Keys::NONE)
        .doc("7.2.0", "O(1)", "Makes the connection's reads not count as uses of keys."),
    command("client|reply", 3, "( ON | OFF | SKIP )", client::reply)
        .is(Group::Connection, &[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::NO_MULTI, Flags::ALLOW_BUSY], Keys::NONE)
        .doc("3.2.0", "O(1)", "Says whether the connection wants replies."),
    command("client|setinfo", 4, "( LIB-NAME <libname> | LIB-VER <libver> )", client::setinfo)
        .is(Group::Connection, &[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::ALLOW_BUSY], Keys::NONE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .doc("7.2.0", "O(1)", "Tells the client library's name or version."),
    command("client|setname", 3, "<connection-name>", client::setname)
        .is(Group::Connection, &[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::ALLOW_BUSY], Keys::NONE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .doc("2.6.9", "O(1)", "Names the connection."),
    command("echo", 2, "<message>", connection::echo)
        .is(Group::Connection, &[Flags::LOADING, Flags::STALE, Flags::FAST], Keys::NONE)
        .doc("1.0.0", "O(1)", "Returns the message."),
    command("hello", -1, "[ <protover> [ AUTH <username> <password> ] [ SETNAME <clientname> ] ]", connection::hello)
        .is(Group::Connection, &[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::FAST, Flags::NO_AUTH, Flags::ALLOW_BUSY], Keys::NONE)
        .doc("6.0.0", "O(1)", "Chooses the protocol and tells of the server."),
    command("ping", -1, "[ <message> ]", connection::ping)
        .is(Group::Connection, &[Flags::FAST], Keys::NONE)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .doc("1.0.0", "O(1)", "Returns PONG or the message."),
    command("quit", -1, "", connection::quit)
        .is(Group::Connection, &[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::FAST, Flags::NO_AUTH, Flags::ALLOW_BUSY, Flags::IMMEDIATE], Keys::NONE)
        .doc("1.0.0", "O(1)", "Closes the connection."),
    command("reset", 1, "", connection::reset)
        .is(Group::Connection, &[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::FAST, Flags::NO_AUTH, Flags::ALLOW_BUSY, Flags::IMMEDIATE], Keys::NONE)
        .doc("6.2.0", "O(1)", "Makes the connection as good as new."),
    command("select", 2, "<index>", connection::select)
        .is(Group::Connection, &[Flags::LOADING, Flags::STALE, Flags::FAST, Flags::ALLOW_BUSY], Keys::NONE)
        .doc("1.0.0", "O(1)", "Chooses the database."),
    command("command", -1, "", introspect::command)
        .is(Group::Server, &[Flags::LOADING, Flags::STALE, Flags::CONTAINER], Keys::NONE)
        .tips(&["nondeterministic_output_order"])
        .doc("2.8.13", "O(N) in the number of commands", "Tells of all commands."),
    command("command|count", 2, "", introspect::count)
        .is(Group::Server, &[Flags::LOADING, Flags::STALE], Keys::NONE)
        .doc("2.8.13", "O(N) in the number of commands", "Counts the commands."),
    command("command|docs", -2, "[ <command-name> ... ]", introspect::docs)
        .is(Group::Server, &[Flags::LOADING, Flags::STALE], Keys::NONE)
        .tips(&["nondeterministic_output_order"])
        .doc("7.0.0", "O(N) in the number of commands", "Documents commands."),
    command("command|getkeys", -3, "<command> [ <arg> ... ]", introspect::getkeys)
        .is(Group::Server, &[Flags::LOADING, Flags::STALE], Keys::NONE)
        .doc("2.8.13", "O(N) in the number of commands", "Returns the keys of a command line."),
    command("command|getkeysandflags", -3, "<command> [ <arg> ... ]", introspect::getkeysandflags)
        .is(Group::Server, &[Flags::LOADING, Flags::STALE], Keys::NONE)
        .doc("7.0.0", "O(N) in the number of commands", "Returns the keys of a command line and what becomes of them."),
    command("command|help", 2, "", introspect::help)
        .is(Group::Server, &[Flags::LOADING, Flags::STALE], Keys::NONE)
        .doc("5.0.0", "O(N) in the number of commands", "Returns the subcommands."),
    command("command|info", -2, "[ <command-name> ... ]", introspect::info)
        .is(Group::Server, &[Flags::LOADING, Flags::STALE], Keys::NONE)
        .tips(&["nondeterministic_output_order"])
        .doc("2.8.13", "O(N) in the number of commands", "Tells of some commands."),
    command("command|list", -2, "[ FILTERBY ( MODULE <module-name> | ACLCAT <category> | PATTERN <pattern> ) ]", introspect::list)
        .is(Group::Server, &[Flags::LOADING, Flags::STALE], Keys::NONE)
        .tips(&["nondeterministic_output_order"])
        .doc("7.0.0", "O(N) in the number of commands", "Lists the names of commands."),
    command("config", -2, "", introspect::help)
        .is(Group::Server, &[Flags::CONTAINER], Keys::NONE)
        .doc("2.0.0", "Depends on the subcommand", "Looks at and changes settings."),
    command("config|get", -3, "<pattern> ...", admin::config_get)
        .is(Group::Server, &[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], Keys::NONE)
        .doc("2.0.0", "O(N) in the number of settings", "Returns settings."),
    command("config|help", 2, "", introspect::help)
        .is(Group::Server, &[Flags::LOADING, Flags::STALE], Keys::NONE)
        .doc("5.0.0", "O(1)", "Returns the subcommands."),
    command("config|resetstat", 2, "", admin::config_resetstat)
        .is(Group::Server, &[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], Keys::NONE)
        .spread(Spread::Everywhere(Gather::DoneLoosely))
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .doc("2.0.0", "O(1)", "Starts counts anew."),
    command("config|set", -4, "( <parameter> <value> ) ...", admin::config_set)
        .is(Group::Server, &[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], Keys::NONE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .doc("2.0.0", "O(N) in the number of settings", "Changes settings, all or none."),
    command("dbsize", 1, "", keys::dbsize)
        .is(Group::Server, &[Flags::READONLY, Flags::FAST, Flags::KEYSPACE], Keys::NONE)
        .spread(Spread::Everywhere(Gather::Count))
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .doc("1.0.0", "O(1)", "Counts the keys of the database."),
    command("flushall", -1, "[ ASYNC | SYNC ]", keys::flushall)
        .is(Group::Server, &[Flags::WRITE, Flags::DANGEROUS, Flags::KEYSPACE], Keys::NONE)
        .spread(Spread::Everywhere(Gather::Done))
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .doc("1.0.0", "O(1)", "Removes all keys of all databases; memory comes back in the background."),
    command("flushdb", -1, "[ ASYNC | SYNC ]", keys::flushdb)
        .is(Group::Server, &[Flags::WRITE, Flags::DANGEROUS, Flags::KEYSPACE], Keys::NONE)
        .spread(Spread::Everywhere(Gather::Done))
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .doc("1.0.0", "O(1)", "Removes all keys of the database; memory comes back in the background."),
    command("info", -1, "[ <section> ... ]", info::info)
        .is(Group::Server, &[Flags::LOADING, Flags::STALE, Flags::DANGEROUS], Keys::NONE)
        .spread(Spread::Everywhere(Gather::Info))
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .doc("1.0.0", "O(N) in the number of connections", "Tells of the server."),
    command("swapdb", 3, "<index1> <index2>", keys::swapdb)
        .is(Group::Server, &[Flags::WRITE, Flags::FAST, Flags::DANGEROUS, Flags::KEYSPACE], Keys::NONE)
        .spread(Spread::Everywhere(Gather::Done))
        .doc("4.0.0", "O(1), and O(N) in the number of keys watched", "Swaps two databases."),
    command("time", 1, "", admin::time)
        .is(Group::Server, &[Flags::LOADING, Flags::STALE, Flags::FAST], Keys::NONE)
        .tips(&["nondeterministic_output"])
        .doc("2.6.0", "O(1)", "Returns the time: seconds since 1970 and microseconds."),
    command("asking", 1, "", cluster::asking)
        .is(Group::Cluster, &[Flags::FAST], Keys::NONE)
        .doc("3.0.0", "O(1)", "Asks to be let in to a slot that is on its way to another node; there is none."),
    command("cluster", -2, "", introspect::help)
        .is(Group::Cluster, &[Flags::CONTAINER, Flags::LONG], Keys::NONE)
        .doc("3.0.0", "Depends on the subcommand", "Tells of the cluster that the shards of this node are."),
    command("cluster|count-failure-reports", 3, "<node-id>", cluster::count_failure_reports)
        .is(Group::Cluster, &[Flags::ADMIN, Flags::STALE], Keys::NONE)
        .tips(&["nondeterministic_output"])
        .doc("3.0.0", "O(1)", "Counts the nodes that take a node for failed: none."),
    command("cluster|countkeysinslot", 3, "<slot>", cluster::countkeysinslot)
        .is(Group::Cluster, &[Flags::STALE], Keys::NONE)
        .doc("3.0.0", "O(1)", "Counts the keys of a slot that are on this node."),
    command("cluster|getkeysinslot", 4, "<slot> <count>", cluster::getkeysinslot)
        .is(Group::Cluster, &[Flags::STALE], Keys::NONE)
        .tips(&["nondeterministic_output"])
        .doc("3.0.0", "O(N) in the number of keys returned", "Returns so many keys of a slot that are on this node."),
    command("cluster|help", 2, "", cluster::help)
        .is(Group::Cluster, &[Flags::LOADING, Flags::STALE], Keys::NONE)
        .doc("5.0.0", "O(1)", "Returns the subcommands."),
    command("cluster|info", 2, "", cluster::info)
        .is(Group::Cluster, &[Flags::LOADING, Flags::STALE], Keys::NONE)
        .tips(&["nondeterministic_output"])
        .doc("3.0.0", "O(1)", "Tells of the state of the cluster."),
    command("cluster|keyslot", 3, "<key>", cluster::keyslot)
        .is(Group::Cluster, &[Flags::STALE], Keys::NONE)
        .doc("3.0.0", "O(N) in the length of the key", "Returns the slot of a key."),
    command("cluster|links", 2, "", cluster::links)
        .is(Group::Cluster, &[Flags::STALE], Keys::NONE)
        .tips(&["nondeterministic_output"])
        .doc("7.0.0", "O(1)", "Lists the connections to other nodes: none, since they are one process."),
    command("cluster|myid", 2, "", cluster::myid)
        .is(Group::Cluster, &[Flags::LOADING, Flags::STALE], Keys::NONE)
        .doc("3.0.0", "O(1)", "Returns the identity of the node."),
    command("cluster|myshardid", 2, "", cluster::myshardid)
        .is(Group::Cluster, &[Flags::LOADING, Flags::STALE], Keys::NONE)
        .tips(&["nondeterministic_output"])
        .doc("7.2.0", "O(1)", "Returns the identity of the group of the node and its replicas."),
    command("cluster|nodes", 2, "", cluster::nodes)
        .is(Group::Cluster, &[Flags::LOADING, Flags::STALE], Keys::NONE)
        .tips(&["nondeterministic_output"])
        .doc("3.0.0", "O(N) in the number of nodes", "Lists the nodes and their slots, one a line."),
    command("cluster|replicas", 3, "<node-id>", cluster::replicas)
        .is(Group::Cluster, &[Flags::ADMIN, Flags::STALE], Keys::NONE)
        .tips(&["nondeterministic_output"])
        .doc("5.0.0", "O(1)", "Lists the replicas of a node: none."),
    command("cluster|shards", 2, "", cluster::shards)
        .is(Group::Cluster, &[Flags::LOADING, Flags::STALE], Keys::NONE)
        .tips(&["nondeterministic_output"])
        .doc("7.0.0", "O(N) in the number of nodes", "Returns the slots and the nodes that serve them."),
    command("cluster|slaves", 3, "<node-id>", cluster::replicas)
        .is(Group::Cluster, &[Flags::ADMIN, Flags::STALE], Keys::NONE)
        .tips(&["nondeterministic_output"])
        .doc("3.0.0", "O(1)", "Lists the replicas of a node; the old name of CLUSTER REPLICAS."),
    command("cluster|slots", 2, "", cluster::slots)
        .is(Group::Cluster, &[Flags::LOADING, Flags::STALE], Keys::NONE)
        .tips(&["nondeterministic_output"])
        .doc("3.0.0", "O(N) in the number of nodes", "Returns ranges of slots and who serves them."),
    command("readonly", 1, "", cluster::readonly)
        .is(Group::Cluster, &[Flags::LOADING, Flags::STALE, Flags::FAST], Keys::NONE)
        .doc("3.0.0", "O(1)", "Says that reads of a replica will do; there is none."),
    command("readwrite", 1, "", cluster::readwrite)
        .is(Group::Cluster, &[Flags::LOADING, Flags::STALE, Flags::FAST], Keys::NONE)
        .doc("3.0.0", "O(1)", "Takes READONLY back."),
    command("cl.throttle", -5, "<key> <max-burst> <count-per-period> <period> [ <quantity> ]", limit::throttle)
        .is(Group::Limits, &[Flags::WRITE, Flags::FAST], Keys::ONE)
        .uses(&["RW access update"])
        .tips(&["nondeterministic_output"])
        .doc("0.1.0", "O(1)", "Takes a quantity (1; 0 only looks) from the bucket of a rate limit that refills by a count in each period of seconds and holds max-burst + 1, as redis-cell does: returns whether it was limited, the limit, what remains, and in how many seconds to try again (-1 where that is of no use) and the bucket is full."),
];
