//! Plays a conversation file against a server: checks the replies, or takes them down.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::Client;
use super::format::{self, Exchange, File, Section, Step};
use super::resp::{self, Value};

/// Plays a file in both protocols; one line for every reply that is another than written.
pub fn check(file: &File, addr: SocketAddr) -> Vec<String> {
    let mut wrong = Vec::new();
    let sections = file.sections.iter();
    for (section, protocol) in
        sections.flat_map(|section| protocols(section).map(move |p| (section, p)))
    {
        play(section, protocol, addr, &mut |exchange, reply| {
            let expected = &exchange.expected;
            let third = expected.resp3.as_ref().filter(|_| protocol == 3);
            let Some(wanted) = third.or(expected.resp2.as_ref()) else {
                panic!("line {}: no reply written; record the file", exchange.line);
            };
            let same =
                if expected.pattern { format::matches(wanted, reply) } else { wanted == reply };
            if !same {
                wrong.push(format!(
                    "line {} (RESP{protocol}, {}): {}\n  expected {wanted}\n  got      {reply}",
                    exchange.line, section.title, exchange.words
                ));
            }
        });
    }
    wrong
}

/// Writes the server's replies into the file; what was written by hand stays.
pub fn record(file: &mut File, addr: SocketAddr) {
    for section in &mut file.sections {
        let mut heard: BTreeMap<usize, [Option<String>; 2]> = BTreeMap::new();
        for protocol in protocols(section) {
            play(section, protocol, addr, &mut |exchange, reply| {
                let index = usize::from(protocol == 3);
                heard.entry(exchange.line).or_default()[index] = Some(reply.to_owned());
            });
        }
        for step in &mut section.steps {
            let Step::Exchange(exchange) = step else { continue };
            if exchange.expected.pattern || exchange.silent {
                continue;
            }
            let [second, third] = heard.remove(&exchange.line).expect("it was played");
            let differs = second.is_some() && third != second;
            exchange.expected.resp3 = third.clone().filter(|_| differs);
            exchange.expected.resp2 = second.or(third);
        }
    }
}

fn protocols(section: &Section) -> impl Iterator<Item = u8> + use<> {
    let only = section.only;
    [2, 3].into_iter().filter(move |p| only.is_none_or(|only| only == *p))
}

fn play(section: &Section, protocol: u8, addr: SocketAddr, heard: &mut dyn FnMut(&Exchange, &str)) {
    let mut connections: BTreeMap<&str, Client> = BTreeMap::new();
    assert_eq!(Client::connect(addr).call("FLUSHALL"), Value::ok());
    for step in &section.steps {
        match step {
            Step::Text(_) => {}
            Step::Wait { ms } => std::thread::sleep(Duration::from_millis(*ms)),
            Step::Exchange(exchange) => {
                let client = connections.entry(&exchange.connection).or_insert_with(|| {
                    let mut client = Client::connect(addr);
                    if protocol == 3 {
                        client.call("HELLO 3");
                    }
                    client
                });
                client.send(&resp::request(&exchange.args));
                if exchange.silent {
                    client.expect_silence(Duration::from_millis(20));
                    continue;
                }
                let text = match client.try_reply() {
                    Ok(Some(value)) => resp::shown(value, exchange.any_order),
                    Ok(None) => "closed".into(),
                    Err(error) => format!("no reply: {error}"),
                };
                heard(exchange, &text);
            }
        }
    }
}
