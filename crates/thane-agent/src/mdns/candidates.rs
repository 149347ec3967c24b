//! Which addresses were joined, and when to try those again that could not be.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Addresses remembered. The one that nothing was heard of for longest makes room for a new one.
const KNOWN_MAX: usize = 1024;

/// Pause after the first failure. It is a little shorter than the time between two rounds of questions, so that the
/// next round finds the address due.
const RETRY_FIRST: Duration = Duration::from_secs(55);

/// Longest pause; each failure doubles it until then.
const RETRY_MAX: Duration = Duration::from_secs(16 * 60);

/// What is known of the addresses that were found.
#[derive(Debug)]
pub(super) struct Candidates {
    own: SocketAddr,
    known: BTreeMap<SocketAddr, Known>,
}

#[derive(Debug)]
struct Known {
    heard: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    Joined,
    Failed { failures: u32, retry_at: Instant },
}

/// What to do with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is new: join it, with others.
    New,
    /// It failed before: try it again, alone, so that it is known what came of it.
    Again,
    /// Leave it alone.
    Skip,
}

impl Candidates {
    /// `own` is never a candidate.
    pub(super) fn new(own: SocketAddr) -> Self {
        Self { own, known: BTreeMap::new() }
    }

    /// Judges an address that was just found.
    pub(super) fn judge(&mut self, address: SocketAddr, now: Instant) -> Verdict {
        if address == self.own {
            return Verdict::Skip;
        }
        let Some(known) = self.known.get_mut(&address) else { return Verdict::New };
        known.heard = now;
        match known.state {
            State::Failed { retry_at, .. } if retry_at <= now => Verdict::Again,
            State::Failed { .. } | State::Joined => Verdict::Skip,
        }
    }

    /// It was joined: from now on the cluster itself looks after it.
    pub(super) fn joined(&mut self, address: SocketAddr, now: Instant) {
        self.remember(address, Known { heard: now, state: State::Joined });
    }

    /// It could not be joined.
    pub(super) fn failed(&mut self, address: SocketAddr, now: Instant) {
        let failures = match self.known.get(&address) {
            Some(Known { state: State::Failed { failures, .. }, .. }) => failures.saturating_add(1),
            _ => 1,
        };
        let pause = RETRY_FIRST.saturating_mul(1 << (failures - 1).min(10)).min(RETRY_MAX);
        self.remember(
            address,
            Known { heard: now, state: State::Failed { failures, retry_at: now + pause } },
        );
    }

    fn remember(&mut self, address: SocketAddr, known: Known) {
        if self.known.len() >= KNOWN_MAX && !self.known.contains_key(&address) {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.heard).map(|(address, _)| *address);
            if let Some(oldest) = oldest {
                self.known.remove(&oldest);
            }
        }
        self.known.insert(address, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 7946))
    }

    #[test]
    fn an_address_that_failed_is_tried_again_ever_more_rarely() {
        let mut candidates = Candidates::new(address(0));
        let mut now = Instant::now();
        assert_eq!(candidates.judge(address(1), now), Verdict::New);
        for pause_seconds in [55, 110, 220, 440, 880, 960, 960] {
            candidates.failed(address(1), now);
            let before = now + Duration::from_secs(pause_seconds - 1);
            assert_eq!(candidates.judge(address(1), before), Verdict::Skip, "before {pause_seconds} s");
            now += Duration::from_secs(pause_seconds);
            assert_eq!(candidates.judge(address(1), now), Verdict::Again, "after {pause_seconds} s");
        }
        candidates.joined(address(1), now);
        assert_eq!(candidates.judge(address(1), now + Duration::from_secs(100_000)), Verdict::Skip);
    }

    #[test]
    fn the_own_address_is_no_candidate() {
        let mut candidates = Candidates::new(address(0));
        assert_eq!(candidates.judge(address(0), Instant::now()), Verdict::Skip);
    }

    #[test]
    fn the_address_not_heard_of_for_longest_makes_room() {
        let mut candidates = Candidates::new(address(0));
        let start = Instant::now();
        for number in 1..=KNOWN_MAX as u16 {
            candidates.joined(address(number), start + Duration::from_secs(number.into()));
        }
        let later = start + Duration::from_secs(5_000);
        assert_eq!(candidates.judge(address(1), later), Verdict::Skip, "it was heard of again");
        candidates.failed(address(5_000), later);
        assert_eq!(candidates.known.len(), KNOWN_MAX);
        assert_eq!(candidates.judge(address(1), later), Verdict::Skip);
        assert_eq!(candidates.judge(address(2), later), Verdict::New, "this one made room");
    }
}
