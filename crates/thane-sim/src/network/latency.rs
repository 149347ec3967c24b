//! How long packets take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rng::SimRng;
use crate::span;

/// No packet takes longer, however heavy the tail that it is drawn from.
pub const LATENCY_MAX: Duration = Duration::from_secs(60);

/// How long a packet takes in one direction: each packet draws anew, so that any spread lets packets overtake each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Latency {
    /// Always the same.
    Constant(#[serde(with = "span")] Duration),
    /// Each time between the two equally likely.
    Uniform {
        /// Shortest.
        #[serde(with = "span")]
        from: Duration,
        /// Longest.
        #[serde(with = "span")]
        to: Duration,
    },
    /// The bell curve. What it would put below zero takes no time at all.
    Normal {
        /// Mean.
        #[serde(with = "span")]
        mean: Duration,
        /// Standard deviation.
        #[serde(with = "span")]
        deviation: Duration,
    },
    /// Skewed, as queues in routers make it: `median × e^(sigma × normal)`.
    Lognormal {
        /// Half of the packets are faster.
        #[serde(with = "span")]
        median: Duration,
        /// Standard deviation of the logarithm. 0.5 puts the 99th percentile at 3.2 times the median.
        sigma: f64,
    },
    /// A heavy tail: the share of packets that take longer than `t` is `(least / t)^shape`.
    Pareto {
        /// Shortest.
        #[serde(with = "span")]
        least: Duration,
        /// Over 0; the smaller, the heavier. With 1 or less the mean is bounded by nothing but [`LATENCY_MAX`].
        shape: f64,
    },
}

impl Latency {
    /// No time at all.
    pub const ZERO: Self = Self::Constant(Duration::ZERO);

    /// One packet's time.
    pub fn draw(&self, rng: &mut SimRng) -> Duration {
        match *self {
            Self::Constant(span) => span,
            Self::Uniform { from, to } => rng.span(from, to),
            Self::Normal { mean, deviation } => {
                bounded(mean.as_secs_f64() + deviation.as_secs_f64() * rng.normal())
            }
            Self::Lognormal { median, sigma } => {
                bounded(median.as_secs_f64() * crate::portable::exp(sigma * rng.normal()))
            }
            Self::Pareto { least, shape } => {
                // 1 - unit() is over 0, so that its logarithm exists.
                let ln = crate::portable::ln(1.0 - rng.unit());
                bounded(least.as_secs_f64() * crate::portable::exp(-ln / shape.max(0.01)))
            }
        }
    }
}

fn bounded(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, LATENCY_MAX.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Many draws in order, in milliseconds.
    fn draws(latency: Latency) -> Vec<f64> {
        let mut rng = SimRng::new(5, "test", 0);
        let mut all: Vec<f64> = (0..20_000).map(|_| latency.draw(&mut rng).as_secs_f64() * 1e3).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    fn close(is: f64, should: f64) -> bool {
        (is / should - 1.0).abs() < 0.05
    }

    /// The quantiles that each distribution has in books.
    #[test]
    fn each_distribution_has_its_quantiles() {
        let cases = [
            (Latency::Uniform { from: 10 * MS, to: 30 * MS }, [12.0, 20.0, 28.0]),
            (Latency::Normal { mean: 50 * MS, deviation: 10 * MS }, [37.18, 50.0, 62.82]),
            (Latency::Lognormal { median: 20 * MS, sigma: 0.5 }, [10.54, 20.0, 37.96]),
            (Latency::Pareto { least: 10 * MS, shape: 2.0 }, [10.54, 14.14, 31.62]),
        ];
        for (latency, [tenth, half, ninety]) in cases {
            let all = draws(latency);
            let quantile = |share: f64| all[(share * all.len() as f64) as usize];
            assert!(close(quantile(0.1), tenth), "{latency:?}: 10 % at {}", quantile(0.1));
            assert!(close(quantile(0.5), half), "{latency:?}: half at {}", quantile(0.5));
            assert!(close(quantile(0.9), ninety), "{latency:?}: 90 % at {}", quantile(0.9));
        }
        assert!(draws(Latency::Constant(7 * MS)).iter().all(|ms| close(*ms, 7.0)));
    }

    #[test]
    fn tails_are_as_heavy_as_asked_but_bounded_and_nothing_is_negative() {
        let tail = draws(Latency::Pareto { least: 10 * MS, shape: 0.5 });
        // The share over a second is (0.01)^0.5 = 10 %.
        let slow = tail.iter().filter(|ms| **ms > 1000.0).count() as f64 / tail.len() as f64;
        assert!(close(slow, 0.1), "{slow} took over a second");
        assert!(tail.last().is_some_and(|ms| *ms <= 60_000.0));
        let wide = draws(Latency::Normal { mean: MS, deviation: 10 * MS });
        assert!(wide[0] == 0.0 && wide.iter().filter(|ms| **ms == 0.0).count() > 8000);
    }
}
