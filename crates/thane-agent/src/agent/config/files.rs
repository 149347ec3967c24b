//! The files that `-config-file` and `-config-dir` name. (Serf: `config.go`, `ReadConfigPaths`.)

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::decode::{Fault, Refusal, decode};
use super::json;
use super::layer::Layer;
use super::toml;
use super::tree::{Tree, position};
use crate::hostport::error_text;

/// Largest file. Configurations have a few kilobytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Most files in a directory.
const DIRECTORY_FILES_MAX: usize = 1024;

/// Reads files, and the files of directories, in this order.
///
/// # Errors
/// The first that cannot be read or understood, with the place in it, as it is to be shown.
pub(super) fn read(paths: &[String]) -> Result<Vec<Layer>, String> {
    let mut layers = Vec::new();
    for path in paths {
        let unreadable =
            |error: &io::Error| format!("Error reading '{path}': open {path}: {}", error_text(error));
        if fs::metadata(path).map_err(|error| unreadable(&error))?.is_dir() {
            for file in in_directory(path).map_err(|error| unreadable(&error))? {
                layers.push(read_file(&file)?);
            }
        } else {
            layers.push(read_file(Path::new(path))?);
        }
    }
    Ok(layers)
}

/// The configuration files of a directory, hidden ones as well, in the order of the bytes of their names.
fn in_directory(path: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let name = file.as_os_str().as_encoded_bytes();
        if (name.ends_with(b".json") || name.ends_with(b".toml")) && !file.is_dir() {
            files.push(file);
        }
        if files.len() > DIRECTORY_FILES_MAX {
            return Err(io::Error::other(format!("more than {DIRECTORY_FILES_MAX} configuration files")));
        }
    }
    files.sort_unstable_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
    Ok(files)
}

fn read_file(path: &Path) -> Result<Layer, String> {
    let shown = path.display().to_string();
    let text = contents(path, FILE_BYTES_MAX)
        .map_err(|error| format!("Error reading '{shown}': open {shown}: {}", error_text(&error)))?;
    understand(&shown, &text)
}

/// What a file of this name says; JSON unless the name says TOML.
///
/// # Errors
/// The first thing that cannot be understood, with its place, as it is to be shown.
pub(in crate::agent) fn understand(shown: &str, text: &[u8]) -> Result<Layer, String> {
    let tree =
        if shown.as_bytes().ends_with(b".toml") { toml_tree(shown, text)? } else { json_tree(shown, text)? };
    decode(&tree).map_err(|refusal| explain(shown, text, refusal))
}

/// All of a file that has at most this many bytes.
///
/// # Errors
/// If it cannot be read or is larger.
pub(in crate::agent) fn contents(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    // One more, to tell a file that is too large from one that just is not.
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("the file has more than {bytes_max} bytes")));
    }
    Ok(text)
}

fn json_tree(shown: &str, text: &[u8]) -> Result<Tree, String> {
    json::first_value(text).map_err(|fault| match fault {
        json::Fault::End { is_blank: true } => {
            format!("Error decoding '{shown}': EOF; the file is empty: write at least {{}}")
        }
        json::Fault::End { is_blank: false } => {
            format!("Error decoding '{shown}': unexpected EOF; the file ends within a value: is a bracket missing?")
        }
        json::Fault::Syntax { message, at } => {
            format!("Error decoding '{shown}': {message}; at {}", place(shown, text, at))
        }
    })
}

fn toml_tree(shown: &str, text: &[u8]) -> Result<Tree, String> {
    toml::document(text).map_err(|mistake| {
        format!("Error decoding '{shown}': {}; at {}", mistake.message, place(shown, text, mistake.at))
    })
}

/// `FILE:LINE:COLUMN`, which editors jump to. The line itself stays out of the message: it may hold a key.
fn place(shown: &str, text: &[u8], at: usize) -> String {
    let (line, column) = position(text, at);
    format!("{shown}:{line}:{column}")
}

/// Serf's sentences, and then where and what to do.
fn explain(shown: &str, text: &[u8], refusal: Refusal) -> String {
    let remedies = |faults: &[Fault]| {
        let mut remedies: Vec<&(usize, String)> = faults.iter().flat_map(|fault| &fault.remedies).collect();
        remedies.sort_unstable();
        let lines = remedies.iter().map(|(at, remedy)| format!("{}: {remedy}", place(shown, text, *at)));
        lines.collect::<Vec<_>>()
    };
    match refusal {
        Refusal::One(fault) => {
            let remedies = remedies(std::slice::from_ref(&fault));
            format!("Error decoding '{shown}': {}; at {}", fault.message, remedies.join("; "))
        }
        Refusal::Many(faults) => {
            let messages: Vec<String> = faults.iter().map(|fault| format!("* {}", fault.message)).collect();
            format!(
                "Error decoding '{shown}': {} error(s) decoding:\n\n{}\n\n{}",
                faults.len(),
                messages.join("\n"),
                remedies(&faults).join("\n")
            )
        }
    }
}
