//! The access log: one JSON line a request.
//!
//! Owns the form of a line and the batch that a shard collects lines in. The lines leave for
//! the thread that writes them when enough have come together, or after a tenth of a second; a
//! batch that finds no room there is dropped and its lines
//! are counted.
//!
//! ```text
//! {"time":1700000000.123456,"id":"..","client":"192.0.2.7","method":"GET","host":"shop.example",
//!  "path":"/cart?n=1","version":"1.1","agent":"curl/8.5","status":200,"bytes_in":0,
//!  "bytes_out":128,"us":412,"first_us":398,"tries":1,"endpoint":"10.0.0.4:8080","cause":"-"}
//! ```

#![forbid(unsafe_code)]

use std::io::Write;
use std::time::Duration;

use shards::time::Nanos;
use shards::word::{HIGH, ONES, mark};

use super::lines::{Lines, Pen};
use crate::http1::write::{PAIRS, decimal};

/// Bytes of lines after which a batch leaves.
const BATCH_BYTES: usize = 128 << 10;
/// How long a line waits for others at the most.
const OLDEST: Nanos = Nanos(100_000_000);
/// How long an ending shard waits for room for its last lines.
const LAST: Duration = Duration::from_secs(1);
/// Longest text of a request that a line holds; what is longer is cut and ends in `...`.
const LONGEST_TEXT: usize = 1_024;

/// See the module's text.
#[derive(Default)]
pub(super) struct AccessLog {
    pen: Option<Pen>,
    lines: Box<Lines>,
    /// When the first of them came.
    since: Nanos,
    /// How a line begins in this second.
    stamp: Vec<u8>,
    second: Option<u64>,
}

impl AccessLog {
    pub(super) fn new(pen: Option<Pen>) -> Self {
        Self { pen, lines: Box::default(), since: Nanos(0), stamp: Vec::new(), second: None }
    }

    /// Whether anybody reads it.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.pen.is_some()
    }

    /// The first part of a line.
    pub(super) fn begin(&mut self, line: &mut Vec<u8>, asked: &Asked<'_>) {
        let second = asked.wall_us / 1_000_000;
        if self.second.replace(second) != Some(second) {
            self.stamp.clear();
            number(&mut self.stamp, b"{\"time\":", second);
            self.stamp.push(b'.');
        }
        line.extend_from_slice(&self.stamp);
        padded(line, asked.wall_us % 1_000_000);
        put(line, b",\"id\":\"");
        line.extend_from_slice(asked.id);
        put(line, b"\",\"client\":\"");
        line.extend_from_slice(asked.client);
        put(line, b"\",\"method\":\"");
        text(line, asked.method);
        put(line, b"\",\"host\":\"");
        text(line, asked.host);
        put(line, b"\",\"path\":\"");
        text(line, asked.path);
        put(line, b"\",\"agent\":\"");
        text(line, asked.agent);
        put(line, if asked.old { b"\",\"version\":\"1.0\"" } else { b"\",\"version\":\"1.1\"" });
    }

    /// Adds a line, which [`Self::begin`] has begun and [`finish`] has finished.
    pub(super) fn add(&mut self, line: &[u8], now: Nanos) {
        if self.lines.count == 0 {
            self.since = now;
        }
        self.lines.bytes.extend_from_slice(line);
        self.lines.count += 1;
    }

    /// Lets a batch leave when it is full or old. Says how many lines were lost.
    pub(super) fn pass_on(&mut self, now: Nanos) -> u64 {
        let due = self.lines.bytes.len() >= BATCH_BYTES || self.due().is_some_and(|at| at <= now);
        let Some(pen) = self.pen.as_mut().filter(|_| due) else { return 0 };
        let blank = pen.blank();
        match pen.pass_on(std::mem::replace(&mut self.lines, blank)) {
            Ok(()) => 0,
            Err(mut lost) => {
                lost.bytes.clear();
                let count = std::mem::take(&mut lost.count);
                self.lines = lost;
                count
            }
        }
    }

    /// Lines that the file did not take.
    pub(super) fn failed(&self) -> u64 {
        self.pen.as_ref().map_or(0, Pen::failed)
    }

    /// When the lines at hand leave at the latest.
    pub(super) fn due(&self) -> Option<Nanos> {
        (self.lines.count > 0).then(|| self.since.after(OLDEST))
    }
}

/// The lines of the last tenth of a second are not lost when a shard ends in order.
impl Drop for AccessLog {
    fn drop(&mut self) {
        self.since = Nanos(0);
        let end = Nanos(u64::MAX);
        if let Some(pen) = &mut self.pen
            && self.lines.count > 0
        {
            pen.await_room(LAST);
            self.pass_on(end);
        }
    }
}

/// What is known of a request when its head has come.
#[derive(Default)]
pub(super) struct Asked<'a> {
    pub(super) wall_us: u64,
    pub(super) id: &'a [u8],
    pub(super) client: &'a [u8],
    pub(super) method: &'a [u8],
    pub(super) host: &'a [u8],
    pub(super) path: &'a [u8],
    pub(super) old: bool,
    pub(super) agent: &'a [u8],
}

/// What became of it.
pub(super) struct Became<'a> {
    pub(super) status: u16,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) us: u64,
    pub(super) first_us: Option<u64>,
    pub(super) tries: u8,
    pub(super) endpoint: &'a [u8],
    pub(super) cause: &'a str,
}

/// The second part of a line.
pub(super) fn finish(line: &mut Vec<u8>, became: &Became<'_>) {
    number(line, b",\"status\":", became.status.into());
    number(line, b",\"bytes_in\":", became.bytes_in);
    number(line, b",\"bytes_out\":", became.bytes_out);
    number(line, b",\"us\":", became.us);
    number(line, b",\"tries\":", became.tries.into());
    if let Some(first) = became.first_us {
        number(line, b",\"first_us\":", first);
    }
    if !became.endpoint.is_empty() {
        put(line, b",\"endpoint\":\"");
        line.extend_from_slice(became.endpoint);
        line.push(b'"');
    }
    put(line, b",\"cause\":\"");
    line.extend_from_slice(became.cause.as_bytes());
    put(line, b"\"}\n");
}

/// What is always the same: a copy whose length is known is a few moves.
#[inline(always)]
fn put<const N: usize>(line: &mut Vec<u8>, bytes: &[u8; N]) {
    line.extend_from_slice(bytes);
}

#[inline(always)]
fn number<const N: usize>(line: &mut Vec<u8>, name: &[u8; N], n: u64) {
    put(line, name);
    decimal(line, n);
}

/// Six digits.
fn padded(line: &mut Vec<u8>, n: u64) {
    let pair = |power: u64| PAIRS[(n / power % 100) as usize];
    line.extend_from_slice([10_000, 100, 1].map(pair).as_flattened());
}

/// Text within a JSON string (RFC 8259 section 7). Bytes beyond ASCII are written as the
/// characters of Latin-1 (`\u00e9`), so that a line is valid whatever a client has sent.
pub(super) fn text(line: &mut Vec<u8>, bytes: &[u8]) {
    let shown = &bytes[..bytes.len().min(LONGEST_TEXT)];
    let plain = |b: &u8| (0x20..0x7f).contains(b) && *b != b'"' && *b != b'\\';
    // The last eight bytes may be looked at twice.
    let all_plain = match shown.last_chunk::<8>() {
        Some(last) => {
            let words = shown.as_chunks::<8>().0.iter().chain([last]);
            words.fold(true, |all, word| all & is_plain(u64::from_le_bytes(*word)))
        }
        None => shown.iter().all(plain),
    };
    if all_plain {
        line.extend_from_slice(shown);
    } else {
        for byte in shown {
            match byte {
                b if plain(b) => line.push(*b),
                b'"' | b'\\' => put(line, &[b'\\', *byte]),
                // Writing into memory does not fail.
                _ => drop(write!(line, "\\u{byte:04x}")),
            }
        }
    }
    if shown.len() < bytes.len() {
        put(line, b"...");
    }
}

/// Whether eight bytes all are visible ASCII or spaces, and neither quotes nor backslashes.
#[inline]
fn is_plain(word: u64) -> bool {
    // Nothing borrows where no byte is below a space, so that none is marked.
    let below_space = word.wrapping_sub(ONES * 0x20) & HIGH;
    let odd = mark(word, b'"') | mark(word, b'\\') | mark(word, 0x7f);
    (word & HIGH) | below_space | odd == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bytes_are_plain_when_each_is() {
        for (byte, at) in (0..=255u8).flat_map(|byte| (0..8).map(move |at| (byte, at))) {
            for other in [b' ', b'~', b'!', b'#', b'[', b']'] {
                let mut word = [other; 8];
                word[at] = byte;
                let expected = (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
                assert_eq!(is_plain(u64::from_le_bytes(word)), expected, "{byte} among {other}");
            }
        }
    }

    #[test]
    fn the_second_is_that_of_the_request() {
        let mut log = AccessLog::default();
        for (wall_us, expect) in [
            (1_700_000_000_999_999, "{\"time\":1700000000.999999,"),
            (1_700_000_001_000_000, "{\"time\":1700000001.000000,"),
            (12_345_678, "{\"time\":12.345678,"),
        ] {
            let mut line = Vec::new();
            log.begin(&mut line, &Asked { wall_us, ..Asked::default() });
            assert!(line.starts_with(expect.as_bytes()), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn one_odd_byte_is_found_wherever_it_is() {
        for len in 0..=17 {
            for at in 0..len {
                let mut bytes = vec![b'x'; len];
                bytes[at] = b'"';
                assert_eq!(shown(&bytes).matches("\\\"").count(), 1, "at {at} of {len}");
            }
        }
    }

    fn shown(bytes: &[u8]) -> String {
        let mut line = Vec::new();
        text(&mut line, bytes);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn whatever_a_client_sends_stays_within_its_string() {
        assert_eq!(shown(b"/a?b=c"), "/a?b=c");
        assert_eq!(shown(b"a\"b\\c\x01\xff"), "a\\\"b\\\\c\\u0001\\u00ff");
        assert_eq!(shown(&[b'x'; 1_030]), "x".repeat(1_024) + "...");
    }

    #[test]
    fn a_line_is_json() {
        let mut line = Vec::new();
        AccessLog::default().begin(
            &mut line,
            &Asked {
                wall_us: 1_700_000_000_000_042,
                id: b"ab",
                client: b"192.0.2.7",
                method: b"GET",
                host: b"shop.example",
                path: b"/x",
                old: false,
                agent: b"curl/8.5",
            },
        );
        finish(
            &mut line,
            &Became {
                status: 200,
                bytes_in: 0,
                bytes_out: 128,
                us: 10_412,
                first_us: Some(398),
                tries: 1,
                endpoint: b"[::1]:80",
                cause: "-",
            },
        );
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"time\":1700000000.000042,\"id\":\"ab\",\"client\":\"192.0.2.7\",\"method\":\"GET\",\
             \"host\":\"shop.example\",\"path\":\"/x\",\"agent\":\"curl/8.5\",\"version\":\"1.1\",\
             \"status\":200,\"bytes_in\":0,\"bytes_out\":128,\"us\":10412,\"tries\":1,\
             \"first_us\":398,\"endpoint\":\"[::1]:80\",\"cause\":\"-\"}\n"
        );
    }
}
