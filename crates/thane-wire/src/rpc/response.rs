//! Responses: written by an agent, read by a client.

use std::collections::BTreeMap;

use super::Command;
use super::explain::Explanation;
use super::fields::{LIST_ENTRIES_MAX, bytes, lossy, map, write_map};
use crate::DecodeError;
use crate::coordinate::Coordinate;
use crate::msgpack::{Reader, Writer};
use crate::serf::list;
use crate::tags::Tags;

/// What begins a response, and each record of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResponseHeader {
    /// Sequence number of the request.
    pub seq: u64,
    /// Why the request failed; empty for success.
    pub error: String,
}

impl ResponseHeader {
    /// Reads a header.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut header = Self::default();
        Reader::new(bytes).fields("response header", &["Seq", "Error"], |index, r| {
            match index {
                0 => header.seq = r.u64("Seq")?,
                _ => header.error = lossy(r, "Error")?,
            }
            Ok(())
        })?;
        Ok(header)
    }

    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Writer::rpc(out).map(2).str("Error").str(&self.error).str("Seq").uint(self.seq);
    }
}

/// A response.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// Sequence number of the request.
    pub seq: u64,
    /// Why the request failed; empty for success.
    pub error: String,
    /// There exactly when [`Command::has_response_body`] says so.
    pub body: Option<ResponseBody>,
}

impl Response {
    /// A response without a body.
    pub fn new(seq: u64, error: impl Into<String>) -> Self {
        Self { seq, error: error.into(), body: None }
    }

    /// Appends the header and the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        ResponseHeader { seq: self.seq, error: self.error.clone() }.encode(out);
        if let Some(body) = &self.body {
            body.encode(out);
        }
    }
}

/// Counters and settings by section, all of them text.
pub type Stats = BTreeMap<String, BTreeMap<String, String>>;

/// The body of a response.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ResponseBody {
    /// To `join`.
    Join {
        /// How many addresses answered.
        contacted: i32,
    },
    /// To `members` and `members-filtered`.
    Members(Vec<Member>),
    /// To the four key commands.
    Keys(KeyReply),
    /// To `stats`.
    Stats(Stats),
    /// To `get-coordinate`; `None` for a member that has none.
    Coordinate(Option<Coordinate>),
    /// To `explain`.
    Explanation(Box<Explanation>),
    /// To `diagnose`: sections of text as in [`Self::Stats`].
    Diagnosis(Stats),
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its address, 4 or 16 bytes. `None` is nil on the wire.
    pub addr: Option<Vec<u8>>,
    /// Its port.
    pub port: u16,
    /// Its tags.
    pub tags: Tags,
    /// `alive`, `leaving`, `left`, `failed` or `none`.
    pub status: String,
    /// memberlist's and Serf's minimum, maximum and current protocol, in the order of memberlist's version bytes.
    pub versions: [u8; 6],
}

/// What members answered to a key command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyReply {
    /// How many members have each key, by the key in base64. `None`, nil on the wire, except for `list-keys`.
    pub keys: Option<BTreeMap<String, u64>>,
    /// What members reported, by their name: errors and remarks.
    pub messages: BTreeMap<String, String>,
    /// How many members there are.
    pub nodes: u64,
    /// How many of them answered.
    pub responses: u64,
    /// How many of them failed.
    pub errors: u64,
}

impl ResponseBody {
    /// Reads the body of a response to this command: one msgpack value.
    ///
    /// # Errors
    /// When it is malformed, or the command has no such body.
    pub fn decode(command: &Command, body: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(body);
        let r = &mut r;
        Ok(match command {
            Command::Join => Self::Join { contacted: read_num(r)? },
            Command::Members | Command::MembersFiltered => Self::Members(read_member_list(r)?),
            Command::InstallKey | Command::UseKey | Command::RemoveKey | Command::ListKeys => {
                Self::Keys(KeyReply::read(r)?)
            }
            Command::Stats => Self::Stats(map(r, "stats", lossy, read_section)?.unwrap_or_default()),
            Command::Explain => Self::Explanation(Box::new(Explanation::read(r)?)),
            Command::Diagnose => {
                Self::Diagnosis(map(r, "diagnosis", lossy, read_section)?.unwrap_or_default())
            }
            Command::GetCoordinate => Self::Coordinate(read_coordinate(r)?),
            _ => return Err(DecodeError::Malformed("a response to this command has no body")),
        })
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer::rpc(out);
        match self {
            Self::Join { contacted } => _ = w.map(1).str("Num").int(i64::from(*contacted)),
            Self::Members(members) => {
                w.map(1).str("Members");
                write_members(&mut w, members);
            }
            Self::Keys(reply) => reply.write(&mut w),
            Self::Explanation(explanation) => explanation.write(&mut w),
            Self::Stats(stats) | Self::Diagnosis(stats) => {
                w.map(stats.len());
                for (section, values) in stats {
                    w.str(section);
                    write_map(&mut w, Some(values));
                }
            }
            Self::Coordinate(coordinate) => {
                w.map(2).str("Coord");
                coordinate.as_ref().unwrap_or(&Coordinate::default()).write(&mut w);
                w.str("Ok").bool(coordinate.is_some());
            }
        }
    }
}

fn read_num(reader: &mut Reader<'_>) -> Result<i32, DecodeError> {
    let mut num = 0;
    reader.fields("join", &["Num"], |_index, r| {
        num = i32::try_from(r.i64("Num")?).map_err(|_too_large| DecodeError::OutOfRange { field: "Num" })?;
        Ok(())
    })?;
    Ok(num)
}

fn read_member_list(reader: &mut Reader<'_>) -> Result<Vec<Member>, DecodeError> {
    let mut members = Vec::new();
    reader.fields("members", &["Members"], |_index, r| {
        members = read_members(r)?;
        Ok(())
    })?;
    Ok(members)
}

fn read_section(
    reader: &mut Reader<'_>,
    field: &'static str,
) -> Result<BTreeMap<String, String>, DecodeError> {
    Ok(map(reader, field, lossy, lossy)?.unwrap_or_default())
}

fn read_coordinate(reader: &mut Reader<'_>) -> Result<Option<Coordinate>, DecodeError> {
    let (mut coordinate, mut ok) = (Coordinate::default(), false);
    reader.fields("get-coordinate", &["Coord", "Ok"], |index, r| {
        match index {
            0 => coordinate = Coordinate::read(r)?,
            _ => ok = r.bool("Ok")?,
        }
        Ok(())
    })?;
    Ok(ok.then_some(coordinate))
}

pub(super) fn read_members(reader: &mut Reader<'_>) -> Result<Vec<Member>, DecodeError> {
    Ok(list(reader, "Members", LIST_ENTRIES_MAX, Member::read)?.unwrap_or_default())
}

pub(super) fn write_members(w: &mut Writer<'_>, members: &[Member]) {
    w.array(members.len());
    for member in members {
        member.write(w);
    }
}

impl Member {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let names = [
            "Name",
            "Addr",
            "Port",
            "Tags",
            "Status",
            "ProtocolMin",
            "ProtocolMax",
            "ProtocolCur",
            "DelegateMin",
            "DelegateMax",
            "DelegateCur",
        ];
        let mut member = Self::default();
        reader.fields("member", &names, |index, r| {
            match index {
                0 => member.name = lossy(r, "Name")?,
                1 => member.addr = bytes(r, "Addr")?,
                2 => member.port = r.u16("Port")?,
                3 => member.tags = map(r, "Tags", lossy, lossy)?.unwrap_or_default(),
                4 => member.status = lossy(r, "Status")?,
                // The names stand in the order of the six version bytes.
                version => member.versions[version - 5] = r.u8("protocol version")?,
            }
            Ok(())
        })?;
        Ok(member)
    }

    fn write(&self, w: &mut Writer<'_>) {
        let [protocol_min, protocol_max, protocol_cur, delegate_min, delegate_max, delegate_cur] =
            self.versions;
        w.map(11).str("Addr").opt_bytes(self.addr.as_deref()).str("DelegateCur").uint(delegate_cur);
        w.str("DelegateMax").uint(delegate_max).str("DelegateMin").uint(delegate_min);
        w.str("Name").str(&self.name).str("Port").uint(self.port).str("ProtocolCur").uint(protocol_cur);
        w.str("ProtocolMax").uint(protocol_max).str("ProtocolMin").uint(protocol_min);
        w.str("Status").str(&self.status).str("Tags");
        write_map(w, Some(&self.tags));
    }
}

impl KeyReply {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut reply = Self::default();
        reader.fields(
            "key response",
            &["Messages", "Keys", "NumNodes", "NumErr", "NumResp"],
            |index, r| {
                match index {
                    0 => reply.messages = map(r, "Messages", lossy, lossy)?.unwrap_or_default(),
                    1 => reply.keys = map(r, "Keys", lossy, Reader::u64)?,
                    2 => reply.nodes = r.u64("NumNodes")?,
                    3 => reply.errors = r.u64("NumErr")?,
                    _ => reply.responses = r.u64("NumResp")?,
                }
                Ok(())
            },
        )?;
        Ok(reply)
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.map(5).str("Keys");
        match &self.keys {
            None => _ = w.nil(),
            Some(keys) => {
                w.map(keys.len());
                for (key, count) in keys {
                    w.str(key).uint(*count);
                }
            }
        }
        w.str("Messages");
        write_map(w, Some(&self.messages));
        w.str("NumErr")
            .uint(self.errors)
            .str("NumNodes")
            .uint(self.nodes)
            .str("NumResp")
            .uint(self.responses);
    }
}
