//! `thane join`.

use super::connection::{connect, failed, with_connection};
use super::{Failure, Output};
use crate::goflags::{FlagSet, Parsed};

pub(super) fn flags() -> FlagSet {
    with_connection(FlagSet::new(
        "join",
        "join [flags] ADDRESS...",
        "Makes the agent join the cluster that any of the addresses belongs to. An address is 'host', 'host:port' or\n\
         'name/host:port'; the port is the agent's own unless given. One address that answers is enough.",
    ))
    .bool("replay", false, "Also take the user events that the cluster saw before.")
    .example("thane join 10.0.0.7 10.0.0.8:7946")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    if parsed.args().is_empty() {
        return Err(Failure::Usage("At least one address to join must be specified."));
    }
    let contacted = connect(parsed)?
        .join(parsed.args(), parsed.bool("replay"))
        .map_err(|error| failed("joining the cluster", &error))?;
    output.line(&format!("Successfully joined cluster by contacting {contacted} nodes."))?;
    Ok(())
}
