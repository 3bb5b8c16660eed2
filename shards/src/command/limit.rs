//! CL.THROTTLE: a rate limit as redis-cell has it.
//!
//! Arguments, replies and the rounding to seconds are redis-cell's (github.com/brandur/redis-cell:
//! `redis-cell/src/lib.rs` for the command, `redis-cell-impl/src/lib.rs` for the algorithm). Other
//! than there:
//! - Nothing is rounded but the two times of the reply. redis-cell cuts the time of a token to
//!   whole nanoseconds, so it admits a little more than was asked for, and knows no rate beyond
//!   one a nanosecond.
//! - Negative numbers are errors; there they give tokens back, or a limit that admits nothing.
//! - A bucket is no key: DEL, FLUSHALL and EXPIRE leave it, KEYS and DBSIZE do not show it, and it
//!   is the same in all databases.
//! - A hit that is refused for good on a bucket that has been full for a while says `limit`
//!   remaining and 0 s to a reset; there it may be more than the limit, and less than 0.
//! - A bucket that belongs to a policy by its name obeys that, whatever the numbers.

#![forbid(unsafe_code)]

use crate::limit::{Name, Rate, RateError, Tokens, Verdict};
use crate::time::Nanos;

use super::{CommandError, Context};

type Done = Result<(), CommandError>;

/// Most arguments, the command's name included.
const MOST_ARGS: usize = 6;

pub(super) fn throttle(c: &mut Context<'_>) -> Done {
    if c.args.len() > MOST_ARGS {
        let text = format!("ERR wrong number of arguments for '{}' command", c.spec.name);
        return Err(CommandError::Other(text));
    }
    let key = c.key(1);
    let name = Name::new(key.bytes, key.at)
        .ok_or(CommandError::Text("ERR the name of a rate limit has at most 512 bytes"))?;
    let (max_burst, count, period) = (number(c, 2)?, number(c, 3)?, number(c, 4)?);
    let quantity = if c.args.len() == MOST_ARGS { number(c, 5)? } else { 1 };
    let rate = match c.shard.limiter.rate_of(name) {
        Some(rate) => rate,
        None => {
            let asked = [max_burst, count, period];
            match c.shard.limiter.recent_rate(asked) {
                Some(rate) => rate,
                None => c.shard.limiter.note_rate(asked, own_rate(max_burst, count, period)?),
            }
        }
    };
    // What does not fit is dearer than any bucket.
    let cost = Tokens(u32::try_from(quantity).unwrap_or(u32::MAX));
    let decision = c.shard.limiter.hit(name, &rate, cost, c.now.mono);
    let (limited, retry_after) = match decision.verdict {
        Verdict::Admit => (0, -1),
        Verdict::Refuse { retry_after } => (1, seconds(retry_after)),
        Verdict::Never => (1, -1),
        Verdict::NoRoom => {
            const FULL: &str =
                "ERR no room for another rate limit: too many are in use (limit-buckets)";
            return Err(CommandError::Text(FULL));
        }
    };
    let (limit, remaining) = (decision.limit(), decision.remaining());
    let reset_after = seconds(decision.reset_after());
    let numbers = [limited, limit.0.into(), remaining.0.into(), retry_after, reset_after];
    c.reply.integers(numbers);
    Ok(())
}

/// A number that is not negative, in redis-cell's words where it is none.
fn number(c: &Context<'_>, number: usize) -> Result<u64, CommandError> {
    let bytes = c.args.at(number);
    // Others than canonical spellings are numbers there, too: +1, 01.
    let canonical = crate::number::unsigned(bytes).and_then(|n| i64::try_from(n).ok());
    let parsed = canonical.or_else(|| std::str::from_utf8(bytes).ok()?.parse().ok());
    let Some(n) = parsed else {
        /// Bytes of the argument that the message repeats.
        const SHOWN: usize = 128;
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
        let text = format!("Cell error: Store error: Couldn't parse as integer: {shown}");
        return Err(CommandError::Other(text));
    };
    let negative = CommandError::Text("ERR the numbers of a rate limit must not be negative");
    u64::try_from(n).map_err(|_| negative)
}

/// The rate that the arguments ask for.
fn own_rate(max_burst: u64, count: u64, period: u64) -> Result<Rate, CommandError> {
    let too_large = || {
        let why = RateError::TooLarge.text();
        CommandError::Other(format!("ERR the rate limit is too large: {why}"))
    };
    if count == 0 || period == 0 {
        let zero = "Cell error: Store error: Zero rates are not supported";
        return Err(CommandError::Text(zero));
    }
    let burst = u32::try_from(max_burst + 1).map_err(|_| too_large())?;
    let period = period.checked_mul(Nanos::SECOND.0).ok_or_else(too_large)?;
    Rate::new(count, Nanos(period), Tokens(burst)).map_err(|_| too_large())
}

/// Whole seconds as redis-cell counts them: one more for any milliseconds beyond them. Less than
/// one is not counted, so who waits that long may come up to a millisecond early.
fn seconds(time: Nanos) -> i64 {
    let beyond = time.0 % Nanos::SECOND.0 >= Nanos::MILLISECOND.0;
    (time.0 / Nanos::SECOND.0) as i64 + i64::from(beyond)
}

#[cfg(test)]
mod tests;
