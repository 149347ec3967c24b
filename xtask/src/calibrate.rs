//! `cargo xtask calibrate`: does the simulator foretell what real agents on this machine do?
//!
//! A cluster of real agents on loopback and a simulated one of the same size and settings go through the same: user events are sent, and
//! members are killed, a few at a time, and come back. What is compared are means: how soon the first and the last member
//! knew of a death, and when half of the members and the last one had an event.

mod real;
mod simulated;

use crate::{Outcome, arguments::Arguments, process, swarm};
use anyhow::{Context as _, Result, ensure};
use std::{path::PathBuf, time::Duration};
use thane_sim::SimRng;

/// Until all know all, or until all know of a death.
const PATIENCE: Duration = Duration::from_secs(120);
/// From one event to the next.
const REST: Duration = Duration::from_secs(2);
/// What joining has stirred up settles.
const SETTLE: Duration = Duration::from_secs(10);
/// So many members are killed at the same moment. Each death is found by chance, so that it takes many of them to know a mean.
const KILLED_AT_ONCE: usize = 5;
/// Gossip is over by then. In one event of some hundreds it misses a member, who hears of it by a state exchange up to a minute later; a few such times would
/// be most of a mean, so they are counted instead.
const GOSSIP_OVER: f64 = 5.0;
/// Simulated deaths and events for each real one: the prediction should be surer than the measurement.
const SIMULATED_FOR_EACH: usize = 10;

/// What both clusters go through.
#[derive(Clone, Copy, Debug)]
struct Course {
    agents: usize,
    /// How often members are killed.
    rounds: usize,
    events: usize,
    seed: u64,
}

/// Seconds, one for each death or event.
#[derive(Debug, Default)]
struct Measured {
    first_knows: Vec<f64>,
    all_know: Vec<f64>,
    event_at_half: Vec<f64>,
    event_at_all: Vec<f64>,
    /// Events that somebody heard by a state exchange.
    missed_by_gossip: usize,
}

impl Measured {
    /// Keeps when half of the members and when all had an event, of the times at which each had.
    fn spread(&mut self, mut spans: Vec<f64>) {
        spans.sort_unstable_by(f64::total_cmp);
        self.event_at_half.extend(spans.get(spans.len() / 2));
        match spans.last() {
            Some(last) if *last > GOSSIP_OVER => self.missed_by_gossip += 1,
            last => self.event_at_all.extend(last),
        }
    }

    /// Keeps when the first and when the last member knew of a death, of the times at which each did.
    fn death(&mut self, spans: &[f64]) {
        self.first_knows.extend(spans.iter().copied().min_by(f64::total_cmp));
        self.all_know.extend(spans.iter().copied().max_by(f64::total_cmp));
    }
}

pub(crate) fn run(mut arguments: Arguments) -> Result<Outcome> {
    let agents: usize = arguments.value("--agents", 50)?;
    let kills: usize = arguments.value("--kills", 150)?;
    let events: usize = arguments.value("--events", 40)?;
    let within: f64 = arguments.value("--within", 15.0)?;
    let seed: u64 = arguments.value("--seed", u64::from(std::process::id()))?;
    let program = arguments.value("--program", String::new())?;
    let logs = arguments.value("--logs", PathBuf::new())?;
    arguments.finish()?;
    ensure!(kills > 0 && events > 0, "there must be something to compare: at least one kill and one event");
    ensure!(
        agents >= 4 * KILLED_AT_ONCE,
        "of {agents} agents {KILLED_AT_ONCE} cannot be killed at once; take at least {}",
        4 * KILLED_AT_ONCE
    );
    let program = if program.is_empty() {
        swarm::build_release()?
    } else {
        process::find(&program).with_context(|| format!("cannot find the program `{program}`"))?
    };
    println!("==> {agents} real agents; members are drawn from --seed {seed}");
    let course = Course { agents, rounds: kills.div_ceil(KILLED_AT_ONCE), events, seed };
    let logs = (logs != PathBuf::new()).then_some(logs.as_path());
    let real = real::measure(&program, course, logs)?;
    let longer =
        Course { rounds: course.rounds * SIMULATED_FOR_EACH, events: events * SIMULATED_FOR_EACH, ..course };
    println!("==> {agents} simulated ones, {SIMULATED_FOR_EACH} times as long");
    let simulated = simulated::measure(longer)?;
    Ok(report(&real, &simulated, within))
}

/// Whom to kill together, and when after the last time: anywhere in the probe intervals of the others.
fn next_victims(rng: &mut SimRng, agents: usize) -> (Vec<usize>, Duration) {
    let mut victims = Vec::new();
    while victims.len() < KILLED_AT_ONCE {
        let victim = rng.below(agents);
        if !victims.contains(&victim) {
            victims.push(victim);
        }
    }
    (victims, rng.span(REST, REST + Duration::from_secs(1)))
}

fn report(real: &Measured, simulated: &Measured, within: f64) -> Outcome {
    println!("==> mean seconds, with what chance alone may make of them (two standard errors)");
    println!("    {:40}{:>18}{:>18}{:>10}", "", "real", "foretold", "apart");
    let rows = [
        ("a death is known to the first", &real.first_knows, &simulated.first_knows),
        ("a death is known to all", &real.all_know, &simulated.all_know),
        ("an event is at half of the members", &real.event_at_half, &simulated.event_at_half),
        ("an event is at all, by gossip", &real.event_at_all, &simulated.event_at_all),
    ];
    let mut held = true;
    for (what, real, simulated) in rows {
        let apart = (mean(simulated) / mean(real) - 1.0) * 100.0;
        held &= apart.abs() <= within;
        println!("    {what:40}{:>18}{:>18}{apart:>+8.1} %", summary(real), summary(simulated));
    }
    let missed = |it: &Measured| format!("{} of {}", it.missed_by_gossip, it.event_at_half.len());
    println!(
        "    {:40}{:>18}{:>18}",
        "events that gossip did not bring to all",
        missed(real),
        missed(simulated)
    );
    println!(
        "==> {} (at most {within} % is asked for), of {} deaths and {} events",
        if held { "held" } else { "DID NOT HOLD" },
        real.all_know.len(),
        real.event_at_half.len()
    );
    Outcome::held_if(held)
}

fn summary(values: &[f64]) -> String {
    let (mean, count) = (mean(values), values.len() as f64);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    format!("{mean:.3} ± {:.3}", 2.0 * (squares / count).sqrt() / count.sqrt())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_death_and_event_the_ends_are_kept() {
        let mut measured = Measured::default();
        measured.spread(vec![0.3, 0.0, 0.1, 0.2]);
        measured.spread(vec![0.0, 0.1, 31.0]);
        measured.death(&[1.5, 1.2, 1.4]);
        assert_eq!((measured.event_at_half, measured.event_at_all), (vec![0.2, 0.1], vec![0.3]));
        assert_eq!(measured.missed_by_gossip, 1);
        assert_eq!((measured.first_knows, measured.all_know), (vec![1.2], vec![1.5]));
        assert_eq!(summary(&[1.0, 3.0]), "2.000 ± 1.414");
    }
}
