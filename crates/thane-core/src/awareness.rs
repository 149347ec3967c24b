//! Lifeguard's local health: how much this node doubts itself.

use std::time::Duration;

/// A score from 0 (healthy) to `max − 1`. It stretches the time that a probe may take, so that a node that is slow itself
/// accuses others less. (Lifeguard, section 4, "LHA-Probe"; memberlist: `awareness.go`.)
#[derive(Debug, Clone, Copy)]
pub(crate) struct Awareness {
    score: u32,
    max: u32,
}

impl Awareness {
    pub(crate) fn new(max: u32) -> Self {
        Self { score: 0, max: max.max(1) }
    }

    /// Adds to the score, within its range.
    pub(crate) fn apply(&mut self, delta: i32) {
        self.score = self.score.saturating_add_signed(delta).min(self.max - 1);
    }

    pub(crate) fn score(self) -> u32 {
        self.score
    }

    pub(crate) fn scale(self, span: Duration) -> Duration {
        span * (self.score + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// memberlist: `awareness_test.go`.
    #[test]
    fn the_score_stays_in_range_and_stretches_time() {
        let mut awareness = Awareness::new(8);
        let steps = [
            (0, 0),
            (-1, 0),
            (-10, 0),
            (1, 1),
            (-1, 0),
            (10, 7),
            (-1, 6),
            (-1, 5),
            (-1, 4),
            (-1, 3),
            (-1, 2),
        ];
        for (delta, wanted) in steps {
            awareness.apply(delta);
            assert_eq!(awareness.score(), wanted, "after {delta}");
            assert_eq!(awareness.scale(Duration::from_secs(1)), Duration::from_secs(u64::from(wanted) + 1));
        }
    }
}
