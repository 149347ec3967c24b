//! `-format`: how the commands print what they found, and why they failed.

use serde::Serialize;

use super::Failure;
use crate::format::{go_quote, json, json_line};
use crate::goflags::{FlagSet, Parsed};

/// The value of `-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

/// Adds `-format` to a command.
pub(super) fn with_format(flags: FlagSet) -> FlagSet {
    flags.string("format", "text", "How to print: text or json.")
}

impl Format {
    /// What the flags ask for.
    ///
    /// # Errors
    /// A format that there is not, in Serf's words.
    pub(super) fn of(parsed: &Parsed) -> Result<Self, Failure> {
        match parsed.string("format") {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(Failure::mendable(
                format!("Encoding error: Invalid output format {}", go_quote(other)),
                "-format is text or json.",
            )),
        }
    }

    /// Whether errors are to be JSON: of a command that has the flag, and was given this value.
    pub(super) fn wants_json(parsed: &Parsed) -> bool {
        parsed.optional_string("format") == Some("json")
    }
}

/// `value` as JSON, or the failure that says why not.
pub(super) fn as_json(value: &impl Serialize) -> Result<String, Failure> {
    json(value).map_err(|error| Failure::told(format!("Encoding error: {error}")))
}

/// The same on one line.
pub(super) fn as_json_line(value: &impl Serialize) -> Result<String, Failure> {
    json_line(value).map_err(|error| Failure::told(format!("Encoding error: {error}")))
}

/// Why a command failed, as JSON.
#[derive(Serialize)]
struct ErrorDocument<'a> {
    error: &'a str,
    /// What to do about it; `null` if that takes more than a sentence.
    hint: Option<&'a str>,
}

/// A failure as one line of JSON, in the words of the text.
pub(super) fn error_line(message: &str, hint: Option<&str>) -> String {
    let document = ErrorDocument { error: message.trim(), hint };
    json_line(&document).expect("invariant: two strings can be written as JSON")
}
