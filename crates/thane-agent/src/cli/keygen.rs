//! `thane keygen`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::encoding::{Format, as_json, with_format};
use super::{Failure, Output};
use crate::goflags::{FlagSet, Parsed};

/// Bytes of a new key: AES-256, as Serf makes them.
const KEY_BYTES: usize = 32;

pub(super) fn flags() -> FlagSet {
    with_format(FlagSet::new(
        "keygen",
        "keygen",
        "Makes a random key that encrypts the traffic between agents, for 'thane agent -encrypt'. Every agent of a\n\
         cluster needs the same one.",
    ))
    .example("thane keygen >cluster.key")
    .example("thane agent -encrypt=$(cat cluster.key)")
}

/// Prints a new key; arguments are ignored, as Serf does.
pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let format = Format::of(parsed)?;
    let mut key = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut key).map_err(|_unspecified| {
        Failure::told("Error reading random data: the system's random generator failed")
    })?;
    let key = STANDARD.encode(key);
    let text = match format {
        Format::Text => key,
        Format::Json => as_json(&Document { key: &key })?,
    };
    Ok(output.line(&text)?)
}

#[derive(Serialize)]
struct Document<'a> {
    key: &'a str,
}
