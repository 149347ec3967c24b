//! The signals that an agent acts on.

use std::fmt;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caught {
    /// INT: leave, then end.
    Interrupt,
    /// TERM: end.
    Terminated,
    /// HUP: read the configuration again.
    Hangup,
    /// QUIT: say how things stand, and end at once.
    Quit,
}

/// As Go names them.
impl fmt::Display for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "interrupt",
            Self::Terminated => "terminated",
            Self::Hangup => "hangup",
            Self::Quit => "quit",
        })
    }
}

/// Makes USR2 mean nothing from now on, as it means nothing to Go's runtime; its default is to end the process. PIPE is
/// ignored by Rust's runtime.
///
/// # Errors
/// If the system allows no handler.
pub(super) fn ignore_usr2() -> io::Result<()> {
    // The handler stays when what tells of the signal is gone.
    signal(SignalKind::user_defined2()).map(drop)
}

/// Those signals from the moment this is made; before that their default is to end the process.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    quit: Signal,
}

impl Signals {
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// The next one. Cancel-safe.
    pub(super) async fn next(&mut self) -> Caught {
        tokio::select! {
            _ = self.interrupt.recv() => Caught::Interrupt,
            _ = self.terminate.recv() => Caught::Terminated,
            _ = self.hangup.recv() => Caught::Hangup,
            _ = self.quit.recv() => Caught::Quit,
        }
    }
}
