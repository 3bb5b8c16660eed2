//! Whether a run's figures may be believed.

use shards::time::Nanos;

use crate::record::{Distribution, Record};

/// A run whose harness was later than this for one request in a hundred has measured
/// itself. On an idle core lateness is below 10 us.
const LATE_P99: Nanos = Nanos(200_000);

/// Whether the figures hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They do.
    Valid,
    /// They do not; the reasons have been shown.
    Invalid,
}

/// Why the figures may not be believed; empty when they may.
pub(crate) fn objections(record: &Record, measured: &[&Distribution]) -> Vec<String> {
    let mut why = Vec::new();
    if record.unanswered > 0 {
        why.push(format!("{} requests were never answered", record.unanswered));
    }
    if record.errors > 0 {
        why.push(format!("{} replies were errors", record.errors));
    }
    for distribution in measured {
        if distribution.latency.is_empty() {
            why.push("no request fell into a window".into());
            continue;
        }
        let late = distribution.lateness.value_at_quantile(0.99);
        if late > LATE_P99.0 {
            why.push(format!(
                "the harness was late: p99 {:.0} us, at most {:.0} us may be",
                late as f64 / 1e3,
                LATE_P99.0 as f64 / 1e3
            ));
        }
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Sample, Window};

    fn judged(lateness: u64, errors: u64, unanswered: u64) -> Vec<String> {
        let sample =
            Sample { due: Nanos(1), latency: Nanos(lateness + 1), lateness: Nanos(lateness) };
        let record = Record { samples: vec![sample; 10], errors, unanswered };
        let all = record.within(&[Window { from: Nanos(0), to: Nanos(2) }]);
        objections(&record, &[&all])
    }

    #[test]
    fn each_fault_is_an_objection() {
        assert_eq!(judged(1_000, 0, 0).len(), 0);
        assert_eq!(judged(300_000, 0, 0).len(), 1);
        assert_eq!(judged(1_000, 3, 0).len(), 1);
        assert_eq!(judged(1_000, 0, 1).len(), 1);
        let nothing = Record::default();
        assert_eq!(objections(&nothing, &[&nothing.within(&[])]).len(), 1);
    }
}
