//! Long values, lent between shards, moved and copied while they are read: every one that is
//! read is whole, and one that somebody wrote.

use std::collections::BTreeMap;

use super::super::client::{Desk, Request, Role};
use super::super::resp::{self, Value};
use super::seen;
use crate::linear::Seen;

const KEYS: usize = 4;
/// Around what is kept in an entry, collected apart, and mapped by itself.
const LENGTHS: [usize; 7] = [200, 3_000, 17_000, 32_768, 40_000, 100_000, 1_100_000];

/// See the module's text.
pub struct Blobs {
    client: usize,
    writes: usize,
    tag: u32,
    reads: BTreeMap<u32, ()>,
}

/// A value that shows by itself whether it is whole: its length and a byte, then that byte.
fn value(len: usize, byte: u8) -> Vec<u8> {
    let mut value = format!("{len}:{}:", byte as char).into_bytes();
    value.resize(len, byte);
    value
}

fn is_whole(bytes: &[u8]) -> bool {
    let mut parts = bytes.splitn(3, |byte| *byte == b':');
    let len = parts.next().and_then(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok());
    let byte = parts.next().and_then(|text| text.first().copied());
    let (Some(len), Some(byte)) = (len, byte) else { return false };
    len == bytes.len() && parts.next().is_some_and(|rest| rest.iter().all(|b| *b == byte))
}

impl Blobs {
    pub fn new(client: usize) -> Self {
        Self { client, writes: 0, tag: 0, reads: BTreeMap::new() }
    }

    fn value(&mut self, desk: &mut Desk<'_>) -> Vec<u8> {
        self.writes += 1;
        let longest = if desk.rng.chance(3) { LENGTHS.len() } else { LENGTHS.len() - 1 };
        let len = LENGTHS[desk.rng.below(longest)] + desk.rng.below(3);
        value(len, b'A' + ((self.client + self.writes) % 26) as u8)
    }
}

impl Role for Blobs {
    fn name(&self) -> &'static str {
        "blobs"
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> Vec<Request> {
        self.tag += 1;
        let tag = self.tag;
        let key = |desk: &mut Desk<'_>| format!("blob:{}", desk.rng.below(KEYS)).into_bytes();
        let (one, two) = (key(desk), key(desk));
        let request = match desk.rng.below(12) {
            0..=2 => Request::new(tag, &[b"SET", &one, &self.value(desk)]),
            3 => Request::new(tag, &[b"MSET", &one, &self.value(desk), &two, &self.value(desk)]),
            4 => Request::new(tag, &[b"COPY", &one, &two, b"REPLACE"]),
            5 => Request::new(tag, &[b"RENAME", &one, &two]),
            6 => Request::new(tag, &[b"DEL", &one]),
            7 | 8 => Request::new(tag, &[b"MGET", &one, &two]),
            9 => Request::new(tag, &[b"GETSET", &one, &self.value(desk)]),
            10 => Request::new(tag, &[b"GETDEL", &one]),
            _ => Request::new(tag, &[b"GET", &one]),
        };
        self.reads.insert(tag, ());
        vec![request]
    }

    fn answered(&mut self, _: &mut Desk<'_>, tag: u32, value: &Value) -> Result<(), String> {
        if self.reads.remove(&tag).is_none() {
            return Err(format!("tag {tag}"));
        }
        let values = match value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        let torn = values.iter().find(|value| match seen(value) {
            Seen::Bytes(bytes) => !is_whole(&bytes),
            _ => false,
        });
        match torn {
            None => Ok(()),
            Some(torn) => {
                let text = resp::render(torn);
                Err(format!("torn: {} of {} bytes", &text[..text.len().min(80)], text.len()))
            }
        }
    }

    fn lost(&mut self, _: &mut Desk<'_>, tag: u32) {
        self.reads.remove(&tag);
    }
}
