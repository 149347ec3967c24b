//! When packets cannot leave for a while.
//!
//! A driver whose socket takes no more packets says so, and says when it goes on. In between, what sends packets by itself (probes, rounds
//! of gossip) waits, and of each at most one turn is made up for: a round that nobody receives says nothing, and a probe
//! whose ping is still here accuses nobody. What sends no packets goes on. This is what memberlist's tasks do when the socket blocks them;
//! an exchange of state, for which one of them opens a stream, is given up if nothing can be written for the usual time of a stream.
//!
//! With [`crate::Detector::pause_doubt`] the node concludes more. Who cannot be heard gets no answers, and mostly hears none either: a
//! whole process that is starved or blocked finds its socket full first. So a probe whose time ran out meanwhile is dropped without a
//! verdict, no suspicion ends meanwhile, and each suspect gets that time back. An exchange of state waits, and is made up for: it brings what
//! was missed.

use std::time::Duration;

use super::Node;
use crate::time::Time;

/// Since when nothing leaves, and what waits for it.
#[derive(Debug)]
pub(super) struct Held {
    since: Time,
    /// What of that time suspects have been given back already, because we were paused as well.
    pub(super) excused: Duration,
    /// A round of gossip fell due.
    gossip: bool,
    /// A state exchange fell due.
    push_pull: bool,
}

impl Node {
    /// What was put out after the last input cannot be sent yet: the socket takes no more packets. Drop it or keep it, as fits the
    /// driver. Saying so again changes nothing.
    pub fn handle_sends_held(&mut self, now: Time) {
        let since = self.now;
        self.held.get_or_insert(Held { since, excused: Duration::ZERO, gossip: false, push_pull: false });
        self.advance(now);
        // What is being looked at cannot be asked, and cannot have heard us.
        self.abandon_looks();
        self.abandon_trials();
        self.settle();
    }

    /// Packets can be sent again, and what was kept has been sent.
    pub fn handle_sends_resumed(&mut self, now: Time) {
        self.advance(now);
        if let Some(held) = self.held.take() {
            if self.config.detector.pause_doubt {
                if self.probe_is_over() {
                    self.awareness.apply(1);
                    self.abandon_probe();
                }
                self.excuse_suspects(self.now.since(held.since).saturating_sub(held.excused));
            }
            self.resume_probe(held.since);
            if held.gossip {
                self.gossip_round();
            }
            if held.push_pull {
                self.push_pull_with_somebody();
            }
        }
        self.settle();
    }

    /// Whether a suspicion must not end now.
    pub(super) fn verdict_must_wait(&self) -> bool {
        self.held.is_some() && self.config.detector.pause_doubt
    }

    /// Whether the round of gossip that is due must wait; it is then made up for.
    pub(super) fn gossip_must_wait(&mut self) -> bool {
        self.held.as_mut().map(|held| held.gossip = true).is_some()
    }

    /// Whether the state exchange that is due must wait; it is then made up for.
    pub(super) fn push_pull_must_wait(&mut self) -> bool {
        let waits = self.config.detector.pause_doubt;
        self.held.as_mut().filter(|_| waits).map(|held| held.push_pull = true).is_some()
    }
}
