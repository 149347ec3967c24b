//! How the program ends.

use std::process::ExitCode;

/// The exit codes of the program, which are Serf's. Scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// 0: the command did what it was asked to, or help was asked for.
    Success = 0,
    /// 1: anything that failed: bad usage, no connection, an error of the agent, an agent that was terminated.
    Failure = 1,
    /// 2: an agent that was told to QUIT, as Go's runtime ends.
    Quit = 2,
    /// 127: no command was given, or one that does not exist.
    NoSuchCommand = 127,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
