//! What was seen of each request, and histograms of any part of it.

use hdrhistogram::Histogram;
use shards::time::Nanos;

/// One answered request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// When it was due, from the start of the run.
    pub(crate) due: Nanos,
    /// From when it was due until its reply was there.
    pub(crate) latency: Nanos,
    /// How much later than due it was handed to the kernel.
    pub(crate) lateness: Nanos,
}

/// A span of the run, from the start, end excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from: Nanos,
    pub(crate) to: Nanos,
}

impl Window {
    fn holds(self, at: Nanos) -> bool {
        self.from <= at && at < self.to
    }
}

/// Everything a run has seen.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// In order of arrival of the replies.
    pub(crate) samples: Vec<Sample>,
    /// Replies that were errors.
    pub(crate) errors: u64,
    /// Requests without a reply when the run was given up.
    pub(crate) unanswered: u64,
}

/// Longest time told apart: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Distribution over some windows.
#[derive(Debug)]
pub(crate) struct Distribution {
    pub(crate) latency: Histogram<u64>,
    pub(crate) lateness: Histogram<u64>,
}

impl Record {
    /// Latencies of the requests due within any of the windows, in nanoseconds, three
    /// significant digits.
    pub(crate) fn within(&self, windows: &[Window]) -> Distribution {
        let empty =
            || Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("the bounds are in order");
        let mut all = Distribution { latency: empty(), lateness: empty() };
        for sample in &self.samples {
            if windows.iter().any(|window| window.holds(sample.due)) {
                all.latency.saturating_record(sample.latency.0.max(1));
                all.lateness.saturating_record(sample.lateness.0.max(1));
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_choose_by_when_a_request_was_due() {
        let sample =
            |due, latency| Sample { due: Nanos(due), latency: Nanos(latency), lateness: Nanos(0) };
        let record = Record {
            samples: vec![sample(9, 1), sample(10, 500), sample(19, 70_000_000), sample(20, 1)],
            ..Record::default()
        };
        let seen = record.within(&[Window { from: Nanos(10), to: Nanos(20) }]);
        assert_eq!((seen.latency.len(), seen.latency.min()), (2, 500));
        let max = seen.latency.max();
        assert!((70_000_000..70_070_000).contains(&max), "{max}");
    }
}
