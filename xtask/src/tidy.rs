//! `cargo xtask tidy`: what reviewers tire of, read from the source itself.

mod crates;
mod links;
mod text;

use crate::{Outcome, arguments::Arguments};
use anyhow::{Context as _, Result};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file longer than this is named in the report: it may hold a second idea. It is no error.
const LONG_FILE_LINES: usize = 900;

/// Folders that hold nothing of ours, or nothing that people read. Hidden ones are named in [`files_below`].
const SKIPPED_FOLDERS: [&str; 1] = ["target"];

/// One text file of the repository.
#[derive(Debug)]
struct Source {
    /// Relative to the repository's root.
    path: PathBuf,
    text: String,
}

pub(crate) fn run(mut arguments: Arguments) -> Result<Outcome> {
    let bless = arguments.flag("--bless");
    arguments.finish()?;
    if bless {
        crates::bless()?;
    }
    let complaints = check()?;
    for complaint in &complaints {
        println!("{complaint}");
    }
    println!("tidy: {} complaints", complaints.len());
    Ok(Outcome::held_if(complaints.is_empty()))
}

/// Everything that is wrong, each as a line that says where and what to do. Long files are only reported.
pub(crate) fn check() -> Result<Vec<String>> {
    let mut sources = Vec::new();
    files_below(Path::new("."), &mut sources)?;
    for source in &sources {
        let lines = source.text.lines().count();
        if lines > LONG_FILE_LINES && source.path.extension().is_some_and(|extension| extension == "rs") {
            println!("    note: {} has {lines} lines; look for its second idea", source.path.display());
        }
    }
    let mut complaints = crates::check()?;
    for source in &sources {
        complaints.extend(text::check(source));
    }
    complaints.extend(links::check(&sources));
    Ok(complaints)
}

/// Collects the text files below `folder`, in order.
fn files_below(folder: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let unreadable = || format!("cannot read the folder {}", folder.display());
    let mut entries = fs::read_dir(folder).with_context(unreadable)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            let hidden = name.starts_with('.') && ![".ci", ".cargo", ".github"].contains(&&*name);
            if !hidden && !SKIPPED_FOLDERS.contains(&&*name) {
                files_below(&path, sources)?;
            }
        } else if let Ok(text) =
            String::from_utf8(fs::read(&path).with_context(|| path.display().to_string())?)
        {
            let path = path.strip_prefix(".").unwrap_or(&path).to_owned();
            sources.push(Source { path, text });
        }
    }
    Ok(())
}
