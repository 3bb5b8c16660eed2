//! Why the proxy answers itself, or breaks an answer off.
//!
//! Owns the list: name, status and text of each; logs, metrics and bodies all take them from
//! here. Who is to blame is in the status: 4xx the client, 500 the configuration, 502 to 504
//! the server behind.

#![forbid(unsafe_code)]

use shards::stats::Counter;

use crate::http1::Refusal;

macro_rules! causes {
    ($($name:ident $status:literal $label:literal: $detail:literal;)*) => {
        /// See the module's text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Cause {
            $(#[doc = $detail] $name,)*
            /// The request's head or body is not one (RFC 9112).
            Malformed(Refusal),
        }

        /// All but the malformed, in the order of [`Cause::index`].
        pub(super) const CAUSES: &[Cause] = &[$(Cause::$name,)*];

        impl Cause {
            /// Status of the answer; 0 when there can be none, since the client is gone or has
            /// been sent a part of one.
            pub fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                    Self::Malformed(refusal) => refusal.status(),
                }
            }

            /// In snake case.
            pub fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                    Self::Malformed(refusal) => refusal.name(),
                }
            }

            /// One sentence for who reads the answer; a malformed request's says what was
            /// expected.
            pub(super) fn detail(self) -> &'static str {
                match self {
                    $(Self::$name => $detail,)*
                    Self::Malformed(_) => "",
                }
            }
        }
    };
}

causes! {
    SlowHead 408 "slow_head": "The request's head did not come in time.";
    SlowBody 408 "slow_body": "The request's content came too slowly.";
    NotConfigured 404 "not_configured": "No route is configured. Start with --proxy http://ADDRESS:PORT, or with --config FILE that holds an HTTPRoute.";
    NotAttached 404 "not_attached": "No route is attached to this port; the routes there are belong to Gateways that listen elsewhere.";
    NoHost 404 "no_host": "No route has this host.";
    NoPath 404 "no_path": "No route of this host has this path.";
    NoMatch 404 "no_match": "The routes with this path want another method, header or query parameter.";
    NoConnect 501 "no_connect": "CONNECT is not supported.";
    Loop 508 "loop": "The request has come through this proxy too often: it goes in a circle.";
    MaxForwards 501 "max_forwards": "Max-Forwards is 0, and the proxy itself answers neither OPTIONS nor TRACE.";
    Limited 429 "limited": "A rate limit has been reached; Retry-After says when to come again.";
    NoBucket 503 "no_bucket": "The rate limiter is full of buckets that are in use.";
    NoBackend 500 "no_backend": "The route names no service that exists, or gives all of them the weight 0.";
    NoEndpoint 503 "no_endpoint": "The service has no endpoint that is ready.";
    ConnectFailed 502 "connect_failed": "The server behind did not accept a connection.";
    ConnectTimeout 504 "connect_timeout": "The server behind did not accept a connection in time.";
    ResponseTimeout 504 "response_timeout": "The server behind did not answer in time.";
    RequestTimeout 504 "request_timeout": "The request was not answered within the route's time-out.";
    UpstreamClosed 502 "upstream_closed": "The server behind closed the connection before it had answered.";
    UpstreamReset 502 "upstream_reset": "The server behind reset the connection before it had answered.";
    EarlySwitch 502 "early_switch": "The server behind switched protocols before it had the whole request.";
    BadResponse 502 "bad_response": "The answer of the server behind is none that can be passed on.";
    NoDescriptor 503 "no_descriptor": "The node has no file descriptor left for a connection to the server behind.";
    TooManyClients 503 "too_many_clients": "The node has as many clients as it can take.";
    Draining 503 "draining": "The node is ending.";
    Truncated 0 "truncated": "The server behind ended its answer before it was whole.";
    Stalled 0 "stalled": "The server behind stopped amid its answer.";
    ClientGone 0 "client_gone": "The client has gone before it was answered.";
    SlowReader 0 "slow_reader": "The client did not take its answer in time.";
}

/// How often each cause came up.
#[derive(Debug)]
pub struct CauseCounts(Box<[Counter]>);

impl Default for CauseCounts {
    fn default() -> Self {
        Self((0..CAUSES.len() + Refusal::ALL.len()).map(|_| Counter::default()).collect())
    }
}

impl CauseCounts {
    /// One more. Only the shard may call this.
    pub(super) fn add(&self, cause: Cause) {
        self.0[cause.index()].add(1);
    }

    /// All causes by name, with their status and how often they came up.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u16, u64)> + '_ {
        let malformed = Refusal::ALL.iter().map(|refusal| Cause::Malformed(*refusal));
        let all = CAUSES.iter().copied().chain(malformed);
        all.zip(&self.0).map(|(cause, count)| (cause.label(), cause.status(), count.get()))
    }
}

impl Cause {
    /// Position in a table of counters: first [`CAUSES`], then the malformed ones.
    pub(super) fn index(self) -> usize {
        match self {
            Self::Malformed(refusal) => CAUSES.len() + refusal.index(),
            other => CAUSES.iter().position(|cause| *cause == other).unwrap_or(0),
        }
    }
}
