//! How long single things took and how large single messages were, for metrics that need more than a sum.

use std::collections::VecDeque;
use std::time::Duration;

/// Measurements kept until they are taken. A reader that comes once a second meets this many only on a node that moves
/// thousands of messages a second; the oldest make room then, and are counted.
const KEPT_MAX: usize = 4096;

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Measure {
    /// Seconds that a round of gossip took to decide and to send. The driver's: a core has no clock of its own.
    GossipRound,
    /// Seconds from a probe's ping to its verdict. (memberlist: `state.go`, probeNode.)
    Probe,
    /// Seconds from the dial of a state exchange of ours to its end, good or bad. (memberlist: `state.go`, pushPullNode.)
    StateExchange,
    /// Bytes of a peer's state in an exchange, as they came over the stream.
    RemoteState,
    /// Bytes of one of Serf's messages that was gossiped, once for each packet that it went into. (Serf: `delegate.go`,
    /// `GetBroadcasts`.)
    MessageSent,
    /// Bytes of one of Serf's messages that arrived. (Serf: `delegate.go`, `NotifyMsg`.)
    MessageReceived,
    /// Seconds, as coordinates count them, by which a probe moved our own coordinate. (Serf: `ping_delegate.go`.)
    CoordinateMoved,
    /// Seconds to write what waited for the snapshot, usually one line. The driver's.
    SnapshotAppend,
    /// Seconds to write the snapshot anew. The driver's.
    SnapshotCompact,
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Measurement {
    /// What was measured.
    pub measure: Measure,
    /// In seconds or bytes, as [`Measure`] says.
    pub value: f64,
}

/// Measurements since they were last taken, in their order.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Measurements {
    /// The last ones, at most 4,096.
    pub kept: VecDeque<Measurement>,
    /// How many earlier ones had to make room.
    pub missed: u64,
}

impl Measurements {
    /// Adds one; the oldest makes room if there are too many.
    pub fn add(&mut self, measure: Measure, value: f64) {
        if self.kept.len() == KEPT_MAX {
            self.kept.pop_front();
            self.missed += 1;
        }
        self.kept.push_back(Measurement { measure, value });
    }

    /// Adds the time that something took.
    pub fn add_time(&mut self, measure: Measure, took: Duration) {
        self.add(measure, took.as_secs_f64());
    }

    /// Adds another's measurements after these.
    pub fn append(&mut self, later: Self) {
        self.missed += later.missed;
        for Measurement { measure, value } in later.kept {
            self.add(measure, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room_and_are_counted() {
        let mut measurements = Measurements::default();
        for number in 0..KEPT_MAX + 3 {
            measurements.add(Measure::MessageSent, number as f64);
        }
        assert_eq!((measurements.kept.len(), measurements.missed), (KEPT_MAX, 3));
        assert!((measurements.kept[0].value - 3.0).abs() < f64::EPSILON);
        let mut all = Measurements::default();
        all.add_time(Measure::Probe, Duration::from_millis(5));
        all.append(measurements);
        assert_eq!((all.kept.len(), all.missed), (KEPT_MAX, 4), "what was missed before is not forgotten");
    }
}
