//! `thane sim`: questions about a cluster, answered by a virtual one.
//!
//! What runs is the very core that the agent runs; the simulator's crate does everything but the talking. Each command of the group is
//! one file here and one entry of [`COMMANDS`].

mod replay;
mod sweep;

use super::{Command, Failure, Output, Run};
use crate::goflags::{FlagSet, Parsed};

/// The commands of the group, sorted by name.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "replay",
        synopsis: "Play a recorded life of an agent again, and tell why it decided as it did",
        flags: replay::flags,
        run: Run::Parsed(replay::run),
    },
    Command {
        name: "sweep",
        synopsis: "Look for bugs of Thane itself: random faults under all checkers",
        flags: sweep::flags,
        run: Run::Parsed(sweep::run),
    },
];

pub(super) fn flags() -> FlagSet {
    FlagSet::new(
        "sim",
        "sim COMMAND [flags]",
        "Runs whole clusters on virtual machines with a virtual network, with the very code that an agent runs, in virtual\n\
         time: hours pass in seconds. Everything is drawn from one number, the seed, and the same seed gives the same run.",
    )
    .example("thane sim sweep -seeds 100")
}

pub(super) fn run(parsed: &Parsed, _output: &mut Output) -> Result<(), Failure> {
    match parsed.args() {
        [] => Err(Failure::NothingToDo),
        [other, ..] => Err(Failure::mendable(
            format!("'{other}' is no command of thane sim"),
            "'thane sim -h' lists them.",
        )),
    }
}
