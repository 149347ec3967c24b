//! memberlist's messages: one struct a message, borrowing from the packet.
//!
//! Source: memberlist `net.go`; field names on the wire are Go's.

use std::net::IpAddr;

use crate::msgpack::{Reader, Writer};
use crate::{DecodeError, limits};

/// First byte of each message.
pub mod kind {
    #![allow(missing_docs, reason = "each constant is the message of that name")]
    pub const PING: u8 = 0;
    pub const INDIRECT_PING: u8 = 1;
    pub const ACK: u8 = 2;
    pub const SUSPECT: u8 = 3;
    pub const ALIVE: u8 = 4;
    pub const DEAD: u8 = 5;
    pub const PUSH_PULL: u8 = 6;
    pub const COMPOUND: u8 = 7;
    pub const USER: u8 = 8;
    pub const COMPRESS: u8 = 9;
    pub const ENCRYPT: u8 = 10;
    pub const NACK: u8 = 11;
    pub const HAS_CRC: u8 = 12;
    pub const ERROR: u8 = 13;
    pub const HAS_LABEL: u8 = 244;
}

/// One message of a packet, its type byte removed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// Type 0.
    Ping(Ping<'a>),
    /// Type 1.
    IndirectPing(IndirectPing<'a>),
    /// Type 2.
    Ack(Ack<'a>),
    /// Type 3.
    Suspect(Suspect<'a>),
    /// Type 4.
    Alive(Alive<'a>),
    /// Type 5.
    Dead(Dead<'a>),
    /// Type 8: the bytes after the type byte, meant for the layer above.
    User(&'a [u8]),
    /// Type 11.
    Nack(Nack),
}

impl<'a> Message<'a> {
    /// Reads one whole message, type byte first. Bytes after it are ignored, as memberlist does.
    ///
    /// # Errors
    /// When the type is not one of a packet's messages or its body is malformed.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (&kind, body) =
            bytes.split_first().ok_or(DecodeError::Malformed("an empty message has no type"))?;
        Ok(match kind {
            kind::PING => Self::Ping(Ping::decode(body)?),
            kind::INDIRECT_PING => Self::IndirectPing(IndirectPing::decode(body)?),
            kind::ACK => Self::Ack(Ack::decode(body)?),
            kind::SUSPECT => Self::Suspect(Suspect::decode(body)?),
            kind::ALIVE => Self::Alive(Alive::decode(body)?),
            kind::DEAD => Self::Dead(Dead::decode(body)?),
            kind::USER => Self::User(body),
            kind::NACK => Self::Nack(Nack::decode(body)?),
            other => return Err(DecodeError::UnknownType(other)),
        })
    }

    /// The name of the member that a statement is about.
    pub fn about(&self) -> Option<&'a str> {
        match self {
            Self::Alive(alive) => Some(alive.node),
            Self::Suspect(suspect) => Some(suspect.node),
            Self::Dead(dead) => Some(dead.node),
            _ => None,
        }
    }

    /// Appends the whole message, type byte first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ping(ping) => ping.encode(out),
            Self::IndirectPing(ping) => ping.encode(out),
            Self::Ack(ack) => ack.encode(out),
            Self::Suspect(suspect) => suspect.encode(out),
            Self::Alive(alive) => alive.encode(out),
            Self::Dead(dead) => dead.encode(out),
            Self::User(payload) => encode_user(payload, out),
            Self::Nack(nack) => nack.encode(out),
        }
    }
}

/// "Are you there?" The answer is an [`Ack`] with the same sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ping<'a> {
    /// Chosen by the sender.
    pub seq: u32,
    /// Who is meant; empty for "anyone".
    pub node: &'a str,
    /// Sender's advertised address: 4 or 16 bytes, empty from very old senders.
    pub source_addr: &'a [u8],
    /// Sender's advertised port, 0 if not told.
    pub source_port: u16,
    /// Sender's name, empty if not told.
    pub source_node: &'a str,
}

/// "Ping that one for me."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndirectPing<'a> {
    /// The requester's sequence number.
    pub seq: u32,
    /// Address of the target, 4 or 16 bytes.
    pub target: &'a [u8],
    /// Port of the target.
    pub port: u16,
    /// Name of the target.
    pub node: &'a str,
    /// Whether the requester wants a [`Nack`] when the target stays silent.
    pub nack: bool,
    /// Requester's advertised address, may be empty.
    pub source_addr: &'a [u8],
    /// Requester's advertised port, may be 0.
    pub source_port: u16,
    /// Requester's name, may be empty.
    pub source_node: &'a str,
}

/// Answer to a ping, direct or relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ack<'a> {
    /// Copied from the ping.
    pub seq: u32,
    /// What the layer above adds (Serf: the coordinate). `None` is nil on the wire.
    pub payload: Option<&'a [u8]>,
}

/// A relay's "no answer so far".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nack {
    /// The requester's sequence number.
    pub seq: u32,
}

/// "I suspect that one."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Suspect<'a> {
    /// The incarnation that is accused.
    pub incarnation: u32,
    /// The accused.
    pub node: &'a str,
    /// The accuser.
    pub from: &'a str,
}

/// "That one is dead", or, when `node` equals `from`, "I am leaving".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dead<'a> {
    /// The incarnation that is declared dead.
    pub incarnation: u32,
    /// The dead member.
    pub node: &'a str,
    /// Who says so.
    pub from: &'a str,
}

/// "That one is alive, here, with this metadata."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alive<'a> {
    /// The incarnation.
    pub incarnation: u32,
    /// Name of the member.
    pub node: &'a str,
    /// Advertised address exactly as its owner wrote it: 4 or 16 bytes; anything else is for the receiver to refuse.
    pub addr: &'a [u8],
    /// Advertised port.
    pub port: u16,
    /// Metadata; `None` is nil on the wire.
    pub meta: Option<&'a [u8]>,
    /// Version bytes: memberlist's and the delegate's minimum, maximum and current. Usually six; kept as they came.
    pub versions: &'a [u8],
}

/// State of a member in a push/pull record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeStateKind {
    /// 0.
    Alive,
    /// 1.
    Suspect,
    /// 2.
    Dead,
    /// 3.
    Left,
    /// A number without a meaning; the record is to be ignored.
    Unknown(i64),
}

/// One record of a push/pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeState<'a> {
    /// Name of the member. (The field is `Name` here and `Node` in [`Alive`].)
    pub name: &'a str,
    /// As in [`Alive::addr`].
    pub addr: &'a [u8],
    /// As in [`Alive::port`].
    pub port: u16,
    /// As in [`Alive::meta`].
    pub meta: Option<&'a [u8]>,
    /// The incarnation.
    pub incarnation: u32,
    /// What the sender believes.
    pub state: NodeStateKind,
    /// As in [`Alive::versions`].
    pub versions: &'a [u8],
}

/// Header of a push/pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PushPullHeader {
    /// Number of node records that follow.
    pub nodes: usize,
    /// Bytes of user state after them.
    pub user_state_len: usize,
    /// Whether this exchange is part of a join.
    pub join: bool,
}

impl<'a> Ping<'a> {
    /// Reads the body after the type byte.
    ///
    /// # Errors
    /// When the bytes are no such map.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut ping = Self::default();
        let names = ["SeqNo", "Node", "SourceAddr", "SourcePort", "SourceNode"];
        Reader::new(body).fields("ping", &names, |index, r| {
            match index {
                0 => ping.seq = r.u32("SeqNo")?,
                1 => ping.node = r.str("Node")?,
                2 => ping.source_addr = r.bytes("SourceAddr")?.unwrap_or_default(),
                3 => ping.source_port = r.u16("SourcePort")?,
                _ => ping.source_node = r.str("SourceNode")?,
            }
            Ok(())
        })?;
        Ok(ping)
    }

    /// Appends the whole message, type byte first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::PING);
        let source = Source { addr: self.source_addr, node: self.source_node, port: self.source_port };
        let mut w = Writer::gossip(out);
        w.map(2 + source.count()).str("Node").str(self.node).str("SeqNo").uint(self.seq);
        source.write(&mut w);
    }
}

/// The three fields that tell where a ping comes from. Each is left out when it is empty.
struct Source<'a> {
    addr: &'a [u8],
    node: &'a str,
    port: u16,
}

impl Source<'_> {
    fn count(&self) -> usize {
        usize::from(!self.addr.is_empty()) + usize::from(!self.node.is_empty()) + usize::from(self.port != 0)
    }

    fn write(&self, w: &mut Writer<'_>) {
        if !self.addr.is_empty() {
            w.str("SourceAddr").bytes(self.addr);
        }
        if !self.node.is_empty() {
            w.str("SourceNode").str(self.node);
        }
        if self.port != 0 {
            w.str("SourcePort").uint(self.port);
        }
    }
}

/// Empty bytes as Go writes a slice that was never set.
fn nil_if_empty(bytes: &[u8]) -> Option<&[u8]> {
    Some(bytes).filter(|bytes| !bytes.is_empty())
}

impl<'a> IndirectPing<'a> {
    /// Reads the body after the type byte.
    ///
    /// # Errors
    /// When the bytes are no such map.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut ping = Self::default();
        let names = ["SeqNo", "Target", "Port", "Node", "Nack", "SourceAddr", "SourcePort", "SourceNode"];
        Reader::new(body).fields("indirect ping", &names, |index, r| {
            match index {
                0 => ping.seq = r.u32("SeqNo")?,
                1 => ping.target = r.bytes("Target")?.unwrap_or_default(),
                2 => ping.port = r.u16("Port")?,
                3 => ping.node = r.str("Node")?,
                4 => ping.nack = r.bool("Nack")?,
                5 => ping.source_addr = r.bytes("SourceAddr")?.unwrap_or_default(),
                6 => ping.source_port = r.u16("SourcePort")?,
                _ => ping.source_node = r.str("SourceNode")?,
            }
            Ok(())
        })?;
        Ok(ping)
    }

    /// Appends the whole message, type byte first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::INDIRECT_PING);
        let source = Source { addr: self.source_addr, node: self.source_node, port: self.source_port };
        let mut w = Writer::gossip(out);
        w.map(5 + source.count()).str("Nack").bool(self.nack).str("Node").str(self.node);
        w.str("Port").uint(self.port).str("SeqNo").uint(self.seq);
        source.write(&mut w);
        w.str("Target").opt_bytes(nil_if_empty(self.target));
    }
}

impl<'a> Ack<'a> {
    /// Reads the body after the type byte.
    ///
    /// # Errors
    /// When the bytes are no such map.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut ack = Self::default();
        Reader::new(body).fields("ack", &["SeqNo", "Payload"], |index, r| {
            match index {
                0 => ack.seq = r.u32("SeqNo")?,
                _ => ack.payload = r.bytes("Payload")?,
            }
            Ok(())
        })?;
        Ok(ack)
    }

    /// Appends the whole message, type byte first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::ACK);
        Writer::gossip(out).map(2).str("Payload").opt_bytes(self.payload).str("SeqNo").uint(self.seq);
    }
}

impl Nack {
    /// Reads the body after the type byte.
    ///
    /// # Errors
    /// When the bytes are no such map.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut nack = Self::default();
        Reader::new(body).fields("nack", &["SeqNo"], |_seq, r| {
            nack.seq = r.u32("SeqNo")?;
            Ok(())
        })?;
        Ok(nack)
    }

    /// Appends the whole message, type byte first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::NACK);
        Writer::gossip(out).map(1).str("SeqNo").uint(self.seq);
    }
}

impl<'a> Suspect<'a> {
    /// Reads the body after the type byte.
    ///
    /// # Errors
    /// When the bytes are no such map.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let (incarnation, node, from) = decode_accusation("suspect", body)?;
        Ok(Self { incarnation, node, from })
    }

    /// Appends the whole message, type byte first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_accusation(kind::SUSPECT, self.incarnation, self.node, self.from, out);
    }
}

impl<'a> Dead<'a> {
    /// Reads the body after the type byte.
    ///
    /// # Errors
    /// When the bytes are no such map.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let (incarnation, node, from) = decode_accusation("dead", body)?;
        Ok(Self { incarnation, node, from })
    }

    /// Appends the whole message, type byte first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_accusation(kind::DEAD, self.incarnation, self.node, self.from, out);
    }
}

/// Suspect and dead have the same body: incarnation, accused, accuser.
fn decode_accusation<'a>(what: &'static str, body: &'a [u8]) -> Result<(u32, &'a str, &'a str), DecodeError> {
    let (mut incarnation, mut node, mut from) = (0, "", "");
    Reader::new(body).fields(what, &["Incarnation", "Node", "From"], |index, r| {
        match index {
            0 => incarnation = r.u32("Incarnation")?,
            1 => node = r.str("Node")?,
            _ => from = r.str("From")?,
        }
        Ok(())
    })?;
    Ok((incarnation, node, from))
}

fn encode_accusation(kind: u8, incarnation: u32, node: &str, from: &str, out: &mut Vec<u8>) {
    out.push(kind);
    let mut w = Writer::gossip(out);
    w.map(3).str("From").str(from).str("Incarnation").uint(incarnation).str("Node").str(node);
}

impl<'a> Alive<'a> {
    /// Reads the body after the type byte.
    ///
    /// # Errors
    /// When the bytes are no such map.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut alive = Self::default();
        let names = ["Incarnation", "Node", "Addr", "Port", "Meta", "Vsn"];
        Reader::new(body).fields("alive", &names, |index, r| {
            match index {
                0 => alive.incarnation = r.u32("Incarnation")?,
                1 => alive.node = r.str("Node")?,
                2 => alive.addr = r.bytes("Addr")?.unwrap_or_default(),
                3 => alive.port = r.u16("Port")?,
                4 => alive.meta = r.bytes("Meta")?,
                _ => alive.versions = r.bytes("Vsn")?.unwrap_or_default(),
            }
            Ok(())
        })?;
        Ok(alive)
    }

    /// Appends the whole message, type byte first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::ALIVE);
        let mut w = Writer::gossip(out);
        w.map(6).str("Addr").opt_bytes(nil_if_empty(self.addr));
        w.str("Incarnation").uint(self.incarnation).str("Meta").opt_bytes(self.meta);
        w.str("Node").str(self.node).str("Port").uint(self.port);
        w.str("Vsn").opt_bytes(nil_if_empty(self.versions));
    }
}

impl NodeStateKind {
    fn from_wire(number: i64) -> Self {
        match number {
            0 => Self::Alive,
            1 => Self::Suspect,
            2 => Self::Dead,
            3 => Self::Left,
            other => Self::Unknown(other),
        }
    }

    fn to_wire(self) -> i64 {
        match self {
            Self::Alive => 0,
            Self::Suspect => 1,
            Self::Dead => 2,
            Self::Left => 3,
            Self::Unknown(number) => number,
        }
    }
}

impl<'a> NodeState<'a> {
    /// Reads one record (it has no type byte). Bytes after it are ignored.
    ///
    /// # Errors
    /// When the bytes are no such map.
    pub fn decode(record: &'a [u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(record))
    }

    /// Reads one record and stands behind it then.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut node = Self {
            name: "",
            addr: &[],
            port: 0,
            meta: None,
            incarnation: 0,
            state: NodeStateKind::Alive,
            versions: &[],
        };
        let names = ["Name", "Addr", "Port", "Meta", "Incarnation", "State", "Vsn"];
        reader.fields("node state", &names, |index, r| {
            match index {
                0 => node.name = r.str("Name")?,
                1 => node.addr = r.bytes("Addr")?.unwrap_or_default(),
                2 => node.port = r.u16("Port")?,
                3 => node.meta = r.bytes("Meta")?,
                4 => node.incarnation = r.u32("Incarnation")?,
                5 => node.state = NodeStateKind::from_wire(r.i64("State")?),
                _ => node.versions = r.bytes("Vsn")?.unwrap_or_default(),
            }
            Ok(())
        })?;
        Ok(node)
    }

    /// Appends one record (it has no type byte).
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer::gossip(out);
        w.map(7).str("Addr").opt_bytes(nil_if_empty(self.addr));
        w.str("Incarnation").uint(self.incarnation).str("Meta").opt_bytes(self.meta);
        w.str("Name").str(self.name).str("Port").uint(self.port);
        w.str("State").int(self.state.to_wire()).str("Vsn").opt_bytes(nil_if_empty(self.versions));
    }
}

impl PushPullHeader {
    /// Reads the map after the type byte.
    ///
    /// # Errors
    /// When the bytes are no such map, or a count is negative or over its limit
    /// ([`limits::PUSH_PULL_NODES_MAX`], [`limits::STREAM_FRAME_BYTES_MAX`]).
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut header = Self::default();
        Reader::new(body).fields("push/pull header", &["Nodes", "UserStateLen", "Join"], |index, r| {
            match index {
                0 => header.nodes = count(r, "Nodes", limits::PUSH_PULL_NODES_MAX)?,
                1 => header.user_state_len = count(r, "UserStateLen", limits::STREAM_FRAME_BYTES_MAX)?,
                _ => header.join = r.bool("Join")?,
            }
            Ok(())
        })?;
        Ok(header)
    }

    /// Appends the map; the type byte goes before it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer::gossip(out);
        w.map(3).str("Join").bool(self.join).str("Nodes").uint(self.nodes as u64);
        w.str("UserStateLen").uint(self.user_state_len as u64);
    }
}

/// Reads a Go `int` that announces how many of something follow.
pub(crate) fn count(
    reader: &mut Reader<'_>,
    field: &'static str,
    limit: usize,
) -> Result<usize, DecodeError> {
    let found = u64::try_from(reader.i64(field)?).map_err(|_negative| DecodeError::OutOfRange { field })?;
    if found > limit as u64 {
        return Err(DecodeError::TooLarge { what: field, found, limit: limit as u64 });
    }
    Ok(found as usize)
}

/// Appends a user message for a packet: the type byte and the payload as it is.
pub fn encode_user(payload: &[u8], out: &mut Vec<u8>) {
    out.push(kind::USER);
    out.extend_from_slice(payload);
}

/// The address in four or sixteen raw bytes, or `None` for any other length. An IPv4 address in mapped form stays
/// [`IpAddr::V6`], so that [`ip_bytes`] gives back the very bytes.
pub fn ip_from_bytes(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Raw bytes of an address and how many of them count (4 or 16).
pub fn ip_bytes(ip: IpAddr) -> ([u8; 16], usize) {
    match ip {
        IpAddr::V4(v4) => {
            let mut all = [0; 16];
            all[..4].copy_from_slice(&v4.octets());
            (all, 4)
        }
        IpAddr::V6(v6) => (v6.octets(), 16),
    }
}
