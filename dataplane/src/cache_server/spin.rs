//! Whether to look again instead of sleeping, and for how long.
//!
//! Waking a parked core costs about 16 us here, so a shard that expects work within the
//! span it may spin finds it sooner by looking. It spins only while recent gaps were
//! shorter than that, and never when the span is 0, the default.

#![forbid(unsafe_code)]

use shards::time::Nanos;

/// Weight of the newest gap in the average, as a shift: an eighth.
const SHIFT: u32 = 3;

pub(super) struct Spin {
    span: Nanos,
    /// Average of recent gaps without work.
    gap: u64,
}

impl Spin {
    pub(super) fn new(span: Nanos) -> Self {
        Self { span, gap: 0 }
    }

    /// How long to look before sleeping; `None` for not at all.
    pub(super) fn worth(&self) -> Option<Nanos> {
        (self.span.0 > 0 && self.gap < self.span.0).then_some(self.span)
    }

    /// Work came after a gap.
    pub(super) fn note(&mut self, gap: Nanos) {
        // One long pause should not end spinning for good, so it counts as four spans.
        let gap = gap.0.min(self.span.0.saturating_mul(4));
        self.gap = self.gap - (self.gap >> SHIFT) + (gap >> SHIFT);
    }
}
