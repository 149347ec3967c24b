//! The repository's own chores: `cargo xtask CHORE`.
//!
//! Everything here is plain Rust that starts other programs; nothing has to be installed first.

#![allow(clippy::print_stdout, reason = "a chore talks to the person who runs it")]

mod arguments;
mod bench;
mod calibrate;
mod chaos;
mod clients;
mod compat;
mod fleet;
mod fuzz;
mod herd;
mod memory;
mod process;
mod serf;
mod swarm;
mod test;
mod tidy;

use anyhow::{Result, bail};
use arguments::Arguments;
use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

const HELP: &str = "\
Usage: cargo xtask CHORE [OPTIONS]

  test     Installs what the tests need (the Debian package `serf`, RPC clients of others), then formats, lints, runs all
           tests beside the real Serf, doc tests and docs, and checks the source itself.
             --without-peers     do not run the tests beside Serf, and pass without them

  compat   Replays everything that was recorded of Serf and memberlist, and prints how much of it Thane
           answers the same, and which topics of their behaviour have a test or a line in COMPATIBILITY.md.
             --format=json       for programs
             --list              all topics with their tests, without replaying anything
             --topics            check the topics only

  clients  Puts the RPC clients that others wrote for Serf into the target folder, for the tests.

  tidy     Checks the source itself: crate edges, leftover markers, links, dependencies.
             --bless             write the list of direct dependencies as it is now

  fuzz     Looks for bytes that break a decoder or the core: libFuzzer on every target, two at a time.
           Fails on a panic, too much memory, or an input that takes too long, and says how to keep it.
             --seconds N         how long for each target (60)
             --target NAME       only this one
             --list              names the targets
             --input FILE        give the target this input only, and show what happens
             --keep              put the fewest inputs that reach all that was reached into fuzz/corpus

  swarm    Runs many agents as processes on loopback: joins them through one seed, waits until each
           knows all, watches that none is reported failed, and measures memory and CPU.
             --agents N          how many (200)
             --seconds N         how long to watch (60)
             --patience N        seconds until full membership at most (120)
             --program PATH      another program than the release build, such as `serf`

  memory   Measures the memory of Thane agents and of Serf agents in clusters of the same size.
             --agents N          how many of each (50)
             --settle N          seconds to wait between full membership and measuring (20)
             --at-most RATIO     the share of Serf's memory to pass with (0.5)
             --program PATH      another program than the release build

  bench detection
           Kills, stops and starves members of three clusters at the same time: Serf's, Thane's, and one of both.
           Prints how soon the first and the last member knew, and which members that live were told failed.
             --agents N          how many in each (16)
             --kills N           how often one is killed (8)
             --pauses N          how often one is stopped until all know (3)
             --storm N           seconds in which members are stopped and starved at random (90)
             --seed N            which members, and for how long (changes each time)
             --json FILE         write the results as JSON, too
             --logs FOLDER       keep what all agents log
             --program PATH      another program than the release build

  chaos    Real agents, half of them Serf's, each in a network namespace of its own: loss, delay where the kernel has netem,
           one-way cuts, partitions, kills, stops; events are sent meanwhile. The simulator's checkers look on. Needs root,
           or a kernel that lets users make namespaces; whatever ends it, nothing stays behind.
             --agents N          how many (8)
             --spell N           seconds that loss, delay and one-way cuts last (40)
             --partition N       seconds that a partition lasts (90)
             --logs FOLDER       keep what all agents log
             --program PATH      another program than the release build

  calibrate
           Measures a cluster of real agents, simulates the same, and says how far apart they are.
             --agents N          how many (50)
             --kills N           how many members are killed, five at a time (150)
             --events N          how many user events are sent (40)
             --within PERCENT    how far apart they may be (15)
             --seed N            which members (changes each time)
             --logs FOLDER       keep what all agents log
             --program PATH      another program than the release build
";

fn main() -> ExitCode {
    match run() {
        Ok(Outcome::Held) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What a chore that ran to its end found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Held,
    Failed,
}

impl Outcome {
    fn held_if(condition: bool) -> Self {
        if condition { Self::Held } else { Self::Failed }
    }
}

fn run() -> Result<Outcome> {
    let mut arguments = Arguments::new(env::args().skip(1));
    let Some(chore) = arguments.chore() else {
        eprint!("{HELP}");
        bail!("say which chore to run");
    };
    // Cargo runs aliases in the folder they were typed in; the chores think of the repository's root.
    env::set_current_dir(root())?;
    match chore.as_str() {
        "test" => test::run(arguments),
        "compat" => compat::run(arguments),
        "clients" => clients::run(arguments),
        "tidy" => tidy::run(arguments),
        "fuzz" => fuzz::run(arguments),
        "swarm" => swarm::run(arguments),
        "memory" => memory::run(arguments),
        "bench" => bench::run(arguments),
        "chaos" => chaos::run(arguments),
        "calibrate" => calibrate::run(arguments),
        "help" | "-h" | "--help" => {
            print!("{HELP}");
            Ok(Outcome::Held)
        }
        unknown => {
            eprint!("{HELP}");
            bail!("there is no chore `{unknown}`");
        }
    }
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_owned()
}
