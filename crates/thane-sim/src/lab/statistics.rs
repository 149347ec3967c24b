//! Quantiles and spreads.

use serde::Serialize;

/// What a few numbers have in common: those of the seeds, or of the crashes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// How many there are.
    pub count: usize,
    /// The least.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
    /// The sum divided by the count.
    pub mean: f64,
    /// The greatest.
    pub max: f64,
}

impl Summary {
    /// Of these; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        Some(Self { count: sorted.len(), min, median: quantile(&sorted, 0.5)?, mean, max })
    }
}

/// The least of these sorted numbers that this share of them (0 to 1) does not exceed; `None` if there are none.
pub fn quantile<N: Copy>(sorted: &[N], share: f64) -> Option<N> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_numbers_that_are_there() {
        let sorted = [1, 2, 3, 4];
        for (share, expected) in [(0.0, 1), (0.25, 1), (0.5, 2), (0.51, 3), (0.99, 4), (1.0, 4)] {
            assert_eq!(quantile(&sorted, share), Some(expected), "{share}");
        }
        assert_eq!(quantile::<u8>(&[], 0.5), None);
    }

    #[test]
    fn a_summary_is_that_of_its_numbers() {
        let summary = Summary::of(&[3.0, 1.0, 2.0, 10.0]).expect("there are numbers");
        assert_eq!((summary.count, summary.min, summary.median, summary.max), (4, 1.0, 2.0, 10.0));
        assert!((summary.mean - 4.0).abs() < 1e-9);
        assert_eq!(Summary::of(&[]), None);
    }
}
