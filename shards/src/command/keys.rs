//! Commands on any key.

#![forbid(unsafe_code)]

use crate::ids::DbId;
use crate::number;
use crate::session::Face;
use crate::store::{Expiry, Key, NewValue, Value};

use super::long::{self, Asked, LongOp};
use super::{Args, CommandError, Context, Flow};

type Done = Result<(), CommandError>;

/// Longest pattern: a class may be that long, and is compared in one go with each byte.
const MAX_PATTERN_BYTES: usize = 64 << 10;

impl<'a> Context<'a> {
    /// An argument as the number of a database.
    pub(super) fn db_index(&self, number: usize, bad: &'static str) -> Result<DbId, CommandError> {
        database(self.args.at(number), self.databases(), CommandError::Text(bad))
    }

    /// An argument as a pattern.
    pub(super) fn pattern(&self, number: usize) -> Result<&'a [u8], CommandError> {
        let pattern = self.args.at(number);
        if pattern.len() > MAX_PATTERN_BYTES {
            self.shard.stats.refused_pattern_size.add(1);
            return Err(CommandError::Text("ERR the pattern is too long: at most 64 KiB"));
        }
        Ok(pattern)
    }

    /// Starts an operation that may take longer than a turn.
    pub(super) fn go_on(&mut self, mut op: LongOp) {
        let budget = if self.in_exec { usize::MAX } else { long::LONG_STEP };
        if !op.step(self.shard, self.now, budget, self.reply) {
            self.flow = Flow::Pending(op);
        }
    }
}

/// The number of a database, of so many.
fn database(text: &[u8], databases: u8, bad: CommandError) -> Result<DbId, CommandError> {
    let n = number::integer(text).ok_or(bad)?;
    let known = u8::try_from(n).ok().filter(|n| *n < databases);
    known.map(DbId).ok_or(CommandError::DbIndex)
}

pub(super) fn del(c: &mut Context<'_>) -> Done {
    let removed = (1..c.args.len())
        .filter(|n| c.shard.store.remove(c.session.db, c.args.key(*n, &c.shard.hasher), c.now))
        .count();
    c.reply.count(removed);
    Ok(())
}

pub(super) fn exists(c: &mut Context<'_>) -> Done {
    let mut found = 0;
    for n in 1..c.args.len() {
        let hit = c.shard.store.entry(c.session.db, c.key(n), c.now).is_some();
        c.count_lookup(hit);
        found += usize::from(hit);
    }
    c.reply.count(found);
    Ok(())
}

pub(super) fn touch(c: &mut Context<'_>) -> Done {
    let mut found = 0;
    for n in 1..c.args.len() {
        let hit = c.shard.store.get(c.session.db, c.key(n), c.now, true).is_some();
        c.count_lookup(hit);
        found += usize::from(hit);
    }
    c.reply.count(found);
    Ok(())
}

pub(super) fn kind(c: &mut Context<'_>) -> Done {
    let there = c.shard.store.entry(c.session.db, c.key(1), c.now).is_some();
    c.reply.simple(if there { "string" } else { "none" });
    Ok(())
}

/// Writes what `from` holds, expiry included, under another key.
fn copy_entry(c: &mut Context<'_>, from: Key<'_>, to: Key<'_>, db: DbId) -> Done {
    let (source, now) = (c.session.db, c.now);
    let info = c.shard.store.entry(source, from, now).ok_or(CommandError::NoSuchKey)?;
    let expiry = info.expiry.map_or(Expiry::Never, Expiry::At);
    // The value is in the memory that the write may move, so a short one is copied first.
    let held = match c.shard.store.get(source, from, now, false) {
        Some(Value::Inline(bytes)) => Ok(bytes.to_vec()),
        Some(Value::Blob(blob)) => Err(blob.clone()),
        None => return Err(CommandError::NoSuchKey),
    };
    let value = match &held {
        Ok(bytes) => NewValue::Bytes(bytes),
        Err(blob) => NewValue::Blob(blob.clone()),
    };
    c.shard.store.set(db, to, value, expiry, now)?;
    if info.modified {
        c.shard.store.mark_modified(db, to);
    }
    Ok(())
}

fn rename_generic(c: &mut Context<'_>, only_if_free: bool) -> Done {
    let (from, to, db, now) = (c.key(1), c.key(2), c.session.db, c.now);
    if c.shard.store.entry(db, from, now).is_none() {
        return Err(CommandError::NoSuchKey);
    }
    if only_if_free && c.shard.store.entry(db, to, now).is_some() {
        c.reply.integer(0);
        return Ok(());
    }
    if from.bytes != to.bytes {
        copy_entry(c, from, to, db)?;
        c.shard.store.remove(db, from, now);
    }
    if only_if_free {
        c.reply.integer(1)
    } else {
        c.reply.ok()
    }
    Ok(())
}

pub(super) fn rename(c: &mut Context<'_>) -> Done {
    rename_generic(c, false)
}

pub(super) fn renamenx(c: &mut Context<'_>) -> Done {
    rename_generic(c, true)
}

/// What COPY was asked for beyond its keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CopyOptions {
    pub(crate) db: DbId,
    pub(crate) replace: bool,
}

fn parse_copy(args: &Args<'_>, db: DbId, databases: u8) -> Result<CopyOptions, CommandError> {
    let (mut options, mut n) = (CopyOptions { db, replace: false }, 3);
    while let Some(word) = args.get(n) {
        if word.eq_ignore_ascii_case(b"replace") {
            options.replace = true;
        } else if word.eq_ignore_ascii_case(b"db") && args.get(n + 1).is_some() {
            let bad = CommandError::Text("ERR value is not an integer or out of range");
            options.db = database(args.at(n + 1), databases, bad)?;
            n += 1;
        } else {
            return Err(CommandError::Syntax);
        }
        n += 1;
    }
    Ok(options)
}

/// The options of COPY; none where they are wrong.
pub(crate) fn copy_options(args: &Args<'_>, db: DbId, databases: u8) -> Option<CopyOptions> {
    parse_copy(args, db, databases).ok()
}

pub(super) fn copy(c: &mut Context<'_>) -> Done {
    let CopyOptions { db, replace } = parse_copy(c.args, c.session.db, c.databases())?;
    let (from, to) = (c.key(1), c.key(2));
    if from.bytes == to.bytes && db == c.session.db {
        return Err(CommandError::Text("ERR source and destination objects are the same"));
    }
    let there = c.shard.store.entry(c.session.db, from, c.now).is_some();
    let free = replace || c.shard.store.entry(db, to, c.now).is_none();
    if there && free {
        copy_entry(c, from, to, db)?;
    }
    c.reply.integer((there && free).into());
    Ok(())
}

pub(super) fn move_key(c: &mut Context<'_>) -> Done {
    let db = c.db_index(2, "ERR value is not an integer or out of range")?;
    if db == c.session.db {
        return Err(CommandError::Text("ERR source and destination objects are the same"));
    }
    let key = c.key(1);
    let there = c.shard.store.entry(c.session.db, key, c.now).is_some();
    let moves = there && c.shard.store.entry(db, key, c.now).is_none();
    if moves {
        copy_entry(c, key, key, db)?;
        c.shard.store.remove(c.session.db, key, c.now);
    }
    c.reply.integer(moves.into());
    Ok(())
}

pub(super) fn keys(c: &mut Context<'_>) -> Done {
    let slots = c.shard.partition.slots(c.shard.id);
    let op = LongOp::keys(slots, c.session.db, c.pattern(1)?, c.reply.protocol);
    c.go_on(op);
    Ok(())
}

pub(super) fn scan(c: &mut Context<'_>) -> Done {
    let cursor = number::unsigned(c.args.at(1)).ok_or(CommandError::Text("ERR invalid cursor"))?;
    let (mut pattern, mut count, mut strings, mut n) = (None, 10, true, 2);
    while let Some(word) = c.args.get(n) {
        let Some(value) = c.args.get(n + 1) else { return Err(CommandError::Syntax) };
        if word.eq_ignore_ascii_case(b"match") {
            pattern = Some(c.pattern(n + 1)?);
        } else if word.eq_ignore_ascii_case(b"count") {
            count = number::integer(value).ok_or(CommandError::NotInteger)?;
            if count < 1 {
                return Err(CommandError::Syntax);
            }
        } else if word.eq_ignore_ascii_case(b"type") {
            let known = [&b"string"[..], b"list", b"set", b"zset", b"hash", b"stream"];
            if !known.iter().any(|name| value.eq_ignore_ascii_case(name)) {
                let shown = String::from_utf8_lossy(value);
                return Err(CommandError::Other(format!("ERR unknown type name '{shown}'")));
            }
            strings = value.eq_ignore_ascii_case(b"string");
        } else {
            return Err(CommandError::Syntax);
        }
        n += 2;
    }
    let pattern = pattern.filter(|pattern| *pattern != b"*");
    // On a node of a cluster the end of its slots is the end; on one of several shards the
    // next shard goes on.
    let ends_here = c.session.face == Face::Cluster;
    let asked = Asked { cursor, pattern, count: count as u64, strings, ends_here };
    let slots = c.shard.partition.slots(c.shard.id);
    let op = LongOp::scan(slots, c.session.db, asked, c.reply.protocol);
    c.go_on(op);
    Ok(())
}

pub(super) fn randomkey(c: &mut Context<'_>) -> Done {
    match c.shard.store.random_key(c.session.db, c.now) {
        Some(key) => c.reply.value(key.as_value()),
        None => c.reply.null(),
    }
    Ok(())
}

pub(super) fn dbsize(c: &mut Context<'_>) -> Done {
    c.reply.count(c.shard.store.len(c.session.db));
    Ok(())
}

/// Both ways of flushing are at once and give memory back later.
fn flush_mode(c: &Context<'_>) -> Done {
    let fine = match c.args.get(1) {
        None => true,
        Some(word) => {
            c.args.len() == 2
                && (word.eq_ignore_ascii_case(b"async") || word.eq_ignore_ascii_case(b"sync"))
        }
    };
    if fine { Ok(()) } else { Err(CommandError::Syntax) }
}

pub(super) fn flushdb(c: &mut Context<'_>) -> Done {
    flush_mode(c)?;
    c.shard.store.flush(c.session.db);
    c.reply.ok();
    Ok(())
}

pub(super) fn flushall(c: &mut Context<'_>) -> Done {
    flush_mode(c)?;
    // A cluster's clients know of database 0 alone.
    if c.session.face == Face::Cluster {
        c.shard.store.flush(DbId(0));
    } else {
        c.shard.store.flush_all();
    }
    c.reply.ok();
    Ok(())
}

pub(super) fn swapdb(c: &mut Context<'_>) -> Done {
    if c.session.face == Face::Cluster {
        return Err(CommandError::Text("ERR SWAPDB is not allowed in cluster mode"));
    }
    let first = c.db_index(1, "ERR invalid first DB index");
    let second = c.db_index(2, "ERR invalid second DB index");
    // What is no number is complained of before what is out of range.
    let (a, b) = match (first, second) {
        (Err(CommandError::DbIndex), Err(error @ CommandError::Text(_))) => return Err(error),
        (first, second) => (first?, second?),
    };
    c.shard.store.swap(a, b);
    c.reply.ok();
    Ok(())
}

/// The number of an argument's encoding as Redis would name it.
pub(super) fn object_encoding(c: &mut Context<'_>) -> Done {
    /// Key and value of up to so many bytes together share an allocation in Valkey 9
    /// (object.c, shouldEmbedStringObject): 128 less its administration.
    const EMBEDDED: usize = 113;
    let (key, db, now) = (c.key(2), c.session.db, c.now);
    let Some(info) = c.shard.store.entry(db, key, now) else {
        c.reply.null();
        return Ok(());
    };
    let value = c.shard.store.get(db, key, now, false).map_or(&b""[..], Value::bytes);
    let long_key = if key.bytes.len() >= 32 { 2 } else { 0 };
    let expiry = if info.expiry.is_some() { 8 } else { 0 };
    let size = value.len() + key.bytes.len() + long_key + expiry;
    let name = if info.modified {
        "raw"
    } else if number::integer(value).is_some() {
        "int"
    } else if size <= EMBEDDED {
        "embstr"
    } else {
        "raw"
    };
    c.reply.bulk(name.as_bytes());
    Ok(())
}

pub(super) fn object_idletime(c: &mut Context<'_>) -> Done {
    match c.shard.store.entry(c.session.db, c.key(2), c.now) {
        Some(info) => c.reply.integer(info.idle_seconds as i64),
        None => c.reply.null(),
    }
    Ok(())
}

pub(super) fn object_refcount(c: &mut Context<'_>) -> Done {
    match c.shard.store.entry(c.session.db, c.key(2), c.now) {
        Some(_) => c.reply.integer(1),
        None => c.reply.null(),
    }
    Ok(())
}

pub(super) fn object_freq(c: &mut Context<'_>) -> Done {
    if c.shard.store.entry(c.session.db, c.key(2), c.now).is_none() {
        c.reply.null();
        return Ok(());
    }
    Err(CommandError::Text(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note \
         that when switching between policies at runtime LRU and LFU data will take some time to \
         adjust.",
    ))
}
