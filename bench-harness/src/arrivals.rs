//! When requests are due: all of it decided before the first one is sent.

use clap::ValueEnum;
use shards::time::Nanos;

/// How send times are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arrivals {
    /// Evenly, one every 1/rate seconds.
    Uniform,
    /// As independent users come: exponential gaps (a Poisson process).
    Poisson,
}

impl Arrivals {
    /// Send times from the start of the run, ascending, below `span`.
    pub(crate) fn schedule(self, rate: u32, span: Nanos, seed: u64) -> Vec<Nanos> {
        let gap_ns = 1e9 / f64::from(rate);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut times = Vec::with_capacity((span.0 as f64 / gap_ns * 1.01) as usize + 16);
        let (mut at, mut n) = (0.0, 0.0);
        while (at as u64) < span.0 {
            times.push(Nanos(at as u64));
            n += 1.0;
            at = match self {
                Self::Uniform => n * gap_ns,
                // 1 - f64() lies in (0, 1], whose logarithm is finite.
                Self::Poisson => at - (1.0 - rng.f64()).ln() * gap_ns,
            };
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_times_keep_the_rate_to_the_last() {
        let times = Arrivals::Uniform.schedule(3, Nanos(10_000_000_000), 1);
        assert_eq!(times.len(), 30);
        assert_eq!(times[29], Nanos(9_666_666_666));
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_spread_of_an_exponential() {
        let times = Arrivals::Poisson.schedule(10_000, Nanos(20_000_000_000), 7);
        assert!(times.is_sorted());
        let gaps: Vec<f64> = times.windows(2).map(|w| (w[1].0 - w[0].0) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean / 100_000.0 - 1.0).abs() < 0.02, "mean {mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "deviation {}", variance.sqrt());
    }

    #[test]
    fn a_seed_gives_the_same_times_again() {
        let make = |seed| Arrivals::Poisson.schedule(1_000, Nanos(1_000_000_000), seed);
        assert_eq!(make(5), make(5));
        assert_ne!(make(5), make(6));
    }
}
