//! `cargo xtask bench detection`: how soon all members know that one has died or hangs, and how often they are wrong, beside real Serf.
//!
//! Three clusters of the same size run at the same time, so that the machine treats them alike: Serf alone, Thane alone, and half of
//! each. The same things happen to all of them in the same order.

use crate::{
    Outcome,
    arguments::Arguments,
    herd::{Herd, Place, What, failed, joined, name},
    process, serf, swarm,
};
use anyhow::{Context as _, Result, bail};
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};
use thane_sim::SimRng;

/// Until all know all, or until all know of a death.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two things that happen, so that one does not disturb the next.
const REST: Duration = Duration::from_secs(2);
/// The shortest and the longest pause of a storm.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));
/// How much later than Serf alone a mixed cluster may be on this machine's noise.
const NOISE: f64 = 1.10;

/// One of the three clusters, and what was measured of it.
#[derive(Debug)]
struct Cluster {
    kind: &'static str,
    herd: Herd,
    killed: Times,
    paused: Times,
    /// Failures told of members that had been stopped for seconds in the storm, and of others.
    wrong_about_stopped: usize,
    wrong_about_others: usize,
}

/// Seconds from what happened until the first and until the last member knew.
#[derive(Debug, Default)]
struct Times {
    first: Vec<f64>,
    last: Vec<f64>,
}

impl Times {
    fn add(&mut self, since: Instant, (first, last): (Instant, Instant)) {
        self.first.push(first.duration_since(since).as_secs_f64());
        self.last.push(last.duration_since(since).as_secs_f64());
    }
}

pub(crate) fn run(mut arguments: Arguments) -> Result<Outcome> {
    match arguments.chore().as_deref() {
        Some("detection") => detection(arguments),
        Some(other) => bail!("there is no bench `{other}`; there is `detection`"),
        None => bail!("say which bench to run: `cargo xtask bench detection`"),
    }
}

fn detection(mut arguments: Arguments) -> Result<Outcome> {
    let agents: usize = arguments.value("--agents", 16)?;
    let kills: usize = arguments.value("--kills", 8)?;
    let pauses: usize = arguments.value("--pauses", 3)?;
    let storm = Duration::from_secs(arguments.value("--storm", 90)?);
    let seed: u64 = arguments.value("--seed", u64::from(std::process::id()))?;
    let program = arguments.value("--program", String::new())?;
    arguments.finish()?;
    println!("==> Serf, to compare with");
    let serf = serf::find_or_install()?.context("there is no `serf` to compare with")?;
    let thane = if program.is_empty() {
        swarm::build_release()?
    } else {
        process::find(&program).with_context(|| format!("cannot find the program `{program}`"))?
    };
    println!("==> three clusters of {agents} agents each; victims and pauses are drawn from --seed {seed}");
    let mut clusters = start(&serf, &thane, agents)?;
    let mut rng = SimRng::new(seed, "bench", 0);
    for round in 1..=kills {
        let victim = rng.below(agents);
        println!("==> kill {round} of {kills}: {}", name(victim));
        kill(&mut clusters, victim)?;
    }
    for round in 1..=pauses {
        let victim = rng.below(agents);
        println!("==> pause {round} of {pauses}, until all know: {}", name(victim));
        pause(&mut clusters, victim)?;
    }
    println!("==> a storm of {storm:?}: in each second one member is stopped for 1 to 8 seconds");
    weather(&mut clusters, storm, &mut rng)?;
    Ok(report(&clusters))
}

fn start(serf: &Path, thane: &Path, agents: usize) -> Result<Vec<Cluster>> {
    let half: Vec<&Path> = (0..agents).map(|agent| if agent % 2 == 0 { serf } else { thane }).collect();
    let mut clusters = Vec::new();
    for (number, (kind, programs)) in
        [("Serf", vec![serf; agents]), ("Thane", vec![thane; agents]), ("mixed", half)]
            .into_iter()
            .enumerate()
    {
        let mut herd = Herd::start(&programs, Place::loopback(number as u8))?;
        herd.wait_for_all(PATIENCE).with_context(|| format!("the cluster {kind}"))?;
        println!("    {kind}: all know all");
        clusters.push(Cluster {
            kind,
            herd,
            killed: Times::default(),
            paused: Times::default(),
            wrong_about_stopped: 0,
            wrong_about_others: 0,
        });
    }
    Ok(clusters)
}

/// Kills one member of each cluster, waits until all others know, and starts it again.
fn kill(clusters: &mut [Cluster], victim: usize) -> Result<()> {
    let mut since = Vec::new();
    for cluster in clusters.iter_mut() {
        cluster.herd.take_news();
        since.push(Instant::now());
        cluster.herd.kill(victim);
    }
    for (cluster, since) in clusters.iter_mut().zip(since) {
        let times = cluster.herd.wait_for_others(victim, &failed(victim), PATIENCE)?;
        cluster.killed.add(since, times);
        tell(cluster, &cluster.killed);
    }
    for cluster in clusters.iter_mut() {
        count_wrong(cluster, &[victim]);
        cluster.herd.revive(victim)?;
    }
    for cluster in clusters.iter_mut() {
        cluster.herd.wait_for_others(victim, &joined(victim), PATIENCE)?;
    }
    thread::sleep(REST);
    Ok(())
}

/// Stops one member of each cluster until all others know, and lets it go on.
fn pause(clusters: &mut [Cluster], victim: usize) -> Result<()> {
    let mut since = Vec::new();
    for cluster in clusters.iter_mut() {
        cluster.herd.take_news();
        since.push(Instant::now());
        cluster.herd.signal(victim, "STOP")?;
    }
    for (cluster, since) in clusters.iter_mut().zip(since) {
        let times = cluster.herd.wait_for_others(victim, &failed(victim), PATIENCE)?;
        cluster.paused.add(since, times);
        tell(cluster, &cluster.paused);
    }
    for cluster in clusters.iter_mut() {
        count_wrong(cluster, &[victim]);
        cluster.herd.signal(victim, "CONT")?;
    }
    for cluster in clusters.iter_mut() {
        cluster.herd.wait_for_others(victim, &joined(victim), PATIENCE)?;
    }
    thread::sleep(REST);
    Ok(())
}

fn tell(cluster: &Cluster, times: &Times) {
    if let (Some(first), Some(last)) = (times.first.last(), times.last.last()) {
        println!("    {:5}: first member after {first:.2} s, last after {last:.2} s", cluster.kind);
    }
}

/// Stops members at random, the same ones at the same times in each cluster. None of them is dead, so each failure told is wrong.
fn weather(clusters: &mut [Cluster], storm: Duration, rng: &mut SimRng) -> Result<()> {
    for cluster in clusters.iter_mut() {
        cluster.herd.take_news();
    }
    let agents = clusters[0].herd.len();
    let started = Instant::now();
    let mut stopped: Vec<(usize, Instant)> = Vec::new();
    let mut ever: Vec<usize> = Vec::new();
    while started.elapsed() < storm || !stopped.is_empty() {
        let now = Instant::now();
        let (over, going_on): (Vec<_>, Vec<_>) = stopped.into_iter().partition(|(_, until)| *until <= now);
        stopped = going_on;
        for (victim, _) in over {
            for cluster in clusters.iter() {
                cluster.herd.signal(victim, "CONT")?;
            }
        }
        let victim = rng.below(agents);
        if started.elapsed() < storm && !stopped.iter().any(|(other, _)| *other == victim) {
            for cluster in clusters.iter() {
                cluster.herd.signal(victim, "STOP")?;
            }
            stopped.push((victim, now + rng.span(PAUSES.0, PAUSES.1)));
            ever.push(victim);
        }
        thread::sleep(Duration::from_secs(1));
    }
    // What is under way may still come to a verdict.
    thread::sleep(Duration::from_secs(15));
    for cluster in clusters.iter_mut() {
        count_wrong(cluster, &[]);
    }
    println!("    {} stops of {agents} members", ever.len());
    Ok(())
}

/// Counts failures told of members that live. Those in `dead` are meant to be told of.
fn count_wrong(cluster: &mut Cluster, dead: &[usize]) {
    let storm = dead.is_empty();
    for news in cluster.herd.take_news() {
        let What::Failed(whom) = news.what else { continue };
        if dead.iter().any(|agent| name(*agent) == whom) {
            continue;
        }
        if storm {
            cluster.wrong_about_stopped += 1;
        } else {
            cluster.wrong_about_others += 1;
        }
    }
}

fn report(clusters: &[Cluster]) -> Outcome {
    let columns = ["killed: first", "all, median", "all, worst", "paused: first", "all, median"];
    println!("==> seconds until members know, and failures told of members that live");
    print!("    {:6}", "");
    for column in columns {
        print!(" {column:>14}");
    }
    println!(" {:>10} {:>10}", "in storm", "otherwise");
    for cluster in clusters {
        print!("    {:6}", cluster.kind);
        let figures = [
            median(&cluster.killed.first),
            median(&cluster.killed.last),
            cluster.killed.last.iter().copied().fold(f64::NAN, f64::max),
            median(&cluster.paused.first),
            median(&cluster.paused.last),
        ];
        for figure in figures {
            print!(" {figure:>14.2}");
        }
        println!(" {:>10} {:>10}", cluster.wrong_about_stopped, cluster.wrong_about_others);
    }
    let [serf, thane, mixed] = [0, 1, 2].map(|at| median(&clusters[at].killed.last));
    let wrong = |at: usize| clusters[at].wrong_about_stopped + clusters[at].wrong_about_others;
    println!(
        "    killed, known to all: Thane / Serf = {:.2}, mixed / Serf = {:.2}",
        thane / serf,
        mixed / serf
    );
    let held = thane <= serf / 4.0 && mixed <= serf * NOISE && wrong(1) <= wrong(0);
    println!(
        "==> {} (asked for: Thane at most a quarter, mixed no later than Serf, no more false alarms than Serf)",
        if held { "held" } else { "DID NOT HOLD" }
    );
    Outcome::held_if(held)
}

/// The middle one; NaN of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }
}
