//! `thane event`.

use serde::Serialize;

use super::connection::{connect, failed, with_connection};
use super::encoding::{Format, as_json, with_format};
use super::{Failure, Output};
use crate::goflags::{FlagSet, Parsed};

pub(super) fn flags() -> FlagSet {
    with_format(with_connection(FlagSet::new(
        "event",
        "event [flags] NAME [PAYLOAD]",
        "Sends a user event to every member of the cluster. Members that are down for a moment hear of it when they\n\
         are back. Flags come before the name; what follows it is the payload, even if it looks like a flag.",
    )))
    .bool("coalesce", true, "Let members keep only the newest of several events with this name.")
    .example("thane event deploy v1.2.3")
    .example("thane event -coalesce=false deploy v1.2.3")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let (name, payload) = match parsed.args() {
        [] => return Err(Failure::Usage("An event name must be specified.")),
        [name] => (name, None),
        [name, _payload] => (name, Some(parsed.arg_bytes(1))),
        [_, _, ..] => {
            return Err(Failure::Usage(
                "Too many command line arguments. Only a name and payload must be specified.",
            ));
        }
    };
    let (format, coalesce) = (Format::of(parsed)?, parsed.bool("coalesce"));
    connect(parsed)?.event(name, payload, coalesce).map_err(|error| failed("sending event", &error))?;
    let text = match format {
        Format::Text => format!("Event '{name}' dispatched! Coalescing enabled: {coalesce}"),
        Format::Json => as_json(&Document { event: name, coalesce })?,
    };
    Ok(output.line(&text)?)
}

#[derive(Serialize)]
struct Document<'a> {
    event: &'a str,
    coalesce: bool,
}
