//! `cargo xtask memory`: what an agent costs, beside what a Serf agent costs in a cluster of the same size.

use crate::{Outcome, arguments::Arguments, fleet::Fleet, serf, swarm};
use anyhow::{Context as _, Result};
use std::{path::Path, thread, time::Duration};

/// Time until full membership at most.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn run(mut arguments: Arguments) -> Result<Outcome> {
    let agents = arguments.value("--agents", 50)?;
    let settle = Duration::from_secs(arguments.value("--settle", 20)?);
    let at_most: f64 = arguments.value("--at-most", 0.5)?;
    let program = arguments.value("--program", String::new())?;
    arguments.finish()?;
    println!("==> Serf, to compare with");
    let serf = serf::find_or_install()?.context("there is no `serf` to compare with")?;
    let thane = if program.is_empty() { swarm::build_release()? } else { program.into() };

    let thane = measure(&thane, agents, settle)?;
    let serf = measure(&serf, agents, settle)?;
    println!("==> memory (PSS) of an agent in a cluster of {agents}, in KiB");
    println!("    {:8} {:>9} {:>9} {:>9} {:>9}", "", "least", "median", "most", "mean");
    for (name, sizes) in [("thane", &thane), ("serf", &serf)] {
        let (least, median, most) = (sizes[0], sizes[sizes.len() / 2], sizes[sizes.len() - 1]);
        println!("    {name:8} {least:>9} {median:>9} {most:>9} {:>9.0}", mean(sizes));
    }
    let ratio = mean(&thane) / mean(&serf);
    println!("    thane / serf = {ratio:.2} (at most {at_most} is asked for)");
    Ok(Outcome::held_if(ratio <= at_most))
}

/// PSS in KiB of each of `count` agents of `program`, sorted, some time after all know all.
fn measure(program: &Path, count: usize, settle: Duration) -> Result<Vec<u64>> {
    println!("==> starting {count} agents of {}", program.display());
    let mut fleet = Fleet::start(program, count)?;
    swarm::join_all(&mut fleet, PATIENCE)?;
    println!("    waiting {settle:?} for them to settle");
    thread::sleep(settle);
    fleet.all_run()?;
    fleet.pss_kib()
}

fn mean(sizes: &[u64]) -> f64 {
    sizes.iter().sum::<u64>() as f64 / sizes.len() as f64
}
