//! The agent's RPC: what travels between an agent and its command line or any other client.
//!
//! Each direction of a connection is a plain sequence of msgpack values. A request is a header with a command and a
//! sequence number, for most commands followed by a body; a response is a header with the same sequence number and an
//! error, for some commands followed by a body. Nothing on the wire says whether a body follows: the command does, see
//! [`Command::has_body`] and [`Command::has_response_body`]. After a `stream`, `monitor` or `query`, records follow:
//! each a response header with the number of that request and a [`Record`].
//!
//! | | client | agent |
//! | --- | --- | --- |
//! | request | [`Request::encode`] | [`RequestDecoder`] |
//! | response | [`ResponseDecoder`] | [`Response::encode`] |
//! | record | [`ResponseDecoder`] | [`Record::encode`] |
//!
//! Types of both sides own their text. `Option` keeps nil apart from empty where Serf's clients or agents send both.
//!
//! ```
//! use thane_wire::rpc::{Command, Incoming, Request, RequestDecoder, Response, ResponseBody, ResponseDecoder};
//!
//! // A client asks...
//! let mut client = ResponseDecoder::new();
//! let request = Request::Join { existing: Some(vec!["10.0.0.1".to_owned()]), replay: false };
//! let mut bytes = Vec::new();
//! request.encode(7, &mut bytes);
//! client.expect(7, request.command());
//!
//! // ...the agent reads and answers...
//! let mut agent = RequestDecoder::new();
//! agent.push(&bytes);
//! assert_eq!(agent.next_request()?, Some((7, request)));
//! let response = Response { seq: 7, error: String::new(), body: Some(ResponseBody::Join { contacted: 1 }) };
//! let mut bytes = Vec::new();
//! response.encode(&mut bytes);
//!
//! // ...and the client has its answer.
//! client.push(&bytes);
//! assert_eq!(client.next_incoming()?, Some(Incoming::Response(response)));
//! # Ok::<(), thane_wire::DecodeError>(())
//! ```

mod command;
mod decoder;
mod explain;
mod fields;
mod record;
mod request;
mod response;

pub use command::Command;
pub use decoder::{Incoming, RequestDecoder, ResponseDecoder, ValueDecoder};
pub use explain::{Answered, EvidenceRecord, Explanation};
pub use fields::LIST_ENTRIES_MAX;
pub use record::{EventName, MemberEvent, QueryEvent, QueryRecord, QueryRecordKind, Record, UserEvent};
pub use request::{Query, Request, RequestHeader};
pub use response::{KeyReply, Member, Response, ResponseBody, ResponseHeader, Stats};

/// The only version of this protocol.
pub const VERSION: i32 = 1;

/// The fixed error texts of an agent. Every other text is that of the failure underneath.
pub mod error_text {
    /// A command that the agent does not know. It then closes the connection.
    pub const UNSUPPORTED_COMMAND: &str = "Unsupported command";
    /// A handshake with another version than [`super::VERSION`].
    pub const UNSUPPORTED_VERSION: &str = "Unsupported IPC version";
    /// A second successful handshake.
    pub const DUPLICATE_HANDSHAKE: &str = "Handshake already performed";
    /// Any command before the handshake. The agent then closes the connection.
    pub const HANDSHAKE_REQUIRED: &str = "Handshake required";
    /// A second `monitor`.
    pub const MONITOR_EXISTS: &str = "Monitor already exists";
    /// A `stream` whose type is no list of event filters.
    pub const INVALID_FILTER: &str = "Invalid event filter";
    /// A `stream` under a sequence number that has one.
    pub const STREAM_EXISTS: &str = "Stream with given sequence exists";
    /// A `respond` to a query that is unknown or over.
    pub const INVALID_QUERY_ID: &str = "No pending queries matching ID";
    /// A command before `auth`, where the agent wants one. No body follows, whatever the command.
    pub const AUTH_REQUIRED: &str = "Authentication required";
    /// A wrong key.
    pub const INVALID_AUTH_TOKEN: &str = "Invalid authentication token";
}
