//! Time as an input: nanoseconds since a start that the driver picks.

use std::fmt;
use std::ops::{Add, AddAssign};
use std::time::Duration;

/// A moment on the driver's monotonic clock, in nanoseconds since a start that the driver picks.
///
/// The core never reads a clock; every input carries one of these. Tests begin at [`Time::ZERO`], so that their traces
/// are the same on every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The driver's start.
    pub const ZERO: Self = Self(0);
    /// Later than every moment that is ever reached (584 years).
    pub const NEVER: Self = Self(u64::MAX);

    /// A moment this long after [`Time::ZERO`].
    pub fn from_start(elapsed: Duration) -> Self {
        Self(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Time since [`Time::ZERO`].
    pub fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Time that has passed since `earlier`, zero if `earlier` is in fact later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}
