//! What the counters were some minutes ago, so that a fault of last week is told from one of now.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two readings.
pub(super) const INTERVAL: Duration = Duration::from_secs(60);

/// Readings that are kept: the window is as many intervals.
const READINGS_MAX: usize = 10;

/// All counters by name.
pub(super) type Readings = BTreeMap<&'static str, u64>;

/// The last readings, the oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    readings: Mutex<VecDeque<(Instant, Readings)>>,
}

impl History {
    /// Adds a reading.
    pub(super) fn add(&self, at: Instant, reading: Readings) {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        if readings.len() == READINGS_MAX {
            readings.pop_front();
        }
        readings.push_back((at, reading));
    }

    /// What was added to each counter within the window, and how long that is; all of it in an agent younger than that, whose
    /// age is `uptime`.
    pub(super) fn recent(&self, at: Instant, now: &Readings, uptime: Duration) -> (Duration, Readings) {
        let readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = readings.front().filter(|_| readings.len() == READINGS_MAX);
        let Some((since, before)) = oldest else { return (uptime, now.clone()) };
        let added =
            now.iter().map(|(name, count)| (*name, count - before.get(name).unwrap_or(&0).min(count)));
        (at.duration_since(*since), added.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_is_left_out() {
        let (history, start) = (History::default(), Instant::now());
        let reading = |count| Readings::from([("drops", count)]);
        for minute in 0..9 {
            history.add(start + INTERVAL * minute, reading(u64::from(minute) * 10));
        }
        let now = start + INTERVAL * 9;
        // Not a window yet: everything since the start.
        assert_eq!(history.recent(now, &reading(95), INTERVAL * 9), (INTERVAL * 9, reading(95)));
        history.add(now, reading(90));
        history.add(start + INTERVAL * 10, reading(100));
        let now = start + INTERVAL * 11;
        assert_eq!(history.recent(now, &reading(107), INTERVAL * 11), (INTERVAL * 10, reading(97)));
    }
}
