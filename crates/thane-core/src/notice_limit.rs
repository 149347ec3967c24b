//! Keeps one kind of notice from flooding the log.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::time::Time;

/// How many notices of one kind are told in one [`WINDOW`].
const NOTICES_MAX: u32 = 20;
/// The time over which they are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// One counter a kind; kinds are fixed words of ours, so the table is small.
#[derive(Debug, Default)]
pub(crate) struct NoticeLimit {
    kinds: BTreeMap<&'static str, Window>,
}

#[derive(Debug)]
struct Window {
    began: Time,
    told: u32,
    suppressed: u64,
}

impl NoticeLimit {
    /// Whether a notice may be told now, and if so how many of its kind were left out before it.
    pub(crate) fn admit(&mut self, kind: &'static str, now: Time) -> Option<u64> {
        let window = self.kinds.entry(kind).or_insert(Window { began: now, told: 0, suppressed: 0 });
        if now.since(window.began) >= WINDOW {
            window.began = now;
            window.told = 0;
        }
        if window.told < NOTICES_MAX {
            window.told += 1;
            Some(std::mem::take(&mut window.suppressed))
        } else {
            window.suppressed += 1;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut limit = NoticeLimit::default();
        let told = (0..100).filter(|_| limit.admit("x", Time::ZERO).is_some()).count();
        assert_eq!(told, NOTICES_MAX as usize);
        assert_eq!(limit.admit("y", Time::ZERO), Some(0), "another kind is not affected");
        assert_eq!(
            limit.admit("x", Time::ZERO + WINDOW),
            Some(80),
            "the next one says how many were left out"
        );
        assert_eq!(limit.admit("x", Time::ZERO + WINDOW), Some(0));
    }
}
