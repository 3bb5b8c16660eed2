//! What a shard's loop measures of itself, and how others read it without a lock.
//!
//! Counters are written by the shard alone. Histograms are larger than a word, so a reader
//! hands the shard an empty set through [`Mailbox`] and gets it back filled: the shard
//! neither allocates nor waits.

mod mailbox;
mod stages;

pub use mailbox::Mailbox;
pub use stages::{Latency, STAGES, Stages};

use shards::stats::Counter;

/// One count, as the metrics page shows it.
pub struct Metric<S> {
    /// In snake case, without prefix and `_total`.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Whether it only grows.
    pub counter: bool,
    /// A label that tells it from others of the same name.
    pub label: Option<(&'static str, &'static str)>,
    /// Reads it.
    pub read: fn(&S) -> u64,
}

/// A table of counts, each defined once.
macro_rules! counts {
    ($(#[$doc:meta])* $stats:ident, $all:ident:
     $($kind:ident $name:ident $([$shown:literal $(, $label:literal = $value:literal)?])?: $help:literal;)*) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $stats {
            $(#[doc = $help] pub $name: Counter,)*
        }

        /// All of them.
        pub const $all: &[Metric<$stats>] = &[$(Metric {
            name: counts!(@name $name $($shown)?),
            help: $help,
            counter: counts!(@$kind),
            label: counts!(@label $($($label $value)?)?),
            read: |stats| stats.$name.get(),
        },)*];
    };
    (@counter) => { true };
    (@gauge) => { false };
    (@name $name:ident) => { stringify!($name) };
    (@name $name:ident $shown:literal) => { $shown };
    (@label) => { None };
    (@label $label:literal $value:literal) => { Some(($label, $value)) };
}

counts! {
    /// What one shard's loop counts.
    LoopStats, LOOP_METRICS:
    counter turns: "Turns of the event loop.";
    counter cpu_ns: "Nanoseconds of processor time of the shard's thread, the kernel's work for it included.";
    counter busy_ns: "Nanoseconds between one wait for events and the next, without the kernel's work within a wait.";
    counter wait_ns: "Nanoseconds within a wait for events, the kernel's work there (receiving, sending) included.";
    counter batches: "Batches of commands executed.";
    counter received_bytes: "Bytes received.";
    counter sent_bytes: "Bytes sent.";
    counter receives: "Receive completions.";
    counter sends: "Payloads sent.";
    counter pauses: "Connections that were stopped from sending for want of credit.";
    counter starved_receives: "Receives put off because all receive buffers were filled.";
    counter runs: "Runs: pipelined requests for several shards that went together as one operation.";
    counter run_requests: "Requests that went in runs.";
    counter replies_apart: "Replies to other shards' requests that went by themselves, since their parcel was full of replies.";
    gauge connections: "Connections open.";
    gauge paused_connections: "Connections that are stopped from sending for want of credit.";
    gauge pooled_buffers: "Reply buffers kept for reuse.";
    gauge pending_output_bytes: "Bytes of replies that clients have not taken yet.";
    gauge parked_commands: "Single commands that wait for holds of operations over several shards.";
    counter accepted_connections: "Connections accepted.";
    counter cluster_connections: "Connections accepted on the shard's cluster port.";
    counter departed_connections: "Connections that have gone.";
    counter refused_clients ["refused_connections", "reason" = "maxclients"]: "Connections refused, by reason.";
    counter refused_descriptors ["refused_connections", "reason" = "descriptors"]: "Connections refused, by reason.";
    counter refused_accepts ["refused_connections", "reason" = "failed"]: "Connections refused, by reason.";
    counter refused_draining ["refused_connections", "reason" = "draining"]: "Connections refused, by reason.";
    counter closed_protocol ["closed_connections", "reason" = "protocol"]: "Connections closed, by reason.";
    counter closed_query ["closed_connections", "reason" = "query_limit"]: "Connections closed, by reason.";
    counter closed_drained ["closed_connections", "reason" = "drained"]: "Connections closed, by reason.";
    counter closed_http ["closed_connections", "reason" = "http_request"]: "Connections closed, by reason.";
    counter closed_output ["closed_connections", "reason" = "output_limit"]: "Connections closed, by reason.";
    counter closed_idle ["closed_connections", "reason" = "idle"]: "Connections closed, by reason.";
    counter closed_killed ["closed_connections", "reason" = "killed"]: "Connections closed, by reason.";
    counter closed_failed ["closed_connections", "reason" = "failed"]: "Connections closed, by reason.";
    counter closed_peer ["closed_connections", "reason" = "peer"]: "Connections closed, by reason.";
    counter closed_quit ["closed_connections", "reason" = "quit"]: "Connections closed, by reason.";
    counter closed_memory ["closed_connections", "reason" = "memory"]: "Connections closed, by reason.";
}

counts! {
    /// What one shard's proxy counts.
    ProxyStats, PROXY_METRICS:
    gauge connections ["http_connections", "side" = "client"]: "HTTP connections open, by side.";
    gauge upstreams ["http_connections", "side" = "upstream"]: "HTTP connections open, by side.";
    gauge idle_upstreams ["http_idle_upstreams"]: "Connections to servers that wait for a request.";
    counter accepted ["http_accepted_connections"]: "Connections of HTTP clients taken over.";
    counter departed ["http_departed_connections"]: "Connections of HTTP clients that have gone.";
    counter dialled ["http_dialled_connections"]: "Connections to servers begun.";
    counter reused ["http_reused_connections"]: "Requests that went over a connection that had served before.";
    counter late_loans ["http_late_loans"]: "Requests that did not wait any longer for another shard's idle connection, and went on without it.";
    counter borrowed ["http_borrowed_connections"]: "Idle connections to servers that came from another shard.";
    counter lent ["http_lent_connections"]: "Idle connections to servers that went to another shard.";
    counter requests ["http_requests"]: "Requests whose head was whole and sound.";
    counter answered_1xx ["http_responses", "class" = "1xx"]: "Answers, by class of their status.";
    counter answered_2xx ["http_responses", "class" = "2xx"]: "Answers, by class of their status.";
    counter answered_3xx ["http_responses", "class" = "3xx"]: "Answers, by class of their status.";
    counter answered_4xx ["http_responses", "class" = "4xx"]: "Answers, by class of their status.";
    counter answered_5xx ["http_responses", "class" = "5xx"]: "Answers, by class of their status.";
    counter retries_died ["http_retries", "why" = "died"]: "Requests sent a second time, by why.";
    counter retries_connect ["http_retries", "why" = "connect"]: "Requests sent a second time, by why.";
    counter ejections ["http_ejections"]: "How often an endpoint was given no requests for a while.";
    counter unsolicited ["http_unsolicited"]: "Connections closed since a server sent what nobody had asked for.";
    counter received_bytes ["http_received_bytes", "side" = "client"]: "Bytes received over HTTP connections, by side.";
    counter upstream_bytes ["http_received_bytes", "side" = "upstream"]: "Bytes received over HTTP connections, by side.";
    counter pauses ["http_pauses", "side" = "client"]: "HTTP connections stopped from sending since the other side takes too little, by side.";
    counter upstream_pauses ["http_pauses", "side" = "upstream"]: "HTTP connections stopped from sending since the other side takes too little, by side.";
    counter tunnels ["http_tunnels"]: "HTTP connections that went on in another protocol.";
    counter logged ["access_log_lines", "fate" = "passed_on"]: "Lines of the access log, by what became of them.";
    counter lost_lines ["access_log_lines", "fate" = "lost"]: "Lines of the access log, by what became of them.";
    counter failed_lines ["access_log_lines", "fate" = "failed"]: "Lines of the access log, by what became of them.";
    gauge pending ["http_pending_bytes"]: "Bytes for HTTP connections that their peers have not taken.";
    counter bursts ["http_bursts"]: "How often 16 MiB of buffers were wanted no more, or a burst of as many ebbed to 2 MiB, 256 and 32 KiB; memory is given back after it.";
}
