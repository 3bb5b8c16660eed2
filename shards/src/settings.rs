//! What operators may set while a node runs: CONFIG GET and CONFIG SET.
//!
//! Owns the table of parameters: name, how it is read, how it is shown. Each one that can
//! be set takes effect; the few that clients ask for and that have one value here only can
//! be read. Those of another server that mean nothing here are not there.

#![forbid(unsafe_code)]

use std::net::IpAddr;

use crate::limit;
use crate::store::EvictionPolicy;

/// When a client's pending output gets it closed; 0 is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    /// At once, in bytes.
    pub hard: u64,
    /// After `soft_seconds` in which the client took nothing, in bytes. From here on no
    /// further commands of it are executed.
    pub soft: u64,
    /// See `soft`.
    pub soft_seconds: u32,
}

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes that keys and values may take; 0 for no limit.
    pub maxmemory: u64,
    /// What goes when the limit is reached.
    pub policy: EvictionPolicy,
    /// Keys looked at for each eviction.
    pub samples: u8,
    /// Password of the default user; empty for none.
    pub requirepass: Vec<u8>,
    /// Seconds after which an idle client is closed; 0 for never.
    pub timeout: u32,
    /// Seconds between keep-alive probes; 0 for none.
    pub tcp_keepalive: u32,
    /// Clients at a time.
    pub maxclients: u32,
    /// Longest argument.
    pub proto_max_bulk_len: u32,
    /// Pending output.
    pub output_limit: OutputLimit,
    /// Logical databases; fixed while the node runs.
    pub databases: u8,
    /// Buckets of rate limits of the node; fixed while the node runs.
    pub limit_buckets: u32,
    /// Port and addresses of the RESP listener; fixed while the node runs.
    pub port: u16,
    /// See `port`.
    pub bind: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            maxmemory: 0,
            policy: EvictionPolicy::NoEviction,
            samples: 5,
            requirepass: Vec::new(),
            timeout: 0,
            tcp_keepalive: 300,
            maxclients: 50_000,
            proto_max_bulk_len: 512 << 20,
            output_limit: OutputLimit { hard: 0, soft: 32 << 20, soft_seconds: 10 },
            databases: 16,
            limit_buckets: limit::DEFAULT_BUCKETS,
            port: 6379,
            bind: "127.0.0.1".into(),
        }
    }
}

impl Settings {
    /// The policy as `maxmemory-policy` names it.
    pub fn policy_name(&self) -> &'static str {
        let named = POLICIES.iter().find(|(_, policy)| *policy == self.policy);
        named.map_or("noeviction", |(name, _)| name)
    }

    /// Whether clients reach the node from this machine only.
    fn is_on_loopback(&self) -> bool {
        let loopback = |a: &str| a.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.bind.split_whitespace().all(loopback)
    }

    /// What these settings together must not be; `changed` are the parameters that were set.
    pub(crate) fn check(&self, changed: &[&str]) -> Result<(), (&'static str, Refusal)> {
        // Refused at start, too: whoever reaches the port would own the data.
        let open = self.requirepass.is_empty() && !self.is_on_loopback();
        if open && changed.contains(&"requirepass") {
            let why = "a node that listens beyond loopback needs a password";
            return Err(("requirepass", why));
        }
        Ok(())
    }
}

/// Why a value was not taken, in Valkey's words.
pub type Refusal = &'static str;

type Get = fn(&Settings) -> Vec<u8>;
type Set = fn(&mut Settings, &[u8]) -> Result<(), Refusal>;

/// One parameter.
pub struct Parameter {
    /// As CONFIG names it.
    pub name: &'static str,
    /// Shows it.
    pub get: Get,
    /// Sets it; `None` for those that are fixed.
    pub set: Option<Set>,
    /// One sentence.
    pub summary: &'static str,
}

const POLICIES: [(&str, EvictionPolicy); 6] = [
    ("noeviction", EvictionPolicy::NoEviction),
    ("allkeys-lru", EvictionPolicy::AllKeysLru),
    ("volatile-lru", EvictionPolicy::VolatileLru),
    ("allkeys-random", EvictionPolicy::AllKeysRandom),
    ("volatile-random", EvictionPolicy::VolatileRandom),
    ("volatile-ttl", EvictionPolicy::VolatileTtl),
];

/// Bytes with Redis' units: `k` is 1000, `kb` is 1024, and so on.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn memory(value: &[u8]) -> Result<u64, Refusal> {
    let text = std::str::from_utf8(value).ok();
    text.and_then(parse_bytes).ok_or("argument must be a memory value")
}

fn whole<T: TryFrom<i64>>(value: &[u8], least: i64, complaint: Refusal) -> Result<T, Refusal> {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
    let n = number.ok_or("argument couldn't be parsed into an integer")?;
    if n < least {
        return Err(complaint);
    }
    T::try_from(n).map_err(|_| complaint)
}

const fn fixed(name: &'static str, get: Get, summary: &'static str) -> Parameter {
    Parameter { name, get, set: None, summary }
}

const fn settable(name: &'static str, get: Get, set: Set, summary: &'static str) -> Parameter {
    Parameter { name, get, set: Some(set), summary }
}

/// All parameters, by name.
pub const PARAMETERS: &[Parameter] = &[
    fixed("appendonly", |_| "no".into(), "Whether writes are logged; this version keeps none."),
    fixed("bind", |s| s.bind.clone().into(), "Addresses of the RESP listener."),
    settable(
        "client-output-buffer-limit",
        |s| {
            let OutputLimit { hard, soft, soft_seconds } = s.output_limit;
            format!("normal {hard} {soft} {soft_seconds}").into()
        },
        set_output_limit,
        "Pending output of a client: closed at the first number of bytes, or when it takes \
         nothing for so many seconds past the second; 0 for never.",
    ),
    fixed("databases", |s| s.databases.to_string().into(), "Logical databases."),
    fixed("io-threads", |_| "1".into(), "Shards of this node."),
    fixed(
        "limit-buckets",
        |s| s.limit_buckets.to_string().into(),
        "Buckets of rate limits that owe something at a time.",
    ),
    settable(
        "maxclients",
        |s| s.maxclients.to_string().into(),
        |s, value| {
            s.maxclients = whole(value, 1, "argument must be between 1 and 4294967295 inclusive")?;
            Ok(())
        },
        "Clients at a time; more are refused.",
    ),
    settable(
        "maxmemory",
        |s| s.maxmemory.to_string().into(),
        |s, value| {
            s.maxmemory = memory(value)?;
            Ok(())
        },
        "Bytes that keys and values may take; 0 for no limit.",
    ),
    settable(
        "maxmemory-policy",
        |s| s.policy_name().into(),
        |s, value| {
            let named =
                POLICIES.iter().find(|(name, _)| value.eq_ignore_ascii_case(name.as_bytes()));
            let complaint = "argument(s) must be one of the following: noeviction, allkeys-lru, \
                             volatile-lru, allkeys-random, volatile-random, volatile-ttl";
            s.policy = named.ok_or(complaint)?.1;
            Ok(())
        },
        "What is removed when the limit is reached.",
    ),
    settable(
        "maxmemory-samples",
        |s| s.samples.to_string().into(),
        |s, value| {
            s.samples = whole::<u8>(value, 1, "argument must be between 1 and 64 inclusive")?;
            if s.samples > 64 { Err("argument must be between 1 and 64 inclusive") } else { Ok(()) }
        },
        "Keys looked at for each removal.",
    ),
    fixed("port", |s| s.port.to_string().into(), "Port of the RESP listener."),
    Parameter {
        name: "proto-max-bulk-len",
        get: |s| s.proto_max_bulk_len.to_string().into(),
        set: Some(|s, value| {
            const RANGE: Refusal = "argument must be between 1048576 and 536870912 inclusive";
            let bytes = memory(value)?;
            if !(1 << 20..=512 << 20).contains(&bytes) {
                return Err(RANGE);
            }
            s.proto_max_bulk_len = bytes as u32;
            Ok(())
        }),
        summary: "Longest argument in bytes.",
    },
    settable(
        "requirepass",
        |s| s.requirepass.clone(),
        |s, value| {
            s.requirepass = value.to_vec();
            Ok(())
        },
        "Password of the default user; empty for none.",
    ),
    fixed("save", |_| Vec::new(), "Snapshots; this version makes none."),
    settable(
        "tcp-keepalive",
        |s| s.tcp_keepalive.to_string().into(),
        |s, value| {
            s.tcp_keepalive =
                whole(value, 0, "argument must be between 0 and 2147483647 inclusive")?;
            Ok(())
        },
        "Seconds between keep-alive probes of new connections; 0 for none.",
    ),
    settable(
        "timeout",
        |s| s.timeout.to_string().into(),
        |s, value| {
            s.timeout = whole(value, 0, "argument must be between 0 and 2147483647 inclusive")?;
            Ok(())
        },
        "Seconds after which an idle client is closed; 0 for never.",
    ),
];

fn set_output_limit(settings: &mut Settings, value: &[u8]) -> Result<(), Refusal> {
    const WRONG: Refusal = "Wrong number of arguments in buffer limit configuration.";
    let text = std::str::from_utf8(value).map_err(|_| WRONG)?;
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err(WRONG);
    }
    let mut limit = settings.output_limit;
    for class in words.chunks(4) {
        let numbers = (parse_bytes(class[1]), parse_bytes(class[2]), class[3].parse::<u32>().ok());
        let (Some(hard), Some(soft), Some(soft_seconds)) = numbers else {
            return Err(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            );
        };
        match class[0].to_ascii_lowercase().as_str() {
            "normal" => limit = OutputLimit { hard, soft, soft_seconds },
            "replica" | "slave" | "pubsub" => {
                return Err("this server has clients of class normal only.");
            }
            _ => return Err("Invalid client class specified in buffer limit configuration."),
        }
    }
    settings.output_limit = limit;
    Ok(())
}

/// The parameter of that name, in any case.
pub fn parameter(name: &str) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|p| p.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        for (text, expect) in [
            ("100", Some(100)),
            ("1k", Some(1_000)),
            ("1Kb", Some(1_024)),
            ("2MB", Some(2 << 20)),
            ("1gb", Some(1 << 30)),
            ("", None),
            ("x", None),
            ("-1", None),
            ("1tb", None),
            ("99999999999gb", None),
        ] {
            assert_eq!(parse_bytes(text), expect, "{text}");
        }
    }

    #[test]
    fn what_can_be_set_reads_back() {
        for (name, value, shown) in [
            ("maxmemory", "10mb", "10485760"),
            ("maxmemory-policy", "allkeys-lru", "allkeys-lru"),
            ("maxmemory-samples", "7", "7"),
            ("maxclients", "12", "12"),
            ("timeout", "5", "5"),
            ("tcp-keepalive", "0", "0"),
            ("proto-max-bulk-len", "2mb", "2097152"),
            ("requirepass", "secret", "secret"),
            ("client-output-buffer-limit", "normal 1mb 2kb 3", "normal 1048576 2048 3"),
        ] {
            let mut settings = Settings::default();
            let parameter = parameter(name).unwrap();
            let set = parameter.set.unwrap();
            set(&mut settings, value.as_bytes()).unwrap();
            assert_eq!((parameter.get)(&settings), shown.as_bytes(), "{name}");
            for bad in [&b"nonsense"[..], b"\xff\xfe"] {
                assert_eq!(set(&mut settings, bad).is_err(), name != "requirepass", "{name}");
            }
        }
    }
}
