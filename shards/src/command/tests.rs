//! Conversations with one shard, in process.

mod connections;
mod memory;
mod scanning;
mod table;
mod transactions;
mod values;

use std::sync::Arc;

use super::*;
use crate::ids::DbId;
use crate::reply::Protocol;
use crate::settings::Settings;
use crate::store::EvictionPolicy;
use crate::time::Nanos;

/// A node with nobody else on it.
pub(crate) struct Alone {
    facts: NodeFacts,
    killed: Vec<ClientId>,
    settings: Settings,
}

impl Default for Alone {
    fn default() -> Self {
        let facts = NodeFacts {
            version: "0".into(),
            driver: "none",
            port: 0,
            pid: 1,
            run_id: "0".repeat(40),
            started: 0,
            executable: String::new(),
            os: String::new(),
            shards: 1,
            cluster: Arc::default(),
        };
        Self { facts, killed: Vec::new(), settings: Settings::default() }
    }
}

impl Alone {
    /// The same node with other facts.
    pub(crate) fn with(self, facts: NodeFacts) -> Self {
        Self { facts, ..self }
    }
}

impl Host for Alone {
    fn facts(&self) -> &NodeFacts {
        &self.facts
    }
    fn each_client(&self, _: &mut dyn FnMut(&Session, Traffic)) {}
    fn own_traffic(&self) -> Traffic {
        Traffic::default()
    }
    fn change_settings(
        &mut self,
        change: &mut dyn FnMut(&Settings) -> Result<Settings, CommandError>,
    ) -> Result<Settings, CommandError> {
        self.settings = change(&self.settings)?;
        Ok(self.settings.clone())
    }
    fn kill(&mut self, client: ClientId) {
        self.killed.push(client);
    }
    fn connections_accepted(&self) -> u64 {
        1
    }
    fn connections_refused(&self) -> u64 {
        0
    }
    fn resident_bytes(&self) -> u64 {
        0
    }
}

pub(super) struct Client {
    pub(super) shard: Shard,
    session: Session,
    other: Session,
    pub(super) now: Now,
    /// Of the last operation that took some.
    steps: usize,
}

impl Client {
    fn new(settings: Settings) -> Self {
        let now = Now { mono: Nanos(5_000_000_000), wall_us: 1_700_000_000_000_000 };
        let open = settings.requirepass.is_empty();
        Self {
            shard: Shard::new(settings, 42, Arc::default()),
            session: Session::new(ClientId(1), open, now),
            other: Session::new(ClientId(2), open, now),
            now,
            steps: 0,
        }
    }

    /// Executes a line of words; `\_` is a space within one, `\e` nothing.
    pub(super) fn say(&mut self, line: &str) -> String {
        let reply = whole(&self.reply(line));
        String::from_utf8_lossy(&reply).replace("\r\n", " ").trim_end().to_string()
    }

    fn reply(&mut self, line: &str) -> Reply {
        let (line, other) = match line.strip_prefix("other: ") {
            Some(line) => (line, true),
            None => (line, false),
        };
        let words: Vec<String> =
            line.split(' ').map(|w| w.replace("\\_", " ").replace("\\e", "")).collect();
        let parts: Vec<&[u8]> = words.iter().map(|w| w.as_bytes()).collect();
        self.run(&parts, other)
    }

    fn run(&mut self, parts: &[&[u8]], other: bool) -> Reply {
        let args = OwnedArgs::of(parts);
        let session = if other { &mut self.other } else { &mut self.session };
        let mut reply = Reply::new(session.protocol);
        let settings = self.shard.settings.clone();
        let flow = dispatch(
            &mut self.shard,
            session,
            &mut Alone { settings, ..Alone::default() },
            lookup(parts[0]),
            &args.as_args(),
            self.now,
            &mut reply,
        );
        if let Flow::Pending(mut op) = flow {
            self.steps = 1;
            while !op.step(&self.shard, self.now, 7, &mut reply) {
                self.steps += 1;
            }
        }
        reply
    }
}

/// The bytes of a reply with its long values in their places.
fn whole(reply: &Reply) -> Vec<u8> {
    let (mut whole, mut from) = (Vec::new(), 0);
    for (at, blob) in &reply.blobs {
        whole.extend_from_slice(&reply.bytes[from..*at]);
        whole.extend_from_slice(blob.bytes());
        from = *at;
    }
    whole.extend_from_slice(&reply.bytes[from..]);
    whole
}

/// Runs lines of `command => reply`; `pass MS` lets time go by.
#[track_caller]
pub(super) fn check(script: &str) {
    check_with(Settings::default(), script);
}

#[track_caller]
pub(super) fn check_with(settings: Settings, script: &str) {
    let mut client = Client::new(settings);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(ms) = line.strip_prefix("pass ") {
            let ms: u64 = ms.parse().unwrap();
            client.now.wall_us += ms * 1_000;
            client.now.mono.0 += ms * 1_000_000;
            continue;
        }
        let (command, expect) = line.split_once("=>").expect("command => reply");
        assert_eq!(client.say(command.trim()), expect.trim(), "{command}");
    }
}

/// A client of a shard of its own.
pub(super) fn client(settings: Settings) -> Client {
    Client::new(settings)
}

/// A cache with a limit in MiB.
fn limited(mib: u64, policy: EvictionPolicy) -> Client {
    Client::new(Settings { maxmemory: mib << 20, policy, ..Settings::default() })
}
