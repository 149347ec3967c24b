//! What several commands of the group ask of their flags.

use crate::cli::Failure;
use crate::goflags::Parsed;

/// Refuses arguments, where none mean anything.
pub(super) fn no_arguments(parsed: &Parsed) -> Result<(), Failure> {
    if parsed.args().is_empty() { Ok(()) } else { Err(Failure::Usage("It takes no arguments.")) }
}

/// A flag's number, which must not be negative.
pub(super) fn number(parsed: &Parsed, name: &'static str) -> Result<u64, Failure> {
    let given = parsed.int(name);
    u64::try_from(given).map_err(|_negative| {
        Failure::mendable(format!("-{name} is {given}"), format!("-{name} takes a number of 0 or more."))
    })
}

/// How many of something: from 1 on.
pub(super) fn count(parsed: &Parsed, name: &'static str) -> Result<usize, Failure> {
    match number(parsed, name)? {
        0 => Err(Failure::mendable(format!("-{name} is 0"), format!("-{name} takes a number of 1 or more."))),
        count => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
    }
}

/// Refuses flags that would mean nothing in a case: "beside -seed", "without -nodes".
pub(super) fn none_of(parsed: &Parsed, names: &[&'static str], case: &str) -> Result<(), Failure> {
    match names.iter().find(|name| parsed.is_set(name)) {
        None => Ok(()),
        Some(name) => {
            Err(Failure::mendable(format!("-{name} means nothing {case}"), format!("Leave out -{name}.")))
        }
    }
}
