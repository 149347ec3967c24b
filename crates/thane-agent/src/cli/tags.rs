//! `thane tags`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::connection::{connect, failed, with_connection};
use super::encoding::{Format, as_json, with_format};
use super::progress::Progress;
use super::{Failure, Output};
use crate::goflags::{FlagSet, Parsed};

pub(super) fn flags() -> FlagSet {
    with_format(with_connection(FlagSet::new(
        "tags",
        "tags [flags]",
        "Changes the tags of a running agent, and tells the cluster. A tag that is both set and deleted is set.",
    )))
    .list("set", "Tag to set, as key=value.")
    .list("delete", "Key of a tag to delete.")
    .example("thane tags -set role=web -set version=7 -delete old")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    if parsed.list("set").is_empty() && parsed.list("delete").is_empty() {
        return Err(Failure::NothingToDo);
    }
    let format = Format::of(parsed)?;
    // Serf connects before it looks at the tags; which of two errors is told first can matter to a script.
    let mut client = connect(parsed)?;
    let set = tag_map(parsed, "set")?;
    let deleted = parsed.list("delete");
    let progress = Progress::start("waiting until the members are told");
    client.tags(&set, deleted).map_err(|error| failed("setting tags", &error))?;
    drop(progress);
    let text = match format {
        Format::Text => "Successfully updated agent tags".to_owned(),
        Format::Json => as_json(&Document { set: &set, deleted })?,
    };
    Ok(output.line(&text)?)
}

#[derive(Serialize)]
struct Document<'a> {
    set: &'a BTreeMap<String, String>,
    deleted: &'a [String],
}

/// The values of a flag that are tags.
pub(super) fn tag_map(parsed: &Parsed, flag: &str) -> Result<BTreeMap<String, String>, Failure> {
    parsed.tags(flag).map_err(|invalid| Failure::mendable(invalid, format!("Write -{flag} KEY=VALUE.")))
}
