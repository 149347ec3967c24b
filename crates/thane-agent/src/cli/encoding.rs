//! `-format`: how the commands that show data print it.

use serde::Serialize;

use super::Failure;
use crate::format::{go_quote, json};
use crate::goflags::Parsed;

/// The value of `-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
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
}

/// `value` as JSON, or the failure that says why not.
pub(super) fn as_json(value: &impl Serialize) -> Result<String, Failure> {
    json(value).map_err(|error| Failure::told(format!("Encoding error: {error}")))
}
