//! The one source of chance, seeded by the driver.

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// Where a node's randomness begins. A production driver fills it from the operating system (it also feeds the nonces of
/// encrypted packets); a simulation makes it from a number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

impl From<u64> for Seed {
    fn from(number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Self(bytes)
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// A deterministic, cryptographically strong generator.
#[derive(Debug, Clone)]
pub(crate) struct Rng(ChaCha12Rng);

impl Rng {
    pub(crate) fn new(seed: Seed) -> Self {
        Self(ChaCha12Rng::from_seed(seed.0))
    }

    pub(crate) fn u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0..n`; 0 for an empty range.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        // A 64-bit draw spread over any realistic range is uniform to within 2^-40; no rejection loop is needed.
        ((u128::from(self.u64()) * n as u128) >> 64) as usize
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn nonce(&mut self) -> [u8; 12] {
        let mut bytes = [0; 12];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// Fisher-Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}
