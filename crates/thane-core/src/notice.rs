//! What an operator may want to know: every drop, refusal and change that is not an event.

use std::fmt;

/// How much a notice matters. The names are those of Serf's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Ordinary traffic.
    Debug,
    /// What an operator would act on, or look for afterwards.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something failed.
    Error,
}

/// Which layer speaks: it becomes the log line's component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Membership and failure detection.
    Memberlist,
    /// Intents, events, queries.
    Serf,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Memberlist => "memberlist",
            Self::Serf => "serf",
        })
    }
}

/// One line for the log. Repetitions of one `kind` are limited by the core; `suppressed` says how many were left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub level: Level,
    /// Which layer speaks.
    pub layer: Layer,
    /// A fixed word for this kind of notice, for filters and counters: `packet_dropped`, `probe_failed`, ...
    pub kind: &'static str,
    /// The member concerned, if one is.
    pub member: Option<std::sync::Arc<str>>,
    /// The sentence.
    pub text: String,
    /// How many of this kind were left out since the last one that was told.
    pub suppressed: u64,
}
