//! `thane join`.

use serde::Serialize;

use super::connection::{connect, failed, with_connection};
use super::encoding::{Format, as_json, with_format};
use super::progress::Progress;
use super::{Failure, Output};
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
    let text = match format {
        Format::Text => format!("Successfully joined cluster by contacting {contacted} nodes."),
        Format::Json => as_json(&Document { contacted: contacted.into() })?,
    };
    Ok(output.line(&text)?)
}

#[derive(Serialize)]
struct Document {
    /// Addresses that answered.
    contacted: i64,
}
