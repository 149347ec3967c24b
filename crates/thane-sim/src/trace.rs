//! A running hash over everything that every node put out: two runs are the same if their hashes are.

use thane_core::{Output, OutputHash, Time};

/// The hash so far. Its value means nothing by itself and may change between versions; it is for comparing runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TraceHash(OutputHash);

impl TraceHash {
    /// The hash as a number.
    pub fn value(self) -> u64 {
        self.0.value()
    }

    /// Takes in one output: when, by whom, what, with all its bytes.
    pub(crate) fn output(&mut self, at: Time, host: u32, output: &Output) {
        self.0.word(at.since_start().as_nanos() as u64);
        self.0.word(u64::from(host));
        self.0.output(output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(at: Time, host: u32, packet: &[u8]) -> u64 {
        let mut hash = TraceHash::default();
        let to = "10.0.0.1:7946".parse().unwrap();
        hash.output(at, host, &Output::Send { to, packet: packet.to_vec() });
        hash.value()
    }

    #[test]
    fn who_and_when_count() {
        let later = Time::ZERO + std::time::Duration::from_nanos(1);
        let base = hash_of(Time::ZERO, 0, b"abc");
        assert_eq!(base, hash_of(Time::ZERO, 0, b"abc"));
        assert_ne!(base, hash_of(later, 0, b"abc"));
        assert_ne!(base, hash_of(Time::ZERO, 1, b"abc"));
        assert_ne!(base, hash_of(Time::ZERO, 0, b"abd"));
    }
}
