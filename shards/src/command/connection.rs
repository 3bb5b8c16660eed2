//! Commands on the connection itself: PING, ECHO, SELECT, AUTH, HELLO, RESET, QUIT.

#![forbid(unsafe_code)]

use crate::ids::DbId;
use crate::number;
use crate::reply::{Protocol, Reply};
use crate::session::{Face, ReplyMode, Session};

use super::client::valid_name;
use super::{Args, CommandError, CommandSpec, Context, Flow, transaction};

type Done = Result<(), CommandError>;

pub(super) fn ping(c: &mut Context<'_>) -> Done {
    match c.args.len() {
        1 => c.reply.simple("PONG"),
        2 => c.reply.bulk(c.args.at(1)),
        _ => {
            return Err(CommandError::Text("ERR wrong number of arguments for 'ping' command"));
        }
    }
    Ok(())
}

pub(super) fn echo(c: &mut Context<'_>) -> Done {
    c.reply.bulk(c.args.at(1));
    Ok(())
}

pub(super) fn quit(c: &mut Context<'_>) -> Done {
    c.reply.ok();
    c.flow = Flow::Close;
    Ok(())
}

/// The database that a command selects, if it is SELECT and there is one of that number.
pub(crate) fn select_of(spec: &CommandSpec, args: &Args<'_>, databases: u8) -> Option<DbId> {
    let n = if spec.name == "select" { number::integer(args.get(1)?)? } else { return None };
    u8::try_from(n).ok().filter(|n| *n < databases).map(DbId)
}

/// The protocol that a command chooses, if it is HELLO with one of those there are and no more.
pub(crate) fn hello_of(spec: &CommandSpec, args: &Args<'_>) -> Option<Protocol> {
    match args.get(1).map(number::integer) {
        _ if spec.name != "hello" || args.len() != 2 => None,
        Some(Some(2)) => Some(Protocol::Resp2),
        Some(Some(3)) => Some(Protocol::Resp3),
        _ => None,
    }
}

pub(super) fn select(c: &mut Context<'_>) -> Done {
    c.session.db = c.db_index(1, "ERR value is not an integer or out of range")?;
    c.reply.ok();
    Ok(())
}

/// Compares without telling by its time where the first difference is.
fn same_secret(given: &[u8], expected: &[u8]) -> bool {
    let differs = given.iter().zip(expected).fold(0, |seen, (a, b)| seen | (a ^ b));
    given.len() == expected.len() && differs == 0
}

fn check_password(c: &mut Context<'_>, user: &[u8], password: &[u8]) -> Done {
    let expected = &c.shard.settings.requirepass;
    let known = user == b"default" && (expected.is_empty() || same_secret(password, expected));
    if !known {
        c.shard.stats.refused_password.add(1);
        return Err(CommandError::Text(
            "WRONGPASS invalid username-password pair or user is disabled.",
        ));
    }
    c.session.authenticated = true;
    Ok(())
}

pub(super) fn auth(c: &mut Context<'_>) -> Done {
    match c.args.len() {
        2 if c.shard.settings.requirepass.is_empty() => {
            return Err(CommandError::Text(
                "ERR AUTH <password> called without any password configured for the default \
                 user. Are you sure your configuration is correct?",
            ));
        }
        2 => check_password(c, b"default", c.args.at(1))?,
        3 => check_password(c, c.args.at(1), c.args.at(2))?,
        _ => return Err(CommandError::Syntax),
    }
    c.reply.ok();
    Ok(())
}

pub(super) fn hello(c: &mut Context<'_>) -> Done {
    let protocol = match c.args.get(1).map(number::integer) {
        None => c.session.protocol,
        Some(None) => {
            return Err(CommandError::Text(
                "ERR Protocol version is not an integer or out of range",
            ));
        }
        Some(Some(2)) => Protocol::Resp2,
        Some(Some(3)) => Protocol::Resp3,
        Some(Some(_)) => return Err(CommandError::Text("NOPROTO unsupported protocol version")),
    };
    let (mut credentials, mut name, mut n) = (None, None, 2);
    while let Some(word) = c.args.get(n) {
        if word.eq_ignore_ascii_case(b"auth") && n + 2 < c.args.len() {
            credentials = Some((c.args.at(n + 1), c.args.at(n + 2)));
            n += 3;
        } else if word.eq_ignore_ascii_case(b"setname") && n + 1 < c.args.len() {
            name = Some(valid_name(
                c.args.at(n + 1),
                "ERR Client names cannot contain spaces, newlines or special characters.",
            )?);
            n += 2;
        } else {
            let text =
                format!("ERR Syntax error in HELLO option '{}'", String::from_utf8_lossy(word));
            return Err(CommandError::Other(text));
        }
    }
    if let Some((user, password)) = credentials {
        check_password(c, user, password)?;
    }
    if !c.session.authenticated {
        return Err(CommandError::Text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = name {
        c.session.name = name.into();
    }
    c.session.protocol = protocol;
    c.reply.protocol = protocol;
    describe(c.reply, c.session, protocol);
    Ok(())
}

fn describe(reply: &mut Reply, session: &Session, protocol: Protocol) {
    let mode = if session.face == Face::Cluster { "cluster" } else { "standalone" };
    reply.map(7);
    for (key, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(key.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(if protocol == Protocol::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(session.id.0 as i64);
    for (key, value) in [("mode", mode), ("role", "master")] {
        reply.bulk(key.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
}

/// The version of Redis whose commands and replies these are; clients look at it.
pub(super) const REDIS_VERSION: &str = "7.2.4";

pub(super) fn reset(c: &mut Context<'_>) -> Done {
    transaction::forget(c.shard, c.session);
    let session = &mut *c.session;
    session.db = DbId(0);
    session.protocol = Protocol::Resp2;
    c.reply.protocol = Protocol::Resp2;
    session.name = Box::default();
    session.replies = ReplyMode::On;
    session.no_evict = false;
    session.no_touch = false;
    session.readonly = false;
    session.authenticated = c.shard.settings.requirepass.is_empty();
    c.reply.simple("RESET");
    Ok(())
}
