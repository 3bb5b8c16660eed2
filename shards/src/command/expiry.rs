//! When keys expire: EXPIRE and its kin, TTL and its kin, PERSIST.

#![forbid(unsafe_code)]

use crate::time::UnixMs;

use super::{CommandError, Context};

type Done = Result<(), CommandError>;

/// An expiry option and the number of the argument that holds its value.
#[derive(Clone, Copy, Debug)]
pub(super) enum ExpiryOption {
    Keep,
    Seconds(usize),
    Milliseconds(usize),
    AtSeconds(usize),
    AtMilliseconds(usize),
}

impl ExpiryOption {
    /// EX, PX, EXAT or PXAT.
    pub(super) fn of(word: &[u8]) -> Option<fn(usize) -> Self> {
        type Named = (&'static [u8], fn(usize) -> ExpiryOption);
        let options: [Named; 4] = [
            (b"ex", Self::Seconds),
            (b"px", Self::Milliseconds),
            (b"exat", Self::AtSeconds),
            (b"pxat", Self::AtMilliseconds),
        ];
        options.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, make)| make)
    }
}

/// The instant that an option of SET or GETEX names; it must be positive.
pub(super) fn parse_expiry(
    c: &Context<'_>,
    option: ExpiryOption,
    command: &'static str,
) -> Result<UnixMs, CommandError> {
    let (number, seconds, relative) = match option {
        ExpiryOption::Keep => unreachable!("callers treat it apart"),
        ExpiryOption::Seconds(n) => (n, true, true),
        ExpiryOption::Milliseconds(n) => (n, false, true),
        ExpiryOption::AtSeconds(n) => (n, true, false),
        ExpiryOption::AtMilliseconds(n) => (n, false, false),
    };
    let value = c.integer(number)?;
    let bad = CommandError::ExpireTime(command);
    if value <= 0 {
        return Err(bad);
    }
    let Some(ms) = absolute(c, value, seconds, relative) else { return Err(bad) };
    Ok(UnixMs(ms as u64))
}

/// Milliseconds since 1970, if they fit 63 bits.
fn absolute(c: &Context<'_>, value: i64, seconds: bool, relative: bool) -> Option<i64> {
    let ms = if seconds { value.checked_mul(1_000)? } else { value };
    if relative { ms.checked_add(c.now.unix_ms().0 as i64) } else { Some(ms) }
}

/// The conditions of EXPIRE.
#[derive(Default)]
struct Conditions {
    missing: bool,
    present: bool,
    greater: bool,
    less: bool,
}

fn conditions(c: &Context<'_>) -> Result<Conditions, CommandError> {
    let mut set = Conditions::default();
    for word in c.args.from(3) {
        match word.to_ascii_lowercase().as_slice() {
            b"nx" => set.missing = true,
            b"xx" => set.present = true,
            b"gt" => set.greater = true,
            b"lt" => set.less = true,
            _ => {
                let text = format!("ERR Unsupported option {}", String::from_utf8_lossy(word));
                return Err(CommandError::Other(text));
            }
        }
    }
    if set.missing && (set.present || set.greater || set.less) {
        return Err(CommandError::Text(
            "ERR NX and XX, GT or LT options at the same time are not compatible",
        ));
    }
    if set.greater && set.less {
        return Err(CommandError::Text(
            "ERR GT and LT options at the same time are not compatible",
        ));
    }
    Ok(set)
}

fn expire_generic(c: &mut Context<'_>, seconds: bool, relative: bool) -> Done {
    let set = conditions(c)?;
    let value = c.integer(2)?;
    let ms = absolute(c, value, seconds, relative);
    let ms = ms.ok_or(CommandError::ExpireTime(c.spec.name))?;
    let (key, db, now) = (c.key(1), c.session.db, c.now);
    let Some(entry) = c.shard.store.entry(db, key, now) else {
        c.reply.integer(0);
        return Ok(());
    };
    let old = entry.expiry.map(|at| at.0 as i64);
    let refused = set.missing && old.is_some()
        || set.present && old.is_none()
        || set.greater && old.is_none_or(|old| ms <= old)
        || set.less && old.is_some_and(|old| ms >= old);
    if refused {
        c.reply.integer(0);
        return Ok(());
    }
    let at = UnixMs(ms.max(0) as u64);
    c.shard.store.set_expiry(db, key, Some(at), now)?;
    c.reply.integer(1);
    Ok(())
}

pub(super) fn expire(c: &mut Context<'_>) -> Done {
    expire_generic(c, true, true)
}

pub(super) fn pexpire(c: &mut Context<'_>) -> Done {
    expire_generic(c, false, true)
}

pub(super) fn expireat(c: &mut Context<'_>) -> Done {
    expire_generic(c, true, false)
}

pub(super) fn pexpireat(c: &mut Context<'_>) -> Done {
    expire_generic(c, false, false)
}

/// -2 without a key, -1 without an expiry, or what `show` makes of the expiry and now.
fn ttl_generic(c: &mut Context<'_>, show: fn(i64, i64) -> i64) -> Done {
    let entry = c.shard.store.entry(c.session.db, c.key(1), c.now);
    let now = c.now.unix_ms().0 as i64;
    c.count_lookup(entry.is_some());
    c.reply.integer(match entry.map(|entry| entry.expiry) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => show(at.0 as i64, now),
    });
    Ok(())
}

pub(super) fn ttl(c: &mut Context<'_>) -> Done {
    ttl_generic(c, |at, now| ((at - now).max(0) + 500) / 1_000)
}

pub(super) fn pttl(c: &mut Context<'_>) -> Done {
    ttl_generic(c, |at, now| (at - now).max(0))
}

pub(super) fn expiretime(c: &mut Context<'_>) -> Done {
    ttl_generic(c, |at, _| (at + 500) / 1_000)
}

pub(super) fn pexpiretime(c: &mut Context<'_>) -> Done {
    ttl_generic(c, |at, _| at)
}

pub(super) fn persist(c: &mut Context<'_>) -> Done {
    let (key, db, now) = (c.key(1), c.session.db, c.now);
    let expires = c.shard.store.entry(db, key, now).is_some_and(|entry| entry.expiry.is_some());
    if expires {
        c.shard.store.set_expiry(db, key, None, now)?;
    }
    c.reply.integer(expires.into());
    Ok(())
}
