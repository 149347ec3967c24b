//! The agent's log: `tracing` in, Serf's lines out.
//!
//! Every line goes into a ring of the last [`RING_LINES`] lines, whatever its level, to those clients that monitor at
//! its level, and, if it passes the agent's own level, to standard output. Until the agent is up the lines for standard
//! output are held back, so that they follow the banner; [`Log::open_gate`] lets them go.
//!
//! A line is `2006/01/02 15:04:05 [LEVEL] component: text` in local time. The component is the target of the `tracing`
//! event (`agent`, `agent.ipc`), without the prefix of the library's own (`thane::serf` is `serf`).

mod console;
mod layer;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub(crate) use console::Console;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::format::for_terminal;
use crate::syslog::SyslogSink;

/// Lines kept for clients that begin to monitor, and at most so many held back during start-up. (Serf: `agent.go`,
/// 512.)
pub(crate) const RING_LINES: usize = 512;

/// Longest line kept, in bytes; what is longer ends in `...`. Ordinary lines are far shorter, only the output of a
/// script and a large payload are not.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// How much a line matters, least first. (Serf: `log_levels.go`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogLevel {
    /// Nothing of ours is this detailed; the level exists because Serf's does.
    Trace,
    /// Ordinary traffic.
    Debug,
    /// What an operator looks for afterwards.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something failed.
    Err,
}

impl LogLevel {
    const ALL: [Self; 5] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Err];

    /// Reads a level in any case.
    ///
    /// # Errors
    /// The upper-cased text, which Serf's messages show.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let upper = text.to_uppercase();
        Self::ALL.into_iter().find(|level| level.word() == upper).ok_or(upper)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Err => "ERR",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl From<tracing::Level> for LogLevel {
    fn from(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Err,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::TRACE => Self::Trace,
        }
    }
}

/// Takes the lines for one monitoring client. It must not log: it is called with the log locked.
pub(crate) trait LogSink: Send + Sync {
    /// Whether the client wants no more lines; then it gets none and is forgotten.
    fn is_gone(&self) -> bool;

    /// Takes a line, or drops it if the client is behind.
    fn take(&self, line: &Arc<str>) -> Taken;
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is in the client's queue.
    Queued,
    /// It is lost, and so may others be.
    Dropped,
    /// It is lost, and it is time to say so: the sentence for the log.
    DroppedAndDue(String),
    /// The client is gone.
    Gone,
}

/// The log of one agent. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    level: AtomicU8,
    console: Console,
    time_zone: TimeZone,
    syslog: OnceLock<SyslogSink>,
    state: Mutex<State>,
}

struct State {
    ring: VecDeque<Line>,
    gate: Gate,
    monitors: Vec<(LogLevel, Arc<dyn LogSink>)>,
}

/// Whether lines for standard output are held back. While they are, the ring is what holds them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    Closed { pushed_out: u64 },
    Open,
}

#[derive(Clone)]
struct Line {
    level: LogLevel,
    text: Arc<str>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("level", &self.level()).finish_non_exhaustive()
    }
}

impl Log {
    /// A log that writes to `console` what passes `level`, once its gate is open.
    pub(crate) fn new(level: LogLevel, console: Console) -> Self {
        let state =
            State { ring: VecDeque::new(), gate: Gate::Closed { pushed_out: 0 }, monitors: Vec::new() };
        let shared = Shared {
            level: AtomicU8::new(level as u8),
            console,
            time_zone: TimeZone::system(),
            syslog: OnceLock::new(),
            state: Mutex::new(state),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Gives the system's log each line at the agent's level and above from now on. Only the first one counts.
    pub(crate) fn also_to(&self, syslog: SyslogSink) {
        // Nobody gives a second one.
        _ = self.shared.syslog.set(syslog);
    }

    /// Makes this the log of the whole process.
    ///
    /// # Errors
    /// If the process has one already.
    pub(crate) fn install(&self) -> Result<(), tracing::subscriber::SetGlobalDefaultError> {
        let layer = layer::LogLayer::new(self.clone());
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))
    }

    /// The least level that standard output gets.
    pub(crate) fn level(&self) -> LogLevel {
        let code = self.shared.level.load(Ordering::Relaxed);
        LogLevel::ALL.into_iter().find(|level| *level as u8 == code).unwrap_or(LogLevel::Info)
    }

    /// Lets standard output have all lines of this level and above from now on.
    pub(crate) fn set_level(&self, level: LogLevel) {
        self.shared.level.store(level as u8, Ordering::Relaxed);
    }

    /// Writes the lines held back so far, and each later one as it comes.
    pub(crate) fn open_gate(&self) {
        let mut state = self.lock();
        let Gate::Closed { pushed_out } = state.gate else { return };
        state.gate = Gate::Open;
        if pushed_out > 0 {
            self.shared.console.info(&format!("({pushed_out} earlier lines are no longer held)"));
        }
        let level = self.level();
        for line in state.ring.iter().filter(|line| line.level >= level) {
            self.shared.console.log_line(&line.text);
        }
    }

    /// Logs one line now.
    pub(crate) fn write(&self, level: LogLevel, component: &str, text: &str) {
        let now = Timestamp::now().to_zoned(self.shared.time_zone.clone());
        let line = Line { level, text: format_line(&now, level, component, text).into() };
        let due = self.publish(&line);
        // Told once the lock is free, and never to the clients that are behind: they are past their first notice.
        for notice in due {
            let line = Line {
                level: LogLevel::Warn,
                text: format_line(&now, LogLevel::Warn, "agent.ipc", &notice).into(),
            };
            self.publish(&line);
        }
    }

    /// Gives a line to all who want it; returns what is to be said about clients that are behind.
    fn publish(&self, line: &Line) -> Vec<String> {
        let mut state = self.lock();
        if state.ring.len() == RING_LINES {
            state.ring.pop_front();
            if let Gate::Closed { pushed_out } = &mut state.gate {
                *pushed_out += 1;
            }
        }
        state.ring.push_back(line.clone());
        if line.level >= self.level() {
            if state.gate == Gate::Open {
                self.shared.console.log_line(&line.text);
            }
            if let Some(syslog) = self.shared.syslog.get() {
                syslog.write(line.level, &line.text);
            }
        }
        let mut due = Vec::new();
        state.monitors.retain(|(level, sink)| {
            if line.level < *level {
                return true;
            }
            match sink.take(&line.text) {
                Taken::Queued | Taken::Dropped => true,
                Taken::DroppedAndDue(notice) => {
                    due.push(notice);
                    true
                }
                Taken::Gone => false,
            }
        });
        due
    }

    /// Gives `sink` the lines of the ring at `level` and above, and each later one until it says that it is gone.
    pub(crate) fn monitor(&self, level: LogLevel, sink: Arc<dyn LogSink>) {
        let mut state = self.lock();
        // A line at their level would find them gone, but at the level of errors it may never come.
        state.monitors.retain(|(_level, sink)| !sink.is_gone());
        for line in state.ring.iter().filter(|line| line.level >= level) {
            sink.take(&line.text);
        }
        state.monitors.push((level, sink));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names, tags and errors come from others, so what would move a terminal's cursor or hide text is escaped.
fn format_line(now: &jiff::Zoned, level: LogLevel, component: &str, text: &str) -> String {
    let time = now.strftime("%Y/%m/%d %H:%M:%S");
    let mut line = format!("{time} [{level}] {component}: {}", for_terminal(text.trim_end_matches('\n')));
    if line.len() > LINE_BYTES_MAX {
        let whole = (0..=LINE_BYTES_MAX).rev().find(|end| line.is_char_boundary(*end));
        line.truncate(whole.unwrap_or(0));
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests;
