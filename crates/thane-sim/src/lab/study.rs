//! The runs of several seeds together, and two settings beside each other.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::measures::{MEASURES, Measure};
use super::play::{Progress, run};
use super::report::Report;
use super::setup::{Setup, SetupError};
use super::statistics::Summary;

/// A setup and what its runs have shown, in order of the seeds.
#[derive(Debug, Clone)]
pub struct Study {
    /// What was run.
    pub setup: Setup,
    /// One report a seed.
    pub reports: Vec<Report>,
}

/// Two setups and what their runs have shown, over the same seeds.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The one.
    pub a: Study,
    /// The other.
    pub b: Study,
}

/// Runs a setup once for each seed, on this many threads. Each run is the same on any number of them. `progress` is told of the
/// seed, by its place, and of how far its run is; if it gives false, all end with what was measured so far.
///
/// # Errors
/// The first run's that could not be.
pub fn study(
    setup: &Setup,
    seeds: &[u64],
    threads: NonZeroUsize,
    progress: &(dyn Fn(usize, &Progress) -> bool + Sync),
) -> Result<Study, SetupError> {
    let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.get().min(seeds.len()) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(seed) = seeds.get(place) else { return };
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    let result = run(setup, *seed, &mut |how_far| {
                        let go_on = progress(place, how_far) && !stopped.load(Ordering::Relaxed);
                        if !go_on {
                            stopped.store(true, Ordering::Relaxed);
                        }
                        go_on
                    });
                    stopped.fetch_or(result.is_err(), Ordering::Relaxed);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((place, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(place, _)| *place);
    let mut reports = results.into_iter().map(|(_, result)| result).collect::<Result<Vec<_>, _>>()?;
    // One that was stopped while its cluster formed has measured nothing.
    reports.retain(|report| !report.interrupted || report.seconds > 0.0);
    Ok(Study { setup: setup.clone(), reports })
}

impl Study {
    /// Whether somebody stopped it before all of its runs were over.
    pub fn is_interrupted(&self, runs: usize) -> bool {
        self.reports.len() < runs || self.reports.iter().any(|report| report.interrupted)
    }

    /// A measure over all runs; `None` if no run has it.
    pub fn summary(&self, measure: &Measure) -> Option<Summary> {
        Summary::of(&self.values(measure))
    }

    /// A measure's value in each run that has it.
    pub fn values(&self, measure: &Measure) -> Vec<f64> {
        self.reports.iter().filter_map(measure.of).collect()
    }

    /// The seeds, in order.
    pub fn seeds(&self) -> Vec<u64> {
        self.reports.iter().map(|report| report.seed).collect()
    }

    /// What JSON shows of it.
    pub fn document(&self, command: &str) -> impl Serialize {
        StudyDocument::of(self, command.to_owned())
    }
}

impl Comparison {
    /// What JSON shows of it.
    pub fn document(&self, command: &str) -> impl Serialize {
        let [a, b] = [&self.a, &self.b].map(|study| {
            let arguments = study.setup.arguments();
            StudyDocument::of(study, format!("thane sim {arguments}").trim_end().to_owned())
        });
        let rows = MEASURES.iter().filter_map(|measure| {
            let (a, b) = (self.a.summary(measure), self.b.summary(measure));
            if a.is_none() && b.is_none() {
                return None;
            }
            let (a, b) = (a.map(|it| it.median), b.map(|it| it.median));
            Some(RowDocument {
                key: measure.key,
                unit: measure.unit.word(),
                a,
                b,
                difference: a.zip(b).map(|(a, b)| b - a),
                ratio: a.zip(b).and_then(|(a, b)| (a > 0.0).then(|| b / a)),
            })
        });
        ComparisonDocument { command: command.to_owned(), rows: rows.collect(), a, b }
    }
}

#[derive(Serialize)]
struct StudyDocument<'a> {
    /// The setup in a line.
    setup: String,
    /// The command that does the same again.
    command: String,
    seeds: Vec<u64>,
    measures: Vec<MeasureDocument>,
    runs: &'a [Report],
}

#[derive(Serialize)]
struct MeasureDocument {
    key: &'static str,
    title: &'static str,
    unit: &'static str,
    /// Over the seeds.
    median: f64,
    min: f64,
    max: f64,
    /// One a seed that has it.
    values: Vec<f64>,
}

impl<'a> StudyDocument<'a> {
    fn of(study: &'a Study, command: String) -> Self {
        let measures = MEASURES.iter().filter_map(|measure| {
            let Summary { median, min, max, .. } = study.summary(measure)?;
            let (key, title, unit) = (measure.key, measure.title, measure.unit.word());
            Some(MeasureDocument { key, title, unit, median, min, max, values: study.values(measure) })
        });
        Self {
            setup: study.setup.title(),
            command,
            seeds: study.seeds(),
            measures: measures.collect(),
            runs: &study.reports,
        }
    }
}

#[derive(Serialize)]
struct ComparisonDocument<'a> {
    command: String,
    /// Each measure's medians, and what B has more than A.
    rows: Vec<RowDocument>,
    a: StudyDocument<'a>,
    b: StudyDocument<'a>,
}

#[derive(Serialize)]
struct RowDocument {
    key: &'static str,
    unit: &'static str,
    a: Option<f64>,
    b: Option<f64>,
    difference: Option<f64>,
    ratio: Option<f64>,
}
