//! `cargo xtask compat`: how much of what was recorded of Serf is replayed, and which topics of its behaviour have a test.
//!
//! Two sources are read. Tests that replay a recording print a line (see [`recordings`]). The files of `xtask/compat`
//! name for each topic of Serf's behaviour the tests that prove it, or the words of `COMPATIBILITY.md` that say what
//! differs (see [`topics`]).

mod binaries;
mod recordings;
mod report;
mod scan;
mod topics;

use crate::{Outcome, arguments::Arguments};
use anyhow::{Result, bail};
use report::Report;

pub(crate) fn run(mut arguments: Arguments) -> Result<Outcome> {
    let (list, topics_only) = (arguments.flag("--list"), arguments.flag("--topics"));
    let format = arguments.value("--format", "text".to_owned())?;
    arguments.finish()?;
    if !["text", "json"].contains(&format.as_str()) {
        bail!("--format is `text` or `json`, not `{format}`");
    }
    let binaries = binaries::build()?;
    let (areas, mut complaints) = topics::check(&binaries)?;
    let mut sets = Vec::new();
    // A list is asked for to read it, not to wait for the tests.
    if !list && !topics_only {
        let (found, wrong) = recordings::replay(&binaries)?;
        sets = found;
        complaints.extend(wrong);
    }
    let report = Report { sets, areas, complaints };
    match (format.as_str(), list) {
        ("json", _) => println!("{:#}", report.json()),
        (_, true) => print!("{}", report.list()),
        (_, false) => print!("{}", report.tables(!topics_only)),
    }
    Ok(Outcome::held_if(report.complaints.is_empty()))
}

/// What is wrong with the topics, each as a line that says where and what to do. Builds the tests, but runs none.
pub(crate) fn check_topics() -> Result<Vec<String>> {
    let (_, complaints) = topics::check(&binaries::build()?)?;
    Ok(complaints)
}
