//! What a seed decides before the run: the node, its routes and servers, what may go wrong.

use std::fmt::Write as _;
use std::net::SocketAddr;

use dataplane::runtime::sim::{Rng, Rules};

/// What clients, servers and the network do beside the plain; each is part of some runs, and all
/// seeds together must have come across every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    Pipeline,
    BadHead,
    Expect,
    Upgrade,
    Old,
    LongContent,
    HalfClose,
    ClientReset,
    SlowReader,
    SlowSender,
    Early,
    Interim,
    Gateway,
    UntilClose,
    Closes,
    Resets,
    Stalls,
    SlowServer,
    Refuses,
    Silent,
    IdleEnd,
    Garbage,
    Excess,
    Published,
    Delay,
    ShardStall,
    CutRead,
    ShortSend,
    Starved,
    LateRead,
    Time,
}

/// All of them.
pub const EVENTS: [Event; 31] = [
    Event::Pipeline,
    Event::BadHead,
    Event::Expect,
    Event::Upgrade,
    Event::Old,
    Event::LongContent,
    Event::HalfClose,
    Event::ClientReset,
    Event::SlowReader,
    Event::SlowSender,
    Event::Early,
    Event::Interim,
    Event::Gateway,
    Event::UntilClose,
    Event::Closes,
    Event::Resets,
    Event::Stalls,
    Event::SlowServer,
    Event::Refuses,
    Event::Silent,
    Event::IdleEnd,
    Event::Garbage,
    Event::Excess,
    Event::Published,
    Event::Delay,
    Event::ShardStall,
    Event::CutRead,
    Event::ShortSend,
    Event::Starved,
    Event::LateRead,
    Event::Time,
];

/// Endpoints, and the services that have some of them.
pub const SERVERS: usize = 4;
pub const SERVICES: usize = 3;

/// Routes by their first segment. The last is none.
pub const ROUTES: [&str; 5] = ["a", "b", "c", "d", "none"];
pub const TIMED: usize = 1;
pub const KEYED: usize = 2;
pub const TWICE: usize = 3;
pub const NOWHERE: usize = 4;
/// Time-outs of the timed route, in milliseconds.
pub const REQUEST_MS: u64 = 400;
pub const BACKEND_MS: u64 = 150;
/// Values of the header that the keyed route is limited by.
pub const KEYS: usize = 5;

/// A limit as it is configured.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub name: &'static str,
    pub tokens: u64,
    pub period_ms: u64,
    pub burst: u64,
}

/// The keyed route's, and the two of another.
pub const LIMITS: [Limit; 3] = [
    Limit { name: "keyed", tokens: 3, period_ms: 20, burst: 4 },
    Limit { name: "first", tokens: 7, period_ms: 30, burst: 9 },
    Limit { name: "second", tokens: 2, period_ms: 11, burst: 3 },
];

/// Which service has which servers, and which route leads where: none, if it is not there.
#[derive(Clone, Debug)]
pub struct Map {
    pub members: [Vec<usize>; SERVICES],
    pub routes: [Option<usize>; NOWHERE],
}

impl Map {
    pub fn first() -> Self {
        let members = [vec![0, 1], vec![2], vec![1, 2, 3]];
        Self { members, routes: [Some(0), Some(1), Some(2), Some(0)] }
    }

    /// Another one. The limited routes stay, and so do their limits.
    pub fn changed(rng: &mut Rng) -> Self {
        let mut map = Self::first();
        for members in &mut map.members {
            members.retain(|_| !rng.chance(30));
            if members.is_empty() && rng.chance(50) {
                members.push(rng.below(SERVERS));
            }
        }
        for route in 0..NOWHERE {
            if rng.chance(30) {
                map.routes[route] = Some(rng.below(SERVICES));
            }
            if route < KEYED && rng.chance(20) {
                map.routes[route] = None;
            }
        }
        map
    }

    /// As an operator would have written it.
    pub fn manifests(&self) -> String {
        let mut out = String::new();
        for (route, to) in self.routes.iter().enumerate() {
            let (name, Some(to)) = (ROUTES[route], to) else { continue };
            let timeouts = if route == TIMED {
                format!(
                    "\n    timeouts: {{request: {REQUEST_MS}ms, backendRequest: {BACKEND_MS}ms}}"
                )
            } else {
                String::new()
            };
            let _ = write!(
                out,
                "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
                 metadata: {{name: {name}}}\nspec:\n  rules:\n  - name: {name}\n\
                 \x20   matches: [{{path: {{type: PathPrefix, value: /{name}}}}}]\n\
                 \x20   backendRefs: [{{name: s{to}, port: 80}}]{timeouts}\n---\n"
            );
        }
        policy(&mut out, ROUTES[KEYED], &LIMITS[..1], ", key: [header:X-Key]");
        policy(&mut out, ROUTES[TWICE], &LIMITS[1..], "");
        for (service, members) in self.members.iter().enumerate() {
            let policy = ["least-request", "round-robin"][service % 2];
            let _ = write!(
                out,
                "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: s{service}\n\
                 \x20 annotations: {{corelane.dev/balance: {policy}}}\n\
                 spec: {{ports: [{{port: 80}}]}}\n"
            );
            for server in members {
                let at = address(*server);
                let _ = write!(
                    out,
                    "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
                     metadata:\n  name: s{service}-{server}\n\
                     \x20 labels: {{kubernetes.io/service-name: s{service}}}\n\
                     addressType: IPv4\nendpoints: [{{addresses: [{}]}}]\n\
                     ports: [{{port: {}}}]\n",
                    at.ip(),
                    at.port()
                );
            }
        }
        out
    }
}

fn policy(out: &mut String, route: &str, limits: &[Limit], more: &str) {
    let _ = write!(
        out,
        "apiVersion: corelane.dev/v1\nkind: RateLimitPolicy\nmetadata: {{name: of-{route}}}\n\
         spec:\n  targetRefs:\n\
         \x20 - {{group: gateway.networking.k8s.io, kind: HTTPRoute, name: {route}}}\n  limits:\n"
    );
    for Limit { name, tokens, period_ms, burst } in limits {
        let _ = writeln!(
            out,
            "  - {{name: {name}, rate: {tokens}, period: {period_ms}ms, burst: {burst}{more}}}"
        );
    }
    out.push_str(if route == ROUTES[KEYED] { "---\n" } else { "" });
}

/// Where a server listens.
pub fn address(server: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 1, server as u8 + 1], 9_000))
}

/// See the module's text.
pub struct Plan {
    pub shards: u16,
    pub parcels: usize,
    pub clients: usize,
    pub rules: Rules,
    pub events: Vec<Event>,
    /// How likely those who dally are to go on before time passes.
    pub urges: usize,
    /// Requests of all clients before the node is healed.
    pub requests: usize,
}

impl Plan {
    pub fn of(rng: &mut Rng) -> Self {
        let shards = *rng.pick(&[1, 2, 2, 3]);
        let share = *rng.pick(&[15, 40, 70]);
        let mut events: Vec<Event> = EVENTS.into_iter().filter(|_| rng.chance(share)).collect();
        if rng.chance(10) {
            events.clear(); // all must be well without any, too
        }
        let has = |event| events.contains(&event);
        let rules = Rules {
            window: *rng.pick(&[1 << 10, 16 << 10, 128 << 10]),
            buffers: if has(Event::Starved) { 1 } else { 256 },
            cut_reads: if has(Event::CutRead) { rng.between(1, 80) } else { 0 },
            cut_sends: if has(Event::ShortSend) { rng.between(1, 80) } else { 0 },
            late_reads: if has(Event::LateRead) { 80 } else { 0 },
            sends_at_once: rng.chance(50),
        };
        Self {
            shards,
            parcels: *rng.pick(&[1, 1, 8]),
            clients: rng.between(2, 8),
            rules,
            events,
            urges: *rng.pick(&[5, 60, 90]),
            requests: rng.between(60, 250),
        }
    }

    pub fn has(&self, event: Event) -> bool {
        self.events.contains(&event)
    }
}
