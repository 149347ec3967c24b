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

/// Shows the rows. Serf does not align the label `Advertise addr`; here it is.
pub(super) fn show(console: &Console, rows: &[Row]) {
    for row in rows {
        console.info(&format!("{:>LABEL_WIDTH$}: {}", row.label, row.value));
    }
}
