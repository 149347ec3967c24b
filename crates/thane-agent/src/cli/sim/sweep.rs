//! `thane sim sweep`: the standard mix of faults, for many seeds, under all checkers.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use thane_sim::Scenario;
use thane_sim::shrink::shrink;
use thane_sim::sweep::{News, seeds, sweep};

use super::asked::{count, no_arguments, none_of, number};
use crate::cli::progress::Progress;
use crate::cli::{Failure, Output};
use crate::goflags::{FlagSet, Parsed};

pub(super) fn flags() -> FlagSet {
    FlagSet::new(
        "sim sweep",
        "sim sweep [flags]",
        "Draws a cluster, its settings and a mix of faults from each of many seeds, runs them, and holds every step against\n\
         the rules of the protocol. A run that breaks one is told in full, with the command that repeats it.",
    )
    .int("seeds", 100, "How many runs.")
    .int("base", 0, "The number that the seeds are drawn from; another one gives other seeds.")
    .int("seed", 0, "Run this seed alone, and tell what was drawn.")
    .string("plan", "", "Run the plan in this file, a line that a failure printed, perhaps changed by hand.")
    .int("threads", 0, "Runs at a time; 0 for as many as there are processors.")
    .example("thane sim sweep -seeds 1000 -base 7")
    .example("thane sim sweep -seed 123")
    .example("thane sim sweep -plan failure.json")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    no_arguments(parsed)?;
    if parsed.is_set("plan") {
        none_of(parsed, &["seed", "seeds", "base", "threads"], "beside -plan")?;
        return plan(parsed.string("plan"), output);
    }
    if parsed.is_set("seed") {
        none_of(parsed, &["seeds", "base", "threads"], "beside -seed")?;
        return one(number(parsed, "seed")?, output);
    }
    let (count, base) = (count(parsed, "seeds")?, number(parsed, "base")?);
    let threads = match number(parsed, "threads")? {
        0 => available_parallelism().map_or(1, NonZeroUsize::get),
        threads => threads as usize,
    };
    output.line(&format!(
        "{count} seeds from the number {base}: thane sim sweep -seeds {count} -base {base}"
    ))?;
    let progress = Progress::start(&format!("0 of {count} runs"));
    let summary = sweep(&seeds(base, count), threads, |news| match news {
        News::Done(done) => progress.note(&format!("{done} of {count} runs")),
        News::Failed(failure) => {
            progress.clear();
            // If nobody reads it any more, the lines in the end will fail as well.
            _ = Output::stdout().line(&at_once(failure));
        }
    });
    drop(progress);
    output.line(&summary.to_string())?;
    for failure in &summary.failures {
        output.line(&format!("{failure}\n"))?;
    }
    let failed = summary.failures.len();
    let run = summary.passed + failed;
    match (failed, summary.not_run) {
        (0, _) => Ok(()),
        (_, 0) => Err(Failure::Aside(format!("{failed} of {run} runs broke a rule."))),
        (_, left) => {
            let told =
                format!("{failed} of {run} runs broke a rule; it was stopped, and {left} were not run.");
            Err(Failure::Aside(told))
        }
    }
}

/// What is told of a failure before it is made small, which may take long.
fn at_once(failure: &thane_sim::Failure) -> String {
    let (seed, at, cause) = (failure.scenario.parameters.seed, failure.at, &failure.cause);
    format!(
        "seed {seed} FAILED at {at}: {cause}\n  again: thane sim sweep -seed {seed}\n  It is made smaller now."
    )
}

/// One seed, with all that was drawn from it.
fn one(seed: u64, output: &mut Output) -> Result<(), Failure> {
    let scenario = Scenario::draw(seed);
    output.line(&scenario.to_string())?;
    match scenario.run() {
        Ok(report) => {
            output.line(&format!("{report:#?}"))?;
            output.line(&format!("seed {seed} kept all rules: thane sim sweep -seed {seed}"))?;
            Ok(())
        }
        Err(failure) => {
            output.line(&at_once(&failure))?;
            output.line(&shrink(failure, &|_| {}).to_string())?;
            Err(Failure::Aside(format!("Seed {seed} broke a rule.")))
        }
    }
}

/// A plan from a file.
fn plan(path: &str, output: &mut Output) -> Result<(), Failure> {
    let unreadable = |error: String| {
        Failure::mendable(
            format!("{path}: {error}"),
            "A plan is the line that begins with {\"parameters\" in what a failed run printed.",
        )
    };
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let scenario = Scenario::from_json(&text).map_err(|error| unreadable(error.to_string()))?;
    output.line(&scenario.to_string())?;
    match scenario.run() {
        Ok(report) => {
            output.line(&format!("{report:#?}\nThe plan kept all rules."))?;
            Ok(())
        }
        Err(failure) => {
            output.line(&failure.to_string())?;
            Err(Failure::Aside("The plan broke a rule.".into()))
        }
    }
}
