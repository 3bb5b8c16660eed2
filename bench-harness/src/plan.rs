//! What to run: as typed, then validated and fixed.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use dataplane::runtime::{Choice, choose};
use shards::time::Nanos;

use crate::arrivals::Arrivals;

/// Flags of `corelane-bench run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunOptions {
    /// The RESP server to measure.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:6379")]
    target: SocketAddr,
    /// Requests a second, over all connections.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    rate: u32,
    /// Seconds to measure; with --disturb the length of one quiet window (a disturbed one
    /// lasts until 0.1 s after the answer).
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, allow_negative_numbers = true)]
    duration: f64,
    /// Seconds to run before that without recording.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, allow_negative_numbers = true)]
    warmup: f64,
    /// Connections, used in turn.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connections: u32,
    /// How send times are spread.
    #[arg(long, value_enum, default_value_t = Arrivals::Uniform)]
    arrivals: Arrivals,
    /// What to ask, with weights: get, set, incr, ping.
    #[arg(long, value_name = "OP=WEIGHT,...", default_value = "get=1")]
    mix: String,
    /// Names of 16 bytes to choose from, key:000000000000 and up.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Bytes of a value that is set.
    #[arg(long, default_value_t = 64)]
    value_bytes: usize,
    /// Sets each key once before the run.
    #[arg(long)]
    fill: bool,
    /// Seed of send times and of the choice of keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Core of the load; by default the last one allowed.
    #[arg(long, value_name = "CORE")]
    cpu: Option<usize>,
    /// How the harness talks to the kernel.
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    driver: Driver,
    /// A command that another client sends meanwhile. Windows without and with it take
    /// turns, and the result is the ratio of their p99 (p99.9 and the longest beside it).
    #[arg(long, value_name = "COMMAND")]
    disturb: Option<String>,
    /// How often that is done.
    #[arg(long, value_name = "N", default_value_t = 10, requires = "disturb")]
    disturb_times: u32,
    /// What that client does before each time, unmeasured: keys:N[:BYTES] or
    /// value:NAME:BYTES.
    #[arg(long, value_name = "WHAT", requires = "disturb")]
    disturb_prepare: Option<String>,
    /// Writes the result as JSON to this file, - for standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<String>,
}

/// Drivers by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Driver {
    /// io_uring where the kernel allows it, epoll otherwise.
    Auto,
    /// io_uring or nothing.
    Uring,
    /// epoll.
    Epoll,
}

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// GET of a random key.
    Get,
    /// SET of a random key.
    Set,
    /// INCR of a random counter (its own names, so that values stay numbers).
    Incr,
    /// PING.
    Ping,
}

/// What the disturbing client makes ready before each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Prepare {
    /// That many keys with values of so many bytes.
    Keys(u64, usize),
    /// One value.
    Value(String, u64),
}

/// A client that sends something heavy now and then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disturb {
    pub(crate) command: Vec<String>,
    pub(crate) times: u32,
    pub(crate) prepare: Option<Prepare>,
}

/// A run, validated.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) target: SocketAddr,
    pub(crate) rate: u32,
    pub(crate) duration: Nanos,
    pub(crate) warmup: Nanos,
    pub(crate) connections: usize,
    pub(crate) arrivals: Arrivals,
    pub(crate) mix: Vec<(Op, u32)>,
    pub(crate) keys: u64,
    pub(crate) value_bytes: usize,
    pub(crate) fill: bool,
    pub(crate) seed: u64,
    pub(crate) cpu: core_affinity::CoreId,
    pub(crate) driver: Choice,
    pub(crate) disturb: Option<Disturb>,
    pub(crate) json: Option<String>,
}

/// Most requests of one run: each is kept until the end, 24 bytes of memory.
const MOST_REQUESTS: f64 = 100e6;

impl RunOptions {
    /// Checks everything that can be known before the run.
    ///
    /// # Errors
    /// One line that names the flag and what was expected.
    pub(crate) fn validate(self) -> Result<Plan, String> {
        let duration = seconds("--duration", self.duration)?;
        let warmup = seconds("--warmup", self.warmup)?;
        let windows =
            if self.disturb.is_some() { 2.0 * f64::from(self.disturb_times) } else { 1.0 };
        let requests = f64::from(self.rate) * (self.duration * windows + self.warmup);
        if requests > MOST_REQUESTS {
            return Err(format!(
                "--rate times --duration is {requests:.0} requests; at most {MOST_REQUESTS:.0}"
            ));
        }
        if duration.0 == 0 {
            return Err("--duration: expected more than 0".into());
        }
        if self.keys == 0 || self.keys > 1_000_000_000_000 {
            return Err("--keys: expected 1 to 10^12".into());
        }
        let disturb = match self.disturb {
            None => None,
            Some(command) => Some(Disturb {
                command: command.split_whitespace().map(str::to_owned).collect(),
                times: self.disturb_times,
                prepare: self.disturb_prepare.as_deref().map(prepare).transpose()?,
            }),
        };
        if disturb.as_ref().is_some_and(|d| d.command.is_empty() || d.times == 0) {
            return Err("--disturb: expected a command, and at least one time".into());
        }
        Ok(Plan {
            target: self.target,
            rate: self.rate,
            duration,
            warmup,
            connections: self.connections as usize,
            arrivals: self.arrivals,
            mix: mix(&self.mix)?,
            keys: self.keys,
            value_bytes: self.value_bytes,
            fill: self.fill,
            seed: self.seed,
            cpu: core(self.cpu)?,
            driver: driver(self.driver)?,
            disturb,
            json: self.json,
        })
    }
}

fn seconds(flag: &str, value: f64) -> Result<Nanos, String> {
    Duration::try_from_secs_f64(value)
        .ok()
        .filter(|time| time.as_secs() <= 86_400)
        .map(|time| Nanos(time.as_nanos() as u64))
        .ok_or_else(|| format!("{flag} {value}: expected seconds, from 0 to 86400"))
}

fn mix(text: &str) -> Result<Vec<(Op, u32)>, String> {
    let wrong = |part: &str| {
        format!(
            "--mix '{part}': expected OP=WEIGHT with OP of get, set, incr, ping, as in get=9,set=1"
        )
    };
    text.split(',')
        .map(|part| {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let op = match name {
                "get" => Op::Get,
                "set" => Op::Set,
                "incr" => Op::Incr,
                "ping" => Op::Ping,
                _ => return Err(wrong(part)),
            };
            let weight = weight.parse().ok().filter(|w| (1..=1_000_000).contains(w));
            weight.map(|weight| (op, weight)).ok_or_else(|| wrong(part))
        })
        .collect()
}

fn prepare(text: &str) -> Result<Prepare, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let made = match parts[..] {
        ["keys", n] => n.parse().ok().map(|n| Prepare::Keys(n, 64)),
        ["keys", n, bytes] => {
            n.parse().ok().zip(bytes.parse().ok()).map(|(n, bytes)| Prepare::Keys(n, bytes))
        }
        ["value", name, bytes] => bytes.parse().ok().map(|n| Prepare::Value(name.into(), n)),
        _ => None,
    };
    made.ok_or_else(|| {
        format!("--disturb-prepare '{text}': expected keys:N[:BYTES] or value:NAME:BYTES")
    })
}

fn core(wanted: Option<usize>) -> Result<core_affinity::CoreId, String> {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    let found = match wanted {
        Some(id) => allowed.iter().find(|core| core.id == id),
        None => allowed.last(),
    };
    found.copied().ok_or_else(|| format!("--cpu: expected one of {allowed:?}"))
}

fn driver(wanted: Driver) -> Result<Choice, String> {
    match wanted {
        Driver::Auto => Ok(choose::auto()),
        Driver::Uring => choose::uring().map_err(|why| format!("--driver uring: {why}")),
        Driver::Epoll => Ok(choose::epoll()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes() {
        assert_eq!(mix("get=9,set=1"), Ok(vec![(Op::Get, 9), (Op::Set, 1)]));
        assert_eq!(mix("ping"), Ok(vec![(Op::Ping, 1)]));
        for bad in ["", "del=1", "get=0", "get=x", "get=1,"] {
            assert!(mix(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn preparations() {
        assert_eq!(prepare("keys:5"), Ok(Prepare::Keys(5, 64)));
        assert_eq!(prepare("keys:5:1"), Ok(Prepare::Keys(5, 1)));
        assert_eq!(prepare("value:a:9"), Ok(Prepare::Value("a".into(), 9)));
        for bad in ["", "keys", "keys:x", "value:a", "x:1"] {
            assert!(prepare(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_of_time() {
        assert_eq!(seconds("--duration", 1.5), Ok(Nanos(1_500_000_000)));
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e6] {
            assert!(seconds("--duration", bad).is_err(), "{bad}");
        }
    }
}
