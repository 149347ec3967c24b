//! `thane leave`.

use serde::Serialize;

use super::connection::{connect, failed, with_connection};
use super::encoding::{Format, as_json, with_format};
use super::progress::Progress;
use super::{Failure, Output};
use crate::goflags::{FlagSet, Parsed};

pub(super) fn flags() -> FlagSet {
    with_format(with_connection(FlagSet::new(
        "leave",
        "leave [flags]",
        "Makes the agent tell the cluster that it leaves, and then stop. Nobody takes it for failed.",
    )))
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let format = Format::of(parsed)?;
    let mut client = connect(parsed)?;
    let progress = Progress::start("waiting until the members are told");
    client.leave().map_err(|error| failed("leaving", &error))?;
    drop(progress);
    let text = match format {
        Format::Text => "Graceful leave complete".to_owned(),
        Format::Json => as_json(&Document { left: true })?,
    };
    Ok(output.line(&text)?)
}

#[derive(Serialize)]
struct Document {
    /// Whether it told the cluster before it stopped; a leave that failed is an error instead.
    left: bool,
}
