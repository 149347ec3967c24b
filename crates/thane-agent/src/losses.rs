//! What this process dropped because somebody did not keep up, for `thane doctor`. There is one agent in a process, and those who
//! drop have nothing else in common.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The least time between two log lines about one that does not keep up: who hangs costs a line a minute.
pub(crate) const NOTICE_INTERVAL: Duration = Duration::from_secs(60);

/// Events that did not fit into the lane of a handler.
pub(crate) static HANDLER_EVENTS: Loss = Loss(AtomicU64::new(0));

/// Records of streams and monitors that an RPC client did not take.
pub(crate) static RPC_RECORDS: Loss = Loss(AtomicU64::new(0));

/// A count that only grows.
#[derive(Debug)]
pub(crate) struct Loss(AtomicU64);

impl Loss {
    /// One more was lost.
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were lost.
    pub(crate) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Lets one log line through in each [`NOTICE_INTERVAL`].
#[derive(Debug, Default)]
pub(crate) struct NoticeLimit {
    last: Option<Instant>,
}

impl NoticeLimit {
    /// Whether a line may be written at `now`; if so, it counts as written.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.last.is_none_or(|last| now.saturating_duration_since(last) >= NOTICE_INTERVAL);
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_losses_costs_sixty_lines() {
        let (mut limit, start) = (NoticeLimit::default(), Instant::now());
        let lines = (0..360_000).filter(|&tick| limit.is_due(start + Duration::from_millis(10) * tick));
        assert_eq!(lines.count(), 60);
    }
}
