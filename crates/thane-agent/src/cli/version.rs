//! `thane version`.

use serde::Serialize;

use super::encoding::{Format, as_json, with_format};
use super::{Failure, Output};
use crate::goflags::{FlagSet, Parsed};

/// The program's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The versions of Serf's protocol that an agent speaks.
const PROTOCOL: Protocol = Protocol { max: 5, min: 2 };

pub(super) fn flags() -> FlagSet {
    with_format(FlagSet::new(
        "version",
        "version",
        "Shows the version of the program, and which versions of Serf's protocol it speaks.",
    ))
}

/// Both lines, in the words that scripts look for.
pub(super) fn text() -> String {
    let Protocol { max, min } = PROTOCOL;
    format!("{VERSION}\nAgent Protocol: {max} (Understands back to: {min})")
}

/// Prints them; arguments are ignored, as Serf does.
pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let text = match Format::of(parsed)? {
        Format::Text => text(),
        Format::Json => as_json(&Document { version: VERSION, protocol: PROTOCOL })?,
    };
    Ok(output.line(&text)?)
}

#[derive(Serialize)]
struct Document {
    version: &'static str,
    protocol: Protocol,
}

#[derive(Serialize)]
struct Protocol {
    max: u8,
    min: u8,
}
