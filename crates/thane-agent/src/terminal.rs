//! What a terminal can show: how wide it is, and whether in colours.

use std::io::{self, IsTerminal as _};

/// Whether words have colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colours {
    /// None at all.
    None,
    /// By escape sequences.
    Ansi,
}

/// How a word is shown that says how somebody is. The same state has the same colour everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Alive; healthy.
    Good,
    /// Suspected; a warning.
    Doubtful,
    /// Failed; an error.
    Bad,
    /// Leaving or gone in good order.
    Gone,
    /// What is under way.
    Mark,
    /// A heading.
    Bold,
    /// Beside the point.
    Dim,
}

impl Colours {
    /// Those of standard output: none unless it is a terminal that knows them, nor if `NO_COLOR` is set to anything.
    pub(crate) fn of_stdout() -> Self {
        let wants_none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if wants_none || is_dumb() || !io::stdout().is_terminal() { Self::None } else { Self::Ansi }
    }

    /// `text` in this style.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Good => "32",
            Style::Doubtful => "1;33",
            Style::Bad => "1;31",
            Style::Gone => "36",
            Style::Mark => "1;34",
            Style::Bold => "1",
            Style::Dim => "2",
        };
        match self {
            Self::None => text.to_owned(),
            Self::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

impl Style {
    /// Of a member's status or state by its name; `None` for one that says nothing.
    pub(crate) fn of_status(status: &str) -> Option<Self> {
        match status {
            "alive" => Some(Self::Good),
            "suspect" => Some(Self::Doubtful),
            "failed" | "dead" => Some(Self::Bad),
            "leaving" | "left" => Some(Self::Gone),
            _ => None,
        }
    }
}

/// Whether the terminal, if there is one, knows no escape sequences.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb")
}

/// The columns of the terminal that standard output is; `None` if it is none, or does not say.
pub(crate) fn stdout_columns() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    columns_of(&stdout).or_else(columns_variable)
}

/// What the environment says of the width.
pub(crate) fn columns_variable() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0)
}

#[cfg(unix)]
fn columns_of(stdout: &io::Stdout) -> Option<usize> {
    // A terminal that was never told its size has none.
    let size = rustix::termios::tcgetwinsize(stdout).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

#[cfg(not(unix))]
fn columns_of(_stdout: &io::Stdout) -> Option<usize> {
    None
}
