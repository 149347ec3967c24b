//! Runs the standard mix of faults for many seeds, or for one again.
//!
//! `sweep --seed 123` runs one seed and prints what it drew; `sweep --seeds 1000 --base 7` runs a thousand.
#![allow(clippy::print_stdout, reason = "it is a program that prints")]

use std::process::ExitCode;

use thane_sim::Scenario;
use thane_sim::sweep::{seeds, sweep};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (mut seed, mut count, mut base) = (None, 100_u64, 0_u64);
    while let Some(flag) = args.next() {
        let value = args.next().and_then(|text| text.parse::<u64>().ok());
        match (flag.as_str(), value) {
            ("--seed", Some(value)) => seed = Some(value),
            ("--seeds", Some(value)) => count = value,
            ("--base", Some(value)) => base = value,
            _ => {
                eprintln!(
                    "{flag}: not a flag with a number; usage: sweep [--seed N | --seeds COUNT --base N]"
                );
                return ExitCode::from(2);
            }
        }
    }
    if let Some(seed) = seed {
        return one(seed);
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let summary = sweep(&seeds(base, count as usize), threads, |done, failure| {
        // At once: a sweep of many seeds may be stopped before it ends.
        if let Some(failure) = failure {
            println!("{failure}\n");
        }
        if done.is_multiple_of(100) {
            eprintln!("{done} of {count}");
        }
    });
    println!("{summary}");
    if summary.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64) -> ExitCode {
    let scenario = Scenario::draw(seed);
    println!("{scenario}");
    match scenario.run() {
        Ok(report) => {
            println!("{report:#?}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}
