//! Exchanges of state out of turn, while many are new to each other.
//!
//! When many members start at once, gossip does not tell everybody of everybody. Who has just joined knows few others to send to, counts how often to
//! send by how few they are, and sends to many who know already. In a thousand that start together, one in a hundred misses somebody and
//! would wait for an ordinary exchange of state, whose interval grows with the cluster: three minutes. (Serf's members gossip all that their
//! first exchange brings, and are complete after 40 s.)
//!
//! So whoever has reason to think that there is more to hear asks soon. An exchange that brought somebody new is a reason, and so is gossip
//! of a crowd. An exchange that brings nobody ends it. What a node learns in its very first exchange is none: that is the
//! cluster as it is, and one who joins it alone costs nobody more than before.

use std::time::Duration;

use super::Node;
use crate::timers::Timer;

/// Up to so many members ordinary exchanges are frequent enough.
const SMALL: usize = 16;
/// Newcomers that gossip told of since the last exchange are a crowd if they are one in so many of all members.
const CROWD_SHARE: usize = 16;
/// Most exchanges out of turn for each ordinary one.
const EXTRA_MAX: u32 = 8;
/// They are this part of the ordinary interval apart, and up to twice that: a second on a LAN.
const PART: u32 = 30;
/// At least so long apart for each member, because an exchange tells of all of them: 200 KB a second at the most.
const EACH: Duration = Duration::from_micros(500);

/// Who has come since the last exchange of state.
#[derive(Debug)]
pub(super) struct Newcomers {
    /// Heard of by gossip.
    heard: usize,
    /// Brought by the exchange that is being merged.
    brought: usize,
    /// Whether an exchange out of turn is due.
    due: bool,
    /// How many of those there may be until the next ordinary one.
    left: u32,
}

impl Default for Newcomers {
    fn default() -> Self {
        Self { heard: 0, brought: 0, due: false, left: EXTRA_MAX }
    }
}

impl Node {
    /// A member has come that the detector did not know.
    pub(super) fn newcomer(&mut self, in_exchange: bool) {
        if self.catching_up {
            return;
        }
        if in_exchange {
            self.newcomers.brought += 1;
            return;
        }
        self.newcomers.heard += 1;
        if self.newcomers.heard * CROWD_SHARE >= self.table.known() {
            self.exchange_soon();
        }
    }

    /// All that a peer knows has been merged: who was heard of before is known there too, or will be told.
    pub(super) fn newcomers_merged(&mut self) {
        self.newcomers.heard = 0;
        if std::mem::take(&mut self.newcomers.brought) > 0 {
            self.exchange_soon();
        }
    }

    fn exchange_soon(&mut self) {
        let interval = self.config.push_pull_interval;
        if self.table.known() <= SMALL || self.newcomers.due || self.newcomers.left == 0 || interval.is_zero()
        {
            return;
        }
        self.newcomers.due = true;
        self.newcomers.left -= 1;
        let members = u32::try_from(self.table.known()).unwrap_or(u32::MAX);
        let apart = (interval / PART).max(EACH * members);
        // Not all at the same moment.
        let wait = apart.mul_f64(1.0 + self.rng.unit());
        self.timers.set(self.now + wait, Timer::ExtraPushPull);
    }

    pub(super) fn extra_push_pull(&mut self) {
        self.newcomers.due = false;
        self.newcomers.heard = 0;
        if !self.push_pull_must_wait() {
            self.counters.extra_push_pulls += 1;
            self.push_pull_with_somebody();
        }
    }

    /// An ordinary exchange is due.
    pub(super) fn allow_extra_push_pulls(&mut self) {
        self.newcomers.left = EXTRA_MAX;
    }
}
