//! `cargo xtask swarm`: do many agents on one machine find each other, and stay together?

use crate::{
    Outcome,
    arguments::Arguments,
    fleet::Fleet,
    process::{cargo, find, succeeds},
};
use anyhow::{Context as _, Result, bail};
use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// Time between two looks at every agent. Looking costs a process an agent, so it must not come too often.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) fn run(mut arguments: Arguments) -> Result<Outcome> {
    let agents = arguments.value("--agents", 200)?;
    let watched = Duration::from_secs(arguments.value("--seconds", 60)?);
    let patience = Duration::from_secs(arguments.value("--patience", 120)?);
    let program = arguments.value("--program", String::new())?;
    arguments.finish()?;
    let program = if program.is_empty() {
        build_release()?
    } else {
        find(&program).with_context(|| format!("cannot find the program `{program}`"))?
    };

    println!("==> starting {agents} agents of {}", program.display());
    let started = Instant::now();
    let mut fleet = Fleet::start(&program, agents)?;
    println!("    all processes started after {:.1?}", started.elapsed());
    join_all(&mut fleet, patience)?;
    println!("    full membership {:.1?} after the first start", started.elapsed());

    println!("==> watching for {watched:?}");
    let steady = watch(&mut fleet, watched)?;
    let failures = fleet.log_lines_with("EventMemberFailed")?;
    let suspicions = fleet.log_lines_with("Suspect ")?;
    println!("    failures in the logs: {failures}; suspicions: {suspicions}");
    report_memory(&fleet)?;
    let held = steady && failures == 0;
    println!("==> {}", if held { "held" } else { "DID NOT HOLD" });
    Ok(Outcome::held_if(held))
}

/// Builds the release program.
pub(crate) fn build_release() -> Result<PathBuf> {
    println!("==> building the release program");
    if !succeeds(cargo().args(["build", "--release", "--package", "thane-agent"]))? {
        bail!("the release build failed");
    }
    let folder =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from);
    Ok(folder.join("release/thane"))
}

/// Waits until all know all, with a line of progress now and then.
pub(crate) fn join_all(fleet: &mut Fleet, patience: Duration) -> Result<()> {
    println!("==> waiting until each of {} agents knows all", fleet.len());
    let total = fleet.len();
    let mut told = Instant::now();
    let took = fleet.wait_for_full_membership(patience, |known_by| {
        if told.elapsed() > Duration::from_secs(1) {
            println!("    {known_by} of {total} know all");
            told = Instant::now();
        }
    })?;
    println!("    {total} of {total} know all, {took:.1?} after the last start");
    Ok(())
}

/// Whether every agent counts every other as alive at each look, until `watched` has passed.
fn watch(fleet: &mut Fleet, watched: Duration) -> Result<bool> {
    let started = Instant::now();
    let cpu_before = fleet.cpu_time()?;
    let mut steady = true;
    while started.elapsed() < watched {
        thread::sleep(LOOK_INTERVAL.min(watched.saturating_sub(started.elapsed())));
        fleet.all_run()?;
        let dissenters = fleet.dissenters()?;
        println!("    {:3.0?}: {} agents do not see all alive", started.elapsed(), dissenters.len());
        for dissenter in dissenters.iter().take(5) {
            println!("        {dissenter}");
        }
        steady &= dissenters.is_empty();
    }
    let used = fleet.cpu_time()?.saturating_sub(cpu_before).as_secs_f64();
    let share = 100.0 * used / started.elapsed().as_secs_f64();
    let each = share / fleet.len() as f64;
    println!("    processor: {share:.1} % of one core for all, {each:.2} % for each, looking included");
    Ok(steady)
}

fn report_memory(fleet: &Fleet) -> Result<()> {
    let sizes = fleet.pss_kib()?;
    let (least, median, most) = (sizes[0], sizes[sizes.len() / 2], sizes[sizes.len() - 1]);
    println!("    memory (PSS) of an agent: {least} KiB least, {median} KiB median, {most} KiB most");
    Ok(())
}
