//! Several shards' replies made into one.
//!
//! Owns the merging of encoded replies; reads only the heads that our own encoder writes.
//! The first error wins wherever there is one, as nothing else would tell the client.

#![forbid(unsafe_code)]

use crate::number;
use crate::reply::{Protocol, Reply};

/// Takes the first error out, if there is one.
fn first_error(replies: &mut Vec<Reply>) -> Option<Reply> {
    let at = replies.iter().position(|reply| reply.bytes.first() == Some(&b'-'))?;
    Some(replies.swap_remove(at))
}

/// The number behind the first byte of a reply, and where its line ends.
pub(super) fn head(bytes: &[u8]) -> Option<(i64, usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((number::integer(bytes.get(1..end)?)?, end + 2))
}

/// Numbers added up.
pub(super) fn sum(mut replies: Vec<Reply>, protocol: Protocol) -> Reply {
    if let Some(error) = first_error(&mut replies) {
        return error;
    }
    let mut reply = Reply::new(protocol);
    reply.integer(replies.iter().filter_map(|reply| Some(head(&reply.bytes)?.0)).sum());
    reply
}

/// The first error, or the first reply.
pub(super) fn all(mut replies: Vec<Reply>) -> Reply {
    first_error(&mut replies).or_else(|| replies.into_iter().next()).unwrap_or_default()
}

/// Arrays one behind the other.
pub(super) fn arrays(mut replies: Vec<Reply>, protocol: Protocol) -> Reply {
    if let Some(error) = first_error(&mut replies) {
        return error;
    }
    let heads: Vec<(i64, usize)> =
        replies.iter().map(|reply| head(&reply.bytes).unwrap_or((0, 0))).collect();
    let mut whole = Reply::new(protocol);
    whole.array(heads.iter().map(|(n, _)| *n as usize).sum());
    for (mut reply, (_, skip)) in replies.into_iter().zip(heads) {
        reply.bytes.drain(..skip);
        reply.blobs.iter_mut().for_each(|(at, _)| *at -= skip);
        whole.append(reply);
    }
    whole
}

/// One of several keys, each followed by how many keys it stands for.
pub(super) fn random_key(replies: Vec<Reply>, protocol: Protocol, noise: u64) -> Reply {
    let null = {
        let mut reply = Reply::new(protocol);
        reply.null();
        reply
    };
    let mut pairs = Vec::new();
    let mut replies = replies.into_iter();
    while let (Some(key), Some(count)) = (replies.next(), replies.next()) {
        let weight = head(&count.bytes).map_or(0, |(n, _)| n.max(0) as u64);
        if key.bytes != null.bytes {
            pairs.push((key, weight.max(1)));
        }
    }
    let total: u64 = pairs.iter().map(|(_, weight)| weight).sum();
    let mut left = if total == 0 { 0 } else { noise % total };
    for (key, weight) in pairs {
        if left < weight {
            return key;
        }
        left -= weight;
    }
    null
}

/// The text of a bulk, or of a verbatim string.
fn text(reply: &Reply) -> &[u8] {
    let Some((_, start)) = head(&reply.bytes) else { return b"" };
    let text = &reply.bytes[start..reply.bytes.len().saturating_sub(2).max(start)];
    text.strip_prefix(b"txt:").unwrap_or(text)
}

/// INFO of all shards.
pub(super) fn info(mut replies: Vec<Reply>, protocol: Protocol) -> Reply {
    if let Some(error) = first_error(&mut replies) {
        return error;
    }
    let texts: Vec<String> =
        replies.iter().map(|reply| String::from_utf8_lossy(text(reply)).into_owned()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut whole = Reply::new(protocol);
    whole.verbatim(crate::command::joined_info(&texts).as_bytes());
    whole
}

/// Lines of clients, in the order of their numbers.
pub(super) fn clients(mut replies: Vec<Reply>, protocol: Protocol) -> Reply {
    if let Some(error) = first_error(&mut replies) {
        return error;
    }
    let mut lines: Vec<(i64, &[u8])> = Vec::new();
    for reply in &replies {
        for line in text(reply).split_inclusive(|byte| *byte == b'\n') {
            let id = line.strip_prefix(b"id=").and_then(|rest| rest.split(|b| *b == b' ').next());
            lines.push((id.and_then(number::integer).unwrap_or(0), line));
        }
    }
    lines.sort_by_key(|(id, _)| *id);
    let text: Vec<u8> = lines.into_iter().flat_map(|(_, line)| line).copied().collect();
    let mut whole = Reply::new(protocol);
    whole.verbatim(&text);
    whole
}

/// Numbers of clients closed, or, of the old form, whether there was one.
pub(super) fn kills(replies: Vec<Reply>, protocol: Protocol) -> Reply {
    if let Some(done) = replies.iter().position(|reply| reply.bytes.first() == Some(&b'+')) {
        let mut replies = replies;
        return replies.swap_remove(done);
    }
    sum(replies, protocol)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(texts: &[&str]) -> Vec<Reply> {
        let one = |text: &&str| Reply { bytes: text.as_bytes().to_vec(), ..Reply::default() };
        texts.iter().map(one).collect()
    }

    #[track_caller]
    fn check(merge: fn(Vec<Reply>) -> Reply, texts: &[&str], expect: &str) {
        assert_eq!(String::from_utf8_lossy(&merge(replies(texts)).bytes), expect);
    }

    const R2: Protocol = Protocol::Resp2;

    #[test]
    fn numbers_and_errors() {
        check(|r| sum(r, R2), &[":2\r\n", ":40\r\n"], ":42\r\n");
        check(|r| sum(r, R2), &[":2\r\n", "-ERR no\r\n"], "-ERR no\r\n");
        check(all, &["+OK\r\n", "+OK\r\n"], "+OK\r\n");
        check(all, &["+OK\r\n", "-OOM no\r\n"], "-OOM no\r\n");
    }

    #[test]
    fn arrays_and_lines() {
        let parts = ["*1\r\n$1\r\na\r\n", "*0\r\n", "*2\r\n$1\r\nb\r\n$-1\r\n"];
        check(|r| arrays(r, R2), &parts, "*3\r\n$1\r\na\r\n$1\r\nb\r\n$-1\r\n");
        let lines = ["$18\r\nid=12 b\nid=3 a\n\r\n", "$0\r\n\r\n", "$7\r\nid=7 c\n\r\n"];
        check(|r| clients(r, R2), &lines, "$22\r\nid=3 a\nid=7 c\nid=12 b\n\r\n");
    }

    #[test]
    fn a_random_key_is_as_likely_as_its_shard_is_full() {
        let parts = ["$1\r\na\r\n", ":1\r\n", "$-1\r\n", ":0\r\n", "$1\r\nb\r\n", ":3\r\n"];
        let picked: Vec<u8> =
            (0..4).map(|noise| random_key(replies(&parts), R2, noise).bytes[4]).collect();
        assert_eq!(picked, b"abbb");
        check(|r| random_key(r, R2, 9), &["$-1\r\n", ":0\r\n"], "$-1\r\n");
    }

    #[test]
    fn killed_somewhere_is_killed() {
        check(|r| kills(r, R2), &["-ERR No such client\r\n", "+OK\r\n"], "+OK\r\n");
        check(|r| kills(r, R2), &["-ERR No such client\r\n"], "-ERR No such client\r\n");
        check(|r| kills(r, R2), &[":1\r\n", ":0\r\n"], ":1\r\n");
    }
}
