//! A reader of HTTP/1.1 that goes along with what arrives: as much as there is of a message can be
//! looked at, whether its rest comes or not.
//!
//! Owns what has been received of one connection. Shares no code with what is tested. A message
//! that is whole is read once more by `talk::strict`, which forgives nothing.

use dataplane::runtime::sim::{Net, Read};

use super::super::strict::{self, Found};
use super::super::trace::Trace;

/// How a content ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// Whose messages are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Request,
    Answer { to_head: bool },
}

/// A message, maybe not all of it.
#[derive(Clone, Debug)]
pub struct Message {
    /// The start line's words.
    pub line: Vec<String>,
    fields: Vec<(String, String)>,
    pub framing: Framing,
    pub content: Vec<u8>,
    pub whole: bool,
    /// Bytes left of the chunk at hand.
    chunk: Option<usize>,
}

/// See the module's text.
#[derive(Default)]
pub struct Reader {
    inbox: Vec<u8>,
    /// Bytes of the message at hand that have been gone through.
    at: usize,
    pub message: Option<Message>,
}

impl Message {
    pub fn field(&self, name: &str) -> Option<&str> {
        let same = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.fields.iter().find(same).map(|(_, value)| value.as_str())
    }

    pub fn status(&self) -> u16 {
        self.line.get(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// Whether its sender wants to close after it.
    pub fn closes(&self) -> bool {
        self.field("Connection").is_some_and(|value| value.contains("close"))
    }
}

impl Reader {
    /// Room for what is read from the network.
    pub fn inbox(&mut self) -> &mut Vec<u8> {
        &mut self.inbox
    }

    /// Reads up to so many bytes from the network: what has become of the connection, and what
    /// came.
    pub fn read(
        &mut self,
        net: &mut Net,
        link: usize,
        most: usize,
        trace: &mut Trace,
    ) -> (Read, &[u8]) {
        let before = self.inbox.len();
        let state = net.read(link, most, &mut self.inbox);
        let came = &self.inbox[before..];
        trace.mix_bytes(came);
        (state, came)
    }

    /// Whether nothing is there, of no message.
    pub fn is_empty(&self) -> bool {
        self.inbox.is_empty()
    }

    /// Goes on through what is there; `true` when the message at hand is whole.
    pub fn advance(&mut self, kind: Kind) -> Result<bool, String> {
        if self.message.is_none() {
            let Some(end) = self.inbox.windows(4).position(|four| four == b"\r\n\r\n") else {
                return Ok(false);
            };
            let text = String::from_utf8_lossy(&self.inbox[..end]).into_owned();
            self.message = Some(head(&text, kind)?);
            self.at = end + 4;
        }
        let Self { inbox, at, message } = self;
        let Some(message) = message else { return Ok(false) };
        content(message, inbox, at)?;
        Ok(message.whole)
    }

    /// The message at hand, which is whole, and no longer at hand.
    pub fn take(&mut self, kind: Kind) -> Result<Message, String> {
        let message = self.message.take().ok_or("no message is at hand")?;
        let bytes: Vec<u8> = self.inbox.drain(..self.at).collect();
        self.at = 0;
        if message.framing == Framing::UntilClose {
            return Ok(message); // the strict one knows none
        }
        let request = kind == Kind::Request;
        let to_head = kind == Kind::Answer { to_head: true } && message.content.is_empty();
        match strict::read(&bytes, request, to_head) {
            Found::Message(other) if other.content != message.content => {
                Err("two readers find two contents".into())
            }
            Found::Message(other) if other.len != bytes.len() => Err("two lengths".into()),
            Found::Message(_) => Ok(message),
            Found::More(_) => Err("one reader wants more".into()),
            Found::Bad(why) => Err(why),
        }
    }

    /// The connection has ended in order: what ends with it is whole.
    pub fn end(&mut self) {
        if let Some(message) = &mut self.message {
            message.whole |= message.framing == Framing::UntilClose;
        }
    }
}

fn head(text: &str, kind: Kind) -> Result<Message, String> {
    let mut lines = text.split("\r\n");
    let line: Vec<String> =
        lines.next().unwrap_or_default().splitn(3, ' ').map(str::to_owned).collect();
    let fields: Option<Vec<_>> = lines
        .map(|line| line.split_once(": ").map(|(key, value)| (key.to_owned(), value.to_owned())))
        .collect();
    let fields = fields.ok_or_else(|| format!("no fields: {text}"))?;
    let mut message = Message {
        line,
        fields,
        framing: Framing::UntilClose,
        content: Vec::new(),
        whole: false,
        chunk: None,
    };
    let length = message.field("Content-Length").and_then(|length| length.parse().ok());
    let status = message.status();
    let bare = match kind {
        Kind::Request => length.is_none(),
        Kind::Answer { to_head } => {
            // Who is answered before his head was read is not known to have asked for a head.
            let knows = message.field("X-Answer").or(message.field("X-Request-Id")).is_some();
            let to_head = to_head && knows && status != 408;
            to_head || status < 200 || matches!(status, 204 | 304)
        }
    };
    message.framing = match length {
        _ if kind == Kind::Request && message.field("Transfer-Encoding").is_some() => {
            Framing::Chunked
        }
        _ if bare => Framing::Length(0),
        Some(length) => Framing::Length(length),
        None if message.field("Transfer-Encoding").is_some() => Framing::Chunked,
        None => Framing::UntilClose,
    };
    Ok(message)
}

fn content(message: &mut Message, inbox: &[u8], at: &mut usize) -> Result<(), String> {
    match message.framing {
        Framing::Length(length) => {
            let n = (length - message.content.len()).min(inbox.len() - *at);
            message.content.extend(&inbox[*at..*at + n]);
            *at += n;
            message.whole = message.content.len() == length;
            Ok(())
        }
        Framing::UntilClose => {
            message.content.extend(&inbox[*at..]);
            *at = inbox.len();
            Ok(())
        }
        Framing::Chunked => chunks(message, inbox, at),
    }
}

fn chunks(message: &mut Message, inbox: &[u8], at: &mut usize) -> Result<(), String> {
    while !message.whole {
        let rest = &inbox[*at..];
        if let Some(left) = message.chunk {
            let n = left.min(rest.len());
            message.content.extend(&rest[..n]);
            (*at, message.chunk) = (*at + n, Some(left - n));
            match inbox.get(*at..*at + 2) {
                Some(b"\r\n") if n == left => (*at, message.chunk) = (*at + 2, None),
                Some(other) if n == left => return Err(format!("after a chunk: {other:?}")),
                _ => return Ok(()),
            }
            continue;
        }
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(()) };
        let size = std::str::from_utf8(&rest[..end]).ok();
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or_else(|| format!("no chunk size: {:?}", &rest[..end]))?;
        if size > 0 {
            (*at, message.chunk) = (*at + end + 2, Some(size));
            continue;
        }
        // Trailers, and an empty line behind them.
        let rest = &rest[end..];
        let Some(last) = rest.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(());
        };
        *at += end + last + 4;
        message.whole = true;
    }
    Ok(())
}
