//! How the story looks: a table and a feed that redraw themselves on a terminal, or plain lines.

mod frame;

use std::io::{self, Stdout, Write as _};
use std::time::{Duration, Instant};

use self::frame::{frame, summary_lines, table_lines};
use super::world::{Seen, World};
use crate::terminal::Colours;

/// How often the clock on the screen moves when nothing else does.
pub(super) const REDRAW_EVERY: Duration = Duration::from_millis(200);

/// Hides the cursor and lets long lines run off the edge instead of wrapping, which would spoil the redrawing.
const BEGIN: &str = "\x1b[?25l\x1b[?7l";

/// Undoes [`BEGIN`].
const END: &str = "\x1b[?7h\x1b[?25h";

/// A step of the story, as it is announced and ticked off.
#[derive(Debug, Clone)]
pub(super) struct Tick {
    /// Its name, one or two words.
    pub(super) name: &'static str,
    /// How long it took and what shows it, once it has happened.
    pub(super) done: Option<(Duration, String)>,
}

/// Where the story is shown.
#[derive(Debug)]
pub(super) struct Show {
    stdout: Stdout,
    began: Instant,
    headline: String,
    ticks: Vec<Tick>,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    /// One line after the other.
    Plain,
    /// A frame that is drawn over the last one.
    Live { colours: Colours, lines_drawn: usize, is_over: bool },
}

impl Show {
    /// Plain lines.
    pub(super) fn plain() -> Self {
        Self::new(Mode::Plain)
    }

    /// A frame on a terminal; in colours unless `NO_COLOR` asks for none.
    pub(super) fn live() -> Self {
        Self::new(Mode::Live { colours: Colours::of_stdout(), lines_drawn: 0, is_over: false })
    }

    fn new(mode: Mode) -> Self {
        Self { stdout: io::stdout(), began: Instant::now(), headline: String::new(), ticks: Vec::new(), mode }
    }

    /// Time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// How long a person is given to look at what a step did. A pipe does not look.
    pub(super) fn pause(&self) -> Duration {
        match self.mode {
            Mode::Plain => Duration::ZERO,
            Mode::Live { .. } => Duration::from_millis(1500),
        }
    }

    /// Says which steps the story has.
    pub(super) fn plan(&mut self, names: &[&'static str]) {
        self.ticks = names.iter().map(|name| Tick { name, done: None }).collect();
    }

    /// Says what is going on now.
    pub(super) fn announce(&mut self, headline: String, world: &World) -> io::Result<()> {
        self.headline = headline;
        match self.mode {
            Mode::Plain => self.plain_line(&format!("     {}", self.headline)),
            Mode::Live { .. } => self.redraw(world),
        }
    }

    /// Says that a step has happened, and what shows it.
    pub(super) fn tick(&mut self, name: &str, took: Duration, proof: &str, world: &World) -> io::Result<()> {
        if let Some(tick) = self.ticks.iter_mut().find(|tick| tick.name == name) {
            tick.done = Some((took, proof.to_owned()));
        }
        match self.mode {
            Mode::Plain => self.plain_line(&format!("ok   {name}: {proof} ({:.1}s)", took.as_secs_f64())),
            Mode::Live { .. } => {
                proof.clone_into(&mut self.headline);
                self.redraw(world)
            }
        }
    }

    /// Says what an agent saw.
    pub(super) fn seen(&mut self, seen: &Seen, world: &World) -> io::Result<()> {
        match self.mode {
            Mode::Plain => {
                self.plain_line(&format!("     {} sees: {}", world.name(seen.by), seen.what.sentence()))
            }
            Mode::Live { .. } => self.redraw(world),
        }
    }

    /// Shows the table of members, where it is not on the screen anyway.
    pub(super) fn table(&mut self, world: &World) -> io::Result<()> {
        match self.mode {
            Mode::Plain => {
                for line in table_lines(world, Colours::None) {
                    self.write(&format!("             {line}\n"))?;
                }
                Ok(())
            }
            Mode::Live { .. } => self.redraw(world),
        }
    }

    /// Draws the frame again, over the last one.
    pub(super) fn redraw(&mut self, world: &World) -> io::Result<()> {
        let elapsed = self.elapsed();
        let Mode::Live { colours, lines_drawn, .. } = &mut self.mode else { return Ok(()) };
        let lines = frame(world, &self.headline, &self.ticks, elapsed, *colours);
        let mut text = match *lines_drawn {
            0 => BEGIN.to_owned(),
            up => format!("\x1b[{up}A\r"),
        };
        for line in &lines {
            // Each line is cleared as it is drawn rather than all at once, which would flicker.
            text.push_str(line);
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        *lines_drawn = lines.len();
        self.write(&text)
    }

    /// Gives the terminal back, with the last frame left on it and a summary below.
    pub(super) fn end(&mut self) -> io::Result<()> {
        match &mut self.mode {
            Mode::Live { is_over, lines_drawn, colours } if !*is_over && *lines_drawn > 0 => {
                *is_over = true;
                let summary = summary_lines(&self.ticks, *colours);
                self.write(&format!("{END}\n{}\n", summary.join("\n")))
            }
            _ => Ok(()),
        }
    }

    fn plain_line(&mut self, text: &str) -> io::Result<()> {
        let line = format!("{:6.1}s  {text}\n", self.elapsed().as_secs_f64());
        self.write(&line)
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        let mut stdout = self.stdout.lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        // A terminal without a cursor would be a poor farewell, also after a panic.
        let _terminal_gone = self.end();
    }
}
