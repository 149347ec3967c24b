//! `thane demo`: what a cluster does, shown with three real agents on this machine.
//!
//! Each agent is a process of its own, found again through its RPC as any client would. The story is told by
//! [`story`]; what the agents said so far is in [`world`]; [`show`] puts it on a terminal that redraws itself, or into
//! plain lines for a pipe. Nothing but 127.0.0.1 is used, and no usual port, so it runs beside a real cluster.

mod ports;
mod process;
mod show;
mod story;
mod watch;
mod world;

use std::io::{self, IsTerminal as _};

use self::process::Scratch;
use self::show::Show;
use self::story::{Problem, Story};
use crate::cli::{Failure, Output};
use crate::goflags::{FlagSet, Parsed};
use crate::terminal::is_dumb;

/// How many of an agent's last log lines are printed when a step did not happen.
const LOG_TAIL_LINES: usize = 15;

pub(crate) fn flags() -> FlagSet {
    FlagSet::new(
        "demo",
        "demo [flags]",
        "Shows what a cluster does: starts three agents on 127.0.0.1, joins them, stops one without warning, shows\n\
         how the others notice, starts it again, sends an event and leaves. Takes about fifteen seconds and leaves\n\
         nothing behind. Exits with 0 only if everything happened as it should.",
    )
    .bool("plain", false, "Print lines instead of a live table; so does a standard output that is no terminal.")
    .bool("keep", false, "Leave the cluster running at the end, and print commands to try on it.")
}

pub(crate) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let mut show = if parsed.bool("plain") || is_dumb() || !io::stdout().is_terminal() {
        Show::plain()
    } else {
        Show::live()
    };
    let mut scratch = Scratch::new()
        .map_err(|error| Failure::told(format!("Cannot make a directory for logs: {error}")))?;
    let told = Story::tell(&mut show, &scratch, parsed.bool("keep"));
    show.end()?;
    match told {
        Ok(None) => Ok(()),
        Ok(Some(kept)) => {
            scratch.keep();
            output.line(&kept.instructions(&scratch))?;
            kept.release();
            Ok(())
        }
        Err(Problem::Output(error)) => Err(error.into()),
        Err(Problem::Interrupted) => Err(Failure::told("Interrupted; all three agents are stopped.")),
        Err(problem) => {
            for (name, lines) in scratch.log_tails(LOG_TAIL_LINES) {
                output.line(&format!("Last log lines of {name}:"))?;
                for line in lines {
                    output.line(&format!("    {line}"))?;
                }
            }
            scratch.keep();
            let message =
                format!("The demonstration failed: {problem}.\nAll logs: {}", scratch.path().display());
            Err(Failure::told(message))
        }
    }
}
