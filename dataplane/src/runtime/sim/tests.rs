//! The simulated driver does what the kernel's drivers do: one script, the same events.

use std::io::{Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use super::*;
use crate::runtime::epoll::Epoll;
use crate::runtime::uring::Uring;
use crate::runtime::{ConnKey, Driver, Event, Payload, RECEIVE_BUFFERS, Socket, Wait};
use std::cell::RefCell;
use std::rc::Rc;

const RULES: Rules = Rules {
    window: 64 << 10,
    buffers: RECEIVE_BUFFERS,
    cut_reads: 0,
    cut_sends: 0,
    late_reads: 0,
    sends_at_once: true,
};

/// The other side of a connection.
trait Peer {
    fn write(&mut self, bytes: &[u8]);
    /// Reads so many bytes, fewer if the end or a reset comes before, which is said.
    fn read(&mut self, most: usize) -> String;
    fn finish(&mut self);
    fn reset(&mut self);
    /// Lets everything arrive; `true` when the driver has a reason for another turn.
    fn settle(&mut self) -> bool;
}

impl Peer for TcpStream {
    fn write(&mut self, bytes: &[u8]) {
        self.write_all(bytes).unwrap();
    }

    fn read(&mut self, most: usize) -> String {
        let mut seen = Vec::new();
        let mut buffer = vec![0; most];
        while seen.len() < most {
            match (&*self).read(&mut buffer[..most - seen.len()]) {
                Ok(0) => return show(&seen) + " end",
                Ok(n) => seen.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => {
                    return show(&seen) + " reset";
                }
                Err(e) => panic!("{e}"),
            }
        }
        show(&seen)
    }

    fn finish(&mut self) {
        self.shutdown(std::net::Shutdown::Write).unwrap();
    }

    fn reset(&mut self) {
        // Closing with a linger of no time resets.
        rustix::net::sockopt::set_socket_linger(self.as_fd(), Some(std::time::Duration::ZERO))
            .unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        *self = TcpStream::connect(other.local_addr().unwrap()).unwrap();
    }

    fn settle(&mut self) -> bool {
        false // the kernel does, and a turn waits for it
    }
}

/// A client of the simulated network.
struct Simulated(Rc<RefCell<Net>>, usize);

impl Peer for Simulated {
    fn write(&mut self, bytes: &[u8]) {
        let n = self.0.borrow_mut().write(self.1, bytes);
        assert_eq!(n, bytes.len(), "there was room");
    }

    fn read(&mut self, most: usize) -> String {
        let mut seen = Vec::new();
        match self.0.borrow_mut().read(self.1, most, &mut seen) {
            Read::Ended if seen.len() < most => show(&seen) + " end",
            Read::Reset if seen.len() < most => show(&seen) + " reset",
            _ => show(&seen),
        }
    }

    fn finish(&mut self) {
        self.0.borrow_mut().finish(self.1);
    }

    fn reset(&mut self) {
        self.0.borrow_mut().reset(self.1, false);
    }

    fn settle(&mut self) -> bool {
        let mut net = self.0.borrow_mut();
        for way in [Way::Up, Way::Down] {
            net.deliver(self.1, way, usize::MAX);
        }
        net.is_ready(0)
    }
}

/// Long runs of one byte are counted.
fn show(bytes: &[u8]) -> String {
    match bytes.first() {
        Some(first) if bytes.len() > 100 && bytes.iter().all(|b| b == first) => {
            format!("{} of {}", bytes.len(), *first as char)
        }
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Turns until nothing comes any more, and says what came.
fn events(driver: &mut dyn Driver, peer: &mut dyn Peer) -> String {
    let (mut seen, mut received, mut quiet) = (Vec::new(), Vec::new(), 0);
    while quiet < 2 {
        let busy = peer.settle();
        let mut events = Vec::new();
        driver.turn(Wait::AtMost(10_000_000), &mut events).unwrap();
        quiet = if busy || !events.is_empty() { 0 } else { quiet + 1 };
        for event in events {
            match event {
                Event::Received(_, loan) => received.extend_from_slice(driver.bytes(loan)),
                Event::Ended(_) => seen.push("ended".to_owned()),
                Event::Failed(..) => seen.push("failed".to_owned()),
                Event::Deaf(..) => seen.push("deaf".to_owned()),
                Event::Sent(..) => seen.push("sent".to_owned()),
                Event::Woken => seen.push("woken".to_owned()),
                Event::Connected(_) => seen.push("connected".to_owned()),
                other => panic!("{other:?}"),
            }
        }
    }
    if !received.is_empty() {
        seen.insert(0, show(&received));
    }
    seen.join(" ")
}

/// Sends; whether it left at once is each driver's own business.
fn send(driver: &mut dyn Driver, key: ConnKey, bytes: Vec<u8>) -> String {
    let at_once = driver.send(key, Payload::new(bytes, Vec::new())).is_some();
    if at_once { "sent".to_owned() } else { String::new() }
}

/// Plays the script; each line is what was done and what was seen.
fn play(driver: &mut dyn Driver, key: ConnKey, peer: &mut dyn Peer) -> Vec<String> {
    let mut lines = Vec::new();
    let mut note = |what: &str, seen: String| lines.push(format!("{what}: {seen}"));
    peer.write(b"hello");
    note("bytes", events(driver, peer));
    peer.write(&[b'x'; 40_000]);
    note("more than two buffers", events(driver, peer));
    driver.pause(key);
    events(driver, peer);
    peer.write(b"kept");
    note("paused", events(driver, peer));
    assert_eq!(driver.unreceived(key), 4);
    driver.resume(key);
    note("resumed", events(driver, peer));
    assert_eq!(driver.unreceived(key), 0);
    let at_once = send(driver, key, vec![b's'; 10]);
    note("a send", at_once + &events(driver, peer));
    note("and what the peer reads", peer.read(10));
    assert_eq!(driver.unsent(key), 0);
    assert!(driver.send(key, Payload::default()).is_some(), "nothing to send");
    driver.waker().wake();
    driver.waker().wake();
    note("rung twice", events(driver, peer));
    peer.write(b"last");
    peer.finish();
    note("half closed", events(driver, peer));
    let at_once = send(driver, key, vec![b't'; 9]);
    note("a send after it", at_once + &events(driver, peer));
    driver.finish(key);
    note("finished", events(driver, peer));
    note("what the peer reads then", peer.read(100));
    driver.resume(key);
    note("the end is said again", events(driver, peer));
    driver.close(key);
    assert!(driver.send(key, Payload::new(vec![1], Vec::new())).is_some(), "the key is dead");
    driver.pause(key);
    driver.resume(key);
    note("closed", events(driver, peer));
    lines
}

/// The peer goes amid things.
fn play_breaks(driver: &mut dyn Driver, key: ConnKey, peer: &mut dyn Peer) -> Vec<String> {
    let mut lines = Vec::new();
    peer.write(b"before");
    lines.push(events(driver, peer));
    peer.reset();
    lines.push(events(driver, peer));
    assert!(driver.unsent(key) == 0);
    driver.close(key);
    lines.push(events(driver, peer));
    lines
}

/// The server closes over what it has not read: the peer is told by a reset.
fn play_close_over_unread(
    driver: &mut dyn Driver,
    key: ConnKey,
    peer: &mut dyn Peer,
) -> Vec<String> {
    driver.pause(key);
    events(driver, peer);
    peer.write(b"unread");
    peer.settle();
    std::thread::sleep(std::time::Duration::from_millis(5));
    driver.close(key);
    let seen = events(driver, peer);
    vec![seen, peer.read(10)]
}

/// The server breaks off what it has begun to say.
fn play_reset(driver: &mut dyn Driver, key: ConnKey, peer: &mut dyn Peer) -> Vec<String> {
    let at_once = send(driver, key, b"part".to_vec());
    let seen = at_once + &events(driver, peer);
    driver.reset(key);
    driver.close(key);
    vec![seen, events(driver, peer), peer.read(10)]
}

/// A reset is heard of while the connection is paused, and what came before it is not.
fn play_reset_while_paused(
    driver: &mut dyn Driver,
    key: ConnKey,
    peer: &mut dyn Peer,
) -> Vec<String> {
    driver.pause(key);
    events(driver, peer);
    peer.write(b"unread");
    let before = events(driver, peer);
    driver.resume(key);
    let resumed = events(driver, peer);
    driver.pause(key);
    events(driver, peer);
    peer.reset();
    let seen = events(driver, peer);
    driver.close(key);
    vec![before, resumed, seen, events(driver, peer)]
}

/// A peer that has ended in order, and then goes.
fn play_reset_after_the_end(
    driver: &mut dyn Driver,
    key: ConnKey,
    peer: &mut dyn Peer,
) -> Vec<String> {
    peer.finish();
    let ended = events(driver, peer);
    peer.reset();
    let seen = events(driver, peer);
    driver.close(key);
    vec![ended, seen, events(driver, peer)]
}

type Script = fn(&mut dyn Driver, ConnKey, &mut dyn Peer) -> Vec<String>;

fn on_kernel(mut driver: impl Driver, script: Script) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_nodelay(true).unwrap();
    peer.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    let key = driver.open(Socket::Kernel(OwnedFd::from(socket))).unwrap();
    script(&mut driver, key, &mut peer)
}

/// A client, and the connection that the driver has taken over.
fn connect(net: &Rc<RefCell<Net>>, driver: &mut SimDriver) -> (usize, ConnKey) {
    let client = net.borrow_mut().connect().unwrap();
    let mut accepted = Vec::new();
    driver.turn(Wait::Poll, &mut accepted).unwrap();
    let Some(Event::Accepted(_, socket)) = accepted.pop() else { panic!("accepted") };
    (client, driver.open(socket).unwrap())
}

fn on_sim(rules: Rules, seed: u64, script: Script) -> Vec<String> {
    let net = Net::new(1, rules, seed);
    let mut driver = SimDriver::new(net.clone(), 0);
    let (client, key) = connect(&net, &mut driver);
    script(&mut driver, key, &mut Simulated(net, client))
}

#[test]
fn the_same_script_brings_the_same_events() {
    let scripts: [Script; 6] = [
        play,
        play_breaks,
        play_close_over_unread,
        play_reset,
        play_reset_while_paused,
        play_reset_after_the_end,
    ];
    for script in scripts {
        let expect = on_kernel(Epoll::new().unwrap(), script);
        assert_eq!(on_kernel(Uring::new().unwrap(), script), expect, "uring");
        for seed in 0..50 {
            let at_once = seed % 2 == 0;
            let rules = Rules { sends_at_once: at_once, ..RULES };
            assert_eq!(on_sim(rules, seed, script), expect, "sim, seed {seed}");
            // However much is cut, what comes is the same in the end.
            let rules = Rules { cut_reads: 90, cut_sends: 90, buffers: 1, ..rules };
            assert_eq!(on_sim(rules, seed, script), expect, "sim, cut, seed {seed}");
        }
    }
}

/// How a driver gets on with a server that it calls.
fn play_calls(driver: &mut dyn Driver, key: ConnKey, server: &mut dyn Peer) -> Vec<String> {
    let mut lines = vec![events(driver, server)];
    let at_once = send(driver, key, b"question".to_vec());
    lines.push(at_once + &events(driver, server));
    lines.push(server.read(8));
    server.write(b"answer");
    lines.push(events(driver, server));
    server.finish();
    lines.push(events(driver, server));
    driver.close(key);
    assert_eq!(events(driver, server), "");
    lines.push(server.read(10));
    lines
}

/// A connection leaves a driver for another one, with what has not been received.
fn play_release(
    driver: &mut dyn Driver,
    key: ConnKey,
    other: &mut dyn Driver,
    peer: &mut dyn Peer,
) -> Vec<String> {
    peer.write(b"before");
    let mut lines = vec![events(driver, peer)];
    driver.release(key);
    let mut seen = Vec::new();
    let socket = loop {
        peer.settle();
        driver.turn(Wait::AtMost(10_000_000), &mut seen).unwrap();
        match seen.pop() {
            Some(Event::Released(released, socket)) => {
                assert_eq!(released, key);
                break socket;
            }
            None => {}
            other => panic!("{other:?}"),
        }
    };
    peer.write(b"between");
    peer.settle();
    driver.close(key); // dead: nothing happens
    assert!(driver.send(key, Payload::new(vec![1], Vec::new())).is_some());
    lines.push(events(driver, peer));
    let key = other.open(socket).unwrap();
    lines.push(events(other, peer));
    let at_once = send(other, key, b"here".to_vec());
    lines.push(at_once + &events(other, peer));
    lines.push(peer.read(4));
    lines
}

fn release_on_kernel<D: Driver>(open: fn() -> std::io::Result<D>) -> Vec<String> {
    let (mut driver, mut other) = (open().unwrap(), open().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    let key = driver.open(Socket::Kernel(OwnedFd::from(socket))).unwrap();
    play_release(&mut driver, key, &mut other, &mut peer)
}

#[test]
fn connections_go_from_driver_to_driver() {
    let expect = ["before", "", "between", "sent", "here"];
    assert_eq!(release_on_kernel(Epoll::new), expect, "epoll");
    assert_eq!(release_on_kernel(Uring::new), expect, "uring");
    for seed in 0..10 {
        let net = Net::new(2, RULES, seed);
        let (mut driver, mut other) =
            (SimDriver::new(net.clone(), 0), SimDriver::new(net.clone(), 1));
        let (client, key) = connect(&net, &mut driver);
        let seen = play_release(&mut driver, key, &mut other, &mut Simulated(net, client));
        assert_eq!(seen, expect, "sim, seed {seed}");
    }
}

/// A peer for calls that nobody answers.
struct Nobody;

impl Peer for Nobody {
    fn write(&mut self, _: &[u8]) {}
    fn read(&mut self, _: usize) -> String {
        String::new()
    }
    fn finish(&mut self) {}
    fn reset(&mut self) {}
    fn settle(&mut self) -> bool {
        false
    }
}

fn calls_on_kernel(mut driver: impl Driver) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let key = driver.connect(at).unwrap();
    // Connecting begins with the turn, at the latest.
    driver.submit().unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.set_nodelay(true).unwrap();
    let mut lines = play_calls(&mut driver, key, &mut server);
    drop(listener);
    let key = driver.connect(at).unwrap();
    lines.push(events(&mut driver, &mut Nobody));
    driver.close(key);
    // Given up before anything can have come of it: no event names it.
    let deaf = driver.connect("192.0.2.1:9".parse().unwrap());
    if let Ok(key) = deaf {
        driver.submit().unwrap();
        driver.close(key);
    }
    lines.push(events(&mut driver, &mut Nobody));
    lines
}

fn calls_on_sim(seed: u64) -> Vec<String> {
    let net = Net::new(1, Rules { sends_at_once: seed.is_multiple_of(2), ..RULES }, seed);
    let mut driver = SimDriver::new(net.clone(), 0);
    let at = "10.0.0.1:80".parse().unwrap();
    let call = |driver: &mut SimDriver| {
        let key = driver.connect(at).unwrap();
        assert!(!net.borrow().is_ready(0), "nobody has answered");
        let (link, to) = net.borrow_mut().dialled().unwrap();
        assert_eq!(to, at);
        (key, link)
    };
    let (key, link) = call(&mut driver);
    net.borrow_mut().answer(link, true);
    let mut lines = play_calls(&mut driver, key, &mut Simulated(net.clone(), link));
    let (key, link) = call(&mut driver);
    net.borrow_mut().answer(link, false);
    lines.push(events(&mut driver, &mut Nobody));
    driver.close(key);
    let (key, link) = call(&mut driver);
    driver.close(key);
    net.borrow_mut().answer(link, true);
    lines.push(events(&mut driver, &mut Nobody));
    lines
}

#[test]
fn calls_bring_the_same_events() {
    let expect = ["connected", "sent", "question", "answer", "ended", " end", "failed", ""];
    assert_eq!(calls_on_kernel(Epoll::new().unwrap()), expect, "epoll");
    assert_eq!(calls_on_kernel(Uring::new().unwrap()), expect, "uring");
    for seed in 0..10 {
        assert_eq!(calls_on_sim(seed), expect, "sim, seed {seed}");
    }
}

/// A payload longer than the window leaves in parts, as the peer reads.
#[test]
fn a_full_window_stops_a_send() {
    for sends_at_once in [true, false] {
        let net = Net::new(1, Rules { sends_at_once, ..RULES }, 1);
        let mut driver = SimDriver::new(net.clone(), 0);
        let (client, key) = connect(&net, &mut driver);
        let mut events = Vec::new();
        let len = 3 * RULES.window + 7;
        assert!(driver.send(key, Payload::new(vec![b'w'; len], Vec::new())).is_none());
        let (mut seen, mut turns) = (Vec::new(), 0);
        while events.is_empty() {
            driver.turn(Wait::Poll, &mut events).unwrap();
            turns += 1;
            assert!(!net.borrow().is_ready(0) || !events.is_empty(), "no room, no reason to run");
            net.borrow_mut().deliver(client, Way::Down, usize::MAX);
            net.borrow_mut().read(client, usize::MAX, &mut seen);
        }
        assert!(matches!(events[0], Event::Sent(..)), "{events:?}");
        net.borrow_mut().deliver(client, Way::Down, usize::MAX);
        net.borrow_mut().read(client, usize::MAX, &mut seen);
        assert_eq!((seen.len(), turns), (len, 4));
    }
}

/// What arrived before a pause may still come once, and nothing after that.
#[test]
fn a_pause_lets_in_what_was_on_its_way() {
    let mut late = 0;
    for seed in 0..50 {
        let net = Net::new(1, Rules { late_reads: 50, ..RULES }, seed);
        let mut driver = SimDriver::new(net.clone(), 0);
        let (client, key) = connect(&net, &mut driver);
        let mut events = Vec::new();
        driver.pause(key);
        net.borrow_mut().write(client, b"late");
        net.borrow_mut().deliver(client, Way::Up, usize::MAX);
        driver.turn(Wait::Poll, &mut events).unwrap();
        late += events.len();
        assert_eq!(net.borrow().counts.late_reads as usize, events.len());
        net.borrow_mut().write(client, b"later");
        net.borrow_mut().deliver(client, Way::Up, usize::MAX);
        events.clear();
        driver.turn(Wait::Poll, &mut events).unwrap();
        assert!(events.is_empty(), "{events:?}");
        assert!(!net.borrow().is_ready(0));
    }
    assert!((10..40).contains(&late), "{late} of 50");
}

/// A socket that nobody opens is closed; the peer reads what it was told.
#[test]
fn a_refused_client_is_told() {
    let net = Net::new(1, RULES, 1);
    let mut driver = SimDriver::new(net.clone(), 0);
    let (told, dropped) = {
        let mut net = net.borrow_mut();
        (net.connect().unwrap(), net.connect().unwrap())
    };
    let mut events = Vec::new();
    driver.turn(Wait::Poll, &mut events).unwrap();
    for event in events.drain(..) {
        let Event::Accepted(_, socket) = event else { panic!("{event:?}") };
        if socket.addresses().0.unwrap().port() == 20_000 {
            socket.refuse(b"no");
        }
    }
    net.borrow_mut().heed_fates();
    let mut clients =
        [(told, "no end"), (dropped, " end")].map(|(n, seen)| (Simulated(net.clone(), n), seen));
    for (client, seen) in &mut clients {
        client.settle();
        assert_eq!(client.read(10), *seen);
    }
    driver.stop_listening();
    assert_eq!(net.borrow_mut().connect(), None);
    assert_eq!(net.borrow().served(), 0);
}
