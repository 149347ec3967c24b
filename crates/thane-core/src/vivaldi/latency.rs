//! The filter that keeps a single slow answer from moving us: the median of a peer's last round trips.

/// Most round trips of one peer that a filter can be told to keep. Serf keeps 3.
pub const LATENCY_SAMPLES_MAX: usize = 5;

/// The last round trips to one peer. Keep one beside each peer, and drop it with the peer, or when the peer moves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LatencyFilter {
    /// In seconds, the oldest first.
    samples: [f64; LATENCY_SAMPLES_MAX],
    len: u8,
}

impl LatencyFilter {
    /// Adds a round trip in seconds, forgets what goes beyond `size`, and gives the median of what is kept; of an even number the
    /// upper one. (Serf: `client.go`, latencyFilter.)
    pub(super) fn push(&mut self, sample: f64, size: usize) -> f64 {
        debug_assert!((1..=LATENCY_SAMPLES_MAX).contains(&size), "the configuration was checked");
        let mut len = usize::from(self.len);
        if len >= size {
            self.samples.copy_within(1..len, 0);
            len -= 1;
        }
        self.samples[len] = sample;
        self.len = len as u8 + 1;
        let mut sorted = self.samples;
        let sorted = &mut sorted[..=len];
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Serf: `client_test.go`, `TestClient_latencyFilter`, and recorded medians for each size.
    #[test]
    fn medians_are_the_recorded_ones_for_every_size() {
        let recorded = include_str!("../../tests/vectors/vivaldi/latency_filter.json");
        let recorded: Value = serde_json::from_str(recorded).unwrap();
        let cases = recorded["cases"].as_array().unwrap();
        assert_eq!(cases.len(), LATENCY_SAMPLES_MAX);
        for case in cases {
            let size = case["size"].as_u64().unwrap() as usize;
            let mut filter = LatencyFilter::default();
            for (sample, median) in
                case["in"].as_array().unwrap().iter().zip(case["median"].as_array().unwrap())
            {
                let got = filter.push(sample.as_f64().unwrap(), size);
                assert_eq!(got.to_bits(), median.as_f64().unwrap().to_bits(), "size {size}");
            }
            assert_eq!(usize::from(filter.len), size, "never more than it was told to keep");
        }
        eprintln!("compat: Vivaldi: medians | cases={0} same={0} listed=0", cases.len());
    }
}
