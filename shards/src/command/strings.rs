//! Commands on strings.

#![forbid(unsafe_code)]

use std::ops::Range;

use crate::store::{Expiry, Key, MAX_VALUE_BYTES, NewValue, Value};

use super::expiry::{ExpiryOption, parse_expiry};
use super::{CommandError, Context};

type Done = Result<(), CommandError>;

impl<'a> Context<'a> {
    /// An argument as a value to store: a long one is handed over, not copied.
    fn new_value(&self, number: usize) -> NewValue<'a> {
        match self.args.blob(number) {
            Some(blob) => NewValue::Blob(blob.clone()),
            None => NewValue::Bytes(self.args.at(number)),
        }
    }

    fn put(&mut self, key: Key<'_>, value: NewValue<'_>, expiry: Expiry) -> Done {
        Ok(self.shard.store.set(self.session.db, key, value, expiry, self.now)?)
    }

    fn exists(&mut self, key: Key<'_>) -> bool {
        self.shard.store.entry(self.session.db, key, self.now).is_some()
    }

    /// Looks a key up for reading and counts the hit or miss.
    #[inline]
    fn look_up(&mut self, key: Key<'_>) -> Option<Value<'_>> {
        let touch = self.touch();
        let found = self.shard.store.get(self.session.db, key, self.now, touch);
        self.shard.stats.count_lookup(found.is_some());
        found
    }

    /// Encodes the value of a key, or null.
    fn reply_value(&mut self, key: Key<'_>) -> bool {
        let touch = self.touch();
        let found = self.shard.store.get(self.session.db, key, self.now, touch);
        self.shard.stats.count_lookup(found.is_some());
        let hit = found.is_some();
        self.reply.value_or_null(found);
        hit
    }
}

pub(super) fn get(c: &mut Context<'_>) -> Done {
    c.reply_value(c.key(1));
    Ok(())
}

/// The condition under which SET writes.
enum Condition<'a> {
    Always,
    Missing,
    Present,
    Equal(&'a [u8]),
}

impl Condition<'_> {
    fn holds(&self, old: Option<Value<'_>>) -> bool {
        match self {
            Self::Always => true,
            Self::Missing => old.is_none(),
            Self::Present => old.is_some(),
            Self::Equal(wanted) => old.is_some_and(|old| old.bytes() == *wanted),
        }
    }
}

/// What SET was asked for beyond key and value.
struct SetOptions<'a> {
    condition: Condition<'a>,
    expiry: Option<ExpiryOption>,
    get: bool,
}

fn set_options<'a>(c: &Context<'a>) -> Result<SetOptions<'a>, CommandError> {
    let mut set = SetOptions { condition: Condition::Always, expiry: None, get: false };
    let mut n = 3;
    while let Some(word) = c.args.get(n) {
        let next = c.args.get(n + 1);
        let fresh = matches!(set.condition, Condition::Always);
        if word.eq_ignore_ascii_case(b"nx") && fresh {
            set.condition = Condition::Missing;
        } else if word.eq_ignore_ascii_case(b"xx") && fresh {
            set.condition = Condition::Present;
        } else if let (true, true, Some(wanted)) = (word.eq_ignore_ascii_case(b"ifeq"), fresh, next)
        {
            set.condition = Condition::Equal(wanted);
            n += 1;
        } else if word.eq_ignore_ascii_case(b"get") {
            set.get = true;
        } else if word.eq_ignore_ascii_case(b"keepttl") && set.expiry.is_none() {
            set.expiry = Some(ExpiryOption::Keep);
        } else if let (Some(kind), Some(_), None) = (ExpiryOption::of(word), next, &set.expiry) {
            set.expiry = Some(kind(n + 1));
            n += 1;
        } else {
            return Err(CommandError::Syntax);
        }
        n += 1;
    }
    Ok(set)
}

pub(super) fn set(c: &mut Context<'_>) -> Done {
    if c.args.len() == 3 {
        c.put(c.key(1), c.new_value(2), Expiry::Never)?;
        c.reply.ok();
        return Ok(());
    }
    let SetOptions { condition, expiry, get } = set_options(c)?;
    let expiry = match expiry {
        None => Expiry::Never,
        Some(ExpiryOption::Keep) => Expiry::Keep,
        Some(option) => Expiry::At(parse_expiry(c, option, "set")?),
    };
    let key = c.key(1);
    let (db, now, touch) = (c.session.db, c.now, c.touch());
    let mark = c.reply.mark();
    let old = c.shard.store.get(db, key, now, touch);
    let (holds, hit) = (condition.holds(old), old.is_some());
    if get {
        c.reply.value_or_null(old);
        c.count_lookup(hit);
    }
    if holds && let Err(error) = write_or_drop(c, key, 2, expiry) {
        c.reply.rewind(mark);
        return Err(error);
    }
    match (get, holds) {
        (true, _) => {}
        (false, true) => c.reply.ok(),
        (false, false) => c.reply.null(),
    }
    Ok(())
}

/// Writes a value; one whose time has passed already removes the key instead.
fn write_or_drop(c: &mut Context<'_>, key: Key<'_>, value: usize, expiry: Expiry) -> Done {
    if matches!(expiry, Expiry::At(at) if at <= c.now.unix_ms()) {
        c.shard.store.remove(c.session.db, key, c.now);
        return Ok(());
    }
    c.put(key, c.new_value(value), expiry)
}

pub(super) fn setnx(c: &mut Context<'_>) -> Done {
    let key = c.key(1);
    let free = !c.exists(key);
    if free {
        c.put(key, c.new_value(2), Expiry::Never)?;
    }
    c.reply.integer(free.into());
    Ok(())
}

fn set_with(c: &mut Context<'_>, option: ExpiryOption, name: &'static str) -> Done {
    let at = parse_expiry(c, option, name)?;
    write_or_drop(c, c.key(1), 3, Expiry::At(at))?;
    c.reply.ok();
    Ok(())
}

pub(super) fn setex(c: &mut Context<'_>) -> Done {
    set_with(c, ExpiryOption::Seconds(2), "setex")
}

pub(super) fn psetex(c: &mut Context<'_>) -> Done {
    set_with(c, ExpiryOption::Milliseconds(2), "psetex")
}

pub(super) fn getset(c: &mut Context<'_>) -> Done {
    let key = c.key(1);
    c.reply_value(key);
    c.put(key, c.new_value(2), Expiry::Never)
}

pub(super) fn getdel(c: &mut Context<'_>) -> Done {
    let key = c.key(1);
    if c.reply_value(key) {
        c.shard.store.remove(c.session.db, key, c.now);
    }
    Ok(())
}

pub(super) fn getex(c: &mut Context<'_>) -> Done {
    let (mut expiry, mut persist, mut n) = (None, false, 2);
    while let Some(word) = c.args.get(n) {
        if word.eq_ignore_ascii_case(b"persist") && expiry.is_none() && !persist {
            persist = true;
        } else if let (Some(kind), Some(_), None, false) =
            (ExpiryOption::of(word), c.args.get(n + 1), &expiry, persist)
        {
            expiry = Some(kind(n + 1));
            n += 1;
        } else {
            return Err(CommandError::Syntax);
        }
        n += 1;
    }
    let key = c.key(1);
    let at = expiry.map(|option| parse_expiry(c, option, "getex")).transpose()?;
    if c.reply_value(key) {
        if persist {
            c.shard.store.set_expiry(c.session.db, key, None, c.now)?;
        } else if at.is_some() {
            c.shard.store.set_expiry(c.session.db, key, at, c.now)?;
        }
    }
    Ok(())
}

pub(super) fn mget(c: &mut Context<'_>) -> Done {
    c.reply.array(c.args.len() - 1);
    for n in 1..c.args.len() {
        c.reply_value(c.key(n));
    }
    Ok(())
}

fn check_pairs(c: &Context<'_>) -> Done {
    if c.args.len().is_multiple_of(2) {
        let name = c.spec.name;
        let text = format!("ERR wrong number of arguments for '{name}' command");
        return Err(CommandError::Other(text));
    }
    Ok(())
}

pub(super) fn mset(c: &mut Context<'_>) -> Done {
    check_pairs(c)?;
    for n in (1..c.args.len()).step_by(2) {
        c.put(c.key(n), c.new_value(n + 1), Expiry::Never)?;
    }
    c.reply.ok();
    Ok(())
}

pub(super) fn msetnx(c: &mut Context<'_>) -> Done {
    check_pairs(c)?;
    let taken = (1..c.args.len()).step_by(2).any(|n| c.exists(c.key(n)));
    if !taken {
        for n in (1..c.args.len()).step_by(2) {
            c.put(c.key(n), c.new_value(n + 1), Expiry::Never)?;
        }
    }
    c.reply.integer((!taken).into());
    Ok(())
}

pub(super) fn strlen(c: &mut Context<'_>) -> Done {
    let len = c.look_up(c.key(1)).map_or(0, |value| value.bytes().len());
    c.reply.count(len);
    Ok(())
}

pub(super) fn append(c: &mut Context<'_>) -> Done {
    let (key, tail) = (c.key(1), c.args.at(2));
    let (db, now, touch) = (c.session.db, c.now, c.touch());
    let len = c.shard.store.get(db, key, now, touch).map(|value| value.bytes().len());
    if len.unwrap_or(0) + tail.len() > MAX_VALUE_BYTES {
        return Err(CommandError::TooLong);
    }
    let len = match len {
        None => {
            c.put(key, c.new_value(2), Expiry::Never)?;
            tail.len()
        }
        Some(len) => c.shard.store.write_at(db, key, len, tail, now)?,
    };
    c.reply.count(len);
    Ok(())
}

pub(super) fn setrange(c: &mut Context<'_>) -> Done {
    let offset = c.integer(2)?;
    let (key, part) = (c.key(1), c.args.at(3));
    let Ok(offset) = usize::try_from(offset) else {
        return Err(CommandError::Text("ERR offset is out of range"));
    };
    if part.is_empty() {
        let len = c.look_up(key).map_or(0, |value| value.bytes().len());
        c.reply.count(len);
        return Ok(());
    }
    if offset.saturating_add(part.len()) > MAX_VALUE_BYTES {
        return Err(CommandError::TooLong);
    }
    let len = c.shard.store.write_at(c.session.db, key, offset, part, c.now)?;
    c.reply.count(len);
    Ok(())
}

pub(super) fn getrange(c: &mut Context<'_>) -> Done {
    let (from, to) = (c.integer(2)?, c.integer(3)?);
    let key = c.key(1);
    let touch = c.touch();
    let found = c.shard.store.get(c.session.db, key, c.now, touch);
    match found {
        Some(value) => c.reply.part(value, range(value.bytes().len(), from, to)),
        None => c.reply.bulk(b""),
    }
    let hit = found.is_some();
    c.count_lookup(hit);
    Ok(())
}

/// From `from` to `to` of so many bytes, both included; negative ones count from the end.
fn range(len: usize, from: i64, to: i64) -> Range<usize> {
    let len = len as i64;
    if from < 0 && to < 0 && from > to {
        return 0..0;
    }
    let from = if from < 0 { (len.saturating_add(from)).max(0) } else { from };
    let to = if to < 0 { (len.saturating_add(to)).max(0) } else { to.min(len - 1) };
    if from > to || len == 0 {
        return 0..0;
    }
    from as usize..to as usize + 1
}
