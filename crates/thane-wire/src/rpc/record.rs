//! Records: what an agent sends unasked after `stream`, `monitor` and `query`.

use std::fmt;

use super::fields::{bytes, lossy};
use super::response::{Member, ResponseHeader, read_members, write_members};
use crate::DecodeError;
use crate::msgpack::{Kind, Reader, Writer};

/// A record. Which kind it is shows in its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// Members joined, left, failed...
    Members(MemberEvent),
    /// A user event arrived.
    User(UserEvent),
    /// A query arrived that can be answered with `respond`.
    Query(QueryEvent),
    /// A log line, without its newline.
    Log(String),
    /// What became of a query of this connection.
    Result(QueryRecord),
}

/// What happened to members.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventName {
    /// `member-join`.
    MemberJoin,
    /// `member-leave`.
    MemberLeave,
    /// `member-failed`.
    MemberFailed,
    /// `member-update`: tags or address changed.
    MemberUpdate,
    /// `member-reap`: forgotten.
    MemberReap,
    /// `member-suspect`: suspected to have failed. Thane's own, sent only to streams that ask for it by name.
    MemberSuspect,
    /// A name that this version does not know.
    Other(String),
}

impl EventName {
    const NAMES: [(&str, Self); 6] = [
        ("member-join", Self::MemberJoin),
        ("member-leave", Self::MemberLeave),
        ("member-failed", Self::MemberFailed),
        ("member-update", Self::MemberUpdate),
        ("member-reap", Self::MemberReap),
        ("member-suspect", Self::MemberSuspect),
    ];

    /// The event of this name.
    pub fn from_name(name: &str) -> Self {
        let known = Self::NAMES.into_iter().find(|(known, _)| *known == name);
        known.map_or_else(|| Self::Other(name.to_owned()), |(_, event)| event)
    }

    /// The event's name.
    pub fn name(&self) -> &str {
        match self {
            Self::MemberJoin => "member-join",
            Self::MemberLeave => "member-leave",
            Self::MemberFailed => "member-failed",
            Self::MemberUpdate => "member-update",
            Self::MemberReap => "member-reap",
            Self::MemberSuspect => "member-suspect",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something happened to members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberEvent {
    /// What.
    pub event: EventName,
    /// To whom: one or more members as they are now.
    pub members: Vec<Member>,
    /// Who says so, where the event has an accuser. Thane's own key `By`, left out when `None`.
    pub by: Option<String>,
}

/// A user event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserEvent {
    /// Its time on the event clock.
    pub ltime: u64,
    /// Its name.
    pub name: String,
    /// Its payload.
    pub payload: Option<Vec<u8>>,
    /// Whether receivers may keep only the newest of this name.
    pub coalesce: bool,
}

/// A query to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryEvent {
    /// Its number on this connection, to respond with.
    pub id: u64,
    /// Its time on the query clock.
    pub ltime: u64,
    /// Its name.
    pub name: String,
    /// Its payload.
    pub payload: Option<Vec<u8>>,
}

/// News of a query that this connection started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryRecord {
    /// What it is.
    pub kind: QueryRecordKind,
    /// Whom it is from; empty in the last one. Go agents now and then send some with an empty name before it, to be
    /// ignored.
    pub from: String,
    /// The answer.
    pub payload: Option<Vec<u8>>,
}

/// What news of a query is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryRecordKind {
    /// `ack`: a member got the query.
    Ack,
    /// `response`: a member answered.
    Response,
    /// `done`: the deadline has passed, and nothing more follows.
    Done,
    /// A kind that this version does not know.
    Other(String),
}

impl QueryRecordKind {
    /// The kind of this name.
    pub fn from_name(name: &str) -> Self {
        match name {
            "ack" => Self::Ack,
            "response" => Self::Response,
            "done" => Self::Done,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The kind's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Ack => "ack",
            Self::Response => "response",
            Self::Done => "done",
            Self::Other(name) => name,
        }
    }
}

impl Record {
    /// Appends the header and the record. `seq` is that of the request that asked for it.
    pub fn encode(&self, seq: u64, out: &mut Vec<u8>) {
        ResponseHeader { seq, error: String::new() }.encode(out);
        let mut w = Writer::rpc(out);
        match self {
            Self::Members(record) => {
                w.map(2 + usize::from(record.by.is_some()));
                if let Some(by) = &record.by {
                    w.str("By").str(by);
                }
                w.str("Event").str(record.event.name()).str("Members");
                write_members(&mut w, &record.members);
            }
            Self::User(record) => {
                w.map(5).str("Coalesce").bool(record.coalesce).str("Event").str("user");
                w.str("LTime").uint(record.ltime).str("Name").str(&record.name);
                w.str("Payload").opt_bytes(record.payload.as_deref());
            }
            Self::Query(record) => {
                w.map(5).str("Event").str("query").str("ID").uint(record.id);
                w.str("LTime").uint(record.ltime).str("Name").str(&record.name);
                w.str("Payload").opt_bytes(record.payload.as_deref());
            }
            Self::Log(line) => _ = w.map(1).str("Log").str(line),
            Self::Result(record) => {
                w.map(3).str("From").str(&record.from).str("Payload").opt_bytes(record.payload.as_deref());
                w.str("Type").str(record.kind.name());
            }
        }
    }

    /// Reads a record, which follows its header: one msgpack value. Unknown keys are skipped.
    ///
    /// # Errors
    /// When it is malformed, or no record.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.kind()?;
        if kind != Kind::Map {
            return Err(DecodeError::WrongType { field: "record", found: kind.name(), wanted: "a map" });
        }
        Keys::read(&mut reader)?.into_record()
    }
}

/// All keys of all records.
#[derive(Default)]
struct Keys {
    event: Option<String>,
    members: Vec<Member>,
    by: Option<String>,
    id: u64,
    ltime: u64,
    name: String,
    payload: Option<Vec<u8>>,
    coalesce: bool,
    log: Option<String>,
    kind: Option<String>,
    from: String,
}

impl Keys {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let names =
            ["Event", "Members", "By", "ID", "LTime", "Name", "Payload", "Coalesce", "Log", "Type", "From"];
        let mut keys = Self::default();
        reader.fields("record", &names, |index, r| {
            match index {
                0 => keys.event = Some(lossy(r, "Event")?),
                1 => keys.members = read_members(r)?,
                2 => keys.by = Some(lossy(r, "By")?),
                3 => keys.id = r.u64("ID")?,
                4 => keys.ltime = r.u64("LTime")?,
                5 => keys.name = lossy(r, "Name")?,
                6 => keys.payload = bytes(r, "Payload")?,
                7 => keys.coalesce = r.bool("Coalesce")?,
                8 => keys.log = Some(lossy(r, "Log")?),
                9 => keys.kind = Some(lossy(r, "Type")?),
                _ => keys.from = lossy(r, "From")?,
            }
            Ok(())
        })?;
        Ok(keys)
    }

    fn into_record(self) -> Result<Record, DecodeError> {
        let Self { id, ltime, name, payload, coalesce, members, by, from, .. } = self;
        Ok(match (self.event.as_deref(), self.log, self.kind) {
            (Some("user"), _, _) => Record::User(UserEvent { ltime, name, payload, coalesce }),
            (Some("query"), _, _) => Record::Query(QueryEvent { id, ltime, name, payload }),
            (Some(event), _, _) => {
                Record::Members(MemberEvent { event: EventName::from_name(event), members, by })
            }
            (None, Some(line), _) => Record::Log(line),
            (None, None, Some(kind)) => {
                Record::Result(QueryRecord { kind: QueryRecordKind::from_name(&kind), from, payload })
            }
            (None, None, None) => return Err(DecodeError::Malformed("a record without Event, Log or Type")),
        })
    }
}
