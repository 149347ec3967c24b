//! Queries: questions to some or all members, and their answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thane_wire::Key;
use thiserror::Error;

use crate::time::Time;

/// A query that this node asked. Its replies come as [`crate::Output::Reply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// A query that was delivered to this node, to answer it with [`crate::Node::respond`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryToken(pub u64);

/// Whom to ask, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryParams {
    /// Only members with one of these names; empty for all.
    pub filter_nodes: Vec<String>,
    /// Only members whose tag of this key matches this expression (RE2, not anchored).
    pub filter_tags: Vec<(String, String)>,
    /// Whether each member that is meant acknowledges the query before it answers.
    pub request_ack: bool,
    /// How many extra copies of each answer travel through other members, against lossy paths.
    pub relay_factor: u8,
    /// How long answers are taken; `None` for the default, which grows with the cluster.
    pub timeout: Option<Duration>,
    /// When the query ends.
    pub end: QueryEnd,
}

/// When a query ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueryEnd {
    /// As soon as every live member that is meant has answered (and acknowledged, if asked to), at the latest at the deadline. A member that
    /// fails or leaves meanwhile is not waited for, nor is one that joins meanwhile. A query that means nobody whom we know lasts until the
    /// deadline: whoever changes its tags or joins meanwhile may answer.
    #[default]
    WhenAnswered,
    /// Only at the deadline, as in Serf.
    AtDeadline,
}

/// What comes back from a query. At most one acknowledgement and one answer a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryReply {
    /// A member has received the query.
    Ack {
        /// Which.
        from: Arc<str>,
    },
    /// A member answered.
    Response {
        /// Which.
        from: Arc<str>,
        /// Its answer.
        payload: Bytes,
    },
    /// The query is over; nothing more comes.
    Done,
}

/// A query for the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryEvent {
    /// With which to answer.
    pub token: QueryToken,
    /// Lamport time on the query clock.
    pub ltime: u64,
    /// Name.
    pub name: Arc<str>,
    /// Payload, possibly empty.
    pub payload: Bytes,
    /// Who asks.
    pub source: Arc<str>,
    /// Until when an answer is taken, on this node's clock.
    pub deadline: Time,
}

/// Why an answer was not sent. The texts are Serf's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RespondError {
    /// The query is unknown, or was so long ago that it is forgotten.
    #[error("no such query is waiting for an answer")]
    Unknown,
    /// It was answered before.
    #[error("response already sent")]
    AlreadySent,
    /// Its deadline has passed.
    #[error("response is past the deadline")]
    Late,
    /// The encoded answer is too large. The query still waits for a shorter one.
    #[error("response exceeds limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

/// A change of all members' key rings, or a look at them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyCommand {
    /// Adds a key, without using it.
    Install(Key),
    /// Makes an installed key the one that seals. Refused if a live member lacks it: that member would be locked out.
    Use(Key),
    /// Removes a key that is not in use.
    Remove(Key),
    /// Asks which keys are installed.
    List,
}

/// What the members said to a [`KeyCommand`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyReport {
    /// Members that were asked: those that were live.
    pub nodes: usize,
    /// Members that answered.
    pub responses: usize,
    /// Answers that were failures.
    pub errors: usize,
    /// What members remarked or complained of, by name.
    pub messages: BTreeMap<String, String>,
    /// On how many members each key is installed, by its base64 text. Only of [`KeyCommand::List`].
    pub keys: BTreeMap<String, usize>,
    /// On how many members each key is the primary one. Only of [`KeyCommand::List`].
    pub primary_keys: BTreeMap<String, usize>,
}

impl KeyReport {
    /// Whether all members did what was asked.
    ///
    /// # Errors
    /// The sentence that Serf's users know.
    pub fn result(&self) -> Result<(), String> {
        if self.errors > 0 {
            Err(format!("{}/{} nodes reported failure", self.errors, self.nodes))
        } else if self.responses == self.nodes {
            Ok(())
        } else {
            Err(format!("{}/{} nodes reported success", self.responses, self.nodes))
        }
    }
}
