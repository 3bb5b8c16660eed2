//! Histograms of where a request's time goes within a shard, and of how long it takes there.

#![forbid(unsafe_code)]

use hdrhistogram::Histogram;
use shards::time::Nanos;

/// Names of the stages, in order: parsing what a turn received, executing it, handing the
/// replies to the kernel, and the whole from the turn's wake-up until its last reply.
pub const STAGES: [&str; 4] = ["parse", "execute", "send", "turn"];

/// Longest time told apart: a minute.
const LONGEST_NS: u64 = 60_000_000_000;

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 2).expect("the bounds are in order")
}

/// Times of whole requests of the proxy, from their heads to the ends of their answers, in
/// nanoseconds, two significant digits.
#[derive(Debug)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self(empty())
    }
}

impl Latency {
    /// Notes one; longer ones than a minute count as a minute.
    #[inline]
    pub fn record(&mut self, span: Nanos) {
        self.0.saturating_record(span.0.max(1));
    }
}

/// One histogram a stage, in nanoseconds, two significant digits. Each request of a turn
/// counts with the turn's time in the stage, since that is what it waited for.
#[derive(Debug)]
pub struct Stages {
    histograms: [Histogram<u64>; STAGES.len()],
    latency: Latency,
}

impl Default for Stages {
    fn default() -> Self {
        Self { histograms: std::array::from_fn(|_| empty()), latency: Latency::default() }
    }
}

impl Stages {
    /// Notes what a turn with that many requests spent in each stage.
    pub fn record(&mut self, spent: [Nanos; STAGES.len()], requests: u64) {
        for (histogram, time) in self.histograms.iter_mut().zip(spent) {
            histogram.saturating_record_n(time.0.max(1), requests);
        }
    }

    /// Adds all of another set.
    pub fn add(&mut self, other: &Self) {
        for (own, other) in self.histograms.iter_mut().zip(&other.histograms) {
            own.add(other).expect("both have the same bounds");
        }
    }

    /// Adds a proxy's times.
    pub fn add_latency(&mut self, other: &Latency) {
        self.latency.0.add(&other.0).expect("both have the same bounds");
    }

    /// Times of whole requests of the proxy.
    pub fn latency(&self) -> &Histogram<u64> {
        &self.latency.0
    }

    /// Each stage's name and histogram.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, &Histogram<u64>)> {
        STAGES.into_iter().zip(&self.histograms)
    }
}
