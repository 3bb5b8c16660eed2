//! A request whose head is whole: where it goes, or why it goes nowhere.

#![forbid(unsafe_code)]

use shards::balance::{self, Policy};
use shards::config::{BackendId, Balance, RuleId, Timeouts};
use shards::route::{self, Headers, NoRoute};
use shards::time::Nanos;

use super::access;
use super::cause::Cause;
use super::clients::Source;
use super::id;
use super::limits::{Buckets, Limits};
use super::peers::{self, Client, Exchange, Head, Stage};
use super::pump::FOR_EVER;
use super::said::Said;
use super::served::Members;
use super::{Hands, Proxy, timers};
use crate::http1::{self, Body, Fields, Known, Method, RequestHead, Scan, Target, Version};
use crate::runtime::Driver;

/// So often a request may have passed proxies of our kind (RFC 9110 section 7.6: a message is
/// not forwarded in circles for ever).
const MOST_HOPS: usize = 10;

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) target: peers::Target,
    pub(super) timeouts: Timeouts,
    /// Whether the path to forward is the one in `Proxy::path`.
    rewritten: bool,
}

/// What other shards have said of a request before it goes on from its head.
#[derive(Clone, Copy, Debug)]
pub(super) enum Heard {
    Nothing,
    /// What the limit that was asked last has said.
    Said(Said),
    /// Where it goes, its limits having been asked.
    Target(peers::Target),
}

/// The fields of a head, for the matcher.
struct Received<'a> {
    bytes: &'a [u8],
    fields: &'a Fields,
}

impl Headers for Received<'_> {
    /// Of several lines nobody can tell which one the server behind takes: they match nothing.
    fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let mut lines = self.fields.forwarded(self.bytes, name);
        let only = lines.next().filter(|_| lines.next().is_none());
        only.map(|span| span.of(self.bytes))
    }
}

impl Proxy {
    /// A request has come: finds out where it goes, and writes it there or answers it.
    pub(super) fn begin<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        client: &mut Client,
        source: &Source,
        at: usize,
        head: &RequestHead,
    ) {
        let bytes = &source.bytes(hands.driver)[at..];
        self.stats.requests.add(1);
        client.stage = Stage::Exchange;
        client.exchange = Some(self.open(client, bytes, head));
        self.proceed(hands, client, source, at, head, Heard::Nothing);
    }

    /// A request goes on from its head after another shard has answered.
    pub(super) fn go_on<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        client: &mut Client,
        held: Vec<u8>,
        heard: Heard,
    ) {
        let mut scan = Scan::default();
        match http1::request(&held, &mut scan, &self.limits, &mut self.fields) {
            Ok(Some(head)) => {
                let source = Source::Copied(held, 0);
                self.proceed(hands, client, &source, 0, &head, heard);
                if let Source::Copied(mut held, _) = source {
                    self.buffers.put(&mut held);
                }
            }
            // It was a head before.
            _ => self.answer(client, Cause::NoBucket),
        }
    }

    /// Finds out where a request goes, and writes it there.
    fn proceed<D: Driver>(
        &mut self,
        hands: &mut Hands<'_, D>,
        client: &mut Client,
        source: &Source,
        at: usize,
        head: &RequestHead,
        heard: Heard,
    ) {
        let bytes = &source.bytes(hands.driver)[at..];
        let mut path = std::mem::take(&mut self.path);
        let limiter = &mut *hands.limiter;
        let (hasher, partition, me) = (hands.hasher, hands.partition, hands.me);
        let buckets = Buckets { limiter, hasher, partition, me };
        let plan = self.plan(buckets, client, bytes, head, &mut path, heard);
        self.path = path;
        let plan = match plan {
            Ok(Some(plan)) => plan,
            Ok(None) => return self.hold(client, bytes, head),
            Err(cause) => return self.answer(client, cause),
        };
        if let Some(exchange) = client.exchange.as_mut() {
            let span = plan.timeouts.request.filter(|span| *span != Nanos(0));
            exchange.until = exchange.started.after(span.unwrap_or(FOR_EVER));
            exchange.patience = Self::patience(plan.timeouts);
            let backend = plan.timeouts.backend.filter(|span| *span != Nanos(0));
            exchange.backend = backend.unwrap_or(FOR_EVER);
        }
        let borrowed = client.exchange.as_ref().is_some_and(|exchange| exchange.borrowed);
        if !borrowed && let Some(from) = self.lender(&plan.target, hands.me) {
            self.borrow(client, plan.target, from);
            let bytes = &source.bytes(hands.driver)[at..];
            self.hold(client, bytes, head);
            return self.await_loan(client);
        }
        let upstream = match self.attach(hands, client, plan.target) {
            Ok(upstream) => upstream,
            Err(cause) => return self.answer(client, cause),
        };
        let bytes = &source.bytes(hands.driver)[at..];
        self.write_request(client, upstream, bytes, head, &plan);
        self.alarm_exchange(client);
    }

    /// Keeps a request's head until another shard has answered.
    fn hold(&mut self, client: &mut Client, bytes: &[u8], head: &RequestHead) {
        let Some(exchange) = client.exchange.as_mut() else { return };
        self.buffers.fill(&mut exchange.held);
        exchange.held.extend_from_slice(&bytes[..head.len]);
        self.alarm_exchange(client);
    }

    /// What is remembered of a request.
    fn open(&mut self, client: &Client, bytes: &[u8], head: &RequestHead) -> Box<Exchange> {
        let mut exchange = self.spare.pop().unwrap_or_default();
        let now = self.now.mono;
        exchange.id = self.random.id();
        exchange.patience = timers::ANSWER;
        (exchange.started, exchange.progress) = (now, now);
        (exchange.until, exchange.backend_until) = (now.after(FOR_EVER), now.after(FOR_EVER));
        let own = self.fields.all(Known::XRequestId).next().map(|span| span.of(bytes));
        exchange.given.extend_from_slice(own.filter(|own| id::is_kept(own)).unwrap_or_default());
        exchange.head = Head {
            is_head: head.method == Method::Head,
            method: head.method,
            idempotent: is_idempotent(head.method),
            old: head.version == Version::Http10,
            upgrade: head.upgrade.is_some_and(|upgrade| may_upgrade(upgrade.of(bytes))),
            expects_continue: head.expects_continue,
        };
        exchange.trailers = head.accepts_trailers;
        exchange.close = !head.keep_alive;
        exchange.request = Body::new(head.body, &self.limits);
        if self.log.is_on() {
            self.buffers.fill(&mut exchange.record);
            let mut line = std::mem::take(&mut exchange.record);
            let text = *exchange.id.text();
            let agent = self.fields.all(Known::UserAgent).next();
            let asked = access::Asked {
                wall_us: self.now.wall_us,
                id: exchange.given_id().unwrap_or(&text),
                client: client.address.text(),
                method: head.name.of(bytes),
                host: head.authority.of(bytes),
                path: whole(&head.target, bytes),
                old: exchange.head.old,
                agent: agent.map_or(b"", |agent| agent.of(bytes)),
            };
            self.log.begin(&mut line, &asked);
            exchange.record = line;
        }
        exchange
    }

    /// Where a request goes.
    fn plan(
        &mut self,
        buckets: Buckets<'_>,
        client: &mut Client,
        bytes: &[u8],
        head: &RequestHead,
        scratch: &mut Vec<u8>,
        heard: Heard,
    ) -> Result<Option<Plan>, Cause> {
        if head.method == Method::Connect {
            return Err(Cause::NoConnect);
        }
        if head.max_forwards == Some(0) {
            return Err(Cause::MaxForwards);
        }
        if self.fields.has(http1::Known::Via)
            && http1::write::own_hops(bytes, &self.fields) >= MOST_HOPS
        {
            return Err(Cause::Loop);
        }
        let received = head.target.path(bytes);
        let path = http1::path::routable(received, scratch).map_err(Cause::Malformed)?;
        let rewritten = path.as_ptr() != received.as_ptr();
        let served = self.served.get();
        let port = served.ports.get(usize::from(client.listener)).copied().flatten();
        let nowhere =
            if served.config.rules() == 0 { Cause::NotConfigured } else { Cause::NotAttached };
        if port.is_none()
            && !served.is_open(client.listener)
            && let Some(exchange) = client.exchange.as_mut()
        {
            exchange.close = true; // so that it looks for who has that address now
        }
        let port = port.ok_or(nowhere)?;
        let request = route::Request {
            host: head.host.of(bytes),
            // OPTIONS for the whole server (RFC 9112 section 3.2.4) goes where all of it goes.
            path: if path == b"*" { b"/" } else { path },
            query: head.target.query.map_or(b"", |query| query.of(bytes)),
            method: head.name.of(bytes),
        };
        let fields = Received { bytes, fields: &self.fields };
        let rule = match route::find(&served.config, port, &request, &fields) {
            Ok(rule) => rule,
            Err(_) if served.config.rules() == 0 => return Err(Cause::NotConfigured),
            Err(why) => return Err(no_route(why)),
        };
        let generation = served.config.generation();
        let said = match heard {
            Heard::Target(target) if target.generation == generation && target.rule == rule => {
                let timeouts = served.config.rule(rule).timeouts();
                return Ok(Some(Plan { target, timeouts, rewritten }));
            }
            Heard::Said(said) => Some(said),
            _ => None,
        };
        if let Some(said) = self.same_limits(client, generation, said) {
            self.note_said(client, rule, said)?;
        }
        match self.ask_limits(buckets, client, rule, bytes, path)? {
            Limits::Passed => {}
            Limits::Asked => return Ok(None),
        }
        let served = self.served.get();
        let random = self.random.next();
        let backend = route::pick(&served.config, rule, random).map_err(|_| Cause::NoBackend)?;
        let timeouts = served.config.rule(rule).timeouts();
        let target = self.choose(rule, backend, None).ok_or(Cause::NoEndpoint)?;
        Ok(Some(Plan { target, timeouts, rewritten }))
    }

    /// An endpoint of a backend; not this one, if there is another.
    pub(super) fn choose(
        &mut self,
        rule: RuleId,
        backend: BackendId,
        not: Option<u32>,
    ) -> Option<peers::Target> {
        let served = self.served.get();
        let view = served.config.backend(backend);
        let members = Members { backend: view, served, pool: &self.pool, now: self.now.mono };
        let policy = match view.balance() {
            Balance::LeastRequest => Policy::LeastRequest,
            Balance::RoundRobin => Policy::RoundRobin,
        };
        let index = backend.0 as usize;
        if self.turns.len() <= index {
            self.turns.resize(index + 1, 0);
        }
        let turn = self.turns[index];
        self.turns[index] = turn.wrapping_add(1);
        let mut places = view.endpoints();
        let not = not.and_then(|slot| {
            places.position(|place| served.endpoints[place.0 as usize].slot == slot)
        });
        let random = self.random.next();
        let chosen = balance::choose(policy, &members, turn, random, not)?;
        let endpoint = members.at(chosen)?;
        Some(peers::Target {
            address: endpoint.address,
            text: endpoint.text,
            slot: endpoint.slot,
            index: view.endpoints().nth(chosen)?.0,
            generation: served.config.generation(),
            rule,
            backend,
        })
    }

    /// Writes a request's head to a server's connection.
    fn write_request(
        &mut self,
        client: &mut Client,
        upstream: crate::runtime::ConnKey,
        bytes: &[u8],
        head: &RequestHead,
        plan: &Plan,
    ) {
        let Some(upstream) = self.upstreams.get(upstream) else { return };
        let Some(exchange) = client.exchange.as_mut() else { return };
        let text = *exchange.id.text();
        let target = plan.target.text.get();
        let forward = http1::write::Forward {
            path: if plan.rewritten { &self.path } else { head.target.path(bytes) },
            // RFC 9112 section 3.2: who spoke HTTP/1.0 may have named no host, but we have to.
            authority: Some(target).filter(|_| head.authority.is_empty() && exchange.head.old),
            client: client.address,
            scheme: http1::write::Scheme::Http,
            trusted: false,
            request_id: exchange.given_id().unwrap_or(&text),
            upgrade: exchange.head.upgrade,
            extra: b"",
        };
        self.buffers.fill(&mut upstream.out.bytes);
        let before = upstream.out.mark();
        http1::write::request(&mut upstream.out.bytes, bytes, head, &self.fields, &forward);
        upstream.replayable = exchange.head.idempotent;
        super::pump::keep(&mut self.buffers, upstream, before);
        Self::make_dirty_upstream(&mut self.dirty, upstream);
    }
}

fn no_route(why: NoRoute) -> Cause {
    match why {
        NoRoute::Host => Cause::NoHost,
        NoRoute::Path => Cause::NoPath,
        NoRoute::Match => Cause::NoMatch,
    }
}

/// Path and query as received.
fn whole<'a>(target: &Target, bytes: &'a [u8]) -> &'a [u8] {
    match target.query {
        Some(query) if !target.path.is_empty() => {
            &bytes[target.path.start as usize..(query.start + query.len) as usize]
        }
        _ => target.path(bytes),
    }
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: Method) -> bool {
    let post = cfg!(corelane_mutant = "repeats_post") && method == Method::Post;
    let listed = matches!(
        method,
        Method::Get | Method::Head | Method::Put | Method::Delete | Method::Options | Method::Trace
    );
    listed || post
}

/// Whether an offer to speak another protocol is passed on: all but h2c, which would carry
/// requests past all routes.
fn may_upgrade(offered: &[u8]) -> bool {
    let mut names = offered.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    !names.any(|name| name.eq_ignore_ascii_case(b"h2c"))
}
