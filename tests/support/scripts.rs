//! Random scripts of commands, the same for the same seed, and their replies made comparable.
//!
//! Owns the choice of words: mostly sensible ones, borders and nonsense among them.

use super::resp::{self, Value};
use super::rng::Rng;

const KEYS: [&str; 8] = ["a", "b", "c", "{t}1", "{t}2", "", "n", "a longer key with spaces"];
const VALUES: [&str; 22] = [
    "",
    "0",
    "1",
    "-1",
    "10",
    "007",
    "+3",
    " 4",
    "3.5",
    "-2.25e3",
    "1e400",
    "nan",
    "abc",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "hello world",
    "\r\n",
    "0.1",
    "100",
    "5000",
    "a value of more than sixty-four bytes, so that it has no room in a small object",
];
const NUMBERS: [&str; 16] = [
    "0",
    "1",
    "-1",
    "2",
    "5",
    "-3",
    "100",
    "4000",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "abc",
    "",
    "1.5",
    "01",
    "-0",
];
/// Seconds or milliseconds far enough away that no key expires within a run.
const FAR: [&str; 6] = ["100000", "200000", "9999999", "0", "-1", "abc"];
const INSTANTS: [&str; 6] = ["4102444800", "4102444800000", "1", "0", "-5", "abc"];

/// Writes commands; see the module's text.
pub struct Writer {
    pub rng: Rng,
    keys: Vec<String>,
}

impl Writer {
    /// Over the usual keys.
    pub fn new(seed: u64) -> Self {
        Self::over(seed, KEYS.map(str::to_owned).to_vec())
    }

    /// Over these keys.
    pub fn over(seed: u64, keys: Vec<String>) -> Self {
        Self { rng: Rng::new(seed), keys }
    }

    fn key(&mut self) -> String {
        let n = self.rng.below(self.keys.len());
        self.keys[n].clone()
    }

    fn value(&mut self) -> String {
        (*self.rng.pick(&VALUES)).into()
    }

    fn number(&mut self) -> String {
        (*self.rng.pick(&NUMBERS)).into()
    }

    /// Goes on over other keys.
    pub fn turn_to(&mut self, keys: &[String]) {
        self.keys = keys.to_vec();
    }

    /// One command; now and then with an argument too many or too few.
    pub fn command(&mut self) -> Vec<String> {
        let mut words = match self.rng.below(10) {
            0..=3 => self.string_command(),
            4..=5 => self.number_command(),
            6..=7 => self.key_command(),
            8 => self.expiry_command(),
            _ => self.connection_command(),
        };
        if self.rng.chance(2) && words.len() > 1 {
            words.pop();
        } else if self.rng.chance(1) {
            words.push(self.value());
        }
        if self.rng.chance(10) {
            words[0] = words[0].to_lowercase();
        }
        words
    }

    /// Fills a shape: `k` a key, `v` a value, `i` a number and so on.
    pub fn words(&mut self, shape: &str) -> Vec<String> {
        shape
            .split(' ')
            .map(|word| match word {
                "k" => self.key(),
                "v" => self.value(),
                "i" => self.number(),
                "far" => (*self.rng.pick(&FAR)).into(),
                "at" => (*self.rng.pick(&INSTANTS)).into(),
                "off" => (*self.rng.pick(&["0", "1", "5", "30", "-1", "abc", "536870912"])).into(),
                "db" => (*self.rng.pick(&["0", "1", "15", "16", "-1", "x"])).into(),
                word => word.into(),
            })
            .collect()
    }

    fn string_command(&mut self) -> Vec<String> {
        if self.rng.chance(30) {
            return self.set();
        }
        let shape = self.rng.pick(&[
            "GET k",
            "GET k",
            "SETNX k v",
            "GETSET k v",
            "GETDEL k",
            "APPEND k v",
            "STRLEN k",
            "SETRANGE k off v",
            "GETRANGE k i i",
            "SUBSTR k i i",
            "MGET k k k",
            "MSET k v k v",
            "MSETNX k v k v",
            "SETEX k far v",
            "PSETEX k far v",
            "GETEX k",
            "GETEX k EX far",
            "GETEX k PX far",
            "GETEX k EXAT at",
            "GETEX k PERSIST",
            "GETEX k PXAT at",
            "ECHO v",
        ]);
        self.words(shape)
    }

    fn set(&mut self) -> Vec<String> {
        let mut words = self.words("SET k v");
        for shape in ["NX", "XX", "GET", "KEEPTTL", "EX far", "PX far", "EXAT at", "IFEQ v"] {
            if self.rng.chance(12) {
                words.extend(self.words(shape));
            }
        }
        words
    }

    fn number_command(&mut self) -> Vec<String> {
        let shape = self.rng.pick(&[
            "INCR k",
            "DECR k",
            "INCRBY k i",
            "DECRBY k i",
            "INCRBYFLOAT k v",
            "INCRBYFLOAT k i",
            "INCR n",
            "INCRBY n i",
            "INCRBYFLOAT n v",
        ]);
        self.words(shape)
    }

    fn key_command(&mut self) -> Vec<String> {
        let shape = self.rng.pick(&[
            "DEL k",
            "DEL k k",
            "UNLINK k k",
            "EXISTS k k k",
            "TOUCH k k",
            "TYPE k",
            "RENAME k k",
            "RENAMENX k k",
            "COPY k k",
            "COPY k k REPLACE",
            "COPY k k DB db",
            "MOVE k db",
            "DBSIZE",
            "SWAPDB db db",
            "FLUSHDB",
            "PERSIST k",
        ]);
        self.words(shape)
    }

    fn expiry_command(&mut self) -> Vec<String> {
        let mut words = match self.rng.below(10) {
            0..=4 => {
                let shape = self.rng.pick(&[
                    "EXPIRE k far",
                    "PEXPIRE k far",
                    "EXPIREAT k at",
                    "PEXPIREAT k at",
                ]);
                self.words(shape)
            }
            _ => {
                let shape = self.rng.pick(&[
                    "PERSIST k",
                    "EXPIRETIME k",
                    "PEXPIRETIME k",
                    "TTL k",
                    "PTTL k",
                ]);
                return self.words(shape);
            }
        };
        for option in ["NX", "XX", "GT", "LT"] {
            if self.rng.chance(15) {
                words.push(option.into());
            }
        }
        words
    }

    fn connection_command(&mut self) -> Vec<String> {
        let shape = self.rng.pick(&[
            "SELECT db",
            "PING",
            "PING v",
            "MULTI",
            "MULTI",
            "EXEC",
            "EXEC",
            "EXEC",
            "DISCARD",
            "WATCH k",
            "UNWATCH",
            "NONSENSE v",
            "RESET",
            "CLIENT GETNAME",
            "COMMAND GETKEYS GET k",
        ]);
        self.words(shape)
    }
}

/// What is compared: times are rounded, since the servers are asked one after the other.
pub fn comparable(words: &[String], value: &Value) -> String {
    let name = words[0].to_lowercase();
    match value {
        // Relative expiries end a few milliseconds apart on the two servers.
        Value::Int(n) if matches!(name.as_str(), "ttl" | "pttl") && *n > 0 => {
            format!(
                ":{} s or so",
                (*n as f64 / if name == "ttl" { 100.0 } else { 100_000.0 }).round()
            )
        }
        Value::Int(n) if matches!(name.as_str(), "expiretime" | "pexpiretime") && *n > 0 => {
            format!(
                ":{} s or so",
                (*n as f64 / if name == "expiretime" { 100.0 } else { 100_000.0 }).round()
            )
        }
        other => resp::render(other),
    }
}
