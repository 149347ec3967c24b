//! `cargo xtask chaos`: real agents, real faults.
//!
//! Each agent lives in a network namespace of its own, all of them joined by one bridge; every other one is Serf's. The chore
//! runs itself again inside fresh namespaces for mounts, networks and processes: these, and all within, are gone as soon as its first process
//! is, whatever ends it. Clocks are left alone: to step one would step the whole machine's.

mod network;
mod phases;
mod witness;

use crate::{
    Outcome,
    arguments::Arguments,
    process::{find, succeeds, tied_to_us},
    serf, swarm,
};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

/// Says to the chore that it runs inside its namespaces already, and which programs to use.
const INSIDE: &str = "THANE_CHAOS_PROGRAMS";

/// What can be asked for.
#[derive(Debug)]
struct Wishes {
    agents: usize,
    /// How long loss, delay and one-way cuts last.
    spell: Duration,
    partition: Duration,
    /// Where the agents' logs are kept; nowhere if empty.
    logs: PathBuf,
}

pub(crate) fn run(mut arguments: Arguments) -> Result<Outcome> {
    let wishes = Wishes {
        agents: arguments.value("--agents", 8)?,
        spell: Duration::from_secs(arguments.value("--spell", 40)?),
        partition: Duration::from_secs(arguments.value("--partition", 90)?),
        logs: arguments.value("--logs", PathBuf::new())?,
    };
    let program = arguments.value("--program", String::new())?;
    arguments.finish()?;
    let agents = wishes.agents;
    ensure!((4..=200).contains(&agents), "chaos needs 4 to 200 agents, not {agents}");
    if let Some(programs) = env::var_os(INSIDE) {
        let programs: Vec<PathBuf> = env::split_paths(&programs).collect();
        let [serf, thane] = &programs[..] else { bail!("{INSIDE} names two programs") };
        return phases::run(serf, thane, &wishes);
    }
    println!("==> Serf, to be in the same cluster");
    let serf = serf::find_or_install()?.context("there is no `serf` to run beside")?;
    for (tool, package) in [("ip", "iproute2"), ("nft", "nftables"), ("unshare", "util-linux")] {
        ensure!(
            find(tool).is_some() || serf::install(package)?,
            "`{tool}` is not there; install the package `{package}`"
        );
    }
    let thane = if program.is_empty() {
        swarm::build_release()?
    } else {
        find(&program).with_context(|| format!("cannot find the program `{program}`"))?.canonicalize()?
    };
    inside(&[serf, thane], &wishes)
}

/// Runs this program again, in namespaces of its own.
fn inside(programs: &[PathBuf], wishes: &Wishes) -> Result<Outcome> {
    // It dies with us, and its child, the first process of the namespace, with it.
    let mut command = tied_to_us(Path::new("unshare"));
    // Not root: then as root of a namespace for users, where the kernel allows it.
    if !serf::is_root()? {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--"]);
    command.arg(env::current_exe()?).arg("chaos").arg(format!("--agents={}", wishes.agents));
    command.arg(format!("--spell={}", wishes.spell.as_secs()));
    command.arg(format!("--partition={}", wishes.partition.as_secs()));
    if wishes.logs != PathBuf::new() {
        command.arg("--logs").arg(&wishes.logs);
    }
    command.env(INSIDE, env::join_paths(programs)?);
    Ok(Outcome::held_if(succeeds(&mut command)?))
}
