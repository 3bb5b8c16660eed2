//! The files under tests/proxy_conversations: what they say, read.
//!
//! Owns the text format and knows no server. The tests play both sides of the proxy: clients,
//! and the servers behind.
//!
//! ```text
//! -- NAME                    manifests that cases name with `yaml:`; $ip.a and $port.a are where
//!                            server a listens, and each server has a Service of its name
//! == title                   a case: fresh connections, servers and configuration
//! rfc: 9112 section 9.3      or `spec:`, what the case shows
//! servers: a b               servers, one small letter each; a where it is left out
//! service: ab = a b          a Service of several; `round-robin` may follow
//! rule: timeouts: {..}       further fields of the route, which takes everything to the first
//!                            service or, without one, to the first server
//! limit: {name: x, ..}       a limit of that route
//! yaml: NAME                 the route is in these manifests instead
//! only: sim                  not on sockets (it takes long); or `sockets`, `whole` (not cut into
//!                            pieces), `one shard`
//!
//! c> GET / HTTP/1.1          client c (connecting first) sends a line; lines without a gap
//! c>                         between them go together
//! a1< @get /                 the first connection to server a must bring these bytes
//! a1> @ok hello
//! c< @ok hello
//! c: closes                  or half-closes, resets, connects; a1: accepts
//! c: sees end                or close (end or reset), reset, nothing
//! c: stalls                  reads nothing until `c: reads`; LONG is more than buffers hold
//! a1: is held back           what it sends is not taken any more
//! a: stops                   calls of server a are refused; or listens, is silent
//! pass 75s                   time; also ms
//! error truncated +1         causes that no answer of ours in the case names
//! metric http_dialled_connections +2
//! ```
//!
//! At the end of a case nothing may be left: no byte, connection or error that the case does not
//! speak of.

use std::collections::BTreeMap;

use super::text::{self, Piece};

/// What a connection does or is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Connects,
    Accepts,
    HalfCloses,
    Closes,
    Resets,
    Stalls,
    Reads,
    SeesEnd,
    SeesReset,
    SeesClose,
    SeesNothing,
    HeldBack,
}

/// What becomes of calls of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    Taken,
    Refused,
    Unanswered,
}

#[derive(Clone, Debug)]
pub enum Step {
    Send { who: String, bytes: Vec<u8> },
    Expect { who: String, pattern: Vec<Piece> },
    Do { who: String, deed: Deed },
    Server { who: char, calls: Calls },
    Pass { ms: u64 },
    Error { cause: String, by: u64 },
    Metric { name: String, by: u64 },
}

/// A Service of several servers.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: String,
    pub members: Vec<char>,
    pub round_robin: bool,
}

#[derive(Clone, Debug)]
pub struct Case {
    pub title: String,
    pub line: usize,
    /// Which rule it shows.
    pub source: String,
    pub servers: Vec<char>,
    pub services: Vec<Service>,
    pub rule: Vec<String>,
    pub limits: Vec<String>,
    pub yaml: Option<String>,
    pub only: Vec<String>,
    pub steps: Vec<(usize, Step)>,
    /// How often answers of our own name each cause.
    pub causes: BTreeMap<String, u64>,
}

/// A whole file.
#[derive(Debug, Default)]
pub struct File {
    pub blocks: BTreeMap<String, String>,
    pub cases: Vec<Case>,
}

impl Case {
    fn new(title: &str, line: usize) -> Self {
        Self {
            title: title.into(),
            line,
            source: String::new(),
            servers: Vec::new(),
            services: Vec::new(),
            rule: Vec::new(),
            limits: Vec::new(),
            yaml: None,
            only: Vec::new(),
            steps: Vec::new(),
            causes: BTreeMap::new(),
        }
    }

    /// Whether it is played there.
    pub fn is_for(&self, place: &str, shards: u16) -> bool {
        let other = if place == "sim" { "sockets" } else { "sim" };
        let has = |what: &str| self.only.iter().any(|only| only == what);
        !has(other) && (shards == 1 || !has("one shard"))
    }

    /// Whether its bytes may come in any pieces.
    pub fn may_be_cut(&self) -> bool {
        !self.only.iter().any(|only| only == "whole")
    }

    /// Whether a connection is one to a server, and to which.
    pub fn server_of(&self, who: &str) -> Option<char> {
        who.chars().next().filter(|letter| self.servers.contains(letter))
    }
}

/// Where the parser is.
enum Place {
    Start,
    Block(String),
    Head,
    Steps,
}

/// Reads a file, with `LONG` bytes where they are to fill all buffers; what is wrong with it is a
/// panic that names the line.
pub fn parse(text: &str, long: usize) -> File {
    let text = text.replace("LONG", &long.to_string());
    let mut file = File::default();
    let (mut place, mut joined) = (Place::Start, false);
    for (n, line) in text.lines().enumerate() {
        let number = n + 1;
        if let Some(name) = line.strip_prefix("-- ") {
            file.blocks.insert(name.into(), String::new());
            place = Place::Block(name.into());
        } else if let Some(title) = line.strip_prefix("== ") {
            file.cases.push(Case::new(title, number));
            place = Place::Head;
        } else if let Place::Block(name) = &place {
            let block = file.blocks.get_mut(name).expect("it was begun");
            block.extend([line, "\n"]);
        } else if line.is_empty() || line.starts_with('#') {
            joined = false;
        } else {
            let case = file.cases.last_mut().unwrap_or_else(|| panic!("line {number}: what of?"));
            if matches!(place, Place::Head) && head(case, line) {
                continue;
            }
            if case.servers.is_empty() {
                case.servers.push('a');
            }
            place = Place::Steps;
            joined = step(case, line, number, joined);
        }
    }
    let untold = file.cases.iter().find(|case| case.source.is_empty());
    assert!(untold.is_none(), "which rule? {untold:?}");
    file
}

/// One line of a case's head; `false` when it is a step.
fn head(case: &mut Case, line: &str) -> bool {
    let Some((key, value)) = line.split_once(": ") else { return false };
    let letters = |text: &str| text.split(' ').filter_map(|w| w.chars().next()).collect();
    match key {
        "rfc" => case.source = format!("RFC {value}"),
        "spec" => case.source = value.into(),
        "servers" => case.servers = letters(value),
        "service" => {
            let (name, members) = value.split_once(" = ").expect("service: NAME = a b");
            let even = members.strip_suffix(" round-robin");
            case.services.push(Service {
                name: name.into(),
                members: letters(even.unwrap_or(members)),
                round_robin: even.is_some(),
            });
        }
        "rule" => case.rule.push(value.into()),
        "limit" => case.limits.push(value.into()),
        "yaml" => case.yaml = Some(value.into()),
        "only" => case.only.push(value.into()),
        _ => return false,
    }
    true
}

/// One step; whether a line that follows at once may belong to it.
fn step(case: &mut Case, line: &str, number: usize, joined: bool) -> bool {
    let end = line.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(line.len());
    let (who, rest) = line.split_at(end);
    let text = |mark| rest.strip_prefix(mark).map(|t: &str| t.strip_prefix(' ').unwrap_or(t));
    if let Some(text) = text('>') {
        let bytes = text::sent(text);
        match case.steps.last_mut() {
            Some((_, Step::Send { who: last, bytes: all })) if joined && last == who => {
                all.extend(bytes);
            }
            _ => case.steps.push((number, Step::Send { who: who.into(), bytes })),
        }
        return true;
    }
    if let Some(text) = text('<') {
        if let Some(cause) = text::cause(text) {
            *case.causes.entry(cause.into()).or_default() += 1;
        }
        let pattern = text::expected(text);
        match case.steps.last_mut() {
            Some((_, Step::Expect { who: last, pattern: all })) if joined && last == who => {
                all.extend(pattern);
            }
            _ => case.steps.push((number, Step::Expect { who: who.into(), pattern })),
        }
        return true;
    }
    let step = other(case, who, rest).unwrap_or_else(|| panic!("line {number}: what is {line:?}?"));
    case.steps.push((number, step));
    false
}

/// A step that is neither bytes sent nor bytes expected.
fn other(case: &Case, who: &str, rest: &str) -> Option<Step> {
    if let Some(what) = rest.strip_prefix(": ") {
        let server = Some(who).filter(|who| who.len() == 1).and_then(|who| case.server_of(who));
        if let (Some(who), Some(calls)) = (server, calls(what)) {
            return Some(Step::Server { who, calls });
        }
        return Some(Step::Do { who: who.into(), deed: deed(what)? });
    }
    let rest = rest.strip_prefix(' ')?;
    let counted = || {
        let (name, by) = rest.rsplit_once(" +")?;
        Some((name.to_owned(), by.parse().ok()?))
    };
    match who {
        "pass" => Some(Step::Pass { ms: milliseconds(rest)? }),
        "error" => counted().map(|(cause, by)| Step::Error { cause, by }),
        "metric" => counted().map(|(name, by)| Step::Metric { name, by }),
        _ => None,
    }
}

fn milliseconds(text: &str) -> Option<u64> {
    match text.strip_suffix("ms") {
        Some(ms) => ms.parse().ok(),
        None => text.strip_suffix('s')?.parse().ok().map(|s: u64| 1_000 * s),
    }
}

fn calls(what: &str) -> Option<Calls> {
    Some(match what {
        "listens" => Calls::Taken,
        "stops" => Calls::Refused,
        "is silent" => Calls::Unanswered,
        _ => return None,
    })
}

fn deed(what: &str) -> Option<Deed> {
    Some(match what {
        "connects" => Deed::Connects,
        "accepts" => Deed::Accepts,
        "half-closes" => Deed::HalfCloses,
        "closes" => Deed::Closes,
        "resets" => Deed::Resets,
        "stalls" => Deed::Stalls,
        "reads" => Deed::Reads,
        "sees end" => Deed::SeesEnd,
        "sees reset" => Deed::SeesReset,
        "sees close" => Deed::SeesClose,
        "sees nothing" => Deed::SeesNothing,
        "is held back" => Deed::HeldBack,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_read() {
        let file = parse(
            "# x\n-- r\nkind: A\n\n== t\nrfc: 1 section 2\nservers: a b\nservice: s = a b round-robin\n\
             only: sim\n\nc> @get /\n\nc> a\\\nc> b\na1< x\na1: sees end\na: stops\npass 2s\n\
             c< @problem 404 no_host\nerror truncated +2\nmetric m{a=b} +1\n",
            1,
        );
        assert_eq!(file.blocks["r"], "kind: A\n\n");
        let case = &file.cases[0];
        assert_eq!((case.servers.len(), case.services.len()), (2, 1));
        assert!(case.services[0].round_robin && case.services[0].members == ['a', 'b']);
        assert!(case.is_for("sim", 2) && !case.is_for("sockets", 1));
        let kinds: Vec<String> = case.steps.iter().map(|(_, s)| format!("{s:?}")).collect();
        assert!(kinds[0].starts_with("Send") && kinds[1].contains("[97, 98, 13, 10]"), "{kinds:?}");
        assert_eq!(
            kinds[3..6],
            [
                "Do { who: \"a1\", deed: SeesEnd }",
                "Server { who: 'a', calls: Refused }",
                "Pass { ms: 2000 }",
            ]
        );
        assert_eq!(case.causes["no_host"], 1);
    }
}
