//! Requests: written by a client, read by an agent.

use std::collections::BTreeMap;

use super::Command;
use super::fields::{bytes, map, strict, strict_list, write_list, write_map};
use crate::DecodeError;
use crate::msgpack::{Reader, Writer};

/// What begins a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// What is asked.
    pub command: Command,
    /// Chosen by the client and returned with everything that answers the request. Any value, and it may repeat.
    pub seq: u64,
}

/// The state before a connection's first request: a command without a name, which no agent supports.
impl Default for RequestHeader {
    fn default() -> Self {
        Self { command: Command::Unknown(String::new()), seq: 0 }
    }
}

impl RequestHeader {
    /// Reads the next header of a connection over the previous one: a field that is missing keeps its value, and a
    /// header of nil resets both. No client means to do that, but one that sends a body where none belongs is answered
    /// by Serf in this way. (Serf: `ipc.go`, handleClient.)
    ///
    /// # Errors
    /// When the bytes are no header; an agent then closes the connection without an answer.
    pub fn read_over(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.nil()? {
            *self = Self::default();
            return Ok(());
        }
        reader.fields("request header", &["Command", "Seq"], |index, r| {
            match index {
                0 => self.command = Command::from_name(r.str("Command")?),
                _ => self.seq = r.u64("Seq")?,
            }
            Ok(())
        })
    }

    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Writer::rpc(out).map(2).str("Command").str(self.command.name()).str("Seq").uint(self.seq);
    }
}

/// A request: the command with its body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Agree on the version.
    Handshake {
        /// See [`super::VERSION`].
        version: i32,
    },
    /// Prove that the client may ask.
    Auth {
        /// The agent's `rpc_auth`.
        key: String,
    },
    /// Send a user event.
    Event {
        /// Its name.
        name: String,
        /// Its payload; nil and empty mean the same.
        payload: Option<Vec<u8>>,
        /// Whether receivers may keep only the newest of this name.
        coalesce: bool,
    },
    /// Make a failed member leave.
    ForceLeave {
        /// Its name.
        node: String,
        /// Whether to forget it at once.
        prune: bool,
    },
    /// Join a cluster.
    Join {
        /// Addresses of members; see the agent for their form.
        existing: Option<Vec<String>>,
        /// Whether to take user events from before the join.
        replay: bool,
    },
    /// All members.
    Members,
    /// Members that match expressions.
    MembersFiltered {
        /// Expression by tag.
        tags: Option<BTreeMap<String, String>>,
        /// Expression for the status; empty matches all.
        status: String,
        /// Expression for the name; empty matches all.
        name: String,
    },
    /// Events from now on.
    Stream {
        /// Event filters with commas between them; empty is `*`.
        filter: String,
        /// Each event at once and for itself, instead of held and told together with others. Only Thane knows it; Serf's agent skips
        /// the key.
        immediate: bool,
    },
    /// The last log lines, and new ones from now on.
    Monitor {
        /// Least level, in any case.
        log_level: String,
    },
    /// End a stream or monitor.
    Stop {
        /// Sequence number of the request that began it.
        stop: u64,
    },
    /// Leave the cluster and end the agent.
    Leave,
    /// Install a key on all members.
    InstallKey {
        /// The key, in base64.
        key: String,
    },
    /// Make an installed key the primary one of all members.
    UseKey {
        /// The key, in base64.
        key: String,
    },
    /// Remove a key from all members.
    RemoveKey {
        /// The key, in base64.
        key: String,
    },
    /// The keys of all members.
    ListKeys,
    /// Change the agent's tags.
    Tags {
        /// Tags to set.
        tags: Option<BTreeMap<String, String>>,
        /// Tags to delete, unless they are in `tags` as well.
        delete: Option<Vec<String>>,
    },
    /// Start a query.
    Query(Query),
    /// Answer a query.
    Respond {
        /// Its number, from the record that delivered it.
        id: u64,
        /// The answer.
        payload: Option<Vec<u8>>,
    },
    /// Counters.
    Stats,
    /// A member's network coordinate.
    GetCoordinate {
        /// Its name.
        node: String,
    },
    /// Why a member is in the state it is in.
    Explain {
        /// Its name.
        node: String,
    },
    /// The agent's counters and settings, beyond [`Request::Stats`].
    Diagnose,
    /// A command that this version does not know; whether it has a body, nobody can tell.
    Unknown {
        /// Its name.
        command: String,
    },
}

/// A query to start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Names of the members that it is for; none means all.
    pub filter_nodes: Option<Vec<String>>,
    /// Expression by tag that members must match somewhere in the tag's value.
    pub filter_tags: Option<BTreeMap<String, String>>,
    /// Whether each member that gets the query acknowledges it.
    pub request_ack: bool,
    /// Through how many other members each answer is sent as well.
    pub relay_factor: u8,
    /// Nanoseconds until answers are late; 0 leaves it to the agent.
    pub timeout_ns: i64,
    /// Its name.
    pub name: String,
    /// Its payload.
    pub payload: Option<Vec<u8>>,
    /// Whether it is over as soon as all members that are meant have answered, instead of at the deadline. Only Thane knows it;
    /// Serf's agent skips the key.
    pub end_when_answered: bool,
}

impl Request {
    /// The command.
    pub fn command(&self) -> Command {
        match self {
            Self::Handshake { .. } => Command::Handshake,
            Self::Auth { .. } => Command::Auth,
            Self::Event { .. } => Command::Event,
            Self::ForceLeave { .. } => Command::ForceLeave,
            Self::Join { .. } => Command::Join,
            Self::Members => Command::Members,
            Self::MembersFiltered { .. } => Command::MembersFiltered,
            Self::Stream { .. } => Command::Stream,
            Self::Monitor { .. } => Command::Monitor,
            Self::Stop { .. } => Command::Stop,
            Self::Leave => Command::Leave,
            Self::InstallKey { .. } => Command::InstallKey,
            Self::UseKey { .. } => Command::UseKey,
            Self::RemoveKey { .. } => Command::RemoveKey,
            Self::ListKeys => Command::ListKeys,
            Self::Tags { .. } => Command::Tags,
            Self::Query(_) => Command::Query,
            Self::Respond { .. } => Command::Respond,
            Self::Stats => Command::Stats,
            Self::GetCoordinate { .. } => Command::GetCoordinate,
            Self::Explain { .. } => Command::Explain,
            Self::Diagnose => Command::Diagnose,
            Self::Unknown { command } => Command::Unknown(command.clone()),
        }
    }

    /// Appends the header and the body.
    pub fn encode(&self, seq: u64, out: &mut Vec<u8>) {
        RequestHeader { command: self.command(), seq }.encode(out);
        let mut w = Writer::rpc(out);
        match self {
            Self::Members
            | Self::Leave
            | Self::ListKeys
            | Self::Stats
            | Self::Diagnose
            | Self::Unknown { .. } => {}
            Self::Handshake { version } => _ = w.map(1).str("Version").int(i64::from(*version)),
            Self::Auth { key } => _ = w.map(1).str("AuthKey").str(key),
            Self::Event { name, payload, coalesce } => {
                w.map(3).str("Coalesce").bool(*coalesce).str("Name").str(name);
                w.str("Payload").opt_bytes(payload.as_deref());
            }
            Self::ForceLeave { node, prune } => _ = w.map(2).str("Node").str(node).str("Prune").bool(*prune),
            Self::Join { existing, replay } => {
                w.map(2).str("Existing");
                write_list(&mut w, existing.as_deref());
                w.str("Replay").bool(*replay);
            }
            Self::MembersFiltered { tags, status, name } => {
                w.map(3).str("Name").str(name).str("Status").str(status).str("Tags");
                write_map(&mut w, tags.as_ref());
            }
            // Serf's bytes, unless more is asked for.
            Self::Stream { filter, immediate: false } => _ = w.map(1).str("Type").str(filter),
            Self::Stream { filter, immediate: true } => {
                w.map(2).str("Immediate").bool(true).str("Type").str(filter);
            }
            Self::Monitor { log_level } => _ = w.map(1).str("LogLevel").str(log_level),
            Self::Stop { stop } => _ = w.map(1).str("Stop").uint(*stop),
            Self::InstallKey { key } | Self::UseKey { key } | Self::RemoveKey { key } => {
                w.map(1).str("Key").str(key);
            }
            Self::Tags { tags, delete } => {
                w.map(2).str("DeleteTags");
                write_list(&mut w, delete.as_deref());
                w.str("Tags");
                write_map(&mut w, tags.as_ref());
            }
            Self::Query(query) => query.write(&mut w),
            Self::Respond { id, payload } => {
                w.map(2).str("ID").uint(*id).str("Payload").opt_bytes(payload.as_deref());
            }
            Self::GetCoordinate { node } | Self::Explain { node } => _ = w.map(1).str("Node").str(node),
        }
    }

    /// Reads a request by its command and its body: one msgpack value, ignored for a command without one
    /// ([`Command::has_body`]).
    ///
    /// Keys may come in any order, unknown ones are skipped, missing ones are zero; a body may also be nil, or an array
    /// of its values.
    ///
    /// # Errors
    /// When the body is malformed; an agent then closes the connection without an answer.
    pub fn decode(command: &Command, body: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(body);
        let r = &mut r;
        Ok(match command {
            Command::Members => Self::Members,
            Command::Leave => Self::Leave,
            Command::ListKeys => Self::ListKeys,
            Command::Stats => Self::Stats,
            Command::Unknown(name) => Self::Unknown { command: name.clone() },
            Command::Handshake => Self::Handshake { version: read_version(r)? },
            Command::Auth => Self::Auth { key: read_text(r, "AuthKey")? },
            Command::Event => read_event(r)?,
            Command::ForceLeave => read_force_leave(r)?,
            Command::Join => read_join(r)?,
            Command::MembersFiltered => read_members_filtered(r)?,
            Command::Stream => read_stream(r)?,
            Command::Monitor => Self::Monitor { log_level: read_text(r, "LogLevel")? },
            Command::Stop => read_stop(r)?,
            Command::InstallKey => Self::InstallKey { key: read_text(r, "Key")? },
            Command::UseKey => Self::UseKey { key: read_text(r, "Key")? },
            Command::RemoveKey => Self::RemoveKey { key: read_text(r, "Key")? },
            Command::Tags => read_tags(r)?,
            Command::Query => Self::Query(Query::read(r)?),
            Command::Respond => read_respond(r)?,
            Command::GetCoordinate => Self::GetCoordinate { node: read_text(r, "Node")? },
            Command::Explain => Self::Explain { node: read_text(r, "Node")? },
            Command::Diagnose => Self::Diagnose,
        })
    }
}

/// A body with one field of text.
fn read_text(reader: &mut Reader<'_>, field: &'static str) -> Result<String, DecodeError> {
    let mut text = String::new();
    reader.fields("body", &[field], |_index, r| {
        text = strict(r, field)?;
        Ok(())
    })?;
    Ok(text)
}

fn read_stream(reader: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let (mut filter, mut immediate) = (String::new(), false);
    reader.fields("stream", &["Type", "Immediate"], |index, r| {
        match index {
            0 => filter = strict(r, "Type")?,
            _ => immediate = r.bool("Immediate")?,
        }
        Ok(())
    })?;
    Ok(Request::Stream { filter, immediate })
}

fn read_version(reader: &mut Reader<'_>) -> Result<i32, DecodeError> {
    let mut version = 0;
    reader.fields("handshake", &["Version"], |_index, r| {
        let number = r.i64("Version")?;
        version = i32::try_from(number).map_err(|_too_large| DecodeError::OutOfRange { field: "Version" })?;
        Ok(())
    })?;
    Ok(version)
}

fn read_event(reader: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let (mut name, mut payload, mut coalesce) = (String::new(), None, false);
    reader.fields("event", &["Name", "Payload", "Coalesce"], |index, r| {
        match index {
            0 => name = strict(r, "Name")?,
            1 => payload = bytes(r, "Payload")?,
            _ => coalesce = r.bool("Coalesce")?,
        }
        Ok(())
    })?;
    Ok(Request::Event { name, payload, coalesce })
}

fn read_force_leave(reader: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let (mut node, mut prune) = (String::new(), false);
    reader.fields("force-leave", &["Node", "Prune"], |index, r| {
        match index {
            0 => node = strict(r, "Node")?,
            _ => prune = r.bool("Prune")?,
        }
        Ok(())
    })?;
    Ok(Request::ForceLeave { node, prune })
}

fn read_join(reader: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let (mut existing, mut replay) = (None, false);
    reader.fields("join", &["Existing", "Replay"], |index, r| {
        match index {
            0 => existing = strict_list(r, "Existing")?,
            _ => replay = r.bool("Replay")?,
        }
        Ok(())
    })?;
    Ok(Request::Join { existing, replay })
}

fn read_members_filtered(reader: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let (mut tags, mut status, mut name) = (None, String::new(), String::new());
    reader.fields("members-filtered", &["Tags", "Status", "Name"], |index, r| {
        match index {
            0 => tags = map(r, "Tags", strict, strict)?,
            1 => status = strict(r, "Status")?,
            _ => name = strict(r, "Name")?,
        }
        Ok(())
    })?;
    Ok(Request::MembersFiltered { tags, status, name })
}

fn read_stop(reader: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let mut stop = 0;
    reader.fields("stop", &["Stop"], |_index, r| {
        stop = r.u64("Stop")?;
        Ok(())
    })?;
    Ok(Request::Stop { stop })
}

fn read_tags(reader: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let (mut tags, mut delete) = (None, None);
    reader.fields("tags", &["Tags", "DeleteTags"], |index, r| {
        match index {
            0 => tags = map(r, "Tags", strict, strict)?,
            _ => delete = strict_list(r, "DeleteTags")?,
        }
        Ok(())
    })?;
    Ok(Request::Tags { tags, delete })
}

fn read_respond(reader: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let (mut id, mut payload) = (0, None);
    reader.fields("respond", &["ID", "Payload"], |index, r| {
        match index {
            0 => id = r.u64("ID")?,
            _ => payload = bytes(r, "Payload")?,
        }
        Ok(())
    })?;
    Ok(Request::Respond { id, payload })
}

impl Query {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        // Ours comes last: a body may also be an array of its values, in Serf's order.
        let names = [
            "FilterNodes",
            "FilterTags",
            "RequestAck",
            "RelayFactor",
            "Timeout",
            "Name",
            "Payload",
            "EndWhenAnswered",
        ];
        let mut query = Self::default();
        reader.fields("query", &names, |index, r| {
            match index {
                0 => query.filter_nodes = strict_list(r, "FilterNodes")?,
                1 => query.filter_tags = map(r, "FilterTags", strict, strict)?,
                2 => query.request_ack = r.bool("RequestAck")?,
                3 => query.relay_factor = r.u8("RelayFactor")?,
                4 => query.timeout_ns = r.i64("Timeout")?,
                5 => query.name = strict(r, "Name")?,
                6 => query.payload = bytes(r, "Payload")?,
                _ => query.end_when_answered = r.bool("EndWhenAnswered")?,
            }
            Ok(())
        })?;
        Ok(query)
    }

    fn write(&self, w: &mut Writer<'_>) {
        // Serf's bytes, unless more is asked for.
        w.map(7 + usize::from(self.end_when_answered));
        if self.end_when_answered {
            w.str("EndWhenAnswered").bool(true);
        }
        w.str("FilterNodes");
        write_list(w, self.filter_nodes.as_deref());
        w.str("FilterTags");
        write_map(w, self.filter_tags.as_ref());
        w.str("Name").str(&self.name).str("Payload").opt_bytes(self.payload.as_deref());
        w.str("RelayFactor").uint(self.relay_factor).str("RequestAck").bool(self.request_ack);
        w.str("Timeout").int(self.timeout_ns);
    }
}
