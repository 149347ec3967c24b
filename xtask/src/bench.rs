//! `cargo xtask bench detection`: how soon all members know that one has died or hangs, and how often they are wrong, beside real Serf.
//!
//! Three clusters of the same size run at the same time, so that the machine treats them alike: Serf alone, Thane alone, and half of
//! each. The same things happen to all of them in the same order.

mod report;
mod storm;

use crate::{
    Outcome,
    arguments::Arguments,
    herd::{Herd, Place, What, failed, joined, name},
    process, serf, swarm,
};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use storm::Alarm;
use thane_sim::SimRng;

/// Until all know all, or until all know of a death.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two things that happen, so that one does not disturb the next.
const REST: Duration = Duration::from_secs(2);

/// One of the three clusters, and what was measured of it.
#[derive(Debug)]
struct Cluster {
    kind: &'static str,
    herd: Herd,
    killed: Times,
    paused: Times,
    /// Members that were told failed in the storm, where nobody died.
    alarms: Vec<Alarm>,
    /// Failures told of others than the one that was killed or paused.
    others_told: usize,
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

/// What happens to a member that the others shall notice.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// It is killed, and started again once all know.
    Kill,
    /// It is stopped, and goes on once all know.
    Pause,
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
    let logs = arguments.value("--logs", PathBuf::new())?;
    let json = arguments.value("--json", PathBuf::new())?;
    arguments.finish()?;
    ensure!(kills > 0, "there must be something to compare: at least one kill");
    println!("==> Serf, to compare with");
    let serf = serf::find_or_install()?.context("there is no `serf` to compare with")?;
    let thane = if program.is_empty() {
        swarm::build_release()?
    } else {
        process::find(&program).with_context(|| format!("cannot find the program `{program}`"))?
    };
    println!("==> three clusters of {agents} agents each; victims and pauses are drawn from --seed {seed}");
    let mut clusters = start(&serf, &thane, agents, &logs)?;
    let mut rng = SimRng::new(seed, "bench", 0);
    for round in 1..=kills {
        let victim = rng.below(agents);
        println!("==> kill {round} of {kills}: {}", name(victim));
        strike(&mut clusters, Blow::Kill, victim)?;
    }
    for round in 1..=pauses {
        let victim = rng.below(agents);
        println!("==> pause {round} of {pauses}, until all know: {}", name(victim));
        strike(&mut clusters, Blow::Pause, victim)?;
    }
    println!(
        "==> a storm of {storm:?}: in each second one more member is stopped or starved for 1 to 8 seconds"
    );
    let spells = storm::rage(&mut clusters, storm, &mut rng)?;
    let report = report::Report::of(&clusters, &spells);
    print!("{}", report.table());
    if json != PathBuf::new() {
        fs::write(&json, format!("{:#}\n", report.json()))
            .with_context(|| format!("cannot write {}", json.display()))?;
    }
    Ok(Outcome::held_if(report.held()))
}

fn start(serf: &Path, thane: &Path, agents: usize, logs: &Path) -> Result<Vec<Cluster>> {
    let half: Vec<&Path> = (0..agents).map(|agent| if agent % 2 == 0 { thane } else { serf }).collect();
    let mut clusters = Vec::new();
    for (number, (kind, programs)) in
        [("Serf", vec![serf; agents]), ("Thane", vec![thane; agents]), ("mixed", half)]
            .into_iter()
            .enumerate()
    {
        let logs = (logs != Path::new("")).then(|| logs.join(kind));
        let mut herd = Herd::start(&programs, Place::loopback(number as u8), logs.as_deref())?;
        herd.wait_for_all(PATIENCE).with_context(|| format!("the cluster {kind}"))?;
        println!("    {kind}: all know all");
        let (killed, paused) = (Times::default(), Times::default());
        clusters.push(Cluster { kind, herd, killed, paused, alarms: Vec::new(), others_told: 0 });
    }
    Ok(clusters)
}

/// Strikes one member of each cluster, waits until all others know, and has it back.
fn strike(clusters: &mut [Cluster], blow: Blow, victim: usize) -> Result<()> {
    let mut since = Vec::new();
    for Cluster { herd, .. } in clusters.iter_mut() {
        herd.take_news();
        since.push(Instant::now());
        match blow {
            Blow::Kill => herd.kill(victim),
            Blow::Pause => herd.signal(victim, "STOP")?,
        }
    }
    for (cluster, since) in clusters.iter_mut().zip(since) {
        let times = cluster.herd.wait_for_others(victim, &failed(victim), PATIENCE)?;
        let kept = match blow {
            Blow::Kill => &mut cluster.killed,
            Blow::Pause => &mut cluster.paused,
        };
        kept.add(since, times);
        let after = |at: Instant| at.duration_since(since).as_secs_f64();
        println!(
            "    {:5}: first member after {:.2} s, last after {:.2} s",
            cluster.kind,
            after(times.0),
            after(times.1)
        );
    }
    for Cluster { herd, others_told, .. } in clusters.iter_mut() {
        let victim_failed = failed(victim);
        let told = herd.take_news().into_iter().filter(|news| matches!(news.what, What::Failed(_)));
        *others_told += told.filter(|news| news.what != victim_failed).count();
        match blow {
            Blow::Kill => herd.revive(victim)?,
            Blow::Pause => herd.signal(victim, "CONT")?,
        }
    }
    for cluster in clusters.iter_mut() {
        cluster.herd.wait_for_others(victim, &joined(victim), PATIENCE)?;
    }
    thread::sleep(REST);
    Ok(())
}
