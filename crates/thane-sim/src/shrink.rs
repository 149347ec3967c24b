//! Making a failing scenario small before it is shown: fewer hosts, fewer steps, simpler settings, a shorter run.
//!
//! Each candidate is run; one that still fails by the same rule takes the place of what was there. (Another way to fail is another
//! bug, and does not count.) Nothing here is left to chance or to a clock, so the same failure always shrinks to the same
//! one; the work is bounded by a number of runs and of inputs.

use std::fmt;

use thane_core::Time;

use crate::network::Quality;
use crate::scenario::{Failure, FailureCause, Planned, Prepare, Rules, Scenario};
use crate::world::HostId;

/// Candidates that are run at most.
const RUNS_MAX: usize = 250;
/// Inputs that the candidates' nodes may be given together: half a minute's work, or four times what the failure itself took.
const INPUTS_MAX: u64 = 6_000_000;
/// Seeds that are tried for a smaller cluster, whose network has other luck.
const SEEDS_TRIED: u64 = 3;

/// A failure, and the smallest one like it that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Shrunk {
    /// What failed.
    pub original: Box<Failure>,
    /// What still fails by the same rule.
    pub smallest: Box<Failure>,
    /// Candidates that were run.
    pub runs: usize,
}

impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (&self.original.scenario, &self.smallest.scenario);
        let seed = from.parameters.seed;
        writeln!(
            f,
            "seed {seed} FAILED at {}; {} hosts and {} steps, shrunk to {} and {} in {} runs:",
            self.original.at,
            from.parameters.hosts,
            from.plan.len(),
            to.parameters.hosts,
            to.plan.len(),
            self.runs
        )?;
        writeln!(f, "{}", self.smallest)?;
        writeln!(f, "this very plan, for a file and \"thane sim sweep -plan FILE\":\n{}", to.to_json())?;
        write!(f, "the whole of it again: thane sim sweep -seed {seed}")
    }
}

/// Shrinks a failure. `prepare` is what the failing run was prepared with ([`Scenario::run_with`]).
pub fn shrink(failure: Box<Failure>, prepare: &Prepare<'_>) -> Shrunk {
    let inputs_max = INPUTS_MAX.max(4 * failure.tally.inputs);
    let mut shrinking = Shrinking { best: failure.clone(), prepare, runs: 0, inputs: 0, inputs_max };
    loop {
        let before = shrinking.size();
        shrinking.cut_the_end();
        shrinking.fewer_hosts();
        shrinking.fewer_steps();
        shrinking.simpler_settings();
        shrinking.shorter();
        if shrinking.size() >= before || shrinking.is_spent() {
            break;
        }
    }
    let Shrinking { best, runs, .. } = shrinking;
    Shrunk { original: failure, smallest: best, runs }
}

struct Shrinking<'a> {
    best: Box<Failure>,
    prepare: &'a Prepare<'a>,
    runs: usize,
    inputs: u64,
    inputs_max: u64,
}

impl Shrinking<'_> {
    fn is_spent(&self) -> bool {
        self.runs >= RUNS_MAX || self.inputs >= self.inputs_max
    }

    fn size(&self) -> (usize, usize, Time) {
        let scenario = &self.best.scenario;
        (scenario.parameters.hosts, scenario.plan.len(), scenario.parameters.faults_until)
    }

    /// Runs a candidate, and keeps it if it fails in the same way.
    fn try_this(&mut self, candidate: &Scenario) -> bool {
        if self.is_spent() || *candidate == self.best.scenario {
            return false;
        }
        self.runs += 1;
        match candidate.run_with(self.prepare) {
            Ok(report) => {
                self.inputs += report.tally.inputs;
                false
            }
            Err(failure) => {
                self.inputs += failure.tally.inputs;
                let is_same = is_same(&failure.cause, &self.best.cause);
                if is_same {
                    self.best = failure;
                }
                is_same
            }
        }
    }

    /// What was planned for after the failure had no part in it.
    fn cut_the_end(&mut self) {
        let mut candidate = self.best.scenario.clone();
        let end = self.best.at;
        candidate.plan.retain(|planned| planned.at <= end);
        self.try_this(&candidate);
    }

    /// Without half of the hosts, a quarter, and so on down to one.
    fn fewer_hosts(&mut self) {
        let mut chunk = self.best.scenario.parameters.hosts / 2;
        while chunk > 0 {
            let mut from = 0;
            while from < self.best.scenario.parameters.hosts {
                if !self.without_hosts(from, chunk) {
                    from += chunk;
                }
            }
            chunk /= 2;
        }
    }

    fn without_hosts(&mut self, from: usize, count: usize) -> bool {
        let mut candidate = self.best.scenario.clone();
        let to = (from + count).min(candidate.parameters.hosts);
        if to - from >= candidate.parameters.hosts {
            return false;
        }
        for gone in (from..to).rev() {
            candidate = without_host(&candidate, HostId(gone as u32));
        }
        let seed = candidate.parameters.seed;
        (0..SEEDS_TRIED).any(|more| {
            candidate.parameters.seed = seed.wrapping_add(more);
            self.try_this(&candidate)
        })
    }

    /// Without half of the steps, a quarter, and so on down to one.
    fn fewer_steps(&mut self) {
        let mut chunk = self.best.scenario.plan.len() / 2;
        while chunk > 0 {
            // From the end: what comes later is more often needless.
            let mut to = self.best.scenario.plan.len();
            while to > 0 {
                let from = to.saturating_sub(chunk);
                let mut candidate = self.best.scenario.clone();
                candidate.plan.drain(from..to);
                self.try_this(&candidate);
                to = from;
            }
            chunk /= 2;
        }
    }

    fn simpler_settings(&mut self) {
        let simplify: [fn(&mut Scenario); 5] = [
            |it| it.parameters.quality = Quality::good(),
            |it| it.parameters.rules = Rules::default(),
            |it| it.parameters.encrypted = false,
            |it| it.parameters.labelled = false,
            |it| it.parameters.compressed = false,
        ];
        for simpler in simplify {
            let mut candidate = self.best.scenario.clone();
            simpler(&mut candidate);
            self.try_this(&candidate);
        }
    }

    /// Faults that stop with the last step, in whole seconds, in half the time.
    fn shorter(&mut self) {
        let stop_with_the_last = |it: &mut Scenario| {
            let last = it.plan.last().map_or(Time::ZERO, |planned| planned.at);
            it.parameters.faults_until = it.parameters.faults_until.min(last.max(it.parameters.faults_from));
        };
        let whole_seconds = |it: &mut Scenario| {
            map_times(it, |at| Time::from_start(std::time::Duration::from_secs(at.since_start().as_secs())));
        };
        let halve = |it: &mut Scenario| map_times(it, |at| Time::from_start(at.since_start() / 2));
        let mut candidate = self.best.scenario.clone();
        stop_with_the_last(&mut candidate);
        self.try_this(&candidate);
        for _ in 0..4 {
            let mut candidate = self.best.scenario.clone();
            halve(&mut candidate);
            if !self.try_this(&candidate) {
                break;
            }
        }
        let mut candidate = self.best.scenario.clone();
        whole_seconds(&mut candidate);
        self.try_this(&candidate);
    }
}

fn map_times(scenario: &mut Scenario, map: impl Fn(Time) -> Time) {
    let parameters = &mut scenario.parameters;
    parameters.faults_from = map(parameters.faults_from);
    parameters.faults_until = map(parameters.faults_until);
    for planned in &mut scenario.plan {
        planned.at = map(planned.at);
    }
}

/// The same scenario as if the host had never been; those after it move up.
fn without_host(scenario: &Scenario, gone: HostId) -> Scenario {
    let mut parameters = scenario.parameters.clone();
    parameters.hosts -= 1;
    let moved = |host: HostId| match host.cmp(&gone) {
        std::cmp::Ordering::Less => Some(host),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(HostId(host.0 - 1)),
    };
    let plan = scenario
        .plan
        .iter()
        .filter_map(|planned| Some(Planned { at: planned.at, action: planned.action.with_hosts(moved)? }))
        .collect();
    Scenario { parameters, plan }
}

/// Whether two runs failed in the same way: by the same rule, about the same thing, with the same words but for numbers.
fn is_same(one: &FailureCause, other: &FailureCause) -> bool {
    match (one, other) {
        (FailureCause::Violation(one), FailureCause::Violation(other)) => one.rule == other.rule,
        (FailureCause::Disagreement { about: one, .. }, FailureCause::Disagreement { about: other, .. }) => {
            one == other
        }
        (FailureCause::Panic(one), FailureCause::Panic(other)) => words(one) == words(other),
        _ => false,
    }
}

/// A panic's first line without its numbers.
fn words(message: &str) -> String {
    message.lines().next().unwrap_or_default().chars().filter(|it| !it.is_ascii_digit()).collect()
}
