//! What the agent shows when it is up.

use crate::logging::Console;

/// One label and its value.
pub(super) struct Row {
    label: &'static str,
    value: String,
}

impl Row {
    pub(super) fn new(label: &'static str, value: impl Into<String>) -> Self {
        Self { label, value: value.into() }
    }

    /// A row whose value stands in quotes.
    pub(super) fn quoted(label: &'static str, value: impl std::fmt::Display) -> Self {
        Self { label, value: format!("'{value}'") }
    }
}

/// The widest of Serf's labels; the colons of all stand below each other.
const LABEL_WIDTH: usize = "Message Compression Enabled".len();

/// The one label that Serf does not align.
const NOT_ALIGNED: &str = "Advertise addr";

/// Shows the rows.
pub(super) fn show(console: &Console, rows: &[Row]) {
    for row in rows {
        let width = if row.label == NOT_ALIGNED { 0 } else { LABEL_WIDTH };
        console.info(&format!("{:>width$}: {}", row.label, row.value));
    }
}
