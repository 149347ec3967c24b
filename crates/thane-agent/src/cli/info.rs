//! `thane info`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::connection::{connect, failed, with_connection};
use super::encoding::{Format, as_json, with_format};
use super::{Failure, Output};
use crate::goflags::{FlagSet, Parsed};

pub(super) fn flags() -> FlagSet {
    with_format(with_connection(FlagSet::new(
        "info",
        "info [flags]",
        "Shows what an agent counts and how it is set up: its name, tags and event handlers, the number of members,\n\
         its clocks and queues.",
    )))
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let stats = connect(parsed)?.stats().map_err(|error| failed("querying agent", &error))?;
    let text = match Format::of(parsed)? {
        Format::Text => as_text(&stats),
        Format::Json => as_json(&stats)?,
    };
    output.line(&text)?;
    Ok(())
}

/// Each section with its keys, all sorted.
fn as_text(stats: &BTreeMap<String, BTreeMap<String, String>>) -> String {
    let mut text = String::new();
    for (section, values) in stats {
        let mut add =
            |line: String| writeln!(text, "{line}").expect("invariant: writing to a String cannot fail");
        add(format!("{section}:"));
        for (key, value) in values {
            add(format!("\t{key} = {value}"));
        }
    }
    text.trim().to_owned()
}
