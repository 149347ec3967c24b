//! Many seeds of the standard mix of faults, under all checkers.
//!
//! Four hundred seeds by default, others each time, drawn from a number that is printed. `THANE_SIM_SEEDS` asks for more,
//! `THANE_SIM_BASE` for those of that number again, and `THANE_SIM_SEED` for one only.
#![allow(clippy::print_stdout, reason = "a test tells what it measured")]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::Write as _;

use thane_sim::Scenario;
use thane_sim::sweep::{News, Summary, seeds, sweep};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, but it must be a number")))
}

/// A number that nobody has tried yet: the chance that the standard library seeds its tables with.
fn fresh() -> u64 {
    RandomState::new().build_hasher().finish() >> 24
}

#[test]
fn the_standard_mix_of_faults_keeps_every_rule() {
    if let Some(seed) = number("THANE_SIM_SEED") {
        let scenario = Scenario::draw(seed);
        println!("{scenario}");
        match scenario.run() {
            Ok(report) => println!("{report:#?}"),
            Err(failure) => panic!("{failure}"),
        }
        return;
    }
    let base = number("THANE_SIM_BASE").unwrap_or_else(fresh);
    let count = number("THANE_SIM_SEEDS").unwrap_or(400) as usize;
    println!("base {base}: thane sim sweep -seeds {count} -base {base}");
    let summary = sweep(&seeds(base, count), 2, |news| {
        if let News::Failed(failure) = news {
            // Past the test's capture of what it prints: should shrinking never end, this is all that is known of it.
            let seed = failure.scenario.parameters.seed;
            let told = format!("seed {seed} FAILED at {}: thane sim sweep -seed {seed}", failure.at);
            _ = writeln!(std::io::stderr().lock(), "{told}\n{}", failure.cause);
        }
    });
    println!("base {base}, {count} seeds\n{summary}");
    let failures: Vec<String> = summary.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "base {base}:\n{}\n{summary}", failures.join("\n\n"));
    if count >= 300 {
        each_fault_fired(&summary);
        let typical = summary.healed_as_typical as f64 / summary.passed as f64;
        assert!(typical > 0.5, "only {typical:.2} of the runs healed as fast as is typical");
    }
}

/// A sweep in which a fault never happened, or some rules were never in force, would prove nothing about them.
fn each_fault_fired(summary: &Summary) {
    for (what, count) in summary.tally.iter() {
        assert!(count > 0, "no {what} in the whole sweep");
    }
    assert_eq!(summary.by_rules.len(), 5, "some rules were never in force: {:?}", summary.by_rules);
    assert!(summary.events_sent > 0 && summary.queries_asked > 0 && summary.keys_rotated > 0);
}

#[test]
fn a_scenario_repeats_bit_for_bit() {
    for seed in seeds(1, 3) {
        let scenario = Scenario::draw(seed);
        let run = || match scenario.run() {
            Ok(report) => report,
            Err(failure) => panic!("{failure}"),
        };
        assert_eq!(run(), run(), "seed {seed} gave two different runs");
    }
}
