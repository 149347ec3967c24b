//! A failing run is made small before it is shown.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells what it found"
)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use thane_core::{Event, Output, Time};
use thane_sim::check::Watch;
use thane_sim::shrink::shrink;
use thane_sim::sweep::{News, sweep_with};
use thane_sim::{FailureCause, ProcessId, Saboteur, Scenario, World};

/// Tells its application each user event twice, as soon as it knows three members.
#[derive(Debug, Default)]
struct Repeats {
    known: usize,
}

impl Saboteur for Repeats {
    fn puts_out(&mut self, _: Time, _: ProcessId, output: Output) -> Vec<Output> {
        match output {
            Output::Event(Event::Joined(_)) => {
                self.known += 1;
                vec![output]
            }
            Output::Event(Event::User(_)) if self.known >= 3 => vec![output.clone(), output],
            _ => vec![output],
        }
    }
}

/// A bug of the last host, whoever that is.
fn prepare(world: &mut World<Watch>) {
    let last = world.hosts().last().unwrap();
    world.sabotage(last, Repeats::default());
}

/// A drawn mix of at least this many hosts and steps that fails by the planted bug while there are faults.
fn large_failure() -> Box<thane_sim::Failure> {
    for seed in 0.. {
        let scenario = Scenario::draw(seed);
        if scenario.parameters.hosts < 20 || scenario.plan.len() < 35 {
            continue;
        }
        if let Err(failure) = scenario.run_with(&prepare)
            && failure.at < scenario.parameters.faults_until
        {
            return failure;
        }
    }
    unreachable!("every mix of this size has user events")
}

#[test]
fn a_planted_bug_in_a_large_mix_shrinks_to_a_few_hosts_and_steps() {
    let shrunk = shrink(large_failure(), &prepare);
    println!("{shrunk}");
    let small = &shrunk.smallest.scenario;
    assert!(small.parameters.hosts <= 4, "{} hosts", small.parameters.hosts);
    assert!(small.plan.len() <= 6, "{:#?}", small.plan);
    // Fewer hosts and steps come first: what is left of them may take as long as the whole did, never longer.
    assert!(small.parameters.faults_until <= shrunk.original.scenario.parameters.faults_until);
    let FailureCause::Violation(violation) = &shrunk.smallest.cause else {
        panic!("{:?}", shrunk.smallest.cause)
    };
    assert_eq!(violation.rule, "each process delivers each user event at most once");

    // The line of text that is shown gives the same failure again, and shows all that a reader needs.
    let again = Scenario::from_json(&small.to_json()).unwrap().run_with(&prepare).unwrap_err();
    assert_eq!(again, shrunk.smallest);
    let shown = shrunk.to_string();
    assert!(shown.contains(&small.to_json()) && shown.contains("thane sim sweep -plan"), "{shown}");
    let seed = shrunk.original.scenario.parameters.seed;
    assert!(shown.ends_with(&format!("thane sim sweep -seed {seed}")), "{shown}");
}

#[test]
fn a_sweep_tells_of_a_failure_before_it_shrinks_it() {
    let runs = AtomicUsize::new(0);
    let told = Mutex::new(Vec::new());
    let counted = |world: &mut World<Watch>| {
        runs.fetch_add(1, Ordering::Relaxed);
        prepare(world);
    };
    let seed = large_failure().scenario.parameters.seed;
    let summary = sweep_with(&[seed], 1, &counted, |news| {
        let what = match news {
            News::Failed(failure) => format!("{} failed", failure.scenario.parameters.seed),
            News::Done(done) => format!("{done} done"),
        };
        told.lock().unwrap().push((what, runs.load(Ordering::Relaxed)));
    });
    let told = told.into_inner().unwrap();
    let shrinking = summary.failures[0].runs;
    assert!(shrinking > 1, "it was shrunk");
    assert_eq!(told, [(format!("{seed} failed"), 1), ("1 done".to_owned(), 1 + shrinking)]);
}

#[test]
fn the_same_failure_always_shrinks_to_the_same_one() {
    let failure = large_failure();
    assert_eq!(shrink(failure.clone(), &prepare), shrink(failure, &prepare));
}
