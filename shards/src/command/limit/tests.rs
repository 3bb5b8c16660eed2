//! CL.THROTTLE against what redis-cell's source says.

use std::sync::Arc;

use proptest::prelude::*;

use crate::command::tests::{check, check_with, client};
use crate::limit::{Policies, Rate, Tokens};
use crate::settings::Settings;
use crate::time::Nanos;

/// The cases of redis-cell's own test: a limit of 5, one a second.
#[test]
fn the_cases_of_redis_cell() {
    check(
        "CL.THROTTLE foo 4 1 1 6 => *5 :1 :5 :5 :-1 :0
         CL.THROTTLE foo 4 1 1 => *5 :0 :5 :4 :-1 :1
         CL.THROTTLE foo 4 1 1 => *5 :0 :5 :3 :-1 :2
         CL.THROTTLE foo 4 1 1 => *5 :0 :5 :2 :-1 :3
         CL.THROTTLE foo 4 1 1 => *5 :0 :5 :1 :-1 :4
         cl.throttle foo 4 1 1 1 => *5 :0 :5 :0 :-1 :5
         CL.THROTTLE foo 4 1 1 => *5 :1 :5 :0 :1 :5
         pass 3000
         CL.THROTTLE foo 4 1 1 => *5 :0 :5 :2 :-1 :3
         pass 100
         CL.THROTTLE foo 4 1 1 => *5 :0 :5 :1 :-1 :4
         pass 900
         CL.THROTTLE foo 4 1 1 => *5 :0 :5 :1 :-1 :4
         pass 4000
         CL.THROTTLE foo 4 1 1 => *5 :0 :5 :4 :-1 :1
         pass 1500
         CL.THROTTLE foo 4 1 1 => *5 :0 :5 :4 :-1 :1
         CL.THROTTLE foo 4 1 1 0 => *5 :0 :5 :4 :-1 :1
         CL.THROTTLE foo 4 1 1 2 => *5 :0 :5 :2 :-1 :3
         CL.THROTTLE foo 4 1 1 5 => *5 :1 :5 :2 :3 :3",
    );
}

#[test]
fn what_cannot_be_is_an_error() {
    let large = "-ERR the rate limit is too large: a burst is below 4294967295, and an empty \
                 bucket is full again within 292 years";
    check(&format!(
        "CL.THROTTLE => -ERR wrong number of arguments for 'cl.throttle' command
         CL.THROTTLE k 1 1 => -ERR wrong number of arguments for 'cl.throttle' command
         CL.THROTTLE k 1 1 1 1 1 => -ERR wrong number of arguments for 'cl.throttle' command
         CL.THROTTLE k x 1 1 => -Cell error: Store error: Couldn't parse as integer: x
         CL.THROTTLE k 1 1.5 1 => -Cell error: Store error: Couldn't parse as integer: 1.5
         CL.THROTTLE k 1 1 9223372036854775808 => -Cell error: Store error: Couldn't parse as integer: 9223372036854775808
         CL.THROTTLE k 1 1 1 \\e => -Cell error: Store error: Couldn't parse as integer:
         CL.THROTTLE k 1 0 1 => -Cell error: Store error: Zero rates are not supported
         CL.THROTTLE k 1 1 0 => -Cell error: Store error: Zero rates are not supported
         CL.THROTTLE k -1 1 1 => -ERR the numbers of a rate limit must not be negative
         CL.THROTTLE k 1 1 1 -1 => -ERR the numbers of a rate limit must not be negative
         CL.THROTTLE k 4294967295 1 1 => {large}
         CL.THROTTLE k 9223372036854775807 1 1 => {large}
         CL.THROTTLE k 0 1 9223372036854775807 => {large}
         CL.THROTTLE k 4294967293 4294967296 1 => *5 :0 :4294967294 :4294967293 :-1 :0
         CL.THROTTLE k2 4 9223372036854775807 3 => *5 :0 :5 :4 :-1 :0
         CL.THROTTLE k3 0 1 1 9223372036854775807 => *5 :1 :1 :1 :-1 :0
         CL.THROTTLE {} 0 1 1 => -ERR the name of a rate limit has at most 512 bytes
         CL.THROTTLE {} 0 1 1 => *5 :0 :1 :0 :-1 :1",
        "n".repeat(513),
        "n".repeat(512),
    ));
}

#[test]
fn buckets_are_no_keys() {
    check(
        "CL.THROTTLE foo 0 1 60 => *5 :0 :1 :0 :-1 :60
         DBSIZE => :0
         EXISTS foo => :0
         SET foo bar => +OK
         DEL foo => :1
         FLUSHALL => +OK
         SELECT 3 => +OK
         CL.THROTTLE foo 0 1 60 => *5 :1 :1 :0 :60 :60
         MULTI => +OK
         CL.THROTTLE foo 1 1 60 => +QUEUED
         CL.THROTTLE bar 1 1 60 => +QUEUED
         EXEC => *2 *5 :1 :2 :0 :60 :120 *5 :0 :2 :1 :-1 :60
         COMMAND GETKEYS CL.THROTTLE foo 0 1 60 => *1 $3 foo",
    );
}

#[test]
fn who_finds_no_room_is_told_so() {
    let settings = Settings { limit_buckets: 2, ..Settings::default() };
    let no_room = "-ERR no room for another rate limit: too many are in use (limit-buckets)";
    check_with(
        settings,
        &format!(
            "CL.THROTTLE a 0 1 1 => *5 :0 :1 :0 :-1 :1
             CL.THROTTLE b 0 1 2 => *5 :0 :1 :0 :-1 :2
             CL.THROTTLE c 0 1 1 => {no_room}
             CL.THROTTLE c 0 1 1 0 => *5 :0 :1 :1 :-1 :0
             CL.THROTTLE a 0 1 1 => *5 :1 :1 :0 :1 :1
             pass 1000
             CL.THROTTLE c 0 1 1 => *5 :0 :1 :0 :-1 :1
             CL.THROTTLE b 0 1 2 => *5 :1 :1 :0 :1 :1
             CONFIG GET limit-buckets => *2 $13 limit-buckets $1 2"
        ),
    );
}

#[test]
fn a_named_bucket_follows_its_policy() {
    let mut client = client(Settings::default());
    let rate = Rate::new(100, Nanos::SECOND, Tokens(20)).unwrap();
    let limits = vec![(b"per-client".as_slice().into(), rate)];
    client.shard.limiter.set_policies(Arc::new(Policies::new(limits).unwrap()));
    for (line, expect) in [
        ("CL.THROTTLE per-client:192.0.2.7 0 0 0", "*5 :0 :20 :19 :-1 :1"),
        ("CL.THROTTLE per-client:192.0.2.7 5 5 5 19", "*5 :0 :20 :0 :-1 :1"),
        ("CL.THROTTLE per-client:192.0.2.8 5 5 5 0", "*5 :0 :20 :20 :-1 :0"),
        ("CL.THROTTLE per-client x 0 0", "-Cell error: Store error: Couldn't parse as integer: x"),
        ("CL.THROTTLE per-clients 5 5 5", "*5 :0 :6 :5 :-1 :1"),
    ] {
        assert_eq!(client.say(line), expect, "{line}");
    }
}

/// redis-cell's algorithm with its own rounding: TAT and the time of a token in whole nanoseconds,
/// what remains from whole microseconds. A key is gone once its TAT has passed.
struct Cell {
    tat: i64,
}

impl Cell {
    fn throttle(&mut self, [burst, count, period, quantity]: [i64; 4], now: i64) -> [i64; 5] {
        let interval = ((period * 1_000_000_000) as f64 / count as f64) as i64;
        let (tolerance, increment) = (interval * (burst + 1), interval * quantity);
        let tat = self.tat.max(now);
        let new = tat + increment;
        let diff = now - (new - tolerance);
        let (mut retry, limited) = (-1_000_000_000, diff < 0);
        if limited && increment <= tolerance {
            retry = -diff;
        }
        let ttl = if limited { tat - now } else { new - now };
        if !limited {
            self.tat = new;
        }
        let next = tolerance - ttl;
        let micros = |ns: i64| (ns / 1_000) as f64;
        let remaining = if next > -interval { (micros(next) / micros(interval)) as i64 } else { 0 };
        let seconds = |ns: i64| ns / 1_000_000_000 + i64::from(ns % 1_000_000_000 >= 1_000_000);
        [limited.into(), burst + 1, remaining, seconds(retry), seconds(ttl)]
    }
}

proptest! {
    /// The same replies where a token's time is whole microseconds, and so is the clock.
    #[test]
    fn replies_are_those_of_redis_cell(
        burst in 0..12i64,
        count in prop::sample::select(vec![1i64, 2, 4, 5, 10, 50, 64, 100, 1_000, 40_000, 1_000_000]),
        period in 1..100i64,
        steps in prop::collection::vec((0..5_000_000u64, 0..3u32, 0..16i64), 1..60),
    ) {
        let mut client = client(Settings::default());
        let mut cell = Cell { tat: 0 };
        for (micros, size, quantity) in steps {
            let micros = micros / [1, 100, 10_000][size as usize];
            client.now.mono.0 += micros * 1_000;
            let line = format!("CL.THROTTLE k {burst} {count} {period} {quantity}");
            let now = client.now.mono.0 as i64;
            let [a, b, c, d, e] = cell.throttle([burst, count, period, quantity], now);
            prop_assert_eq!(client.say(&line), format!("*5 :{a} :{b} :{c} :{d} :{e}"));
        }
    }
}
