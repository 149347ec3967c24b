//! `thane sim list` and `thane sim keys`: what there is to choose from.

use thane_sim::lab::{FAULT_KINDS, GALLERY, KEYS};

use super::asked::no_arguments;
use crate::cli::{Failure, Output};
use crate::goflags::{FlagSet, Parsed};

pub(super) fn list_flags() -> FlagSet {
    FlagSet::new("sim list", "sim list", "Lists the scenarios that are built in, each with what it sets.")
        .example("thane sim list")
        .example("thane sim -scenario partition -nodes 30")
}

pub(super) fn list(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    no_arguments(parsed)?;
    let none = |_: usize, _: &str| None;
    let rows: Vec<[String; 2]> =
        GALLERY.iter().map(|named| [named.name.to_owned(), named.about.to_owned()]).collect();
    output.table(&rows, 1, none)?;
    Ok(())
}

pub(super) fn keys_flags() -> FlagSet {
    FlagSet::new(
        "sim keys",
        "sim keys",
        "Lists everything that can be set: in a file, with -set KEY=VALUE, or after other. for the members that other_share\n\
         tells apart. The settings of members bear the names that they have in the library.",
    )
    .example("thane sim -set gossip_interval=100ms -set other_share=50% -set other.detector=serf")
}

pub(super) fn keys(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    no_arguments(parsed)?;
    let mut rows = vec![
        ["scenario".to_owned(), "Begin with this one of the gallery.".to_owned()],
        ["fault".to_owned(), "Something that goes wrong; can be given more than once.".to_owned()],
    ];
    let mut group = "";
    for key in KEYS {
        if key.group != group {
            group = key.group;
            rows.push([format!("[{group}]"), String::new()]);
        }
        rows.push([key.name.to_owned(), key.help.to_owned()]);
    }
    rows.push(["[fault]".to_owned(), String::new()]);
    rows.extend(FAULT_KINDS.iter().map(|(example, help)| [(*example).to_owned(), (*help).to_owned()]));
    output.table(&rows, 1, |_, _| None)?;
    Ok(())
}
