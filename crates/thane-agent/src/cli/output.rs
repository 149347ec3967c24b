//! Standard output, where everything goes that a command says on purpose, its errors too.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};

use crate::format::for_terminal;

/// Standard output. What members of the cluster chose (names, tags, payloads, log lines) is shown through here, so
/// that it cannot reprogram somebody's terminal; a pipe or a file gets it byte for byte.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: io::Stdout,
    is_terminal: bool,
}

impl Output {
    /// The standard output of this process.
    pub(crate) fn stdout() -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        Self { stdout, is_terminal }
    }

    /// Writes `text` and a newline, and flushes: who watches a command through a pipe sees it at once.
    ///
    /// # Errors
    ///
    /// Standard output is closed or full.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        let text = if self.is_terminal { for_terminal(text) } else { Cow::Borrowed(text) };
        let mut stdout = self.stdout.lock();
        stdout.write_all(text.as_bytes())?;
        stdout.write_all(b"\n")?;
        stdout.flush()
    }

    /// Writes `text` and then `bytes`, which need be no text, as [`Output::line`] does.
    ///
    /// # Errors
    ///
    /// Standard output is closed or full.
    pub(crate) fn line_with_bytes(&mut self, text: &str, bytes: &[u8]) -> io::Result<()> {
        if self.is_terminal {
            return self.line(&format!("{text}{}", String::from_utf8_lossy(bytes)));
        }
        let mut stdout = self.stdout.lock();
        stdout.write_all(text.as_bytes())?;
        stdout.write_all(bytes)?;
        stdout.write_all(b"\n")?;
        stdout.flush()
    }
}
