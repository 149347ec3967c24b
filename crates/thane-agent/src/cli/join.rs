//! `thane join`.

use serde::Serialize;

use super::connection::{connect, failed, with_connection};
use super::encoding::{Format, as_json, with_format};
use super::progress::Progress;
use super::{Failure, Output, complain};
use crate::goflags::{FlagSet, Parsed};

pub(super) fn flags() -> FlagSet {
    with_format(with_connection(FlagSet::new(
        "join",
        "join [flags] ADDRESS...",
        "Makes the agent join the cluster that any of the addresses belongs to. An address is 'host', 'host:port' or\n\
         'name/host:port'; the port is the agent's own unless given. One address that answers is enough.",
    )))
    .bool("replay", false, "Also take the user events that the cluster saw before.")
    .example("thane join 10.0.0.7 10.0.0.8:7946")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    if parsed.args().is_empty() {
        return Err(Failure::Usage("At least one address to join must be specified."));
    }
    let format = Format::of(parsed)?;
    let mut client = connect(parsed)?;
    let progress = Progress::start("waiting for the addresses to answer");
    let contacted = client
        .join(parsed.args(), parsed.bool("replay"))
        .map_err(|error| failed("joining the cluster", &error))?;
    drop(progress);
    let (asked, contacted) = (parsed.args().len(), i64::from(contacted));
    let text = match format {
        Format::Text => format!("Successfully joined cluster by contacting {contacted} nodes."),
        Format::Json => as_json(&Document { asked, contacted })?,
    };
    output.line(&text)?;
    // A host name may stand for several nodes, all of which count: more may have stayed silent than this.
    let missed = asked.saturating_sub(usize::try_from(contacted).unwrap_or(0));
    if missed > 0 && matches!(format, Format::Text) {
        complain(&format!(
            "Not reached: {missed} of the {asked} addresses. 'thane join' with one at a time says which, and why.\n"
        ));
    }
    Ok(())
}

#[derive(Serialize)]
struct Document {
    /// Addresses that were named.
    asked: usize,
    /// Nodes that answered; a host name may stand for several.
    contacted: i64,
}
