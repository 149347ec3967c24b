//! `thane version`.

use super::Output;
use crate::exit::Exit;
use crate::goflags::FlagSet;

/// The program's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The versions of Serf's protocol that an agent speaks, in the words that scripts look for.
const PROTOCOL: &str = "Agent Protocol: 5 (Understands back to: 2)";

pub(super) fn flags() -> FlagSet {
    FlagSet::new(
        "version",
        "version",
        "Shows the version of the program, and which versions of Serf's protocol it speaks.",
    )
}

/// Prints both lines; arguments are ignored, as Serf does.
pub(super) fn run(_arguments: &[String]) -> Exit {
    match Output::stdout().line(&format!("{VERSION}\n{PROTOCOL}")) {
        Ok(()) => Exit::Success,
        Err(_closed) => Exit::Failure,
    }
}
