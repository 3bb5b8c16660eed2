//! What happened in a run: a hash over all of it, and the last lines in words when asked for.
//!
//! A run is repeated from its seed, so that nothing is written down until one has failed.

use std::collections::VecDeque;
use std::fmt;

/// Lines kept of a run that is told in words.
const KEPT: usize = 500;

/// See the module's text.
pub struct Trace {
    hash: u64,
    pub steps: u64,
    lines: Option<VecDeque<String>>,
}

impl Trace {
    pub fn new(in_words: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, steps: 0, lines: in_words.then(VecDeque::new) }
    }

    /// Adds numbers to the hash.
    pub fn mix(&mut self, numbers: &[u64]) {
        for number in numbers {
            for byte in number.to_le_bytes() {
                // FNV-1a.
                self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
            }
        }
    }

    /// Adds bytes that a client has read.
    pub fn mix_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    /// Tells a line, if lines are wanted.
    pub fn tell(&mut self, line: fmt::Arguments<'_>) {
        if let Some(lines) = &mut self.lines {
            if lines.len() == KEPT {
                lines.pop_front();
            }
            lines.push_back(format!("{:6} {line}", self.steps));
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines.
    pub fn last_lines(&self) -> String {
        let lines = self.lines.iter().flatten().cloned();
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A request or reply, shortened.
pub fn shown(bytes: &[u8]) -> String {
    let short = &bytes[..bytes.len().min(60)];
    let text: String =
        short.iter().flat_map(|b| std::ascii::escape_default(*b)).map(char::from).collect();
    if bytes.len() > 60 { format!("{text}... ({} bytes)", bytes.len()) } else { text }
}
