//! Chance, all of it from one number.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use thane_core::Seed;

/// A seeded generator. Independent streams of chance come from one seed by naming their purpose, so that drawing more
/// from one (say, the network) does not change what another (say, the fault plan) draws.
#[derive(Debug, Clone)]
pub struct SimRng(ChaCha8Rng);

impl SimRng {
    /// The stream of chance for one purpose. `index` tells apart streams of the same purpose.
    pub fn new(seed: u64, purpose: &'static str, index: u64) -> Self {
        Self(ChaCha8Rng::from_seed(derive(seed, purpose, index)))
    }

    /// A whole number, each equally likely.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0..n`; 0 for an empty range.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.u64()) * n as u128) >> 64) as usize
    }

    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From the bell curve of mean 0 and standard deviation 1. (Marsaglia's polar method.)
    pub fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * crate::portable::ln(square) / square).sqrt();
            }
        }
    }

    /// True with this probability. Nothing is drawn for 0 and 1, so that faults that are off cost nothing.
    pub fn chance(&mut self, probability: f64) -> bool {
        if probability <= 0.0 {
            false
        } else if probability >= 1.0 {
            true
        } else {
            self.unit() < probability
        }
    }

    /// A span between the two, each equally likely.
    pub fn span(&mut self, low: Duration, high: Duration) -> Duration {
        let width = high.saturating_sub(low);
        if width.is_zero() {
            return low;
        }
        low + Duration::from_nanos(self.below(width.as_nanos() as usize) as u64)
    }

    /// One of them, or `None` when there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }
}

/// The seed of a node: its host and how many processes that host has had before.
pub(crate) fn node_seed(seed: u64, host: u32, life: u32) -> Seed {
    Seed(derive(seed, "node", u64::from(host) << 32 | u64::from(life)))
}

/// Seed, purpose and index side by side; the generator does the mixing.
fn derive(seed: u64, purpose: &'static str, index: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&index.to_le_bytes());
    let name = purpose.as_bytes();
    assert!(name.len() <= 16, "a purpose has at most 16 letters, {purpose:?} has more");
    bytes[16..16 + name.len()].copy_from_slice(name);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ_by_purpose_and_index() {
        let draw = |purpose, index| SimRng::new(7, purpose, index).u64();
        assert_eq!(draw("network", 0), draw("network", 0));
        assert_ne!(draw("network", 0), draw("plan", 0));
        assert_ne!(draw("network", 0), draw("network", 1));
        assert_ne!(SimRng::new(8, "network", 0).u64(), draw("network", 0));
    }

    #[test]
    fn draws_stay_in_their_ranges() {
        let mut rng = SimRng::new(1, "test", 0);
        let (low, high) = (Duration::from_millis(3), Duration::from_millis(9));
        for _ in 0..1000 {
            assert!((2..=5).contains(&rng.between(2, 5)));
            assert!((low..=high).contains(&rng.span(low, high)));
            assert!((0.0..1.0).contains(&rng.unit()));
        }
        assert_eq!(rng.span(low, low), low);
        assert_eq!(rng.below(0), 0);
        assert!(rng.pick::<u8>(&[]).is_none());
        assert!(!rng.chance(0.0) && rng.chance(1.0));
    }
}
