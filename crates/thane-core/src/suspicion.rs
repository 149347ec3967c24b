//! A member under suspicion: who accuses it and how long it has.

use std::sync::Arc;
use std::time::Duration;

use crate::formulas::{suspicion_timeout, suspicion_total};
use crate::time::Time;
use crate::timers::TimerKey;

/// One suspicion from its beginning to its end. (Lifeguard, section 4; memberlist: `suspicion.go`.)
#[derive(Debug)]
pub(crate) struct Suspicion {
    /// Tells this suspicion from every other one of this node.
    pub(crate) serial: u64,
    /// Who accuses, the first accuser first; never more than `k + 1`.
    accusers: Vec<Arc<str>>,
    /// Independent confirmations hoped for.
    k: u32,
    min: Duration,
    max: Duration,
    since: Time,
    /// Time that does not count because this node itself was paused.
    excused: Duration,
    /// The timer that ends it.
    pub(crate) timer: TimerKey,
}

/// What a suspicion depends on when it starts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SuspicionTerms {
    pub(crate) k: u32,
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl SuspicionTerms {
    /// The terms in a cluster of `n` members. (memberlist: `state.go`, suspectNode.)
    pub(crate) fn new(mult: u32, max_mult: u32, interval: Duration, n: usize) -> Self {
        let k = mult.saturating_sub(2);
        // With too few other members to confirm, do not hope.
        let k = if n.saturating_sub(2) < k as usize { 0 } else { k };
        let min = suspicion_timeout(mult, n, interval);
        Self { k, min, max: min * max_mult }
    }

    /// How long a suspicion lasts if nobody confirms it.
    pub(crate) fn longest(&self) -> Duration {
        if self.k < 1 { self.min } else { self.max }
    }
}

impl Suspicion {
    pub(crate) fn new(
        serial: u64,
        accuser: Arc<str>,
        terms: SuspicionTerms,
        now: Time,
        timer: TimerKey,
    ) -> Self {
        let SuspicionTerms { k, min, max } = terms;
        Self { serial, accusers: vec![accuser], k, min, max, since: now, excused: Duration::ZERO, timer }
    }

    /// Takes another accuser. False if it says nothing new: enough have confirmed, or this one has accused before.
    pub(crate) fn confirm(&mut self, accuser: &Arc<str>) -> bool {
        if self.confirmations() >= self.k || self.accusers.contains(accuser) {
            return false;
        }
        self.accusers.push(accuser.clone());
        true
    }

    pub(crate) fn confirmations(&self) -> u32 {
        self.accusers.len() as u32 - 1
    }

    pub(crate) fn hoped_for(&self) -> u32 {
        self.k
    }

    pub(crate) fn accusers(&self) -> &[Arc<str>] {
        &self.accusers
    }

    pub(crate) fn since(&self) -> Time {
        self.since
    }

    /// How long the suspect has in total as things stand.
    pub(crate) fn total(&self) -> Duration {
        suspicion_total(self.confirmations(), self.k, self.min, self.max)
    }

    /// When it ends as things stand.
    pub(crate) fn ends(&self) -> Time {
        self.since + self.total() + self.excused
    }

    /// Gives the suspect back the time during which this node could not have heard its answer.
    pub(crate) fn excuse(&mut self, span: Duration) {
        self.excused += span;
    }

    pub(crate) fn check_invariants(&self) {
        assert!(self.confirmations() <= self.k, "{} confirmations of {}", self.confirmations(), self.k);
        assert!(self.min <= self.max, "shortest {:?} over longest {:?}", self.min, self.max);
    }
}
