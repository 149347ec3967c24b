//! What can go wrong, one small enum an operation.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use thane_core::{BroadcastTimeout, CommandError, ConfigError};
use thiserror::Error;

/// Why a node could not start. Nothing is left running, and no port stays occupied.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address of the builder cannot be read, or its name cannot be resolved.
    #[error("{field} address {value:?} cannot be used: {problem}")]
    Address {
        /// `bind`, `advertise`, `network` or `DNS server`.
        field: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it, and what to write instead.
        problem: String,
    },
    /// The socket could not be opened.
    #[error("cannot listen on {addr} ({protocol}): {error}{}", bind_remedy(.error, *.addr))]
    Listen {
        /// The address we wanted.
        addr: SocketAddr,
        /// `TCP` or `UDP`.
        protocol: &'static str,
        /// The operating system's reason.
        #[source]
        error: io::Error,
    },
    /// The network interface that was asked for cannot be used.
    #[error("{problem}")]
    Interface {
        /// Its name.
        interface: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// We listen on every address of the machine and none of them is an obvious one to be reached at.
    #[error(
        "Failed to get final advertise address: {problem}; we listen on {bind}, so name the address that the other members reach us at with Builder::advertise"
    )]
    NoAdvertiseAddress {
        /// The wildcard address we listen on.
        bind: IpAddr,
        /// Why no address could be chosen.
        problem: String,
    },
    /// No name was given and the machine's host name is not known.
    #[error(
        "the host name of this machine cannot be determined ({problem}); name the node with Builder::name"
    )]
    NoName {
        /// What was tried.
        problem: String,
    },
    /// The key ring file cannot be used. Shown in Serf's words.
    #[error("{problem}")]
    KeyringFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The snapshot file cannot be opened or read. Shown in Serf's words.
    #[error("Failed to setup snapshot: failed to open snapshot: {problem}")]
    Snapshot {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Nothing can be recorded there.
    #[error("cannot record: {problem}")]
    Recording {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// Settings that cannot be used, all of them.
    #[error("the node cannot start with these settings: {}", join_lines(.0))]
    Config(Vec<ConfigError>),
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes, without which nothing can be encrypted safely")]
    NoRandomness,
}

fn bind_remedy(error: &io::Error, addr: SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("; port {} is taken: another node? choose another port with Builder::bind", addr.port())
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("; {} is not an address of this machine: choose one with Builder::bind", addr.ip())
        }
        io::ErrorKind::PermissionDenied => {
            format!("; port {} needs privileges: choose one from 1024 up with Builder::bind", addr.port())
        }
        _ => String::new(),
    }
}

fn join_lines(errors: &[ConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Why nobody could be joined. The node goes on as before, alone or in the cluster it is in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// None of the addresses could be synchronised with. Each comes as it was given, with a sentence that says why.
    ///
    /// It is shown as Serf shows it: the number of errors on a line, then one line each.
    #[error("{}", MultiError(.0))]
    NoneContacted(Vec<(String, String)>),
    /// The node is leaving or has left: start a new one.
    #[error("{}", CommandError::JoinAfterLeave)]
    AfterLeave,
    /// The node has stopped.
    #[error("{}", CommandError::Stopped)]
    Stopped,
}

/// The layout that Serf's users and scripts know from its RPC.
struct MultiError<'a>(&'a [(String, String)]);

impl fmt::Display for MultiError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("1 error occurred:\n")?,
            n => writeln!(f, "{n} errors occurred:")?,
        }
        for (_given, why) in self.0 {
            writeln!(f, "\t* {why}")?;
        }
        f.write_str("\n")
    }
}

/// Why a leave did not begin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LeaveError {
    /// An earlier leave is still under way; it goes on.
    #[error("{}", CommandError::LeaveInProgress)]
    InProgress,
    /// The node has stopped, without having left unless an earlier leave succeeded.
    #[error("{}", CommandError::Stopped)]
    Stopped,
}

/// Why a member was not forced to leave, or not heard to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ForceLeaveError {
    /// It was refused; nothing has changed.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// It was done here, but the word may not have reached the others.
    #[error(transparent)]
    NotSpread(#[from] BroadcastTimeout),
}

/// Why tags were not replaced, or not heard of.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SetTagsError {
    /// They were refused; the old ones stay.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// They are set, but the word may not have reached the others.
    #[error(transparent)]
    NotSpread(#[from] BroadcastTimeout),
}

/// Why a question was not asked. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QueryError {
    /// It was refused.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// The node has stopped.
    #[error("{}", CommandError::Stopped)]
    Stopped,
}

/// Why an answer was not sent. The texts are Serf's where it has them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RespondError {
    /// The query was so long ago that it is forgotten.
    #[error("{}", thane_core::RespondError::Unknown)]
    Unknown,
    /// It was answered before.
    #[error("{}", thane_core::RespondError::AlreadySent)]
    AlreadySent,
    /// Its deadline has passed.
    #[error("{}", thane_core::RespondError::Late)]
    Late,
    /// The encoded answer is too large. A shorter one may be tried.
    #[error("{}", thane_core::RespondError::TooLarge { limit: *limit })]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The node has stopped.
    #[error("{}", CommandError::Stopped)]
    Stopped,
}

impl From<thane_core::RespondError> for RespondError {
    fn from(error: thane_core::RespondError) -> Self {
        match error {
            thane_core::RespondError::AlreadySent => Self::AlreadySent,
            thane_core::RespondError::Late => Self::Late,
            thane_core::RespondError::TooLarge { limit } => Self::TooLarge { limit },
            // The core's enum may grow; what it has no query for is unknown.
            _ => Self::Unknown,
        }
    }
}

/// Why nobody was asked about keys.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeysError {
    /// It was refused.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// The node has stopped.
    #[error("{}", CommandError::Stopped)]
    Stopped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_join_failure_reads_as_in_serf() {
        let refused = |port: u16| {
            let why = format!(
                "Failed to join 127.0.0.1:{port}: dial tcp 127.0.0.1:{port}: connect: connection refused"
            );
            (format!("127.0.0.1:{port}"), why)
        };
        assert_eq!(
            JoinError::NoneContacted(vec![refused(1)]).to_string(),
            "1 error occurred:\n\t* Failed to join 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused\n\n"
        );
        let two = JoinError::NoneContacted(vec![refused(1), refused(2)]).to_string();
        assert!(two.starts_with("2 errors occurred:\n\t* Failed to join 127.0.0.1:1: "), "{two:?}");
        assert!(two.ends_with("127.0.0.1:2: connect: connection refused\n\n"), "{two:?}");
    }

    #[test]
    fn an_occupied_port_is_named_with_the_remedy() {
        let error = StartError::Listen {
            addr: SocketAddr::from(([127, 0, 0, 1], 7946)),
            protocol: "TCP",
            error: io::Error::from(io::ErrorKind::AddrInUse),
        };
        let text = error.to_string();
        assert!(text.contains("127.0.0.1:7946 (TCP)"), "{text}");
        assert!(text.contains("another node? choose another port with Builder::bind"), "{text}");
    }
}
