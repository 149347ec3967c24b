//! Lamport clocks.

/// A jump of more than this ahead of our clock is refused: no cluster sends 2^40 messages between two exchanges, and after
/// such a jump every later message would look too old to us.
pub(crate) const LAMPORT_JUMP_MAX: u64 = 1 << 40;

/// A counter that runs ahead of everything it has seen. (Serf: `lamport.go`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LamportClock(u64);

impl LamportClock {
    /// A fresh node's clock stands at 1: 0 means "no time".
    pub(crate) fn new() -> Self {
        Self(1)
    }

    /// The time for the next message.
    pub(crate) fn time(self) -> u64 {
        self.0
    }

    /// Moves past a message of our own.
    pub(crate) fn increment(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    /// Moves past a time that was seen.
    ///
    /// # Errors
    /// When it lies more than [`LAMPORT_JUMP_MAX`] ahead; the clock is unchanged, and the message should be dropped.
    pub(crate) fn witness(&mut self, seen: u64) -> Result<(), LamportJump> {
        if seen > self.0.saturating_add(LAMPORT_JUMP_MAX) {
            return Err(LamportJump);
        }
        self.0 = self.0.max(seen.saturating_add(1));
        Ok(())
    }
}

/// A Lamport time too far ahead to be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LamportJump;

#[cfg(test)]
mod tests {
    use super::*;

    /// Serf: `lamport_test.go`.
    #[test]
    fn the_clock_runs_ahead_of_what_it_sees() {
        let mut clock = LamportClock(0);
        assert_eq!(clock.time(), 0);
        clock.increment();
        assert_eq!(clock.time(), 1);
        for seen in [41, 41, 30] {
            clock.witness(seen).unwrap();
            assert_eq!(clock.time(), 42, "after {seen}");
        }
    }

    /// Recorded operations of Serf's clock; it has no bound, so those near the end of the numbers are refused here.
    #[test]
    fn every_recorded_operation_is_ours_too() {
        let all: serde_json::Value =
            serde_json::from_str(include_str!("../tests/vectors/serf/small.json")).unwrap();
        let (mut refused, mut same, mut listed) = (0, 0, 0);
        for trace in all["lamport"].as_array().unwrap() {
            let mut clock = LamportClock(0);
            for step in trace.as_array().unwrap() {
                match step["op"].as_str().unwrap() {
                    "time" => {}
                    "increment" => clock.increment(),
                    _ => {
                        let before = clock;
                        let seen = step["value"].as_u64().unwrap();
                        if clock.witness(seen) == Err(LamportJump) {
                            assert!(seen > LAMPORT_JUMP_MAX);
                            assert_eq!(clock, before);
                            refused += 1;
                            listed += 1;
                            continue;
                        }
                    }
                }
                if refused == 0 {
                    assert_eq!(clock.time(), step["time"].as_u64().unwrap(), "{step}");
                    same += 1;
                } else {
                    listed += 1;
                }
            }
        }
        assert_eq!(refused, 4);
        eprintln!("compat: Lamport clocks | cases={} same={same} listed={listed}", same + listed);
    }

    #[test]
    fn an_absurd_jump_is_refused_and_changes_nothing() {
        let mut clock = LamportClock::new();
        assert_eq!(clock.witness(u64::MAX), Err(LamportJump));
        assert_eq!(clock.time(), 1);
        clock.witness(LAMPORT_JUMP_MAX).unwrap();
        assert_eq!(clock.time(), LAMPORT_JUMP_MAX + 1);
    }
}
