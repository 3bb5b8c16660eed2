//! Gathers what the data path counts into the metrics page.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use controlplane::admin::Source;
use controlplane::admin::exposition::Page;
use dataplane::cache_server::{Control, Order};
use dataplane::mesh::port::MeshStats;
use dataplane::runtime::{DriverKind, Waker};
use dataplane::telemetry::{LOOP_METRICS, PROXY_METRICS, Stages};
use hdrhistogram::Histogram;
use shards::command::COMMANDS;
use shards::stats::{CommandCounts, METRICS};

use crate::reload::ConfigStats;

/// How long a shard may take to copy its histograms.
const PATIENCE: Duration = Duration::from_millis(500);
/// Quantiles shown of each stage.
const QUANTILES: [(f64, &str); 5] =
    [(0.5, "0.5"), (0.9, "0.9"), (0.99, "0.99"), (0.999, "0.999"), (1.0, "1")];

/// What shards have counted of their mesh.
type Crossing = (&'static str, &'static str, fn(&MeshStats) -> u64);
const CROSSINGS: [Crossing; 5] = [
    ("mesh_requests", "Requests sent to the shard of their keys.", |mesh| mesh.requests.get()),
    ("mesh_messages", "Parts of operations and other messages sent to shards.", |mesh| {
        mesh.messages.get()
    }),
    ("mesh_parcels", "Parcels sent to other shards, or sent back.", |mesh| mesh.parcels.get()),
    ("mesh_doorbells", "Sleeping shards woken.", |mesh| mesh.doorbells.get()),
    ("mesh_waits", "Requests that waited for a parcel to come back.", |mesh| mesh.waits.get()),
];

/// The node as the admin port sees it.
pub(crate) struct NodeView {
    pub(crate) node: Arc<[Arc<Control>]>,
    pub(crate) wakers: Vec<Waker>,
    pub(crate) driver: DriverKind,
    /// What crossing costs, of each shard; empty where there is one alone.
    pub(crate) mesh: Vec<Arc<MeshStats>>,
    pub(crate) config: Arc<ConfigStats>,
}

impl Source for NodeView {
    fn ready(&self) -> bool {
        self.node.iter().all(|control| control.order() == Order::Run)
    }

    fn metrics(&self) -> String {
        // Asked first, since answering brings the gauges up to date.
        let stages: Vec<_> = self.node.iter().zip(&self.wakers).map(ask).collect();
        let mut page = Page::default();
        page.family("corelane_info", "gauge", "Version and driver of this node.");
        let version = env!("CARGO_PKG_VERSION");
        page.sample("", &[("version", version), ("driver", self.driver.name())], 1);
        family(&mut page, "config_generation", false, "The configuration that is published.");
        page.sample("", &[], self.config.generation.load(Ordering::Relaxed));
        family(
            &mut page,
            "config_reloads",
            true,
            "Configurations read at SIGHUP, by what became of them.",
        );
        let outcomes = [("published", &self.config.published), ("refused", &self.config.refused)];
        for (outcome, count) in outcomes {
            page.sample("", &[("outcome", outcome)], count.load(Ordering::Relaxed));
        }
        self.counts(&mut page);
        self.crossings(&mut page);
        show_stages(&mut page, &stages);
        page.finish()
    }
}

fn ask((control, waker): (&Arc<Control>, &Waker)) -> Option<Box<Stages>> {
    let deadline = Instant::now() + PATIENCE;
    let pause = || {
        std::thread::sleep(Duration::from_micros(200));
        Instant::now() < deadline
    };
    control.stages.ask(Box::default(), || waker.wake(), pause)
}

impl NodeView {
    /// Each shard with its number.
    fn shards(&self) -> impl Iterator<Item = (String, &Control)> {
        self.node.iter().enumerate().map(|(n, control)| (n.to_string(), &**control))
    }

    fn crossings(&self, page: &mut Page) {
        if self.mesh.is_empty() {
            return;
        }
        for (name, help, read) in CROSSINGS {
            family(page, name, true, help);
            for (shard, stats) in self.mesh.iter().enumerate() {
                page.sample("", &[("shard", &shard.to_string())], read(stats));
            }
        }
    }

    fn counts(&self, page: &mut Page) {
        for metric in METRICS {
            family(page, metric.name, metric.counter, metric.help);
            for (shard, control) in self.shards() {
                page.sample("", &[("shard", &shard)], (metric.read)(&control.shard_stats));
            }
        }
        for metric in LOOP_METRICS {
            family(page, metric.name, metric.counter, metric.help);
            for (shard, control) in self.shards() {
                let labels = [("shard", shard.as_str())].into_iter().chain(metric.label);
                let value = (metric.read)(&control.loop_stats);
                page.sample("", &labels.collect::<Vec<_>>(), value);
            }
        }
        for metric in PROXY_METRICS {
            family(page, metric.name, metric.counter, metric.help);
            for (shard, control) in self.shards() {
                let labels = [("shard", shard.as_str())].into_iter().chain(metric.label);
                let value = (metric.read)(&control.proxy_stats);
                page.sample("", &labels.collect::<Vec<_>>(), value);
            }
        }
        family(
            page,
            "http_errors",
            true,
            "Requests that the proxy answered itself, or broke off, by cause.",
        );
        for (shard, control) in self.shards() {
            for (cause, status, count) in control.causes.all().filter(|(.., count)| *count > 0) {
                let status = status.to_string();
                let labels = [("shard", shard.as_str()), ("cause", cause), ("status", &status)];
                page.sample("", &labels, count);
            }
        }
        let calls: fn(&Control) -> &CommandCounts = |control| &control.shard_stats.calls;
        let failed: fn(&Control) -> &CommandCounts = |control| &control.shard_stats.failed_calls;
        for (name, help, counts) in [
            ("command_calls", "Calls of each command.", calls),
            ("command_failures", "Calls that ended in an error.", failed),
        ] {
            family(page, name, true, help);
            for (shard, control) in self.shards() {
                for (spec, count) in COMMANDS.iter().zip(counts(control).all()) {
                    if count.get() > 0 {
                        page.sample("", &[("shard", &shard), ("command", spec.name)], count.get());
                    }
                }
            }
        }
    }
}

fn family(page: &mut Page, name: &str, counter: bool, help: &str) {
    let (suffix, kind) = if counter { ("_total", "counter") } else { ("", "gauge") };
    page.family(&format!("corelane_{name}{suffix}"), kind, help);
}

fn show_stages(page: &mut Page, shards: &[Option<Box<Stages>>]) {
    page.family(
        "corelane_stage_seconds",
        "summary",
        "Time of a turn's stage, counted once for each request of the turn.",
    );
    for (shard, stages) in shards.iter().enumerate() {
        let shard = shard.to_string();
        for (stage, histogram) in stages.iter().flat_map(|stages| stages.each()) {
            show_summary(page, &[("shard", shard.as_str()), ("stage", stage)], histogram);
        }
    }
    page.family(
        "corelane_http_request_seconds",
        "summary",
        "Time of a request of the proxy, from its head to the end of its answer.",
    );
    for (shard, stages) in shards.iter().enumerate() {
        if let Some(stages) = stages {
            show_summary(page, &[("shard", shard.to_string().as_str())], stages.latency());
        }
    }
}

fn show_summary(page: &mut Page, labels: &[(&str, &str)], histogram: &Histogram<u64>) {
    let label = |quantile| labels.iter().copied().chain(quantile).collect::<Vec<_>>();
    for (quantile, name) in QUANTILES {
        let seconds = histogram.value_at_quantile(quantile) as f64 / 1e9;
        page.sample("", &label(Some(("quantile", name))), seconds);
    }
    let sum = histogram.mean() * histogram.len() as f64 / 1e9;
    page.sample("_sum", &label(None), sum);
    page.sample("_count", &label(None), histogram.len());
}
