//! Points in time. Clocks are read outside and handed in, so that a simulator can hand in its own.

#![forbid(unsafe_code)]

/// A point on the shard's monotonic clock, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub u64);

/// A point on the wall clock, in milliseconds since 1970; what EXPIREAT speaks of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMs(pub u64);

/// The moment a turn began, on both clocks. Every command of a turn sees the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For limits, timers and measuring.
    pub mono: Nanos,
    /// Wall clock in microseconds since 1970.
    pub wall_us: u64,
}

impl Now {
    /// The wall clock in milliseconds.
    pub const fn unix_ms(self) -> UnixMs {
        UnixMs(self.wall_us / 1_000)
    }

    /// The wall clock in whole seconds.
    pub const fn unix_seconds(self) -> u64 {
        self.wall_us / 1_000_000
    }
}

impl Nanos {
    /// One second.
    pub const SECOND: Nanos = Nanos(1_000_000_000);
    /// One millisecond.
    pub const MILLISECOND: Nanos = Nanos(1_000_000);

    /// This much later; stops at the end of time.
    pub const fn after(self, span: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(span.0))
    }

    /// How long ago `earlier` was; 0 when it is not earlier.
    pub const fn since(self, earlier: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}
