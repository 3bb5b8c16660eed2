//! Counting: INCR and its kin.

#![forbid(unsafe_code)]

use crate::number::{self, Extended};
use crate::store::{Expiry, NewValue};

use super::{CommandError, Context};

type Done = Result<(), CommandError>;

impl Context<'_> {
    /// An argument as an integer.
    pub(super) fn integer(&self, number: usize) -> Result<i64, CommandError> {
        number::integer(self.args.at(number)).ok_or(CommandError::NotInteger)
    }
}

fn add(c: &mut Context<'_>, amount: i64) -> Done {
    let (key, db, now) = (c.key(1), c.session.db, c.now);
    let touch = c.touch();
    let old = match c.shard.store.get(db, key, now, touch) {
        None => 0,
        Some(value) => number::integer(value.bytes()).ok_or(CommandError::NotInteger)?,
    };
    let new = old.checked_add(amount).ok_or(CommandError::Overflow)?;
    let mut digits = [0; 20];
    let text = number::decimal(new, &mut digits);
    c.shard.store.set(db, key, NewValue::Bytes(text), Expiry::Keep, now)?;
    c.reply.integer(new);
    Ok(())
}

pub(super) fn incr(c: &mut Context<'_>) -> Done {
    add(c, 1)
}

pub(super) fn decr(c: &mut Context<'_>) -> Done {
    add(c, -1)
}

pub(super) fn incrby(c: &mut Context<'_>) -> Done {
    add(c, c.integer(2)?)
}

pub(super) fn decrby(c: &mut Context<'_>) -> Done {
    let amount = c.integer(2)?.checked_neg();
    add(c, amount.ok_or(CommandError::Text("ERR decrement would overflow"))?)
}

pub(super) fn incrbyfloat(c: &mut Context<'_>) -> Done {
    let (key, db, now) = (c.key(1), c.session.db, c.now);
    let touch = c.touch();
    let old = match c.shard.store.get(db, key, now, touch) {
        None => Extended::parse(b"0"),
        Some(value) => Extended::parse(value.bytes()),
    };
    let old = old.ok_or(CommandError::NotFloat)?;
    let infinite = CommandError::Text("ERR increment would produce NaN or Infinity");
    if number::is_infinity(c.args.at(2)) {
        return Err(infinite);
    }
    let amount = Extended::parse(c.args.at(2)).ok_or(CommandError::NotFloat)?;
    let new = old.plus(amount).ok_or(infinite)?;
    let text = new.to_string();
    c.shard.store.set(db, key, NewValue::Bytes(text.as_bytes()), Expiry::Keep, now)?;
    c.reply.bulk(text.as_bytes());
    Ok(())
}
