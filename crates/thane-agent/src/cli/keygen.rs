//! `thane keygen`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Output, print_failure};
use crate::exit::Exit;
use crate::goflags::FlagSet;

/// Bytes of a new key: AES-256, as Serf makes them.
const KEY_BYTES: usize = 32;

pub(super) fn flags() -> FlagSet {
    FlagSet::new(
        "keygen",
        "keygen",
        "Makes a random key that encrypts the traffic between agents, for 'thane agent -encrypt'. Every agent of a\n\
         cluster needs the same one.",
    )
    .example("thane keygen >cluster.key")
    .example("thane agent -encrypt=$(cat cluster.key)")
}

/// Prints a new key; arguments are ignored, as Serf does.
pub(super) fn run(_arguments: &[String]) -> Exit {
    let mut key = [0; KEY_BYTES];
    if aws_lc_rs::rand::fill(&mut key).is_err() {
        return print_failure("Error reading random data: the system's random generator failed");
    }
    match Output::stdout().line(&STANDARD.encode(key)) {
        Ok(()) => Exit::Success,
        Err(_closed) => Exit::Failure,
    }
}
