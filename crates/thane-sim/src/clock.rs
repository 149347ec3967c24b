//! Clocks that are wrong.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thane_core::Time;

use crate::span;

const MILLION: i128 = 1_000_000;

/// The clock that a host's processes read: where it began, and how fast it goes. It never goes back; no process can see
/// another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clock {
    /// What it showed when the world began.
    #[serde(with = "span")]
    pub offset: Duration,
    /// How much faster than real time it goes, in millionths; -100,000 is one that takes eleven hours for ten of its own.
    /// Not below -900,000.
    pub drift_ppm: i32,
}

impl Clock {
    /// One that is right.
    pub const RIGHT: Self = Self { offset: Duration::ZERO, drift_ppm: 0 };

    fn rate(self) -> i128 {
        MILLION + i128::from(self.drift_ppm.max(-900_000))
    }

    /// What it shows at a moment of the world.
    pub fn shows(self, at: Time) -> Time {
        if self == Self::RIGHT {
            return at;
        }
        let own = nanos(at) * self.rate() / MILLION;
        moment(own) + self.offset
    }

    /// The first moment of the world at which it shows this, or later.
    pub fn when(self, shown: Time) -> Time {
        if self == Self::RIGHT || shown == Time::NEVER {
            return shown;
        }
        let own = nanos(Time::from_start(shown.since_start().saturating_sub(self.offset)));
        // Rounded up twice, as `shows` rounds down.
        let rate = self.rate();
        moment((own * MILLION + rate - 1) / rate)
    }
}

fn nanos(at: Time) -> i128 {
    i128::try_from(at.since_start().as_nanos()).unwrap_or(i128::MAX)
}

fn moment(nanos: i128) -> Time {
    Time::from_start(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_exactly_when_the_clock_shows_it() {
        for drift_ppm in [0, 1, -1, 333_333, -333_333, 100_000, -900_000] {
            for offset in [0, 7, 5_000_000_000] {
                let clock = Clock { offset: Duration::from_nanos(offset), drift_ppm };
                for nanos in [0, 1, 2, 1_000, 999_999_999, 86_400_000_000_000] {
                    let shown = Time::from_start(Duration::from_nanos(offset + nanos));
                    let when = clock.when(shown);
                    assert!(clock.shows(when) >= shown, "{clock:?} {nanos}");
                    let before = when.since_start().saturating_sub(Duration::from_nanos(1));
                    if when > Time::ZERO {
                        assert!(clock.shows(Time::from_start(before)) < shown, "{clock:?} {nanos}: too late");
                    }
                }
                assert_eq!(clock.when(Time::NEVER), Time::NEVER);
            }
        }
        let slow = Clock { offset: Duration::from_secs(3), drift_ppm: -100_000 };
        assert_eq!(
            slow.shows(Time::from_start(Duration::from_secs(10))),
            Time::from_start(Duration::from_secs(12))
        );
    }
}
