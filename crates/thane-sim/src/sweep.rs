//! Many seeds, one after the other, on several threads.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::check::Watch;
use crate::lab::quantile;
use crate::scenario::{Failure, Report, Rules, Scenario};
use crate::shrink::{Shrunk, shrink};
use crate::world::{Tally, World};

/// Failures after which a sweep gives up: more of them teach nothing.
const FAILURES_MAX: usize = 5;

/// What came of a sweep.
#[derive(Debug, Default)]
pub struct Summary {
    /// Runs that kept all rules.
    pub passed: usize,
    /// How many of those found failures by each of the detectors' rules.
    pub by_rules: BTreeMap<Rules, usize>,
    /// What really happened in those, all together.
    pub tally: Tally,
    /// How long each took to heal.
    pub healing: Vec<Duration>,
    /// How many healed within the time that is typical for their settings.
    pub healed_as_typical: usize,
    /// User events sent.
    pub events_sent: u64,
    /// How often an operator had to join parts that knew nothing of each other.
    pub operator_joins: u64,
    /// How often an operator had to start a process anew.
    pub operator_restarts: u64,
    /// Queries asked while there were faults.
    pub queries_asked: u64,
    /// Changes of keys that all members carried out while there were faults.
    pub keys_rotated: u64,
    /// Virtual time that passed.
    pub virtual_time: Duration,
    /// Runs that were left out, because so many had failed that more would have taught nothing.
    pub not_run: usize,
    /// Runs that did not, in order of their seeds, each made small.
    pub failures: Vec<Shrunk>,
}

impl Summary {
    fn add(&mut self, rules: Rules, report: &Report) {
        self.passed += 1;
        *self.by_rules.entry(rules).or_default() += 1;
        self.tally.add(&report.tally);
        self.healing.push(report.healing);
        self.healed_as_typical += usize::from(report.healing <= report.healing_typical);
        self.events_sent += report.events_sent;
        self.operator_joins += report.operator_joins;
        self.operator_restarts += report.operator_restarts;
        self.queries_asked += report.queries_asked;
        self.keys_rotated += report.keys_rotated;
        self.virtual_time += report.virtual_time;
    }

    /// The healing time that this share of the runs (0 to 1) did not exceed.
    pub fn healing_quantile(&self, share: f64) -> Duration {
        let mut sorted = self.healing.clone();
        sorted.sort_unstable();
        quantile(&sorted, share).unwrap_or_default()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.not_run > 0 {
            writeln!(
                f,
                "stopped after {} failures; {} runs were left out",
                self.failures.len(),
                self.not_run
            )?;
        }
        let hours = self.virtual_time.as_secs_f64() / 3600.0;
        writeln!(
            f,
            "{} runs passed, {} failed; {hours:.1} hours of virtual time",
            self.passed,
            self.failures.len()
        )?;
        let by_rules = self.by_rules.iter().map(|(rules, count)| format!("{} {count}", rules.name()));
        writeln!(f, "by the detectors' rules: {}", by_rules.collect::<Vec<_>>().join(", "))?;
        writeln!(
            f,
            "healing after the last fault: median {:.1?}, 90 % {:.1?}, slowest {:.1?}; {} as fast as is typical",
            self.healing_quantile(0.5),
            self.healing_quantile(0.9),
            self.healing_quantile(1.0),
            self.healed_as_typical
        )?;
        writeln!(
            f,
            "user events {}, queries {}, keys changed {}; joins by an operator {}, restarts {}",
            self.events_sent,
            self.queries_asked,
            self.keys_rotated,
            self.operator_joins,
            self.operator_restarts
        )?;
        for (name, count) in self.tally.iter() {
            writeln!(f, "  {name:>20} {count}")?;
        }
        Ok(())
    }
}

/// Seeds that have nothing in common, `count` of them, from one number. (The generator `SplitMix64`.)
pub fn seeds(base: u64, count: usize) -> Vec<u64> {
    (1..=count as u64)
        .map(|number| {
            let mut z = base.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            // Short enough to be typed.
            (z ^ (z >> 31)) >> 24
        })
        .collect()
}

/// What a sweep tells while it goes on.
#[derive(Debug)]
pub enum News<'a> {
    /// A run has broken a rule. It is told before it is shrunk, which may take far longer than the run.
    Failed(&'a Failure),
    /// So many runs are over, with the shrinking of those that failed.
    Done(usize),
}

/// Runs the standard mix of faults ([`Scenario::draw`]) for each of these seeds, and shrinks those that fail. `progress` is told how it goes,
/// by several threads at a time. Threads only share out the seeds; each run is the same on any number of them.
pub fn sweep(seeds: &[u64], threads: usize, progress: impl Fn(News<'_>) + Sync) -> Summary {
    sweep_with(seeds, threads, &|_| {}, progress)
}

/// The same with worlds that are prepared before they run, as [`Scenario::run_with`] does.
pub fn sweep_with(
    seeds: &[u64],
    threads: usize,
    prepare: &(impl Fn(&mut World<Watch>) + Sync),
    progress: impl Fn(News<'_>) + Sync,
) -> Summary {
    let next = AtomicUsize::new(0);
    let summary = Mutex::new(Summary::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let scenario = Scenario::draw(*seed);
                    let result = scenario.run_with(prepare).map_err(|failure| {
                        progress(News::Failed(&failure));
                        shrink(failure, prepare)
                    });
                    let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok(report) => summary.add(scenario.parameters.rules, &report),
                        Err(failure) => summary.failures.push(failure),
                    }
                    progress(News::Done(summary.passed + summary.failures.len()));
                    if summary.failures.len() >= FAILURES_MAX {
                        return;
                    }
                }
            });
        }
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.not_run = seeds.len() - summary.passed - summary.failures.len();
    summary.failures.sort_by_key(|failure| failure.original.scenario.parameters.seed);
    summary
}
