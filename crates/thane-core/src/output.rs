//! What the core asks its driver to do, and what it tells it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thane_wire::Keyring;
use thiserror::Error;

use crate::delegate::Veto;
use crate::event::Event;
use crate::notice::Notice;
use crate::query::{KeyReport, QueryId, QueryReply};

/// A stream, inbound or outbound. Numbers are never used twice by one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// A command that takes time; its end comes as [`Output::Done`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// One thing for the driver to do. Take them in order with [`crate::Node::poll_output`] until there is none.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Send one UDP packet.
    Send {
        /// Where to.
        to: SocketAddr,
        /// The whole payload.
        packet: Vec<u8>,
    },
    /// Open a TCP stream, then call [`crate::Node::handle_stream_connected`] or [`crate::Node::handle_stream_failed`].
    Dial {
        /// The core's name for the stream.
        stream: StreamId,
        /// Where to.
        to: SocketAddr,
        /// Give up after this long. (The core gives up by itself too, with [`Output::Close`].)
        timeout: Duration,
    },
    /// Write to a stream, after whatever was written before.
    Write {
        /// Which.
        stream: StreamId,
        /// What.
        bytes: Bytes,
    },
    /// The core is done with the stream: write what is still to be written, then close it, and forget its number.
    /// Nothing about it needs to be reported any more.
    Close {
        /// Which.
        stream: StreamId,
    },
    /// Tell the application.
    Event(Event),
    /// A command has ended.
    Done {
        /// Which.
        op: OpId,
        /// How.
        outcome: Outcome,
    },
    /// A reply to a query of ours.
    Reply {
        /// Which query.
        query: QueryId,
        /// What came.
        reply: QueryReply,
    },
    /// Write the key ring to its file, then call [`crate::Node::handle_keyring_persisted`]. Only with
    /// [`crate::Config::persist_keyring`].
    PersistKeyring {
        /// To be given back.
        token: u64,
        /// The keys, the primary first.
        keyring: Keyring,
    },
    /// Look up, anew, the names that others may be found by, then call [`crate::Node::handle_seeds_looked_up`]. Only after
    /// [`crate::Node::seeds_changed`].
    LookUpSeeds,
    /// Log and count: something an operator may want to know.
    Notice(Notice),
    /// This node must not go on (it lost the vote over its name). The driver shuts it down.
    Stop(StopReason),
}

/// Why a node must stop.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StopReason {
    /// The cluster voted that our name belongs to another node.
    #[error("minority in name conflict resolution, quitting [{matching} / {responses}]")]
    NameConflict {
        /// Members that named our address.
        matching: usize,
        /// Members that voted.
        responses: usize,
    },
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// Of [`crate::Node::join`].
    Join {
        /// How many addresses could be synchronised with.
        contacted: usize,
        /// The others, each with the reason.
        failed: Vec<JoinFailure>,
    },
    /// Of [`crate::Node::leave`]. The leave is always complete; a warning says which broadcast ran out of time.
    Leave,
    /// Of [`crate::Node::force_leave`].
    ForceLeave(Result<(), BroadcastTimeout>),
    /// Of [`crate::Node::set_tags`].
    SetTags(Result<(), BroadcastTimeout>),
    /// Of [`crate::Node::keys`].
    Keys(KeyReport),
}

/// A message was not sent out often enough within the broadcast timeout. What it says was done locally all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the message was not passed on to enough members within {0:?}")]
pub struct BroadcastTimeout(pub Duration);

/// An address that [`crate::Node::join`] could not synchronise with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("Failed to join {addr}: {error}")]
pub struct JoinFailure {
    /// The address tried.
    pub addr: SocketAddr,
    /// Why not.
    pub error: ExchangeError,
}

/// Why a state exchange or another stream did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The operating system could not connect.
    #[error("dial tcp {addr}: {error}")]
    Dial {
        /// Where to.
        addr: SocketAddr,
        /// Its words.
        error: String,
    },
    /// Too long without progress.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The peer refused, in its own words.
    #[error("remote error: {0}")]
    Remote(String),
    /// The peer sent something unusable.
    #[error("{0}")]
    Stream(#[from] thane_wire::stream::StreamError),
    /// The peer answered with another message than the one that belongs here.
    #[error("the peer answered with an unexpected message")]
    Unexpected,
    /// The two clusters speak incompatible protocol versions.
    #[error("member {name} speaks protocol versions that do not fit the cluster")]
    Versions {
        /// The member that does not fit.
        name: Arc<str>,
    },
    /// Our own application does not admit the peer's members ([`crate::Delegate::admit_merge`]). If the peer's does not admit
    /// ours, it is [`ExchangeError::Remote`].
    #[error("{0}")]
    Vetoed(#[from] Veto),
    /// The node is leaving or stopping.
    #[error("this node is leaving")]
    Leaving,
}

/// Why a command was refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// Joining after a leave.
    #[error("Serf can't Join after Leave or Shutdown")]
    JoinAfterLeave,
    /// A second leave while the first is under way.
    #[error("Leave already in progress")]
    LeaveInProgress,
    /// The node has stopped.
    #[error("the node has shut down")]
    Stopped,
    /// Name and payload are over the configured limit.
    #[error("user event exceeds configured limit of {limit} bytes before encoding")]
    UserEventTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The encoded message is over the configured limit.
    #[error("encoded user event exceeds configured limit of {limit} bytes after encoding")]
    EncodedUserEventTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The message would never fit a packet.
    #[error(
        "message of {size} bytes encoded never fits a packet of {room} bytes; shorten it or raise udp_buffer_size"
    )]
    NeverFits {
        /// Encoded size in bytes.
        size: usize,
        /// Room in bytes.
        room: usize,
    },
    /// The configured protocol version has no queries.
    #[error("Feature not supported")]
    NotSupported,
    /// The encoded query is over the configured limit.
    #[error("query exceeds limit of {limit} bytes")]
    QueryTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// Too many queries of ours are under way.
    #[error("{limit} queries are under way already; wait until some of them end")]
    TooManyQueries {
        /// The limit.
        limit: usize,
    },
    /// Tags over 512 bytes encoded.
    #[error("Encoded length of tags exceeds limit of 512 bytes")]
    TagsTooLarge,
}
