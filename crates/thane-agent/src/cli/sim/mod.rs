//! `thane sim`: questions about a cluster, answered by a virtual one.
//!
//! What runs is the very core that the agent runs; the simulator's crate does everything but the talking. Each command of the group is
//! one file here and one entry of [`COMMANDS`].

mod asked;
mod compare;
mod gallery;
mod heal;
mod paper;
mod replay;
mod run;
mod sweep;

use super::{Command, Failure, Output, Run};
use crate::goflags::{FlagSet, Parsed};

/// The commands of the group, sorted by name.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "compare",
        synopsis: "Set two settings beside each other, over the same seeds",
        flags: compare::flags,
        run: Run::Parsed(compare::run),
    },
    Command {
        name: "heal",
        synopsis: "Divide clusters for a while, and measure when they are one again",
        flags: heal::flags,
        run: Run::Parsed(heal::run),
    },
    Command {
        name: "keys",
        synopsis: "List everything that can be set",
        flags: gallery::keys_flags,
        run: Run::Parsed(gallery::keys),
    },
    Command {
        name: "list",
        synopsis: "List the scenarios that are built in",
        flags: gallery::list_flags,
        run: Run::Parsed(gallery::list),
    },
    Command {
        name: "paper",
        synopsis: "Measure again what papers published, and print both",
        flags: paper::flags,
        run: Run::Parsed(paper::run),
    },
    Command {
        name: "replay",
        synopsis: "Play a recorded life of an agent again, and tell why it decided as it did",
        flags: replay::flags,
        run: Run::Parsed(replay::run),
    },
    Command {
        name: "run",
        synopsis: "Simulate a cluster; the same as without a command",
        flags: run::flags,
        run: Run::Parsed(run::run),
    },
    Command {
        name: "sweep",
        synopsis: "Look for bugs of Thane itself: random faults under all checkers",
        flags: sweep::flags,
        run: Run::Parsed(sweep::run),
    },
];

pub(super) fn flags() -> FlagSet {
    run::with_runs(run::with_setup(FlagSet::new(
        "sim",
        "sim [COMMAND] [flags] [SCENARIO|FILE.toml|KEY=VALUE]...",
        "Tells what a cluster would do: with your settings, on such a network, when such things go wrong. It runs the very code that\n\
         an agent runs, on virtual machines with a virtual network and in virtual time: minutes pass in seconds. Everything is\n\
         drawn from one number, the seed; the same seed gives the same run. Without a command it is thane sim run.",
    )))
    .example("thane sim crash")
    .example("thane sim -nodes 1000 -loss 0.05 -crash 10 -html report.html")
    .example("thane sim -nodes 50 -fault 'partition 30% at 10s for 60s' -seeds 10")
    .example("thane sim -profile wan -set suspicion_mult=4 -set zones=3 lossy")
    .example("thane sim my-cluster.toml")
}

/// Without a command it simulates what flags and arguments say; without those there is nothing to do.
pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    if parsed.is_empty() { Err(Failure::NothingToDo) } else { run::run(parsed, output) }
}
