//! `thane force-leave`.

use serde::Serialize;

use super::connection::{connect, failed, with_connection};
use super::encoding::{Format, as_json, with_format};
use super::progress::Progress;
use super::{Failure, Output};
use crate::goflags::{FlagSet, Parsed};

pub(super) fn flags() -> FlagSet {
    with_format(with_connection(FlagSet::new(
        "force-leave",
        "force-leave [flags] NAME",
        "Turns a failed member into one that has left, so that nobody tries to reach it any longer. A member that is\n\
         in fact alive objects and stays. A name that nobody knows is no error.",
    )))
    .bool("prune", false, "Also forget the member at once.")
    .example("thane force-leave -prune web-3")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let [name] = parsed.args() else {
        return Err(Failure::Usage("A node name must be specified to force leave."));
    };
    let (format, prune) = (Format::of(parsed)?, parsed.bool("prune"));
    let mut client = connect(parsed)?;
    let progress = Progress::start("waiting until the members are told");
    client.force_leave(name, prune).map_err(|error| failed("force leaving", &error))?;
    drop(progress);
    match format {
        // Serf says nothing.
        Format::Text => Ok(()),
        Format::Json => Ok(output.line(&as_json(&Document { member: name, prune })?)?),
    }
}

#[derive(Serialize)]
struct Document<'a> {
    member: &'a str,
    prune: bool,
}
