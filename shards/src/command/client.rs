//! CLIENT: who is connected, under which name, and with which modes.

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::net::SocketAddr;

use crate::ids::ClientId;
use crate::number;
use crate::reply::Protocol;
use crate::session::{ReplyMode, Session};
use crate::time::Now;

use super::{CommandError, Context, Flow, Traffic};

type Done = Result<(), CommandError>;

/// A name without spaces, control characters or what is not ASCII.
pub(super) fn valid_name<'a>(
    name: &'a [u8],
    complaint: &'static str,
) -> Result<&'a [u8], CommandError> {
    let fine = name.iter().all(|byte| (b'!'..=b'~').contains(byte));
    if fine { Ok(name) } else { Err(CommandError::Text(complaint)) }
}

pub(super) fn id(c: &mut Context<'_>) -> Done {
    c.reply.integer(c.session.id.0 as i64);
    Ok(())
}

pub(super) fn getname(c: &mut Context<'_>) -> Done {
    if c.session.name.is_empty() {
        c.reply.null()
    } else {
        c.reply.bulk(&c.session.name)
    }
    Ok(())
}

pub(super) fn setname(c: &mut Context<'_>) -> Done {
    let name = valid_name(
        c.args.at(2),
        "ERR Client names cannot contain spaces, newlines or special characters.",
    )?;
    c.session.name = name.into();
    c.reply.ok();
    Ok(())
}

pub(super) fn setinfo(c: &mut Context<'_>) -> Done {
    let (attribute, value) = (c.args.at(2), c.args.at(3));
    let target = match attribute.to_ascii_lowercase().as_slice() {
        b"lib-name" => &mut c.session.library_name,
        b"lib-ver" => &mut c.session.library_version,
        _ => {
            let shown = String::from_utf8_lossy(attribute);
            return Err(CommandError::Other(format!("ERR Unrecognized option '{shown}'")));
        }
    };
    if valid_name(value, "").is_err() {
        let shown = String::from_utf8_lossy(attribute);
        let text = format!("ERR {shown} cannot contain spaces, newlines or special characters.");
        return Err(CommandError::Other(text));
    }
    *target = value.into();
    c.reply.ok();
    Ok(())
}

fn address(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "?:0".into(), |address| address.to_string())
}

/// One line of CLIENT LIST; fields as in Redis, those that mean nothing here left out.
fn describe(session: &Session, traffic: Traffic, now: Now) -> Vec<u8> {
    let age = now.mono.since(session.created.mono).0 / 1_000_000_000;
    let idle = now.mono.since(session.last_seen.mono).0 / 1_000_000_000;
    let mut flags = String::new();
    for (on, flag) in [
        (session.readonly, 'r'),
        (session.transaction.is_some(), 'x'),
        (session.no_evict, 'e'),
        (session.no_touch, 'T'),
    ] {
        if on {
            flags.push(flag);
        }
    }
    if flags.is_empty() {
        flags.push('N');
    }
    let queued = session.transaction.as_ref().map_or(-1, |t| t.queue.len() as i64);
    let multi_bytes = session.transaction.as_ref().map_or(0, |t| t.memory());
    let resp = if session.protocol == Protocol::Resp3 { 3 } else { 2 };
    let command = session.last_command.map_or("NULL", |spec| spec.name);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        "id={} addr={} laddr={} fd={} name={} age={age} idle={idle} flags={flags} db={} sub=0 \
         psub=0 ssub=0 multi={queued} watch={} qbuf={} qbuf-free=0 argv-mem=0 \
         multi-mem={multi_bytes} rbs=0 rbp=0 obl={} oll=0 omem={} tot-mem={} events=r \
         cmd={command} user=default redir=-1 resp={resp} lib-name={} lib-ver={} tot-net-in={} \
         tot-net-out={} tot-cmds={}",
        session.id.0,
        address(session.peer),
        address(session.local),
        traffic.descriptor,
        text(&session.name),
        session.db.0,
        session.watched.len(),
        traffic.unread,
        traffic.unsent,
        traffic.unsent,
        size_of::<Session>() + traffic.unread + traffic.unsent + multi_bytes,
        text(&session.library_name),
        text(&session.library_version),
        traffic.received,
        traffic.sent,
        session.commands,
    );
    line.push('\n');
    line.into_bytes()
}

pub(super) fn info(c: &mut Context<'_>) -> Done {
    let line = describe(c.session, c.host.own_traffic(), c.now);
    c.reply.verbatim(&line);
    Ok(())
}

/// Which clients a LIST or KILL means.
#[derive(Default)]
struct Filter {
    ids: Vec<u64>,
    peer: Option<Vec<u8>>,
    local: Option<Vec<u8>>,
    user: Option<Vec<u8>>,
    /// Whether only clients of a kind that there are none of are meant.
    other_kind: bool,
    oldest: Option<u64>,
    skip_me: bool,
}

impl Filter {
    fn meets(&self, session: &Session, now: Now) -> bool {
        let age = now.mono.since(session.created.mono).0 / 1_000_000_000;
        let is = |wanted: &Option<Vec<u8>>, got: Option<SocketAddr>| {
            wanted.as_ref().is_none_or(|wanted| *wanted == address(got).into_bytes())
        };
        (self.ids.is_empty() || self.ids.contains(&session.id.0))
            && is(&self.peer, session.peer)
            && is(&self.local, session.local)
            && self.user.as_ref().is_none_or(|user| user == b"default")
            && self.oldest.is_none_or(|oldest| age >= oldest)
            && !self.other_kind
    }
}

/// Whether `kind` is one of Redis' kinds of clients, and whether it is ours (normal).
fn client_kind(kind: &[u8]) -> Option<bool> {
    match kind.to_ascii_lowercase().as_slice() {
        b"normal" => Some(true),
        b"master" | b"primary" | b"replica" | b"slave" | b"pubsub" => Some(false),
        _ => None,
    }
}

fn unknown_kind(kind: &[u8]) -> CommandError {
    CommandError::Other(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(kind)))
}

pub(super) fn list(c: &mut Context<'_>) -> Done {
    let mut filter = Filter::default();
    match (c.args.get(2), c.args.len()) {
        (None, _) => {}
        (Some(word), 4) if word.eq_ignore_ascii_case(b"type") => {
            let ours = client_kind(c.args.at(3)).ok_or_else(|| unknown_kind(c.args.at(3)))?;
            filter.other_kind = !ours;
        }
        (Some(word), 4..) if word.eq_ignore_ascii_case(b"id") => {
            for text in c.args.from(3) {
                filter.ids.push(client_number(text)?);
            }
        }
        _ => return Err(CommandError::Syntax),
    }
    let now = c.now;
    let mut lines = Vec::new();
    if !c.session.is_guest && filter.meets(c.session, now) {
        lines.push((c.session.id, describe(c.session, c.host.own_traffic(), now)));
    }
    c.host.each_client(&mut |session, traffic| {
        if filter.meets(session, now) {
            lines.push((session.id, describe(session, traffic, now)));
        }
    });
    lines.sort();
    let text: Vec<u8> = lines.into_iter().flat_map(|(_, line)| line).collect();
    c.reply.verbatim(&text);
    Ok(())
}

fn client_number(text: &[u8]) -> Result<u64, CommandError> {
    match number::integer(text) {
        None => Err(CommandError::Syntax),
        Some(id) if id <= 0 => Err(CommandError::Text("ERR client-id should be greater than 0")),
        Some(id) => Ok(id as u64),
    }
}

fn yes_or_no(word: &[u8]) -> Result<bool, CommandError> {
    if word.eq_ignore_ascii_case(b"yes") {
        Ok(true)
    } else if word.eq_ignore_ascii_case(b"no") {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

fn kill_filter(c: &Context<'_>) -> Result<Filter, CommandError> {
    let mut filter = Filter { skip_me: true, ..Filter::default() };
    let mut n = 2;
    while n < c.args.len() {
        let (word, Some(value)) = (c.args.at(n), c.args.get(n + 1)) else {
            return Err(CommandError::Syntax);
        };
        match word.to_ascii_lowercase().as_slice() {
            b"id" => {
                filter.ids = vec![client_number(value)?];
            }
            b"addr" => filter.peer = Some(value.to_vec()),
            b"laddr" => filter.local = Some(value.to_vec()),
            b"user" => {
                if value != b"default" {
                    let shown = String::from_utf8_lossy(value);
                    return Err(CommandError::Other(format!("ERR No such user '{shown}'")));
                }
                filter.user = Some(value.to_vec());
            }
            b"type" => {
                filter.other_kind = !client_kind(value).ok_or_else(|| unknown_kind(value))?;
            }
            b"maxage" => {
                let age = number::integer(value)
                    .ok_or(CommandError::Text("ERR maxage is not an integer or out of range"))?;
                if age <= 0 {
                    return Err(CommandError::Text("ERR maxage should be greater than 0"));
                }
                filter.oldest = Some(age as u64);
            }
            b"skipme" => filter.skip_me = yes_or_no(value)?,
            _ => return Err(CommandError::Syntax),
        }
        n += 2;
    }
    Ok(filter)
}

pub(super) fn kill(c: &mut Context<'_>) -> Done {
    let old_style = c.args.len() == 3;
    let filter = if old_style {
        Filter { peer: Some(c.args.at(2).to_vec()), ..Filter::default() }
    } else {
        kill_filter(c)?
    };
    let now = c.now;
    let (me, mut doomed) = (c.session.id, Vec::<ClientId>::new());
    let mut mine = !c.session.is_guest && !filter.skip_me && filter.meets(c.session, now);
    c.host.each_client(&mut |session, _| {
        // A stand-in meets whom it stands for among the others.
        if session.id == me {
            mine |= !filter.skip_me && filter.meets(session, now);
        } else if filter.meets(session, now) {
            doomed.push(session.id);
        }
    });
    let killed = doomed.len() + usize::from(mine);
    for client in doomed {
        c.host.kill(client);
    }
    if mine {
        c.flow = Flow::Close;
    }
    match (old_style, killed) {
        (true, 0) => return Err(CommandError::Text("ERR No such client")),
        (true, _) => c.reply.ok(),
        (false, n) => c.reply.count(n),
    }
    Ok(())
}

fn on_or_off(word: &[u8]) -> Result<bool, CommandError> {
    if word.eq_ignore_ascii_case(b"on") {
        Ok(true)
    } else if word.eq_ignore_ascii_case(b"off") {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

pub(super) fn no_evict(c: &mut Context<'_>) -> Done {
    c.session.no_evict = on_or_off(c.args.at(2))?;
    c.reply.ok();
    Ok(())
}

pub(super) fn no_touch(c: &mut Context<'_>) -> Done {
    c.session.no_touch = on_or_off(c.args.at(2))?;
    c.reply.ok();
    Ok(())
}

pub(super) fn reply(c: &mut Context<'_>) -> Done {
    match c.args.at(2).to_ascii_lowercase().as_slice() {
        b"on" => {
            c.session.replies = ReplyMode::On;
            c.reply.ok();
        }
        b"off" => c.session.replies = ReplyMode::Off,
        b"skip" if c.session.replies != ReplyMode::Off => c.session.replies = ReplyMode::SkipNext,
        b"skip" => {}
        _ => return Err(CommandError::Syntax),
    }
    Ok(())
}
