//! `thane leave`.

use super::connection::{connect, failed, with_connection};
use super::{Failure, Output};
use crate::goflags::{FlagSet, Parsed};

pub(super) fn flags() -> FlagSet {
    with_connection(FlagSet::new(
        "leave",
        "leave [flags]",
        "Makes the agent tell the cluster that it leaves, and then stop. Nobody takes it for failed.",
    ))
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    connect(parsed)?.leave().map_err(|error| failed("leaving", &error))?;
    output.line("Graceful leave complete")?;
    Ok(())
}
