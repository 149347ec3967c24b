//! Serf's messages. They travel as memberlist user messages (gossip, direct packets) and as push/pull user state.

mod decode;
mod encode;

use std::net::SocketAddr;

use crate::DecodeError;
use crate::msgpack::Reader;

/// First byte of each message.
pub mod kind {
    #![allow(missing_docs, reason = "each constant is the message of that name")]
    pub const LEAVE: u8 = 0;
    pub const JOIN: u8 = 1;
    pub const PUSH_PULL: u8 = 2;
    pub const USER_EVENT: u8 = 3;
    pub const QUERY: u8 = 4;
    pub const QUERY_RESPONSE: u8 = 5;
    pub const CONFLICT_RESPONSE: u8 = 6;
    pub const KEY_REQUEST: u8 = 7;
    pub const KEY_RESPONSE: u8 = 8;
    pub const RELAY: u8 = 9;
}

/// Query flag: the originator wants an acknowledgement.
pub const QUERY_FLAG_ACK: u32 = 1;
/// Query flag: do not pass the query on.
pub const QUERY_FLAG_NO_BROADCAST: u32 = 2;
/// Query response flag: this is an acknowledgement.
pub const RESPONSE_FLAG_ACK: u32 = 1;

/// A message by its first byte.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SerfMessage<'a> {
    /// Type 0.
    Leave(Leave<'a>),
    /// Type 1.
    Join(Join<'a>),
    /// Type 2. Legal only as push/pull user state.
    PushPull(PushPullState<'a>),
    /// Type 3.
    UserEvent(UserEvent<'a>),
    /// Type 4.
    Query(Query<'a>),
    /// Type 5.
    QueryResponse(QueryResponse<'a>),
    /// Type 6. Legal only as a query response's payload. `None`: the responder does not know the name.
    ConflictResponse(Option<MemberRecord<'a>>),
    /// Type 7. Legal only as a query's payload.
    KeyRequest(KeyRequest<'a>),
    /// Type 8. Legal only as a query response's payload.
    KeyResponse(KeyResponse<'a>),
    /// Type 9.
    Relay(Relay<'a>),
}

impl<'a> SerfMessage<'a> {
    /// Reads a message, type byte first. Bytes after it are ignored.
    ///
    /// Messages are read as tolerantly as current Serf reads them: keys in any order, unknown ones skipped, missing ones
    /// zero, structs as arrays, bytes as arrays of numbers from 0 to 127. Two things are stricter: text must be UTF-8 (in
    /// a push/pull only the offending entry is dropped), and lists have the limits [`LIST_ENTRIES_MAX`] and
    /// [`EVENTS_MAX`].
    ///
    /// # Errors
    /// When the type is unknown or the body malformed.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (&kind, body) = bytes.split_first().ok_or(DecodeError::Truncated)?;
        let reader = &mut Reader::new(body);
        Ok(match kind {
            kind::LEAVE => Self::Leave(Leave::read(reader)?),
            kind::JOIN => Self::Join(Join::read(reader)?),
            kind::PUSH_PULL => Self::PushPull(PushPullState::read(reader)?),
            kind::USER_EVENT => Self::UserEvent(UserEvent::read(reader)?),
            kind::QUERY => Self::Query(Query::read(reader)?),
            kind::QUERY_RESPONSE => Self::QueryResponse(QueryResponse::read(reader)?),
            kind::CONFLICT_RESPONSE if reader.nil()? => Self::ConflictResponse(None),
            kind::CONFLICT_RESPONSE => Self::ConflictResponse(Some(MemberRecord::read(reader)?)),
            kind::KEY_REQUEST => Self::KeyRequest(KeyRequest::read(reader)?),
            kind::KEY_RESPONSE => Self::KeyResponse(KeyResponse::read(reader)?),
            kind::RELAY => Self::Relay(Relay::read(reader)?),
            other => return Err(DecodeError::UnknownType(other)),
        })
    }

    /// Appends the message, type byte first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind());
        match self {
            Self::Leave(message) => message.write(out),
            Self::Join(message) => message.write(out),
            Self::PushPull(message) => message.write(out),
            Self::UserEvent(message) => message.write(out),
            Self::Query(message) => message.write(out),
            Self::QueryResponse(message) => message.write(out),
            Self::ConflictResponse(None) => out.push(0xc0),
            Self::ConflictResponse(Some(member)) => member.write(out),
            Self::KeyRequest(message) => message.write(out),
            Self::KeyResponse(message) => message.write(out),
            Self::Relay(message) => message.write(out),
        }
    }

    /// The message's first byte, see [`kind`].
    pub fn kind(&self) -> u8 {
        match self {
            Self::Leave(_) => kind::LEAVE,
            Self::Join(_) => kind::JOIN,
            Self::PushPull(_) => kind::PUSH_PULL,
            Self::UserEvent(_) => kind::USER_EVENT,
            Self::Query(_) => kind::QUERY,
            Self::QueryResponse(_) => kind::QUERY_RESPONSE,
            Self::ConflictResponse(_) => kind::CONFLICT_RESPONSE,
            Self::KeyRequest(_) => kind::KEY_REQUEST,
            Self::KeyResponse(_) => kind::KEY_RESPONSE,
            Self::Relay(_) => kind::RELAY,
        }
    }
}

/// Most entries of a list or map inside one message. A node record in a push/pull has the same limit.
pub const LIST_ENTRIES_MAX: usize = crate::limits::PUSH_PULL_NODES_MAX;

/// Most slots, and most user events in all of them, of one push/pull. A Go node sends 512 slots by default.
pub const EVENTS_MAX: usize = 1 << 16;

/// Reads a list of at most `limit` elements; `None` is nil.
pub(crate) fn list<'a, T>(
    reader: &mut Reader<'a>,
    what: &'static str,
    limit: usize,
    mut element: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Option<Vec<T>>, DecodeError> {
    let Some(count) = reader.array(what)? else { return Ok(None) };
    check_count(what, count, limit)?;
    (0..count).map(|_element| element(reader)).collect::<Result<Vec<_>, _>>().map(Some)
}

/// Refuses a count over its limit: an element may take a byte on the wire and tens of bytes in memory.
pub(crate) fn check_count(what: &'static str, count: usize, limit: usize) -> Result<(), DecodeError> {
    if count > limit {
        return Err(DecodeError::TooLarge { what, found: count as u64, limit: limit as u64 });
    }
    Ok(())
}

/// Leave intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leave<'a> {
    /// Time of the intent on the member clock.
    pub ltime: u64,
    /// Who is leaving.
    pub node: &'a str,
    /// Whether the member is to be erased (force-leave with prune).
    pub prune: bool,
}

/// Join intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join<'a> {
    /// Time of the intent on the member clock.
    pub ltime: u64,
    /// Who has joined.
    pub node: &'a str,
}

/// Serf's half of a push/pull.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PushPullState<'a> {
    /// Sender's member clock.
    pub ltime: u64,
    /// Status time of every member the sender knows.
    pub status_ltimes: Vec<(&'a str, u64)>,
    /// Members that the sender knows to have left. `None` is nil on the wire.
    pub left_members: Option<Vec<&'a str>>,
    /// Sender's event clock.
    pub event_ltime: u64,
    /// Recent user events; `None` entries are empty slots of a Go node's ring (the outer `None` is a nil list).
    pub events: Option<Vec<Option<UserEvents<'a>>>>,
    /// Sender's query clock.
    pub query_ltime: u64,
}

/// The user events of one Lamport time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserEvents<'a> {
    /// Their time.
    pub ltime: u64,
    /// Name and payload of each (`None` is nil on the wire).
    pub events: Vec<(&'a str, Option<&'a [u8]>)>,
}

/// User event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserEvent<'a> {
    /// Time on the event clock.
    pub ltime: u64,
    /// Name.
    pub name: &'a str,
    /// Payload; `None` is nil on the wire.
    pub payload: Option<&'a [u8]>,
    /// `CC` on the wire: receivers may coalesce it.
    pub coalesce: bool,
}

/// Query.
#[derive(Debug, Clone, PartialEq)]
pub struct Query<'a> {
    /// Time on the query clock.
    pub ltime: u64,
    /// Random identity.
    pub id: u32,
    /// Originator's advertised address, raw.
    pub addr: &'a [u8],
    /// Originator's advertised port.
    pub port: u16,
    /// Originator's name.
    pub source_node: &'a str,
    /// Encoded filters (see [`crate::filter`]); all must pass. `None` is nil on the wire.
    pub filters: Option<Vec<&'a [u8]>>,
    /// See [`QUERY_FLAG_ACK`].
    pub flags: u32,
    /// How many extra copies of each answer to send through others.
    pub relay_factor: u8,
    /// Nanoseconds from delivery to the answering deadline.
    pub timeout_ns: i64,
    /// Name; those that begin with `_serf_` are internal.
    pub name: &'a str,
    /// Payload; `None` is nil on the wire.
    pub payload: Option<&'a [u8]>,
}

/// Answer or acknowledgement to a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryResponse<'a> {
    /// Copied from the query.
    pub ltime: u64,
    /// Copied from the query.
    pub id: u32,
    /// Responder's name.
    pub from: &'a str,
    /// See [`RESPONSE_FLAG_ACK`].
    pub flags: u32,
    /// Answer; `None` is nil on the wire.
    pub payload: Option<&'a [u8]>,
}

/// A member as told in a conflict response.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberRecord<'a> {
    /// Name.
    pub name: &'a str,
    /// Address, raw.
    pub addr: &'a [u8],
    /// Port.
    pub port: u16,
    /// Tags. `None` is nil on the wire.
    pub tags: Option<Vec<(&'a str, &'a str)>>,
    /// None 0, alive 1, leaving 2, left 3, failed 4.
    pub status: i64,
    /// memberlist's and Serf's minimum, maximum and current protocol, in the order of memberlist's version bytes.
    pub versions: [u8; 6],
}

/// Request of a key query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRequest<'a> {
    /// The raw key; empty for list.
    pub key: &'a [u8],
}

/// Response of a key query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyResponse<'a> {
    /// Success.
    pub result: bool,
    /// Error or remark.
    pub message: &'a str,
    /// Installed keys in base64, the primary first. `None` is nil on the wire.
    pub keys: Option<Vec<&'a str>>,
    /// The primary key in base64, or empty.
    pub primary_key: &'a str,
}

/// "Pass this on."
#[derive(Debug, Clone, PartialEq)]
pub struct Relay<'a> {
    /// Where to, or `None` when the address is not one of 4 or 16 bytes with a port of 16 bits.
    pub dest: Option<SocketAddr>,
    /// Name of the final receiver.
    pub dest_name: &'a str,
    /// The message to pass on, its own type byte first.
    pub inner: &'a [u8],
}
