//! A running hash over everything that every node put out: two runs are the same if their hashes are.

use std::collections::VecDeque;

use bytes::Bytes;
use thane_core::{Output, OutputHash, Time};

/// The hash so far. Its value means nothing by itself and may change between versions; it is for comparing runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TraceHash(OutputHash);

impl TraceHash {
    /// The hash as a number.
    pub fn value(self) -> u64 {
        self.0.value()
    }
}

/// Makes a trace's hash.
#[derive(Debug, Default)]
pub(crate) struct Tracer {
    hash: TraceHash,
    /// What was written to streams last, and its hash. In a cluster at rest it is always the same list of members, in the same
    /// place: hashing it each time would be most of the work.
    written: VecDeque<(Bytes, u64)>,
}

/// How many pieces are remembered: the two ends of an exchange may put the same list in two ways.
const WRITTEN: usize = 4;

impl Tracer {
    pub(crate) fn hash(&self) -> TraceHash {
        self.hash
    }

    /// Takes in one output: when, by whom, what, with all its bytes.
    pub(crate) fn output(&mut self, at: Time, host: u32, output: &Output) {
        let hash = &mut self.hash.0;
        hash.word(at.since_start().as_nanos() as u64);
        hash.word(u64::from(host));
        let Output::Write { stream, bytes } = output else { return hash.output(output) };
        hash.word(3);
        hash.word(stream.0);
        // What is remembered is held, so that nothing else can lie where it does.
        let is_same = |known: &&(Bytes, u64)| std::ptr::eq(&raw const *known.0, &raw const **bytes);
        if let Some((_, of_bytes)) = self.written.iter().find(is_same) {
            return hash.word(*of_bytes);
        }
        let mut of_bytes = OutputHash::default();
        of_bytes.bytes(bytes);
        hash.word(of_bytes.value());
        self.written.truncate(WRITTEN - 1);
        self.written.push_front((bytes.clone(), of_bytes.value()));
    }
}

#[cfg(test)]
mod tests {
    use thane_core::StreamId;

    use super::*;

    fn hash_of(at: Time, host: u32, packet: &[u8]) -> u64 {
        let mut tracer = Tracer::default();
        let to = "10.0.0.1:7946".parse().unwrap();
        tracer.output(at, host, &Output::Send { to, packet: packet.to_vec() });
        tracer.hash().value()
    }

    #[test]
    fn what_is_written_counts_wherever_it_lies() {
        let hash_of = |pieces: &[&Bytes]| {
            let mut tracer = Tracer::default();
            for bytes in pieces {
                let bytes = Bytes::clone(bytes);
                tracer.output(Time::ZERO, 0, &Output::Write { stream: StreamId(1), bytes });
            }
            tracer.hash().value()
        };
        let [one, same, other] = [b"one", b"one", b"two"].map(|bytes| Bytes::copy_from_slice(bytes));
        assert_eq!(hash_of(&[&one, &one]), hash_of(&[&one, &same]));
        assert_ne!(hash_of(&[&one, &one]), hash_of(&[&one, &other]));
        assert_ne!(hash_of(&[&one, &other]), hash_of(&[&other, &one]));
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
