//! Gathers what the data path counts into the metrics page.

use std::sync::Arc;
use std::time::{Duration, Instant};

use controlplane::admin::Source;
use controlplane::admin::exposition::Page;
use dataplane::cache_server::{Control, Order};
use dataplane::runtime::{DriverKind, Waker};
use dataplane::telemetry::{LOOP_METRICS, Stages};
use shards::command::COMMANDS;
use shards::stats::METRICS;

/// How long a shard may take to copy its histograms.
const PATIENCE: Duration = Duration::from_millis(500);
/// Quantiles shown of each stage.
const QUANTILES: [(f64, &str); 5] =
    [(0.5, "0.5"), (0.9, "0.9"), (0.99, "0.99"), (0.999, "0.999"), (1.0, "1")];

/// One shard as the admin port sees it.
pub(crate) struct ShardView {
    pub(crate) control: Arc<Control>,
    pub(crate) waker: Waker,
    pub(crate) driver: DriverKind,
}

impl Source for ShardView {
    fn ready(&self) -> bool {
        self.control.order() == Order::Run
    }

    fn metrics(&self) -> String {
        // Asked first, since answering brings the gauges up to date.
        let deadline = Instant::now() + PATIENCE;
        let pause = || {
            std::thread::sleep(Duration::from_micros(200));
            Instant::now() < deadline
        };
        let stages = self.control.stages.ask(Box::default(), || self.waker.wake(), pause);
        let mut page = Page::default();
        page.family("corelane_info", "gauge", "Version and driver of this node.");
        let version = env!("CARGO_PKG_VERSION");
        page.sample("", &[("version", version), ("driver", self.driver.name())], 1);
        self.counts(&mut page);
        if let Some(stages) = stages {
            show_stages(&mut page, &stages);
        }
        page.finish()
    }
}

impl ShardView {
    fn counts(&self, page: &mut Page) {
        for metric in METRICS {
            let value = (metric.read)(&self.control.shard_stats);
            family(page, metric.name, metric.counter, metric.help);
            page.sample("", &[("shard", "0")], value);
        }
        for metric in LOOP_METRICS {
            let value = (metric.read)(&self.control.loop_stats);
            family(page, metric.name, metric.counter, metric.help);
            let labels: Vec<_> = [("shard", "0")].into_iter().chain(metric.label).collect();
            page.sample("", &labels, value);
        }
        for (name, help, counts) in [
            ("command_calls", "Calls of each command.", &self.control.shard_stats.calls),
            (
                "command_failures",
                "Calls that ended in an error.",
                &self.control.shard_stats.failed_calls,
            ),
        ] {
            family(page, name, true, help);
            for (spec, count) in COMMANDS.iter().zip(counts.all()) {
                if count.get() > 0 {
                    page.sample("", &[("shard", "0"), ("command", spec.name)], count.get());
                }
            }
        }
    }
}

fn family(page: &mut Page, name: &str, counter: bool, help: &str) {
    let (suffix, kind) = if counter { ("_total", "counter") } else { ("", "gauge") };
    page.family(&format!("corelane_{name}{suffix}"), kind, help);
}

fn show_stages(page: &mut Page, stages: &Stages) {
    page.family(
        "corelane_stage_seconds",
        "summary",
        "Time of a turn's stage, counted once for each request of the turn.",
    );
    for (stage, histogram) in stages.each() {
        for (quantile, name) in QUANTILES {
            let seconds = histogram.value_at_quantile(quantile) as f64 / 1e9;
            page.sample("", &[("shard", "0"), ("stage", stage), ("quantile", name)], seconds);
        }
        let labels = [("shard", "0"), ("stage", stage)];
        let sum = histogram.mean() * histogram.len() as f64 / 1e9;
        page.sample("_sum", &labels, sum);
        page.sample("_count", &labels, histogram.len());
    }
}
