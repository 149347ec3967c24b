//! Commands by name, and whether bodies follow.

use std::fmt;

use super::error_text::{AUTH_REQUIRED, HANDSHAKE_REQUIRED, UNSUPPORTED_COMMAND};

/// A command by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// `handshake`, the first of every connection.
    Handshake,
    /// `auth`.
    Auth,
    /// `event`: send a user event.
    Event,
    /// `force-leave`.
    ForceLeave,
    /// `join`.
    Join,
    /// `members`.
    Members,
    /// `members-filtered`.
    MembersFiltered,
    /// `stream`: events as they happen.
    Stream,
    /// `monitor`: log lines as they are written.
    Monitor,
    /// `stop`: end a stream or monitor.
    Stop,
    /// `leave`: leave the cluster and end the agent.
    Leave,
    /// `install-key`.
    InstallKey,
    /// `use-key`.
    UseKey,
    /// `remove-key`.
    RemoveKey,
    /// `list-keys`.
    ListKeys,
    /// `tags`: change the agent's tags.
    Tags,
    /// `query`: start a query.
    Query,
    /// `respond`: answer a query that a stream delivered.
    Respond,
    /// `stats`.
    Stats,
    /// `get-coordinate`.
    GetCoordinate,
    /// `explain`: why a member is in the state it is in. Only Thane's agent knows it.
    Explain,
    /// `diagnose`: counters and settings of the agent, beyond `stats`. Only Thane's agent knows it.
    Diagnose,
    /// Any other name. The agent answers "Unsupported command".
    Unknown(String),
}

const NAMES: [(&str, Command); 22] = [
    ("handshake", Command::Handshake),
    ("auth", Command::Auth),
    ("event", Command::Event),
    ("force-leave", Command::ForceLeave),
    ("join", Command::Join),
    ("members", Command::Members),
    ("members-filtered", Command::MembersFiltered),
    ("stream", Command::Stream),
    ("monitor", Command::Monitor),
    ("stop", Command::Stop),
    ("leave", Command::Leave),
    ("install-key", Command::InstallKey),
    ("use-key", Command::UseKey),
    ("remove-key", Command::RemoveKey),
    ("list-keys", Command::ListKeys),
    ("tags", Command::Tags),
    ("query", Command::Query),
    ("respond", Command::Respond),
    ("stats", Command::Stats),
    ("get-coordinate", Command::GetCoordinate),
    ("explain", Command::Explain),
    ("diagnose", Command::Diagnose),
];

impl Command {
    /// The command of this name, case-sensitive.
    pub fn from_name(name: &str) -> Self {
        let known = NAMES.iter().find(|(known, _)| *known == name);
        known.map_or_else(|| Self::Unknown(name.to_owned()), |(_, command)| command.clone())
    }

    /// The command's name.
    pub fn name(&self) -> &str {
        if let Self::Unknown(name) = self {
            return name;
        }
        NAMES.iter().find(|(_, command)| command == self).map_or("", |(name, _)| *name)
    }

    /// Whether the request has a body. An unknown command has none: what follows is read as the next header.
    pub fn has_body(&self) -> bool {
        !matches!(
            self,
            Self::Members | Self::Leave | Self::ListKeys | Self::Stats | Self::Diagnose | Self::Unknown(_)
        )
    }

    /// Whether a response with this error (empty for success) has a body.
    ///
    /// A command that answers with a body does so even when it fails: clients written for Serf read one then too. A command that
    /// the agent refused before looking at it never has one.
    pub fn has_response_body(&self, error: &str) -> bool {
        match self {
            Self::Join
            | Self::InstallKey
            | Self::UseKey
            | Self::RemoveKey
            | Self::ListKeys
            | Self::Members
            | Self::MembersFiltered
            | Self::Stats
            | Self::GetCoordinate => {
                !matches!(error, AUTH_REQUIRED | HANDSHAKE_REQUIRED | UNSUPPORTED_COMMAND)
            }
            // No client of Serf's reads these.
            Self::Explain | Self::Diagnose => error.is_empty(),
            _ => false,
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_name() {
        for (name, command) in &NAMES {
            assert_eq!(Command::from_name(name), *command);
            assert_eq!(command.name(), *name);
        }
        assert_eq!(Command::from_name("Members"), Command::Unknown("Members".to_owned()));
        assert_eq!(Command::from_name("Members").name(), "Members");
    }

    #[test]
    fn refusals_have_no_body() {
        assert!(Command::Join.has_response_body("Failed to join"));
        assert!(Command::ListKeys.has_response_body("1/3 nodes reported success"));
        assert!(Command::MembersFiltered.has_response_body("Failed to compile regex"));
        assert!(!Command::Join.has_response_body("Authentication required"));
        assert!(!Command::Stats.has_response_body("Authentication required"));
        assert!(!Command::Event.has_response_body(""));
        assert!(Command::Explain.has_response_body(""));
        assert!(!Command::Explain.has_response_body("no such member"));
    }
}
