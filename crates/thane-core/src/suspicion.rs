//! A member under suspicion: who accuses it and how long it has.

use std::sync::Arc;
use std::time::Duration;

use crate::formulas::{suspicion_timeout, suspicion_total};
use crate::time::Time;
use crate::timers::TimerKey;

/// So many accusers are remembered even where no confirmation is hoped for: a verdict without waiting asks for up to three others.
const WITNESSES_KEPT: usize = 4;

/// One suspicion from its beginning to its end. (Lifeguard, section 4; memberlist: `suspicion.go`.)
#[derive(Debug)]
pub(crate) struct Suspicion {
    /// Tells this suspicion from every other one of this node.
    pub(crate) serial: u64,
    /// Who accuses, the first accuser first; never more than `k + 1`, or [`WITNESSES_KEPT`] if that is more.
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

    /// SWIM's: the shortest time, whoever confirms.
    pub(crate) fn fixed(self) -> Self {
        Self { k: 0, max: self.min, ..self }
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
        let kept = WITNESSES_KEPT.max(self.k as usize + 1);
        if self.accusers.len() >= kept || self.accusers.contains(accuser) {
            return false;
        }
        let shortens = self.confirmations() < self.k;
        self.accusers.push(accuser.clone());
        shortens
    }

    pub(crate) fn confirmations(&self) -> u32 {
        (self.accusers.len() as u32 - 1).min(self.k)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timers::{Timer, Timers};

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn suspicion(k: u32) -> Suspicion {
        let timer = Timers::default().set(Time::ZERO, Timer::ProbeTick);
        let terms = SuspicionTerms { k, min: MS(500), max: MS(2000) };
        Suspicion::new(0, "me".into(), terms, Time::ZERO, timer)
    }

    /// memberlist: `suspicion_test.go`, `TestSuspicion_Timer`, with k 3, min 500 ms, max 2 s.
    #[test]
    fn each_new_accuser_shortens_a_suspicion_and_no_other_does() {
        type Case<'a> = (&'a str, &'a [(&'a str, bool)], u64);
        let cases: [Case<'_>; 6] = [
            ("nobody", &[], 2000),
            ("one", &[("me", false), ("foo", true)], 1250),
            ("repetitions", &[("me", false), ("foo", true), ("foo", false), ("foo", false)], 1250),
            ("two", &[("me", false), ("foo", true), ("bar", true)], 811),
            ("three", &[("me", false), ("foo", true), ("bar", true), ("baz", true)], 500),
            ("enough", &[("me", false), ("foo", true), ("bar", true), ("baz", true), ("zoo", false)], 500),
        ];
        for (case, accusers, wanted_ms) in cases {
            let mut suspicion = suspicion(3);
            for (accuser, news) in accusers {
                assert_eq!(suspicion.confirm(&Arc::from(*accuser)), *news, "{case}: {accuser}");
                suspicion.check_invariants();
            }
            assert_eq!(suspicion.ends(), Time::ZERO + MS(wanted_ms), "{case}");
        }
    }

    /// memberlist: `suspicion_test.go`, `TestSuspicion_Timer_ZeroK`.
    #[test]
    fn without_hope_for_confirmations_none_is_taken() {
        let mut suspicion = suspicion(0);
        assert_eq!(suspicion.total(), MS(500));
        assert!(!suspicion.confirm(&"foo".into()));
        assert_eq!(suspicion.confirmations(), 0);
    }

    #[test]
    fn time_that_we_slept_through_is_given_back_on_top() {
        let mut suspicion = suspicion(3);
        suspicion.excuse(MS(10_000));
        suspicion.confirm(&"foo".into());
        suspicion.excuse(MS(1000));
        assert_eq!(suspicion.ends(), Time::ZERO + MS(1250 + 11_000));
        assert_eq!(suspicion.total(), MS(1250), "the verdict's evidence tells what the protocol gave");
    }

    /// memberlist: `state.go`, suspectNode.
    #[test]
    fn in_small_clusters_nobody_is_waited_for() {
        for (mult, n, k) in [(4, 3, 0), (4, 4, 2), (5, 4, 0), (5, 5, 3), (1, 100, 0), (6, 5, 0), (6, 6, 4)] {
            let terms = SuspicionTerms::new(mult, 6, MS(1000), n);
            assert_eq!(terms.k, k, "mult {mult}, n {n}");
            let wanted = if k == 0 { terms.min } else { terms.min * 6 };
            assert_eq!(terms.longest(), wanted, "mult {mult}, n {n}");
        }
    }
}
