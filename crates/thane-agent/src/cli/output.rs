//! Standard output, where everything goes that a command says on purpose, its errors too.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};

use crate::format::{for_terminal, table};
use crate::terminal::{self, Colours, Style};

use super::table::fitted;

/// Standard output. What members of the cluster chose (names, tags, payloads, log lines) is shown through here, so
/// that it cannot reprogram somebody's terminal; a pipe or a file gets it byte for byte.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: io::Stdout,
    is_terminal: bool,
    colours: Colours,
}

impl Output {
    /// The standard output of this process.
    pub(crate) fn stdout() -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        Self { stdout, is_terminal, colours: Colours::of_stdout() }
    }

    /// Writes `text` and a newline, and flushes: who watches a command through a pipe sees it at once.
    ///
    /// # Errors
    ///
    /// Standard output is closed or full.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        let text = if self.is_terminal { for_terminal(text) } else { Cow::Borrowed(text) };
        self.write(text.as_bytes())
    }

    /// Writes `rows` in columns, whose text is that of Serf's tables. On a terminal they fit its width, for which the cells of the
    /// column `elastic` are broken, and cells have the colours of `style`; it is asked with a column and a cell.
    ///
    /// # Errors
    ///
    /// Standard output is closed or full.
    pub(crate) fn table<const COLUMNS: usize>(
        &mut self,
        rows: &[[String; COLUMNS]],
        elastic: usize,
        style: impl Fn(usize, &str) -> Option<Style>,
    ) -> io::Result<()> {
        let Some(width) = terminal::stdout_columns() else {
            return self.line(table(rows).trim());
        };
        let colours = self.colours;
        let paint = |column: usize, cell: &str| match style(column, cell) {
            Some(style) => colours.paint(style, cell),
            None => cell.to_owned(),
        };
        self.write(fitted(rows, elastic, width, paint).as_bytes())
    }

    /// Writes lines, of which on a terminal the first part has a colour: as many bytes as `style` says, asked with the line.
    ///
    /// # Errors
    ///
    /// Standard output is closed or full.
    pub(crate) fn styled_lines(
        &mut self,
        text: &str,
        style: impl Fn(&str) -> Option<(usize, Style)>,
    ) -> io::Result<()> {
        if self.colours == Colours::None {
            return self.line(text);
        }
        let styled = |line: &str| {
            let line = for_terminal(line);
            match style(&line) {
                Some((bytes, style)) => {
                    format!("{}{}", self.colours.paint(style, &line[..bytes]), &line[bytes..])
                }
                None => line.into_owned(),
            }
        };
        let lines: Vec<String> = text.split('\n').map(styled).collect();
        self.write(lines.join("\n").as_bytes())
    }

    fn write(&self, text: &[u8]) -> io::Result<()> {
        let mut stdout = self.stdout.lock();
        stdout.write_all(text)?;
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
